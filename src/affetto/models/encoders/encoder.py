"""The contract of everything whose hidden layers are reused."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import nn

from affetto.frames import Frames, Waves


class LayerInfo(NamedTuple):
    """What an encoder promises of a layer: its name, its width and its frames a second."""

    name: str
    width: int
    frame_rate_hz: float


class Origin(NamedTuple):
    """Where an encoder comes from.

    Attributes:
        name: as it was asked for, without a revision.
        source: "affetto", "folder" or "hub".
        revision: the commit of a hub's repository; None elsewhere.
        licence: as its description states it; None where it does not.
    """

    name: str
    source: str
    revision: str | None = None
    licence: str | None = None


class Encoding(NamedTuple):
    """What an encoder computes for a batch.

    Attributes:
        layers: the hidden layers asked for, by name, each (batch, time, width).
        output: what a decoder reads: log probabilities of characters, or the last states; None where nothing spells.
    """

    layers: dict[str, Frames]
    output: Frames | None


class Network(Protocol):
    """A module whose layers can be trained along with what reads them."""

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer, from the input up."""
        ...

    def features(self, waves: Waves) -> Frames:
        """The input of the first layer."""
        ...

    def climb(self, frames: Frames, first: str, last: str) -> Frames:
        """What the layers from ``first`` to ``last`` make of the frames below them."""
        ...

    def layer_parameters(self, name: str) -> Iterator[nn.Parameter]:
        """What training a layer changes."""
        ...


class Encoder(Protocol):
    """A speech network that hands out its layers, and perhaps what a decoder can spell from.

    The numbers of one utterance depend neither on its batch mates nor on padding.
    """

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer, from the input up."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal only for encoders that compute the same numbers; 16 hexadecimal digits."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes; recordings are brought there."""
        ...

    def represent(self, waves: Waves, layers: Collection[str]) -> dict[str, Frames]:
        """The named layers alone, without gradients."""
        ...
