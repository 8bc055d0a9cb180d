"""MFCC and deltas against librosa; the columns asked for, thinned as asked, alone or in company."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affetto.errors import ConfigError
from affetto.features.acoustic import AcousticConfig, acoustic, cepstra, dct_matrix, deltas, mfcc
from affetto.features.pitch import pitch
from affetto.features.spectrogram import FLOOR, mel_filters
from affetto.frames import Frames, Waves, pad_waves


def speechlike(samples: int, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise * torch.sin(torch.arange(samples) / 1500).abs()


def single(wave: torch.Tensor) -> torch.Tensor:
    return mfcc(pad_waves([wave])).values[0]


def test_filters_are_librosas() -> None:
    reference = librosa.filters.mel(sr=16_000, n_fft=320, n_mels=40, norm=None)
    np.testing.assert_allclose(mel_filters().T, reference, atol=1e-6)


def test_every_filter_holds_a_bin() -> None:
    assert (mel_filters().sum(dim=0) > 0.5).all()


def test_dct_is_orthonormal() -> None:
    torch.testing.assert_close(dct_matrix().T @ dct_matrix(), torch.eye(13))


def test_coefficients_are_librosas() -> None:
    wave = speechlike(8000)
    mel = librosa.feature.melspectrogram(
        y=wave.numpy(), sr=16_000, n_fft=320, hop_length=160, window=np.hamming(320), center=False, n_mels=40, norm=None
    )
    reference = librosa.feature.mfcc(S=np.log(mel + FLOOR), n_mfcc=13, dct_type=2, norm="ortho")
    np.testing.assert_allclose(single(wave)[:, :13].T, reference, atol=1e-3)


@pytest.mark.parametrize(("reach", "frames"), [(1, 3), (2, 5), (2, 40), (4, 30)])
def test_deltas_are_librosas(reach: int, frames: int) -> None:
    values = torch.randn(frames, 3, generator=torch.Generator().manual_seed(0))
    reference = librosa.feature.delta(values.numpy(), width=2 * reach + 1, axis=0, mode="nearest")
    ours = deltas(Frames(values[None], torch.tensor([frames])), reach).values[0]
    np.testing.assert_allclose(ours, reference, atol=1e-5)


def test_deltas_continue_the_own_edge_frames() -> None:
    # By hand, reach 2, of 0 0 0 10 10 with one frame of padding: (1 (x+1 - x-1) + 2 (x+2 - x-2)) / 10.
    values = torch.tensor([0.0, 0, 0, 10, 10, 0])[None, :, None]
    assert deltas(Frames(values, torch.tensor([5]))).values.flatten().tolist() == [0, 2, 3, 3, 2, 0]


def test_a_single_frame_stands_still() -> None:
    assert not single(speechlike(100))[:, 13:].any()


def test_silence_is_finite() -> None:
    assert single(torch.zeros(3200)).isfinite().all()


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (479, 1), (480, 2), (16_000, 99)])
def test_frames_are_the_spectrograms(samples: int, frames: int) -> None:
    assert single(speechlike(samples)).shape == (frames, 26)


def test_louder_moves_only_the_zeroth_coefficient() -> None:
    wave = speechlike(16_000) + 0.01
    moved = cepstra(pad_waves([4 * wave])).values - cepstra(pad_waves([wave])).values
    # Twice the logarithm of 4, times the square root of 40 filters.
    torch.testing.assert_close(moved[0, 10:60, 0], torch.full((50,), 17.535), atol=0.1, rtol=0)
    assert moved[0, 10:60, 1:].abs().max() < 0.1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=2, max_size=4), st.integers(0, 500))
def test_batch_mates_and_padding_change_nothing(lengths: list[int], padding: int) -> None:
    waves = [speechlike(length, seed) for seed, length in enumerate(lengths)]
    batch = pad_waves(waves)
    together = mfcc(Waves(torch.nn.functional.pad(batch.values, (0, padding)), batch.lengths))
    torch.testing.assert_close(together.unpad()[0], single(waves[0]), atol=1e-4, rtol=1e-4)
    assert not together.values[~together.mask].any()


def _voice(samples: int, loudness: float = 0.2) -> torch.Tensor:
    """Pulses of 120 Hz in faint noise."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return loudness * (0.01 * noise + (torch.arange(samples) % 133 < 5))


@pytest.mark.parametrize("voicing", [False, True])
@pytest.mark.parametrize("loudness", [False, True])
def test_as_many_columns_as_promised(voicing: bool, loudness: bool) -> None:
    config = AcousticConfig(voicing=voicing, loudness=loudness)
    assert acoustic(pad_waves([_voice(8000)]), config).values.shape == (1, 49, config.width)


@pytest.mark.parametrize("stride", [2, 3, 7, 49, 60])
def test_a_stride_averages_neighbours_and_what_is_left_over(stride: int) -> None:
    waves = pad_waves([_voice(8000)])
    every = acoustic(waves, AcousticConfig(level="absolute")).values[0]
    thinned = acoustic(waves, AcousticConfig(level="absolute", stride=stride)).values[0]
    torch.testing.assert_close(thinned, torch.stack([chunk.mean(dim=0) for chunk in torch.split(every, stride)]))


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("level", ["utterance", "relative", "absolute"])
def test_company_changes_nothing(stride: int, level: Any) -> None:
    config = AcousticConfig(stride=stride, level=level, voicing=True, loudness=True)
    short, long = _voice(4321), _voice(9000)
    together = acoustic(pad_waves([short, long]), config).unpad()[0]
    torch.testing.assert_close(together, acoustic(pad_waves([short]), config).values[0], atol=1e-3, rtol=1e-4)


def test_only_the_absolute_level_tells_how_loud_a_voice_is() -> None:
    waves = Waves(torch.stack([_voice(8000, 0.1), 4 * _voice(8000, 0.1)]), torch.tensor([8000, 8000]))
    kept = acoustic(waves, AcousticConfig(level="absolute", loudness=True)).values[..., -1]
    torch.testing.assert_close(
        (kept[1] - kept[0]).mean().item(), 0.6 * torch.tensor(4.0).log().item(), rtol=0.01, atol=0
    )
    lost = acoustic(waves, AcousticConfig(loudness=True)).values[..., -1]
    torch.testing.assert_close(lost[1], lost[0], atol=1e-3, rtol=0)


def test_the_relative_level_follows_the_voice_but_not_the_gain() -> None:
    voice = _voice(8000, 0.1)
    waves = Waves(torch.stack([voice, 4 * voice]), torch.tensor([8000, 8000]))
    relative = acoustic(waves, AcousticConfig(level="relative", voicing=True, loudness=True)).values
    torch.testing.assert_close(relative[1], relative[0], atol=0.05, rtol=0.01)
    absolute = acoustic(waves, AcousticConfig(level="absolute", voicing=True, loudness=True)).values
    torch.testing.assert_close(relative[..., 1:-1], absolute[..., 1:-1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 5, 15])
def test_the_pitch_is_smoothed_over_as_many_frames_as_asked(frames: int) -> None:
    """A voice that rises, against numpy's moving average of what the tracker says."""
    hz = 100 + 100 * torch.arange(16_000) / 16_000
    waves = pad_waves([0.3 * torch.sin(2 * torch.pi * hz.double().cumsum(0) / 16_000).float().sign()])
    raw = pitch(waves).values[0, 3:-3, 0]
    assert raw.min() > 0
    ours = acoustic(waves, AcousticConfig(level="absolute", pitch_window=frames)).values[0, 3:-3, -1]
    half = frames // 2
    expected = np.convolve(raw, np.full(frames, 1 / frames), mode="valid")
    np.testing.assert_allclose(ours[half : len(ours) - half], expected, rtol=1e-4)


@pytest.mark.parametrize(
    "values", [{"stride": 0}, {"stride": -1}, {"pitch_window": 0}, {"pitch_window": 14}, {"level": "loud"}]
)
def test_what_cannot_be_computed_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        AcousticConfig.parse(values)
