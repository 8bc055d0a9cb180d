"""The emotion branch's cepstra: 13 MFCC and their 13 deltas, Hamming 20 ms every 10 ms (paper 3.3).

The paper leaves the filters open. Ours are 40 triangles of height 1 from 0 to 8 kHz, evenly spaced on Slaney's mel
scale (Auditory Toolbox, 1998: linear below 1 kHz, logarithmic above), then the natural logarithm and an orthonormal
DCT-II. The deltas are the slope of a straight line through five frames, as in HTK and openSMILE.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.features.spectrogram import BINS, FLOOR, power
from affetto.frames import Frames, Waves

FILTERS = 40
COEFFICIENTS = 13
REACH = 2
"""Frames on either side of the one whose delta is taken: a window of 50 ms."""

_LINEAR_HZ_PER_MEL = 200 / 3
_KNEE_HZ = 1000.0
_MELS_PER_E_FOLD = 27 / math.log(6.4)


def mel_to_hz(mels: Tensor) -> Tensor:
    """Slaney's scale: 15 mel are 1 kHz, and 27 mel more are a factor of 6.4.

    >>> mel_to_hz(torch.tensor([3.0, 15.0, 42.0])).tolist()
    [200.0, 1000.0, 6400.0]
    """
    knee = _KNEE_HZ / _LINEAR_HZ_PER_MEL
    above = _KNEE_HZ * ((mels - knee) / _MELS_PER_E_FOLD).exp()
    return torch.where(mels < knee, mels * _LINEAR_HZ_PER_MEL, above)


@lru_cache(maxsize=4)
def mel_filters(filters: int = FILTERS, bins: int = BINS, *, equal_area: bool = False) -> Tensor:
    """Triangular filters over the bins of a power spectrum from 0 to 8 kHz: (bins, filters).

    Args:
        filters: how many.
        bins: of the spectrum.
        equal_area: each filter has the same area, as Slaney's own; else each has height 1.
    """
    nyquist = SAMPLE_RATE / 2
    top = _KNEE_HZ / _LINEAR_HZ_PER_MEL + _MELS_PER_E_FOLD * math.log(nyquist / _KNEE_HZ)
    corners = mel_to_hz(torch.linspace(0, top, filters + 2, dtype=torch.float64))
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    frequencies = torch.linspace(0, nyquist, bins, dtype=torch.float64)[:, None]
    rising = (frequencies - left) / (centre - left)
    falling = (right - frequencies) / (right - centre)
    heights = 2 / (right - left) if equal_area else 1.0
    return (torch.minimum(rising, falling).clamp(min=0) * heights).float()


@lru_cache(maxsize=1)
def dct_matrix() -> Tensor:
    """The first 13 rows of the orthonormal DCT-II over 40 values, transposed: (40, 13)."""
    position = (torch.arange(FILTERS, dtype=torch.float64) + 0.5) * math.pi / FILTERS
    waves = torch.cos(position[:, None] * torch.arange(COEFFICIENTS)) * math.sqrt(2 / FILTERS)
    waves[:, 0] = math.sqrt(1 / FILTERS)
    return waves.float()


def deltas(frames: Frames, reach: int = REACH) -> Frames:
    """The slope over time: a straight line fitted to ``reach`` frames on either side.

    Before its first and after its last frame an utterance is continued by that frame, never by padding.

    Args:
        frames: (batch, time, width).
        reach: frames on either side.

    Returns:
        The slopes per frame, (batch, time, width).

    >>> ramp = Frames(torch.arange(6.0)[None, :, None] * 3, torch.tensor([6]))
    >>> deltas(ramp).values[0, 2:4, 0].tolist()
    [3.0, 3.0]
    """
    values, lengths = frames
    here = torch.arange(values.shape[1], device=values.device)
    last = lengths[:, None] - 1
    batch = torch.arange(len(values), device=values.device)[:, None]
    slope = torch.zeros_like(values)
    for step in range(1, reach + 1):
        after = values[batch, torch.minimum(here + step, last)]
        before = values[batch, torch.minimum((here - step).clamp(min=0), last)]
        slope += step * (after - before)
    return Frames(slope / (2 * sum(step**2 for step in range(1, reach + 1))), lengths).zero_padding()


def cepstra(waves: Waves) -> Frames:
    """The 13 mel-frequency cepstral coefficients, the zeroth (log energy) among them: (batch, time, 13)."""
    spectrum = power(waves)
    device = spectrum.values.device
    log_mel = (spectrum.values @ mel_filters().to(device) + FLOOR).log()
    return Frames(log_mel @ dct_matrix().to(device), spectrum.lengths).zero_padding()


def mfcc(waves: Waves) -> Frames:
    """The coefficients and, after them, their deltas.

    Args:
        waves: the recordings.

    Returns:
        (batch, time, 26).

    >>> mfcc(Waves(torch.ones(1, 800), torch.tensor([800]))).values.shape
    torch.Size([1, 4, 26])
    """
    coefficients = cepstra(waves)
    return Frames(torch.cat([coefficients.values, deltas(coefficients).values], dim=2), coefficients.lengths)
