"""Spectral tilt against numpy, loudness against openSMILE, the input of Whisper against transformers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from scipy.signal.windows import hamming
from torch import Tensor

from affetto.audio import load
from affetto.features.spectrogram import TILT_HIGHEST_HZ, TILT_LOWEST_HZ, log_mel, log_power, loudness, spectral_tilt
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


CREMA_D = Path(os.environ.get("AFFETTO_DATA", "../shared/data")) / "crema-d" / "AudioWAV"

# openSMILE's cIntensity sums only as many samples as it has outputs (one or two), so the definition is checked with its
# window and its energy: the mean square under the root of a Hamming window.
OPENSMILE_INTENSITY = r"""
[componentInstances:cComponentManager]
instance[dataMemory].type = cDataMemory
\{\cm[source{?}:include source]}
\{\cm[sink{?}:include sink]}
[componentInstances:cComponentManager]
instance[framer].type = cFramer
instance[window].type = cWindower
instance[energy].type = cEnergy
[framer:cFramer]
reader.dmLevel = wave
writer.dmLevel = frames
frameSize = 0.020
frameStep = 0.010
frameCenterSpecial = left
[window:cWindower]
reader.dmLevel = frames
writer.dmLevel = windows
winFunc = hamming
squareRoot = 1
[energy:cEnergy]
reader.dmLevel = windows
writer.dmLevel = lld
rms = 0
energy2 = 1
log = 0
htkcompatible = 0
"""


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def single(wave: torch.Tensor) -> torch.Tensor:
    return loudness(pad_waves([wave])).values[0, :, 0]


def test_equals_opensmile(tmp_path: Path) -> None:
    opensmile = pytest.importorskip("opensmile")
    config = tmp_path / "intensity.conf"
    config.write_text(OPENSMILE_INTENSITY)
    smile = opensmile.Smile(feature_set=str(config), feature_level="lld")
    wave = noise(16_000) * torch.linspace(0.2, 1, 16_000)
    energy = smile.process_signal(wave.numpy(), 16_000).to_numpy()[:, 0]
    intensity = energy * 320 / hamming(320).sum()
    np.testing.assert_allclose(single(wave), (intensity / 1e-6) ** 0.3, rtol=2e-3)


def test_twice_the_amplitude_is_two_to_the_six_tenths() -> None:
    wave = noise(3200)
    torch.testing.assert_close(single(2 * wave), 2**0.6 * single(wave))


def test_the_reference_intensity_has_loudness_one() -> None:
    assert single(torch.full((320,), 1e-3)).item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (479, 1), (480, 2), (16_000, 99)])
def test_silence_is_zero_at_any_length(samples: int, frames: int) -> None:
    assert single(torch.zeros(samples)).tolist() == [0.0] * frames


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=2, max_size=4), st.integers(0, 500))
def test_batch_mates_and_padding_change_nothing(lengths: list[int], padding: int) -> None:
    waves = [noise(length, seed) for seed, length in enumerate(lengths)]
    batch = pad_waves(waves)
    padded = Waves(torch.nn.functional.pad(batch.values, (0, padding)), batch.lengths)
    together = loudness(padded)
    torch.testing.assert_close(together.unpad()[0][:, 0], single(waves[0]), atol=1e-4, rtol=1e-4)
    assert not together.values[~together.mask].any()


@pytest.mark.skipif(not CREMA_D.is_dir(), reason="needs CREMA-D: set AFFETTO_DATA")
def test_follows_the_auditory_loudness_of_egemaps() -> None:
    opensmile = pytest.importorskip("opensmile")
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)
    waves = [load(path) for path in sorted(CREMA_D.glob("10*_DFA_*"))[::40]]
    theirs = [smile.process_signal(wave.numpy(), 16_000)["Loudness_sma3"].to_numpy() for wave in waves]
    # eGeMAPS stops a few frames early, where its 60 ms windows end.
    ours = [single(wave)[: len(reference)].numpy() for wave, reference in zip(waves, theirs, strict=True)]
    correlations = [np.corrcoef(mine, reference)[0, 1] for mine, reference in zip(ours, theirs, strict=True)]
    assert len(correlations) >= 5
    assert np.median(correlations) > 0.9
    assert min(correlations) > 0.8


WINDOW = 30 * 16_000


def _random(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("filters", [80, 128])
def test_a_whole_window_is_as_whisper_has_it(filters: int) -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=filters)
    wave = _random(WINDOW) * torch.linspace(0, 1, WINDOW) ** 2
    theirs = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_features[0].T
    torch.testing.assert_close(log_mel(pad_waves([wave]), filters).values[0], theirs, atol=1e-4, rtol=0)


def test_a_short_sound_has_the_first_frames_of_the_window_that_whisper_fills_up() -> None:
    transformers = pytest.importorskip("transformers")
    wave = _random(40_000)
    theirs = transformers.WhisperFeatureExtractor()(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
    ours = log_mel(pad_waves([wave]))
    assert ours.lengths.tolist() == [250]
    expected = theirs.input_features[0].T[:248]  # the windows that do not reach beyond the end
    torch.testing.assert_close(ours.values[0, :248], expected, atol=1e-4, rtol=0)


@given(samples=st.lists(st.integers(1, 4000), min_size=2, max_size=4), seed=st.integers(0, 99))
@with_settings(max_examples=25)
def test_batch_mates_and_padding_change_no_mel(samples: list[int], seed: int) -> None:
    waves = [_random(count, seed + place) * 10.0**-place for place, count in enumerate(samples)]
    batch = pad_waves(waves)
    together = log_mel(Waves(torch.nn.functional.pad(batch.values, (0, 777)), batch.lengths))
    alone = [log_mel(pad_waves([wave])).values[0] for wave in waves]
    torch.testing.assert_close(together.unpad(), alone, atol=1e-5, rtol=0)
    assert not together.values[~together.mask].any()
