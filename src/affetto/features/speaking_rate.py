"""Speaking rate from the sound alone: syllable nuclei, and how many there are a second around each frame.

A nucleus is a voiced peak of the smoothed intensity, 2 dB above the dips on both sides, at most 25 dB below the loudest
frame (de Jong & Wempe 2009, *Praat script to detect syllable nuclei and measure speech rate automatically*, Behavior
Research Methods 41); the smoothing and the least distance are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from affetto.features.spectrogram import FRAME_RATE_HZ, LOUDNESS_EXPONENT

DIP_DB = 2.0
REACH_DB = 25.0
SMOOTHING_FRAMES = 5  # 50 ms: the periods of a low voice are gone, and syllables are not
SHORTEST_SYLLABLE_FRAMES = 8
KERNEL_S = 0.3  # Standard deviation of the window within which nuclei are counted
_FAINTEST = 1e-3

Floats = NDArray[np.float64]


def syllable_nuclei(loudness: Floats, voiced: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The frames, in order, at which syllables are loudest; none where nothing is voiced.

    Of the loudness of each frame, (time,), see `affetto.features.spectrogram`, and whether it is voiced.
    """
    if not voiced.any():
        return np.zeros(0, dtype=np.int64)
    intensity_db = 10 / LOUDNESS_EXPONENT * np.log10(np.maximum(loudness, _FAINTEST))
    smooth = uniform_filter1d(intensity_db, SMOOTHING_FRAMES, mode="nearest")
    threshold = float(smooth[voiced].max()) - REACH_DB
    found, _ = find_peaks(smooth, height=threshold, prominence=DIP_DB, distance=SHORTEST_SYLLABLE_FRAMES)
    return np.asarray(found[voiced[found]], dtype=np.int64)


def speech_span(voiced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True from the first voiced frame to the last, (time,): the silence around what is said has no rate."""
    return np.asarray(np.logical_or.accumulate(voiced) & np.logical_or.accumulate(voiced[::-1])[::-1])


def speaking_rate(nuclei: NDArray[np.int64], span: NDArray[np.bool_]) -> Floats:
    """Nuclei a second around each frame, (time,), 0 outside the span.

    Nuclei are counted in a Gaussian window, of which only what lies within the span counts as time.
    """
    counts = np.zeros(len(span))
    counts[nuclei] = 1.0
    reach = round(3 * KERNEL_S * FRAME_RATE_HZ)
    steps = np.arange(-reach, reach + 1) / FRAME_RATE_HZ
    window = np.exp(-0.5 * (steps / KERNEL_S) ** 2)
    time_s = _around(span / FRAME_RATE_HZ, window)
    rate: Floats = np.divide(_around(counts * span, window), time_s, out=np.zeros(len(span)), where=span)
    return rate


def _around(values: Floats, window: Floats) -> Floats:
    """Sums of the values around each place, weighted: (time,), however short."""
    reach = len(window) // 2
    return np.asarray(np.convolve(values, window)[reach : reach + len(values)])
