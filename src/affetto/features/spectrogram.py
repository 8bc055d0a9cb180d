"""Windows of 20 ms every 10 ms, as the paper has them (3.1.1), and what they hold: power, loudness, spectral tilt.

Sound that a recogniser reads becomes a spectrogram of 161 bins through a Hamming window.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.frames import Frames, Waves

WINDOW_SAMPLES = 320
HOP_SAMPLES = 160
FRAME_RATE_HZ = SAMPLE_RATE / HOP_SAMPLES


def frame(waves: Waves, window_samples: int = WINDOW_SAMPLES, hop_samples: int = HOP_SAMPLES) -> tuple[Tensor, Tensor]:
    """Overlapping windows of each recording, without padding at the ends but where one is shorter than a window.

    Returns:
        The windows, (batch, frames, window_samples), a view where possible, and the recordings' frames, (batch,).
        Windows beyond a recording's frames hold what the padding holds.

    >>> windows, lengths = frame(Waves(torch.arange(800.0)[None], torch.tensor([800])))
    >>> windows.shape, lengths.tolist(), windows[0, 1, 0].item()
    (torch.Size([1, 4, 320]), [4], 160.0)
    """
    values = waves.values
    missing = window_samples - values.shape[1]
    if missing > 0:
        values = torch.nn.functional.pad(values, (0, missing))
    lengths = 1 + (waves.lengths - window_samples).clamp(min=0) // hop_samples
    return values.unfold(1, window_samples, hop_samples), lengths


BINS = WINDOW_SAMPLES // 2 + 1
FLOOR = 1e-6  # Power below which the logarithm goes flat: about 110 dB under a full-scale sine in one bin


def power(waves: Waves) -> Frames:
    """|FFT| squared of each Hamming window: (batch, time, 161); bin k is k x 50 Hz."""
    windows, lengths = frame(waves)
    hamming = torch.hamming_window(WINDOW_SAMPLES, periodic=False, device=windows.device)
    spectrum = torch.fft.rfft(windows * hamming)
    return Frames(spectrum.real.square() + spectrum.imag.square(), lengths).zero_padding()


def log_power(waves: Waves) -> Frames:
    """The natural logarithm of `power`, floored: (batch, time, 161)."""
    spectrum = power(waves)
    return Frames((spectrum.values + FLOOR).log(), spectrum.lengths).zero_padding()


EPSILON = 1e-5  # Added to the standard deviation: a constant feature becomes 0, not a division by zero


def normalise(frames: Frames) -> Frames:
    """Each feature of each utterance to mean 0 and standard deviation 1 (paper 3.3), over the utterance's own frames.

    >>> normalise(Frames(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2]))).values.round().flatten().tolist()
    [-1.0, 1.0, 0.0]
    """
    centred = Frames(frames.values - frames.mean()[:, None], frames.lengths).zero_padding()
    variance = Frames(centred.values.square(), frames.lengths).mean()
    return Frames(centred.values / (variance.sqrt()[:, None] + EPSILON), frames.lengths)


REFERENCE_INTENSITY = 1e-6  # I0, 60 dB under full scale: a frame of that intensity has loudness 1
LOUDNESS_EXPONENT = 0.3


def loudness(waves: Waves) -> Frames:
    """How loud each window is, the prosodic feature the paper finds in a recogniser's neurons (paper 4, Figure 6).

    The definition is openSMILE's (Eyben et al. 2013, component ``cIntensity``): the intensity I of a frame is its
    mean square weighted by a Hamming window, and the loudness (I / I0) ^ 0.3, a narrow-band approximation of the
    ear's law. We keep to that definition; the component as released sums over as many samples as it has outputs, one
    or two a frame.

    Returns:
        (batch, time, 1), in units of the loudness at 60 dB under full scale; silence is 0, full scale about 63.

    >>> full_scale = Waves(torch.ones(1, 320), torch.tensor([320]))
    >>> round(loudness(full_scale).values.item(), 1)
    63.1
    """
    windows, lengths = frame(waves)
    hamming = torch.hamming_window(WINDOW_SAMPLES, periodic=False, device=windows.device)
    intensity = windows.square() @ (hamming / hamming.sum())  # (batch, time)
    return Frames((intensity / REFERENCE_INTENSITY).pow(LOUDNESS_EXPONENT)[..., None], lengths).zero_padding()


TILT_LOWEST_HZ, TILT_HIGHEST_HZ = 100.0, 5000.0
_BIN_HZ = 50.0
_DB = 4.342944819032518  # decibels in a natural logarithm of power


@lru_cache(maxsize=1)
def _slope() -> Tensor:
    """What the natural logarithm of power is multiplied by to get its slope, in dB an octave: (161,)."""
    hz = torch.arange(BINS, dtype=torch.float64) * _BIN_HZ
    used = (hz >= TILT_LOWEST_HZ) & (hz <= TILT_HIGHEST_HZ)
    octaves = torch.where(used, hz.clamp(min=TILT_LOWEST_HZ).log2(), 0.0)
    centred = torch.where(used, octaves - octaves[used].mean(), 0.0)
    return (_DB * centred / centred.square().sum()).float()


def spectral_tilt(waves: Waves) -> Frames:
    """How fast each window's power falls with frequency, which vocal effort flattens and breathiness steepens.

    The slope of the straight line that fits its power in decibels over the logarithm of frequency, from 100 Hz to 5
    kHz, by least squares over the bins of `log_power`. That has a floor, so the tilt of a frame whose upper bins lie
    below it comes out flatter than it is.

    Returns:
        (batch, time, 1), dB an octave: 0 for white noise, about -12 for a relaxed voice, and 0 in digital silence.
    """
    spectrum = log_power(waves)
    slope = _slope().to(spectrum.values.device)
    return Frames((spectrum.values @ slope)[..., None], spectrum.lengths).zero_padding()
