"""The pitch tracker on sounds whose pitch is known, and against openSMILE on real speech."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affetto.audio import load
from affetto.errors import ConfigError
from affetto.features.pitch import best_path, pitch, smooth
from affetto.features.spectrogram import power
from affetto.frames import Frames, Waves, pad, pad_waves

CREMA_D = Path(os.environ.get("AFFETTO_DATA", "../shared/data")) / "crema-d" / "AudioWAV"
RATE = 16_000


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def voice(f0_hz: torch.Tensor, resonance_hz: float = 600, loudest: float = 0.3) -> torch.Tensor:
    """A sum of harmonics, falling by 12 dB an octave, with one resonance; ``f0_hz`` is (samples,)."""
    phase = 2 * torch.pi * (f0_hz.double() / RATE).cumsum(0)
    orders = torch.arange(1, 60)[:, None]
    hz = orders * f0_hz
    gain = (hz < 7000) / orders**1.5 * (1 + 5 / (1 + ((hz - resonance_hz) / 100) ** 2))
    wave = (gain * torch.sin(orders * phase)).sum(dim=0).float()
    return loudest * wave / wave.abs().max()


def constant(f0_hz: float, seconds: float = 0.5) -> torch.Tensor:
    return voice(torch.full((int(seconds * RATE),), f0_hz))


def single(wave: torch.Tensor) -> torch.Tensor:
    return pitch(pad_waves([wave])).values[0]


def cents(ours: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return 1200 * torch.log2(ours / truth).abs()


@pytest.mark.parametrize("f0_hz", [55.0, 80.0, 101.3, 137.0, 220.0, 311.1, 400.0, 490.0])
def test_a_steady_voice_has_its_pitch(f0_hz: float) -> None:
    inner = single(constant(f0_hz))[2:-2]
    assert cents(inner[:, 0], torch.tensor(f0_hz)).max() < 5
    assert inner[:, 1].min() > 0.9


@pytest.mark.parametrize("resonance_hz", [300.0, 500.0, 800.0])
def test_a_formant_is_not_the_pitch(resonance_hz: float) -> None:
    inner = single(voice(torch.full((8000,), 110.0), resonance_hz))[2:-2]
    assert cents(inner[:, 0], torch.tensor(110.0)).max() < 5


@pytest.mark.parametrize(("from_hz", "to_hz"), [(80, 160), (300, 120), (150, 450)])
def test_a_sweep_is_followed(from_hz: float, to_hz: float) -> None:
    f0_hz = from_hz * (to_hz / from_hz) ** torch.linspace(0, 1, RATE)
    ours = single(voice(f0_hz))
    truth = f0_hz[160 + 160 * torch.arange(len(ours))]  # at the middle of each frame
    assert cents(ours[3:-3, 0], truth[3:-3]).max() < 20


def test_a_missing_fundamental_is_recognised() -> None:
    phases = 2 * torch.pi * 120 * torch.arange(3, 9)[:, None] * torch.arange(8000) / RATE
    wave = 0.1 * torch.sin(phases).sum(dim=0)
    assert cents(single(wave)[2:-2, 0], torch.tensor(120.0)).max() < 5


def test_a_voice_in_noise_is_recognised() -> None:
    wave = constant(130.0)
    ours = single(wave + noise(len(wave)) * wave.square().mean().sqrt() / 0.1 * 10 ** (-10 / 20))  # 10 dB above it
    voiced = ours[2:-2, 0][ours[2:-2, 0] > 0]
    assert len(voiced) > 0.9 * (len(ours) - 4)
    assert cents(voiced, torch.tensor(130.0)).max() < 50


@pytest.mark.parametrize("level", [1.0, 0.01])
def test_noise_is_unvoiced(level: float) -> None:
    ours = single(level * noise(2 * RATE))
    assert (ours[:, 0] > 0).float().mean() < 0.02
    assert ours[:, 1].max() < 0.9


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_silence_is_unvoiced_with_or_without_an_offset(offset: float) -> None:
    ours = single(torch.full((3200,), offset))
    # The step from the zeros before the beginning to the offset is no voice either.
    assert not ours[:, 0].any()
    assert ours[5:-5].abs().max() < 1e-3


def test_what_is_far_softer_than_the_voice_is_silence() -> None:
    ours = single(torch.cat([constant(200.0), 0.001 * constant(100.0)]))
    assert (ours[5:45, 0] > 0).all()
    assert not ours[55:, 0].any()


def test_the_level_of_the_recording_does_not_matter() -> None:
    wave = torch.cat([constant(200.0), noise(8000), constant(90.0)])
    torch.testing.assert_close(single(0.01 * wave), single(wave), atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("samples", [1, 319, 320, 479, 480, 801, 16_000])
def test_frames_are_the_spectrograms(samples: int) -> None:
    waves = pad_waves([noise(samples), noise(300)])
    ours, spectrum = pitch(waves), power(waves)
    assert ours.values.shape[:2] == spectrum.values.shape[:2]
    assert ours.lengths.tolist() == spectrum.lengths.tolist()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6000), st.floats(60, 450), st.floats(0, 1)), min_size=2, max_size=4),
    st.integers(0, 500),
)
def test_batch_mates_and_padding_change_nothing(sounds: list[tuple[int, float, float]], padding: int) -> None:
    waves = [
        share * constant(f0_hz)[:samples] + (1 - share) * noise(min(samples, 8000), seed)[:samples]
        for seed, (samples, f0_hz, share) in enumerate(sounds)
    ]
    batch = pad_waves(waves)
    together = pitch(Waves(torch.nn.functional.pad(batch.values, (0, padding)), batch.lengths))
    torch.testing.assert_close(together.unpad()[0], single(waves[0]), atol=1e-4, rtol=1e-4)
    assert not together.values[~together.mask].any()


def test_best_path_beats_every_other_path() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, costs = torch.rand(1, 5, 3, generator=generator), torch.rand(1, 4, 3, 3, generator=generator)
    paths = torch.cartesian_prod(*[torch.arange(3)] * 5)  # all 243
    gains = scores[0, torch.arange(5), paths].sum(dim=1)
    losses = costs[0, torch.arange(4), paths[:, :-1], paths[:, 1:]].sum(dim=1)
    assert best_path(scores, costs)[0].tolist() == paths[(gains - losses).argmax()].tolist()


def test_smooth_is_a_moving_average_where_all_is_voiced() -> None:
    contour = 100 + 50 * torch.rand(60, generator=torch.Generator().manual_seed(0))
    ours = smooth(pad([contour[:, None]])).values[0, 7:-7, 0]
    np.testing.assert_allclose(ours, np.convolve(contour, np.full(15, 1 / 15), mode="valid"), rtol=1e-5)


def test_smooth_leaves_gaps_and_strengths() -> None:
    values = torch.tensor([[200.0, 0.9], [0.0, 0.2], [100.0, 0.8], [0.0, 0.0]])[None]
    ours = smooth(Frames(values, torch.tensor([3])), window=3).values[0]
    torch.testing.assert_close(ours, values[0])


def test_smooth_ignores_padding() -> None:
    contours = [torch.full((9, 1), 120.0), torch.full((30, 1), 240.0)]
    torch.testing.assert_close(smooth(pad(contours)).unpad()[0], contours[0])


@pytest.mark.parametrize("window", [-1, 0, 4])
def test_smooth_wants_a_middle_frame(window: int) -> None:
    with pytest.raises(ConfigError, match="odd"):
        smooth(pad([torch.ones(3, 1)]), window)


@pytest.mark.skipif(not CREMA_D.is_dir(), reason="needs CREMA-D: set AFFETTO_DATA")
def test_agrees_with_opensmile_on_speech() -> None:
    opensmile = pytest.importorskip("opensmile")
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)
    waves = [load(path) for path in sorted(CREMA_D.glob("10*_IWW_*"))[3::60]]
    semitones = [smile.process_signal(wave.numpy(), RATE)["F0semitoneFrom27.5Hz_sma3nz"].to_numpy() for wave in waves]
    # Its windows of 60 ms begin where our frames of 20 ms do: its frame lies in the middle of ours two later.
    ours = [frames[2:, 0].numpy() for frames in pitch(pad_waves(waves)).unpad()]
    mine = np.concatenate([own[: len(theirs)] for own, theirs in zip(ours, semitones, strict=True)])
    reference = np.concatenate([theirs[: len(own)] for own, theirs in zip(ours, semitones, strict=True)])
    assert len(mine) > 1000
    assert np.mean((mine > 0) == (reference > 0)) > 0.85
    both = (mine > 0) & (reference > 0)
    ratio = mine[both] / (27.5 * 2 ** (reference[both] / 12))
    assert np.mean(np.abs(ratio - 1) > 0.2) < 0.08
