"""Reads a corpus once: every layer of every utterance, and the prosody of the same frames, a few at a time.

Frames are handed on and forgotten, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from affetto import audio
from affetto.data.utterance import Utterance
from affetto.errors import AudioError
from affetto.frames import Waves, pad_waves
from affetto.models.encoders.encoder import Encoder, LayerInfo
from affetto.probe.targets import Prosody, align, prosody

logger = logging.getLogger(__name__)

CHUNK_UTTERANCES = 256  # Read, and sorted by length, at a time
_BATCH_UTTERANCES = 32
_BATCH_SAMPLES = 240 * audio.SAMPLE_RATE


class Group(NamedTuple):
    """Layers that run at one rate, whose units are looked at together."""

    rate_hz: float
    layers: tuple[LayerInfo, ...]  # from the input up
    first: int  # the place of their first unit among all units

    @property
    def units(self) -> slice:
        """Their places among all units."""
        return slice(self.first, self.first + sum(layer.width for layer in self.layers))


def groups(layers: Sequence[LayerInfo]) -> tuple[Group, ...]:
    """Layers by rate; units are numbered in this order.

    >>> found = groups([LayerInfo("a", 3, 50.0), LayerInfo("b", 2, 25.0), LayerInfo("c", 4, 25.0)])
    >>> [(each.rate_hz, each.units) for each in found]
    [(50.0, slice(0, 3, None)), (25.0, slice(3, 9, None))]
    """
    found: list[Group] = []
    first = 0
    for rate in dict.fromkeys(layer.frame_rate_hz for layer in layers):
        members = tuple(layer for layer in layers if layer.frame_rate_hz == rate)
        found.append(Group(rate, members, first))
        first = found[-1].units.stop
    return tuple(found)


class Part(NamedTuple):
    """One utterance in the layers of one group: their activations, (units, frames), and the prosody of these frames."""

    units: NDArray[np.float32]
    prosody: Prosody


class UtteranceFrames(NamedTuple):
    """One utterance."""

    place: int  # among the utterances that were given
    parts: tuple[Part, ...]  # one for each group of layers
    prosody: Prosody  # at its own rate


class FrameReader:
    """Reads utterances through an encoder, and remembers those that cannot be read."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.groups = groups(encoder.layers)
        self.unreadable: dict[str, str] = {}  # utterance -> what is wrong with its sound

    def batches(self, utterances: Sequence[Utterance]) -> Iterator[list[UtteranceFrames]]:
        """Reads each utterance once, in batches of like length; a warning names each file that cannot be read."""
        for start in range(0, len(utterances), CHUNK_UTTERANCES):
            chunk = utterances[start : start + CHUNK_UTTERANCES]
            for places, waves in _batches(self._read(chunk, start)):
                yield self._represent(places, waves)

    def _read(self, chunk: Sequence[Utterance], start: int) -> list[tuple[int, Tensor]]:
        sounds = []
        for place, each in enumerate(chunk, start=start):
            try:
                sounds.append((place, audio.load(each.audio, start_s=each.start_s, end_s=each.end_s)))
            except AudioError as error:
                self.unreadable[each.id] = error.problem
                logger.warning("left out: %s", error)
        return sounds

    def _represent(self, places: Sequence[int], waves: Waves) -> list[UtteranceFrames]:
        names = [layer.name for layer in self.encoder.layers]
        layers = {
            name: [each.T.cpu().numpy() for each in frames.unpad()]  # (width, frames)
            for name, frames in self.encoder.represent(waves.to(self.encoder.device), names).items()
        }
        return [
            UtteranceFrames(place, tuple(_part(group, layers, row, fine) for group in self.groups), fine)
            for row, (place, fine) in enumerate(zip(places, prosody(waves), strict=True))
        ]


def _part(group: Group, layers: dict[str, list[NDArray[np.float32]]], row: int, fine: Prosody) -> Part:
    """One utterance's; where layers of one rate differ by a frame at the end, that frame is left out."""
    found = [layers[layer.name][row] for layer in group.layers]
    frames = min(each.shape[1] for each in found)
    units = np.concatenate([each[:, :frames] for each in found])
    return Part(units, align(fine, frames, group.rate_hz))


def _batches(sounds: list[tuple[int, Tensor]]) -> Iterator[tuple[list[int], Waves]]:
    """Recordings of like length together, the longest first, so that memory runs short at once or never."""
    sounds = sorted(sounds, key=lambda each: -len(each[1]))
    while sounds:
        size = min(_BATCH_UTTERANCES, max(1, _BATCH_SAMPLES // len(sounds[0][1])))
        batch, sounds = sounds[:size], sounds[size:]
        yield [place for place, _ in batch], pad_waves([wave for _, wave in batch])
