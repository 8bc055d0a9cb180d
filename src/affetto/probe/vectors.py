"""One vector an utterance: the mean of each layer over time, and of the features that the layers never saw as such."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.data.utterance import Utterance
from affetto.features.acoustic import AcousticConfig
from affetto.frames import pooled
from affetto.models.encoders.encoder import Encoder
from affetto.represent import Acoustics, Bank, Layers, Progress, represent

FEATURES = AcousticConfig(level="relative")
"""MFCC, their deltas and pitch, without how loud the recording is as a whole, which the recogniser does not get."""


class Vectors(NamedTuple):
    """A representation of every utterance.

    Attributes:
        network: "trained", "untrained", or "features".
        layer: its name; "features" for features.
        values: (utterances, width); zero where the sound cannot be read.
        readable: whether it can, (utterances,).
    """

    network: str
    layer: str
    values: NDArray[np.float32]
    readable: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """For files and tables.

        >>> Vectors("trained", "gru3", np.zeros((0, 0), np.float32), np.zeros(0, bool)).name
        'trained-gru3'
        """
        return self.network if self.network == self.layer else f"{self.network}-{self.layer}"


def layer_vectors(
    utterances: Sequence[Utterance], encoder: Encoder, network: str, cache: Path, progress: Progress | None
) -> Iterator[Vectors]:
    """The mean of every layer over time (paper 3.1.3), from the input up.

    Raises:
        RunError: the cache cannot be written to.
    """
    names = tuple(layer.name for layer in encoder.layers)
    banks = represent(utterances, Layers(encoder, tuple(map(pooled, names))), cache, progress=progress)
    for name in names:
        bank = banks[pooled(name)]
        yield Vectors(network, name, bank.dense[0].numpy(), bank.readable)


def feature_vectors(utterances: Sequence[Utterance], cache: Path, progress: Progress | None) -> Vectors:
    """The mean of MFCC, deltas and pitch over time.

    Raises:
        RunError: the cache cannot be written to.
    """
    extractor = Acoustics(FEATURES)
    bank: Bank = represent(utterances, extractor, cache, progress=progress)[extractor.names[0]]
    moments = bank.moments
    means = moments.sums / np.maximum(moments.counts, 1)[:, None]
    return Vectors("features", "features", means.astype(np.float32), bank.readable)
