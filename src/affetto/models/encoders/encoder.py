"""The contract of everything whose hidden layers are reused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from affetto.errors import ConfigError
from affetto.frames import Frames, Waves
from affetto.recording import Spelling
from affetto.text import Alphabet

if TYPE_CHECKING:
    from affetto.models.network import Network


TEXT, STATES = "text", "decoder"
WORD_LAYERS = (TEXT, STATES)
"""What a head can read of the words that were written: vectors of them, or what Whisper's decoder was when it wrote."""


class LayerInfo(NamedTuple):
    """What an encoder promises of a layer: its name, its width and its frames a second, 0 where a frame is a token."""

    name: str
    width: int
    frame_rate_hz: float


class Origin(NamedTuple):
    """Where an encoder comes from."""

    name: str  # as it was asked for, without a revision
    source: str  # "affetto", "folder" or "hub"
    revision: str | None = None  # the commit of a hub's repository; None elsewhere
    licence: str | None = None  # as its description states it; None where it does not
    folder: Path | None = None  # where its files lie

    def __str__(self) -> str:
        """What `open_encoder` opens it by.

        >>> str(Origin("openai/whisper-base", "hub", "1234abc"))
        'openai/whisper-base@1234abc'
        """
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


class Encoding(NamedTuple):
    """What an encoder computes for a batch."""

    layers: dict[str, Frames]  # the hidden layers asked for, by name, each (batch, time, width)
    # what a decoder reads: log probabilities of characters, or the last states; None where nothing spells
    output: Frames | None


class Tokens(NamedTuple):
    """Vectors of the tokens of a text that spell letters or digits; there may be none."""

    values: Tensor  # (tokens, width)
    times_s: tuple[float, ...]  # the middle of each in the utterance


class Written(NamedTuple):
    """What one utterance was decoded to, and what the decoder's own layers are."""

    spelling: Spelling
    layers: dict[str, Tokens]


class TextDecoder(Protocol):
    """Turns an encoder's output into text."""

    @property
    def name(self) -> str:
        """What it does, in a few words."""

    @property
    def fingerprint(self) -> str:
        """Equal only for decoders that write the same."""

    @property
    def window_s(self) -> float:
        """How much sound it reads best at once, pauses included; 0 where each stretch of speech does by itself."""

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """What it has of its own of each token that it writes; most have nothing."""

    def to(self, device: torch.device | str) -> Self:
        """Itself on another device, where the output is."""

    def __call__(self, output: Frames | None, /) -> list[Spelling]:
        """What each utterance of a batch says; it depends on no other."""

    def write(self, output: Frames | None, /) -> list[Written]:
        """The same with `layers`."""


class Encoder(Protocol):
    """A speech network that hands out its layers, and perhaps what a decoder can spell from.

    The numbers of one utterance depend neither on its batch mates nor on padding.
    """

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer, from the input up."""

    @property
    def fingerprint(self) -> str:
        """Equal only for encoders that compute the same numbers; 16 hexadecimal digits."""

    @property
    def device(self) -> torch.device:
        """Where it computes; recordings are brought there."""

    @property
    def origin(self) -> Origin:
        """Where it comes from."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its description says: training data, licence, metrics; may be empty."""

    @property
    def alphabet(self) -> Alphabet | None:
        """The characters whose log probabilities the output holds; None if it holds none."""

    @property
    def output_rate_hz(self) -> float | None:
        """Frames a second of the output; None if there is none."""

    @property
    def network(self) -> Network | None:
        """The module behind it, if layers can be trained along; else None."""

    def text_decoder(self, language: str | None) -> TextDecoder | None:
        """Its own decoder, for the device it is on; None if it has none, so that affetto's serve it.

        Without a language it chooses one. ConfigError if it does not know it, CheckpointError if its files are damaged.
        """

    def to(self, device: torch.device | str) -> Self:
        """Itself, moved to another device."""

    def encode(self, waves: Waves, layers: Collection[str]) -> Encoding:
        """The named layers and the output, without gradients; ConfigError if a layer is not there."""

    def represent(self, waves: Waves, layers: Collection[str]) -> dict[str, Frames]:
        """The named layers alone; what lies above the highest need not be computed."""


class ModuleEncoder:
    """What encoders around a torch module share; it spells nothing unless a subclass says so."""

    alphabet: Alphabet | None = None
    output_rate_hz: float | None = None

    def __init__(self, module: nn.Module, origin: Origin, facts: Mapping[str, Any] | None = None) -> None:
        self._module = module.eval()
        self.origin = origin
        self.facts = facts or {}

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return next(self._module.parameters()).device

    def text_decoder(self, language: str | None) -> TextDecoder | None:  # noqa: ARG002
        """None: it has none of its own."""
        return None

    def to(self, device: torch.device | str) -> Self:
        """Moves the module."""
        self._module.to(device)
        return self


def computed(encoder: Encoder) -> str:
    """Its fingerprint, with the precision that it computes in, unless that is float32, and the level, if it has one."""
    if encoder.network is None:
        return encoder.fingerprint
    precision, level = encoder.network.precision, encoder.network.level
    named = [f"{precision}"] * (precision != torch.float32)
    named += [f"level{level}"] * (encoder.network.takes_level and level is not None)
    return "-".join([encoder.fingerprint, *named])


def bring_to(encoder: Encoder, level: float | None) -> Encoder:
    """Has it bring what it reads to one level, see `affetto.features.spectrogram.log_mel`; None changes nothing.

    Raises:
        ConfigError: it does so as it was trained to, to another one or not at all.
    """
    network = encoder.network
    if level is not None and (network is None or network.level != level):
        if network is None or not network.takes_level:
            raise ConfigError(f"does not bring recordings to a level of {level:g}", "leave 'level' out", encoder.origin)
        network.level = level
    return encoder


def check_layers(known: tuple[LayerInfo, ...], names: Collection[str]) -> None:
    """Raises ConfigError unless layers of these names are there.

    >>> check_layers((LayerInfo("conv1", 4, 50.0), LayerInfo("gru1", 8, 50.0)), ["gru2"])
    Traceback (most recent call last):
        ...
    affetto.errors.ConfigError: no layer 'gru2'; choose one of conv1, gru1
    """
    there = [layer.name for layer in known]
    for name in names:
        if name not in there:
            raise ConfigError(f"no layer {name!r}", f"choose one of {', '.join(there)}")
