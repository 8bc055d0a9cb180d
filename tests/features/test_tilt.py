"""Spectral tilt against numpy's polynomial fit, and against noise whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from affetto.features.spectrogram import TILT_HIGHEST_HZ, TILT_LOWEST_HZ, log_power, spectral_tilt
from affetto.frames import Waves, pad_waves


def _noise(slope_db: float, samples: int = 48_000) -> Waves:
    """Noise whose power falls by so many decibels an octave."""
    rng = np.random.default_rng(3)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.maximum(np.fft.rfftfreq(samples, 1 / 16_000), 20.0)
    wave = np.fft.irfft(spectrum * 10 ** (slope_db / 20 * np.log2(hz / 1000)), samples)
    return pad_waves([torch.from_numpy(wave / np.abs(wave).max()).float()])


def test_it_is_the_slope_that_numpy_fits() -> None:
    waves = _noise(-3.0, 4800)
    hz = np.arange(161) * 50.0
    used = (hz >= TILT_LOWEST_HZ) & (hz <= TILT_HIGHEST_HZ)
    decibels = 10 / np.log(10) * log_power(waves).values[0].numpy()
    expected = np.polyfit(np.log2(hz[used]), decibels[:, used].T, 1)[0]
    np.testing.assert_allclose(spectral_tilt(waves).values[0, :, 0].numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("slope_db", [0.0, -3.0, -6.0])
def test_noise_of_a_known_slope(slope_db: float) -> None:
    assert spectral_tilt(_noise(slope_db)).values.mean().item() == pytest.approx(slope_db, abs=0.5)


def test_gain_and_padding_change_nothing() -> None:
    waves = _noise(-6.0, 4800)
    padded = Waves(torch.nn.functional.pad(0.25 * waves.values, (0, 4000)), waves.lengths)
    torch.testing.assert_close(spectral_tilt(padded).unpad(), spectral_tilt(waves).unpad(), atol=0.02, rtol=0)
