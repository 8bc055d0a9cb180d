"""What is computed from a recording: an encoder's layers, acoustic features, functionals of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from affetto.features.acoustic import AcousticConfig, acoustic
from affetto.features.functionals import FeatureSet, functionals
from affetto.frames import STATISTICS, Frames, Waves
from affetto.models.encoders.encoder import Encoder
from affetto.models.heads.training import INPUT


class Extractor(Protocol):
    """Something that turns recordings into named frames."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it computes, by names that no other extractor of a data set uses."""

    def key(self, name: str) -> str:
        """Where to keep it: equal only where the numbers are."""

    def dtype(self, name: str) -> torch.dtype:
        """How exactly to keep it."""

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Name -> frames of a batch, for the names asked for."""


def digest(content: object) -> str:
    """A short digest of JSON values.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class Layers(NamedTuple):
    """An encoder's layers, frame by frame ("gru3"), or as statistics over time, a single frame ("gru3/mean")."""

    encoder: Encoder
    names: tuple[str, ...]

    def key(self, name: str) -> str:
        """The encoder's fingerprint and the layer."""
        return f"{self.encoder.fingerprint}-{name.replace('/', '-')}"

    def dtype(self, name: str) -> torch.dtype:
        """Statistics as they are; frames, of which there are many, with ten bits."""
        return torch.float32 if "/" in name else torch.float16

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Frames (batch, time, width), statistics (batch, 1, width)."""
        wanted = {name: name.partition("/") for name in names}
        found = self.encoder.represent(waves.to(self.encoder.device), {layer for layer, _, _ in wanted.values()})
        own = {layer: waves.of_speech(frames) for layer, frames in found.items()}
        return {
            name: one_frame(STATISTICS[statistic](own[layer])) if statistic else own[layer]
            for name, (layer, _, statistic) in wanted.items()
        }


class Inputs(NamedTuple):
    """What an encoder's first layer reads, for training all its layers along."""

    encoder: Encoder
    names: tuple[str, ...] = (INPUT,)

    def key(self, name: str) -> str:
        """The encoder's fingerprint: others may read other features."""
        return f"{self.encoder.fingerprint}-{name}"

    def dtype(self, name: str) -> torch.dtype:  # noqa: ARG002
        """Frames with ten bits."""
        return torch.float16

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Under "input": (batch, time, bins)."""
        assert self.encoder.network is not None, "layers of such an encoder cannot be trained along"
        features = self.encoder.network.features(waves.to(self.encoder.device))
        return dict.fromkeys(names, features)


class Acoustics(NamedTuple):
    """The emotion branch's features."""

    config: AcousticConfig

    @property
    def names(self) -> tuple[str, ...]:
        """One name, unique to this config."""
        return (f"acoustic-{digest(self.config.model_dump(mode='json'))}",)

    def key(self, name: str) -> str:
        """The name is the key."""
        return name

    def dtype(self, name: str) -> torch.dtype:  # noqa: ARG002
        """With ten bits: a pitch to a quarter of a hertz, all else to a thousandth of itself."""
        return torch.float16

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """(batch, time, features)."""
        return {name: acoustic(waves.spoken(), self.config) for name in names}


class Functionals(NamedTuple):
    """openSMILE's functionals of a whole utterance."""

    feature_set: FeatureSet

    @property
    def names(self) -> tuple[str, ...]:
        """The feature set's name."""
        return (f"functionals-{self.feature_set}",)

    def key(self, name: str) -> str:
        """The name is the key."""
        return name

    def dtype(self, name: str) -> torch.dtype:  # noqa: ARG002
        """As they are: some are larger than ten bits allow."""
        return torch.float32

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """(batch, 1, features)."""
        return {name: functionals(waves.spoken(), self.feature_set) for name in names}


def one_frame(values: Tensor) -> Frames:
    """(batch, width) as frames of length one."""
    return Frames(values[:, None], torch.ones(len(values), dtype=torch.int64))
