"""Spectral tilt: how fast a frame's power falls with frequency, which vocal effort flattens and breathiness steepens.

The tilt of a frame is the slope of the straight line that fits its power in decibels over the logarithm of frequency,
from 100 Hz to 5 kHz, by least squares over the bins of the recogniser's own spectrogram. That spectrogram has a floor,
so the tilt of a frame whose upper bins lie below it comes out flatter than it is.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from affetto.features.spectrogram import BINS, log_power
from affetto.frames import Frames, Waves

LOWEST_HZ, HIGHEST_HZ = 100.0, 5000.0
_BIN_HZ = 50.0
_DB = 4.342944819032518  # decibels in a natural logarithm of power


@lru_cache(maxsize=1)
def _slope() -> Tensor:
    """What the natural logarithm of power is multiplied by to get its slope, in dB an octave: (161,)."""
    hz = torch.arange(BINS, dtype=torch.float64) * _BIN_HZ
    used = (hz >= LOWEST_HZ) & (hz <= HIGHEST_HZ)
    octaves = torch.where(used, hz.clamp(min=LOWEST_HZ).log2(), 0.0)
    centred = torch.where(used, octaves - octaves[used].mean(), 0.0)
    return (_DB * centred / centred.square().sum()).float()


def spectral_tilt(waves: Waves) -> Frames:
    """How the power of each 20 ms window changes with frequency.

    Args:
        waves: the recordings.

    Returns:
        (batch, time, 1), dB an octave: 0 for white noise, about -12 for a relaxed voice, and 0 in digital silence.

    >>> impulse = torch.zeros(1, 320)
    >>> impulse[0, 160] = 1.0
    >>> abs(round(spectral_tilt(Waves(impulse, torch.tensor([320]))).values.item(), 3))
    0.0
    """
    spectrum = log_power(waves)
    slope = _slope().to(spectrum.values.device)
    return Frames((spectrum.values @ slope)[..., None], spectrum.lengths).zero_padding()
