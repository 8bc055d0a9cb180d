"""What every network of ours is to those who reuse its layers, and every recogniser to those who train or ask it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import field_validator
from torch import nn

from affetto.config import Config
from affetto.errors import CheckpointError
from affetto.frames import Frames, Waves
from affetto.models import checkpoint
from affetto.models.encoders.encoder import LayerInfo
from affetto.registry import Registry
from affetto.text import SYMBOLS


class Network(nn.Module):
    """A module with named layers, from the input up, of which some can be trained along with what reads them."""

    layers: tuple[LayerInfo, ...]  # every one, from the input up
    precision: torch.dtype = torch.float32  # of its large products
    takes_level: ClassVar[bool] = False  # whether `level` may be set
    level: float | None = None  # what each recording's loudest value is brought to before the first layer

    def compute_in(self, precision: torch.dtype) -> None:
        """Holds the weights of its large products in another precision, if it can; what it hands out is float32."""

    def features(self, waves: Waves) -> Frames:
        """The input of the first layer, (batch, time, width)."""
        raise NotImplementedError

    def climb(self, frames: Frames, first: str, last: str) -> Frames:
        """What the layers ``first`` to ``last`` make of the frames below them: a layer's, or those of `features`."""
        raise NotImplementedError

    def layer_parameters(self, name: str) -> Iterator[nn.Parameter]:
        """What training one layer changes."""
        raise NotImplementedError

    def represent(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Some layers' frames; nothing above the highest of them is computed."""
        return self.climb_through(self.features(waves), names)

    def climb_through(self, frames: Frames, names: Collection[str], first: str | None = None) -> dict[str, Frames]:
        """The same from what `features` gave, or from the frames below ``first``, the lowest layer to run then."""
        known = [layer.name for layer in self.layers]
        start, found = 0 if first is None else known.index(first), {}
        for place in range(start, len(known)):
            if known[place] in names:
                frames = found[known[place]] = self.climb(frames, known[start], known[place])
                start = place + 1
        return found


class RecogniserConfig(Config):
    """Settings of every recogniser of characters, whatever else it adds."""

    kind: str  # which network it is the shape of; each has a name of its own
    symbols: str = SYMBOLS  # the alphabet, see `affetto.text.Alphabet`

    @field_validator("symbols")
    @classmethod
    def _each_once(cls, symbols: str) -> str:
        if not symbols or len(set(symbols)) != len(symbols):
            raise ValueError("name each symbol once, and at least one")
        return symbols


class Recognition(NamedTuple):
    """What a recogniser computes for a batch."""

    log_probs: Frames  # log probabilities of the blank and the alphabet's symbols, (batch, time, classes)
    layers: dict[str, Frames]  # the hidden layers asked for, by name, each (batch, time, width)


class RecogniserNetwork(Network):
    """A recogniser of characters, trained by CTC."""

    shape: ClassVar[type[RecogniserConfig]]  # the class of its config
    delicate: ClassVar[tuple[str, ...]] = ()  # how names of weights begin that eight bits would change too much
    config: Any  # its shape

    @property
    def output_rate_hz(self) -> float:
        """Frames a second that the characters come at."""
        return self.layers[-1].frame_rate_hz

    def forward(self, waves: Waves, collect: Collection[str] = ()) -> Recognition:
        """Recognises a batch of recordings; ``collect`` names the hidden layers to hand out."""
        return self.recognise(self.features(waves), collect)

    def recognise(self, inputs: Frames, collect: Collection[str] = (), first: str | None = None) -> Recognition:
        """The same from the inputs that `climb_through` starts from."""
        last = self.layers[-1].name
        found = self.climb_through(inputs, {*collect, last}, first)
        return Recognition(self.spell(found[last]), {name: found[name] for name in found if name in collect})

    def spell(self, frames: Frames) -> Frames:
        """Log probabilities of the blank and the symbols from the frames of the highest layer."""
        raise NotImplementedError


KIND = "recogniser"

DEFAULT_KIND = "deepspeech2"  # What a config is that names none
RECOGNISERS = Registry(
    "recognisers",
    {"deepspeech2": "affetto.models.deepspeech2:DeepSpeech2", "whisper_ctc": "affetto.models.whisper_ctc:WhisperCtc"},
)
"""Every network that affetto trains to recognise characters, by the kind that its config names."""


def parse_shape(values: Any) -> Any:
    """The shape that plain values stand for, by their kind, ValueError if none; anything else comes back as it is."""
    if not isinstance(values, Mapping):
        return values
    kind = values.get("kind", DEFAULT_KIND)
    if kind not in RECOGNISERS.names():
        raise ValueError(f"no recogniser of kind {kind!r}; choose one of {', '.join(RECOGNISERS.names())}")
    network: type[RecogniserNetwork] = RECOGNISERS.load(kind)
    return network.shape.model_validate(values)


def make_recogniser(config: RecogniserConfig) -> RecogniserNetwork:
    """A network of a shape, with random numbers."""
    network: type[RecogniserNetwork] = RECOGNISERS.load(config.kind)
    return network(config)


def save_recogniser(
    path: Path, model: RecogniserNetwork, facts: Mapping[str, Any], *, precision: checkpoint.Precision = "float32"
) -> None:
    """Writes a recogniser; ``facts`` are its training data, licence, recipe and metrics."""
    description = checkpoint.Description(kind=KIND, config=model.config.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, model.state_dict(), description, precision=precision, delicate=model.delicate)


def load_recogniser(path: Path) -> tuple[Any, checkpoint.Description]:
    """Reads a recogniser, ready to use (in evaluation mode); see `checkpoint.load` for what it raises."""
    kind = checkpoint.describe(path, KIND).config.get("kind", DEFAULT_KIND)
    if kind not in RECOGNISERS.names():
        card = path.with_suffix(".json")
        raise CheckpointError(f"is a recogniser of kind {kind!r}", "install the affetto that wrote it", card)
    network: type[RecogniserNetwork] = RECOGNISERS.load(kind)
    return checkpoint.load(path, KIND, network.shape, network)
