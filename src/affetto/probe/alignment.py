"""Prosody at a layer's frame rate: which sound a layer's frame is about.

A layer with a frame every ``stride`` spectrogram frames has its j-th frame centred on spectrogram frame ``j x stride``:
the recogniser's convolutions begin half a kernel before the recording. So a layer frame is compared with the mean over
the stretch of one stride around that place; spectrogram frames that lie half in it count half.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from affetto.features.spectrogram import FRAME_RATE_HZ
from affetto.probe.targets import Prosody

LEAST_SHARE = 0.5
"""Of a layer frame's stretch, how much must count for the frame to count."""


def align(fine: Prosody, frames: int, frame_rate_hz: float) -> Prosody:
    """Brings prosody to a layer's frames.

    Args:
        fine: at 100 frames a second.
        frames: of the layer.
        frame_rate_hz: of the layer.

    Returns:
        Means over what counts around each layer frame, (frames, targets), and whether half of that stretch counts.

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
