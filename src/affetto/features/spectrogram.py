"""Short windows of sound and what they hold: power, loudness, spectral tilt, and the input of Whisper.

The paper's windows (3.1.1) are 20 ms wide, Hamming, every 10 ms. Whisper's (Radford et al. 2022) are 25 ms wide; its
frames here are those that its own front end has for a sound of that length, which is not filled up to 30 s.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.frames import Frames, Waves

WINDOW_SAMPLES = 320
HOP_SAMPLES = 160
FRAME_RATE_HZ = SAMPLE_RATE / HOP_SAMPLES
BINS = WINDOW_SAMPLES // 2 + 1
FLOOR = 1e-6  # Power below which the logarithm goes flat: about 110 dB under a full-scale sine in one bin
EPSILON = 1e-5  # Added to the standard deviation: a constant feature becomes 0, not a division by zero
REFERENCE_INTENSITY = 1e-6  # I0, 60 dB under full scale: a frame of that intensity has loudness 1
LOUDNESS_EXPONENT = 0.3
TILT_LOWEST_HZ, TILT_HIGHEST_HZ = 100.0, 5000.0
WHISPER_WINDOW_SAMPLES = 400  # 25 ms


def frame(waves: Waves) -> tuple[Tensor, Tensor]:
    """Overlapping windows of each recording, (batch, frames, 320), a view where possible, and how many, (batch,).

    There is no padding at the ends but where a recording is shorter than a window. Windows beyond a recording's hold
    what the padding holds.

    >>> windows, lengths = frame(Waves(torch.arange(800.0)[None], torch.tensor([800])))
    >>> windows.shape, lengths.tolist(), windows[0, 1, 0].item()
    (torch.Size([1, 4, 320]), [4], 160.0)
    """
    missing = WINDOW_SAMPLES - waves.values.shape[1]
    values = torch.nn.functional.pad(waves.values, (0, missing)) if missing > 0 else waves.values
    lengths = 1 + (waves.lengths - WINDOW_SAMPLES).clamp(min=0) // HOP_SAMPLES
    return values.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES), lengths


def power(waves: Waves) -> Frames:
    """|FFT| squared of each Hamming window, (batch, time, 161); bin k is k x 50 Hz."""
    windows, lengths = frame(waves)
    hamming = torch.hamming_window(WINDOW_SAMPLES, periodic=False, device=windows.device)
    spectrum = torch.fft.rfft(windows * hamming)
    return Frames(spectrum.real.square() + spectrum.imag.square(), lengths).zero_padding()


def log_power(waves: Waves) -> Frames:
    """The natural logarithm of `power`, floored: (batch, time, 161)."""
    spectrum = power(waves)
    return Frames((spectrum.values + FLOOR).log(), spectrum.lengths).zero_padding()


def normalise(frames: Frames) -> Frames:
    """Each feature of each utterance to mean 0 and standard deviation 1 (paper 3.3), over the utterance's own frames.

    >>> normalise(Frames(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2]))).values.round().flatten().tolist()
    [-1.0, 1.0, 0.0]
    """
    centred = Frames(frames.values - frames.mean()[:, None], frames.lengths).zero_padding()
    variance = Frames(centred.values.square(), frames.lengths).mean()
    return Frames(centred.values / (variance.sqrt()[:, None] + EPSILON), frames.lengths)


def loudness(waves: Waves) -> Frames:
    """How loud each window is, the prosodic feature the paper finds in a recogniser's neurons (paper 4, Figure 6).

    (batch, time, 1), in units of the loudness at 60 dB under full scale; silence is 0, full scale about 63. The
    definition is openSMILE's (Eyben et al. 2013, component ``cIntensity``): the intensity I of a frame is its mean
    square weighted by a Hamming window, and the loudness (I / I0) ^ 0.3, a narrow-band approximation of how loud it
    seems. The component as released sums over as many samples as it has outputs, one or two a frame.
    """
    windows, lengths = frame(waves)
    hamming = torch.hamming_window(WINDOW_SAMPLES, periodic=False, device=windows.device)
    intensity = windows.square() @ (hamming / hamming.sum())  # (batch, time)
    return Frames((intensity / REFERENCE_INTENSITY).pow(LOUDNESS_EXPONENT)[..., None], lengths).zero_padding()


@lru_cache(maxsize=1)
def _slope() -> Tensor:
    """What the natural logarithm of power is multiplied by to get its slope, in dB an octave: (161,)."""
    hz = torch.arange(BINS, dtype=torch.float64) * SAMPLE_RATE / WINDOW_SAMPLES
    used = (hz >= TILT_LOWEST_HZ) & (hz <= TILT_HIGHEST_HZ)
    octaves = torch.where(used, hz.clamp(min=TILT_LOWEST_HZ).log2(), 0.0)
    centred = torch.where(used, octaves - octaves[used].mean(), 0.0)
    return (10 / math.log(10) * centred / centred.square().sum()).float()


def spectral_tilt(waves: Waves) -> Frames:
    """How fast each window's power falls with frequency, which vocal effort flattens and breathiness steepens.

    (batch, time, 1), dB an octave: 0 for white noise, about -12 for a relaxed voice, 0 in digital silence. It is the
    slope of the straight line that fits power in decibels over the logarithm of frequency, from 100 Hz to 5 kHz, by
    least squares over the bins of `log_power`, whose floor makes it flatter where upper bins lie below.
    """
    spectrum = log_power(waves)
    slope = _slope().to(spectrum.values.device)
    return Frames((spectrum.values @ slope)[..., None], spectrum.lengths).zero_padding()


_LINEAR_HZ_PER_MEL = 200 / 3
_KNEE_HZ = 1000.0
_MELS_PER_E_FOLD = 27 / math.log(6.4)


def mel_to_hz(mels: Tensor) -> Tensor:
    """Slaney's scale (Auditory Toolbox, 1998): linear below 15 mel (1 kHz), then a factor of 6.4 every 27 mel.

    >>> mel_to_hz(torch.tensor([3.0, 15.0, 42.0])).tolist()
    [200.0, 1000.0, 6400.0]
    """
    knee = _KNEE_HZ / _LINEAR_HZ_PER_MEL
    above = _KNEE_HZ * ((mels - knee) / _MELS_PER_E_FOLD).exp()
    return torch.where(mels < knee, mels * _LINEAR_HZ_PER_MEL, above)


@lru_cache(maxsize=4)
def mel_filters(filters: int = 40, bins: int = BINS, *, equal_area: bool = False) -> Tensor:
    """Triangular filters over a power spectrum from 0 to 8 kHz, (bins, filters), of height 1 or of equal area."""
    nyquist = SAMPLE_RATE / 2
    top = _KNEE_HZ / _LINEAR_HZ_PER_MEL + _MELS_PER_E_FOLD * math.log(nyquist / _KNEE_HZ)
    corners = mel_to_hz(torch.linspace(0, top, filters + 2, dtype=torch.float64))
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    frequencies = torch.linspace(0, nyquist, bins, dtype=torch.float64)[:, None]
    rising = (frequencies - left) / (centre - left)
    falling = (right - frequencies) / (right - centre)
    heights = 2 / (right - left) if equal_area else 1.0
    return (torch.minimum(rising, falling).clamp(min=0) * heights).float()


_WHISPER_FLOOR = 1e-10
_RANGE = 8.0  # powers of ten below an utterance's loudest value at which the logarithm goes flat
_MOST_RAISED = 7.0  # powers of ten; digital silence stays far below speech


def log_mel(waves: Waves, filters: int = 80, level: float | None = None) -> Frames:
    """Whisper's input: (batch, time, filters), 100 frames a second and at least one.

    Decimal logarithms of the powers in mel bands of equal area, clamped to 80 dB below the loudest, then (x + 4) /
    4. Where a ``level`` is given, direct current is taken away, and each utterance's loudest value becomes that;
    Whisper leaves both.
    """
    lengths = (waves.lengths // HOP_SAMPLES).clamp(min=1)
    windows = _mirrored(waves).unfold(1, WHISPER_WINDOW_SAMPLES, HOP_SAMPLES)[:, : int(lengths.max())]
    spectrum = whisper_spectrum(windows, level)
    return log_mel_of(Frames(spectrum.real.square() + spectrum.imag.square(), lengths), filters, level)


def whisper_spectrum(windows: Tensor, level: float | None) -> Tensor:
    """The spectrum of each window of `log_mel`, (..., 400) to (..., 201); it is linear."""
    hann = torch.hann_window(WHISPER_WINDOW_SAMPLES, dtype=windows.dtype, device=windows.device)
    spectrum: Tensor = torch.fft.rfft(windows * hann)
    if level is not None:  # what is constant over a window, a Hann window spreads: 1/2 of it here, -1/4 in the next bin
        constant = spectrum[..., :1].real.clone()
        spectrum[..., :1] = 0
        spectrum[..., 1:2] += constant / 2
    return spectrum


def log_mel_of(powers: Frames, filters: int, level: float | None) -> Frames:
    """`log_mel` of the powers of its windows, (batch, time, 201)."""
    values, lengths = powers
    bands = values @ mel_filters(filters, WHISPER_WINDOW_SAMPLES // 2 + 1, equal_area=True).to(values.device)
    frames = Frames(bands.clamp_(min=_WHISPER_FLOOR).log10_(), lengths)
    loudest = frames.values.masked_fill(~frames.mask[..., None], -torch.inf).amax(dim=(1, 2), keepdim=True)
    values = torch.maximum(frames.values, loudest - _RANGE)
    if level is not None:
        values = values + (level - loudest).clamp(max=_MOST_RAISED)
    return Frames((values + 4) / 4, lengths).zero_padding()


def _mirrored(waves: Waves) -> Tensor:
    """Half a window more at both ends of each recording, mirrored; one too short to be mirrored ends in zeros."""
    reach = WHISPER_WINDOW_SAMPLES // 2
    lengths = waves.lengths.clamp(min=reach + 1)[:, None]
    missing = int(lengths.max()) - waves.values.shape[1]
    values = torch.nn.functional.pad(waves.values, (0, max(missing, 0)))
    away = torch.arange(1, reach + 1, device=values.device)
    before, after = values[:, 1 : reach + 1].flip(1), values.gather(1, lengths - 1 - away)
    return torch.nn.functional.pad(torch.cat([before, values], dim=1), (0, reach)).scatter(
        1, reach + lengths - 1 + away, after
    )
