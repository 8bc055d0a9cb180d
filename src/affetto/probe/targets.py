"""What units are compared with: five properties of a voice beside the words, frame by frame, at any layer's rate.

| target | is | counts in |
|---|---|---|
| loudness | `affetto.features.spectrogram`, as in the paper's figure 6 | every frame |
| pitch | semitones above 50 Hz | voiced frames |
| voicing | strength from 0 to 1 | every frame |
| rate | syllable nuclei a second | frames from the first voiced one to the last |
| tilt | dB an octave | frames that are no digital silence |

A layer with a frame every ``stride`` spectrogram frames has its j-th frame centred on spectrogram frame ``j x stride``:
the recogniser's convolutions begin half a kernel before the recording. So a layer frame is compared with the mean over
the stretch of one stride around that place; spectrogram frames that lie half in it count half.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.features.pitch import LOWEST_HZ, pitch
from affetto.features.speaking_rate import speaking_rate, speech_span, syllable_nuclei
from affetto.features.spectrogram import FRAME_RATE_HZ, loudness, spectral_tilt
from affetto.frames import Waves

TARGETS = ("loudness", "pitch", "voicing", "rate", "tilt")
UNITS = {
    "loudness": "loudness re 60 dB under full scale",
    "pitch": "semitones above 50 Hz",
    "voicing": "strength, 0 to 1",
    "rate": "syllables a second",
    "tilt": "dB an octave",
}
"""Target -> what it is measured in."""

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
        found: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(TARGETS), np.nan), where=counts > 0)
        return found


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

    >>> fine = Prosody(np.arange(9.0)[:, None], np.ones((9, 1), dtype=bool))
    >>> align(fine, 3, 25.0).values.ravel().tolist()
    [0.8, 4.0, 7.2]
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
