"""Reads a corpus once: every layer of every utterance, and the prosody of the same frames, a few at a time.

Frames are handed on and forgotten, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.data.sound import load_utterance
from affetto.data.utterance import Utterance
from affetto.errors import AudioError
from affetto.features.pitch import LOWEST_HZ, pitch
from affetto.features.speaking_rate import speaking_rate, speech_span, syllable_nuclei
from affetto.features.spectrogram import FRAME_RATE_HZ, loudness, spectral_tilt
from affetto.frames import Waves, pad_waves
from affetto.models.encoders.encoder import Encoder, LayerInfo

# Target -> what it is measured in.
UNITS = {
    "loudness": "loudness re 60 dB under full scale",  # as in the paper's figure 6
    "pitch": "semitones above 50 Hz",  # counts in voiced frames
    "voicing": "strength, 0 to 1",
    "rate": "syllables a second",  # counts from the first voiced frame to the last
    "tilt": "dB an octave",  # counts where there is no digital silence
}
TARGETS = tuple(UNITS)
LEAST_SHARE = 0.5  # Of a layer frame's stretch, how much must count for the frame to count
_SILENT = 1e-2  # Loudness of about -127 dB: only digital silence is below it


class Prosody(NamedTuple):
    """The targets of one recording at 100 frames a second, in the order of `TARGETS`; 0 where they do not count."""

    values: NDArray[np.float64]  # (time, targets)
    valid: NDArray[np.bool_]  # (time, targets), where they count

    def means(self) -> NDArray[np.float64]:
        """Each target's mean over the frames that count, (targets,); not a number where none does."""
        counts = self.valid.sum(axis=0)
        sums = (self.values * self.valid).sum(axis=0)
        return np.asarray(np.divide(sums, counts, out=np.full(len(TARGETS), np.nan), where=counts > 0))


def prosody(waves: Waves) -> list[Prosody]:
    """The targets of each recording of a batch.

    >>> import torch
    >>> silence, = prosody(Waves(torch.zeros(1, 16000), torch.tensor([16000])))
    >>> silence.values.shape, silence.valid.any(axis=0).tolist()
    ((99, 5), [True, False, True, False, False])
    """
    columns = (loudness(waves), pitch(waves), spectral_tilt(waves))
    unpadded = zip(*(frames.unpad() for frames in columns), strict=True)
    return [_prosody(*(part.cpu().numpy().astype(np.float64) for part in parts)) for parts in unpadded]


def _prosody(loud: NDArray[np.float64], voice: NDArray[np.float64], tilt: NDArray[np.float64]) -> Prosody:
    """One recording's, of loudness (time, 1), pitch and voicing (time, 2) and tilt (time, 1)."""
    f0_hz, strength = voice.T
    voiced = f0_hz > 0
    semitones = np.where(voiced, 12 * np.log2(np.where(voiced, f0_hz, LOWEST_HZ) / LOWEST_HZ), 0.0)
    span = speech_span(voiced)
    rate = speaking_rate(syllable_nuclei(loud[:, 0], voiced), span)
    every = np.ones(len(voiced), dtype=np.bool_)
    sounding = loud[:, 0] > _SILENT
    return Prosody(
        np.stack([loud[:, 0], semitones, strength, rate, np.where(sounding, tilt[:, 0], 0.0)], axis=1),
        np.stack([every, voiced, every, span, sounding], axis=1),
    )


def align(fine: Prosody, frames: int, frame_rate_hz: float) -> Prosody:
    """Means around each of a layer's frames over what counts, and whether half of that stretch counts.

    A layer with a frame every ``stride`` spectrogram frames has its j-th frame centred on spectrogram frame
    ``j x stride``: the recogniser's convolutions begin half a kernel before the recording. So a layer frame is compared
    with the mean over the stretch of one stride around that place; frames that lie half in it count half.
    """
    weights = _weights(len(fine.values), frames, FRAME_RATE_HZ / frame_rate_hz)
    counted = weights @ fine.valid  # (frames, targets)
    inside = weights.sum(axis=1, keepdims=True)
    sums = weights @ (fine.values * fine.valid)
    valid = (counted >= LEAST_SHARE * inside) & (counted > 0)
    return Prosody(np.divide(sums, counted, out=np.zeros_like(sums), where=valid), valid)


@lru_cache(maxsize=512)
def _weights(fine: int, frames: int, stride: float) -> NDArray[np.float64]:
    """How much of each layer frame's stretch each spectrogram frame covers, (frames, fine)."""
    centres = np.arange(frames)[:, None] * stride
    places = np.arange(fine)[None, :]
    reach = max(stride, 1.0) / 2
    overlap = np.minimum(places + 0.5, centres + reach) - np.maximum(places - 0.5, centres - reach)
    return np.asarray(np.clip(overlap, 0.0, None))


logger = logging.getLogger(__name__)

CHUNK_UTTERANCES = 256  # Read, and sorted by length, at a time
_BATCH_UTTERANCES = 32
_BATCH_SAMPLES = 240 * SAMPLE_RATE


class Group(NamedTuple):
    """Layers that run at one rate, whose units are looked at together."""

    rate_hz: float
    layers: tuple[LayerInfo, ...]  # from the input up
    first: int  # the place of their first unit among all units

    @property
    def units(self) -> slice:
        """Their places among all units."""
        return slice(self.first, self.first + sum(layer.width for layer in self.layers))

    @property
    def places(self) -> dict[str, slice]:
        """Layer -> the places of its own units."""
        edges = accumulate((layer.width for layer in self.layers), initial=self.first)
        return {layer.name: slice(*ends) for layer, ends in zip(self.layers, pairwise(edges), strict=True)}


def groups(layers: Sequence[LayerInfo]) -> tuple[Group, ...]:
    """Layers by rate; units are numbered in this order."""
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
                sounds.append((place, load_utterance(each)))
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
