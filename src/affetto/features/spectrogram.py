"""The recogniser's input: power spectrogram, Hamming window of 20 ms every 10 ms, 161 bins (paper 3.1.1)."""

from __future__ import annotations

import torch

from affetto.features.framing import WINDOW_SAMPLES, frame
from affetto.frames import Frames, Waves

BINS = WINDOW_SAMPLES // 2 + 1
FLOOR = 1e-6
"""Power below which the logarithm goes flat: about 110 dB under a full-scale sine in one bin."""


def power(waves: Waves) -> Frames:
    """|FFT| squared of each Hamming window.

    Returns:
        (batch, time, 161); bin k is k x 50 Hz.

    >>> tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    >>> power(Waves(tone[None], torch.tensor([16000]))).values[0, 50].argmax().item() * 50
    1000
    """
    windows, lengths = frame(waves)
    hamming = torch.hamming_window(WINDOW_SAMPLES, periodic=False, device=windows.device)
    spectrum = torch.fft.rfft(windows * hamming)
    return Frames(spectrum.real.square() + spectrum.imag.square(), lengths).zero_padding()


def log_power(waves: Waves) -> Frames:
    """The natural logarithm of `power`, floored: (batch, time, 161).

    >>> silence = Waves(torch.zeros(1, 320), torch.tensor([320]))
    >>> round(log_power(silence).values.max().item(), 2)
    -13.82
    """
    spectrum = power(waves)
    return Frames((spectrum.values + FLOOR).log(), spectrum.lengths).zero_padding()
