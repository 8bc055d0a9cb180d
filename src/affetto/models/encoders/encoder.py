"""The contract of everything whose hidden layers are reused."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

import torch

from affetto.frames import Frames, Waves


class LayerInfo(NamedTuple):
    """What an encoder promises of a layer: its name, its width and its frames a second."""

    name: str
    width: int
    frame_rate_hz: float


class Encoder(Protocol):
    """A network that hears recordings and hands out its layers.

    The layers of one utterance depend neither on its batch mates nor on padding.
    """

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer, from the input up."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal only for encoders that compute the same numbers."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the recordings have to be."""
        ...

    def represent(self, waves: Waves, layers: Collection[str]) -> dict[str, Frames]:
        """The named layers' frames, without gradients."""
        ...
