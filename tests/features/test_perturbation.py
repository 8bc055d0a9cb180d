"""Tempo and gain: pitch stays, time scales, nothing is late, and the level changes by what was asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affetto.audio import load
from affetto.errors import ConfigError, MissingExtraError
from affetto.features.perturbation import Perturbation, amplify, perturb, resample, stretch
from affetto.features.pitch import pitch
from affetto.frames import pad_waves

pytest.importorskip("python_stretch", reason="python-stretch is not installed: the extra train brings it")

RATE = 16_000
TEMPOS = [0.5, 0.85, 0.97, 1.06, 1.15, 2.0]


def voice(seconds: float = 1.0, f0_hz: float = 130.0) -> torch.Tensor:
    """Harmonics of a steady pitch, falling by 9 dB an octave."""
    orders = torch.arange(1, 30)[:, None]
    phase = 2 * torch.pi * f0_hz * torch.arange(int(seconds * RATE)) / RATE
    wave = (torch.sin(orders * phase) / orders**1.5).sum(dim=0)
    return 0.3 * wave / wave.abs().max()


def contour(wave: torch.Tensor) -> torch.Tensor:
    """Pitch of each frame in Hz, 0 where unvoiced."""
    return pitch(pad_waves([wave])).values[0, :, 0]


def level_db(wave: torch.Tensor) -> float:
    return float(10 * wave.double().square().mean().log10())


@pytest.mark.parametrize(("tempo", "cents"), [(0.5, 15), (0.85, 5), (0.97, 5), (1.06, 5), (1.15, 5), (2.0, 15)])
@pytest.mark.parametrize("f0_hz", [90.0, 210.0])
def test_the_pitch_of_a_steady_voice_stays(tempo: float, cents: float, f0_hz: float) -> None:
    inner = contour(stretch(voice(f0_hz=f0_hz), tempo))[4:-4]
    assert (1200 * torch.log2(inner / f0_hz)).abs().max() < cents


@pytest.mark.parametrize("tempo", [0.85, 1.15])
@pytest.mark.parametrize("clip", ["1001_DFA_HAP_XX", "1010_IEO_ANG_HI", "1002_TIE_SAD_XX"])
def test_the_pitch_of_real_speech_stays(tempo: float, clip: str, data_root: Path) -> None:
    found = sorted((data_root / "crema-d" / "AudioWAV").glob(f"{clip}.*"))
    if not found:
        pytest.skip(f"no CREMA-D under {data_root}")
    wave = load(found[0])
    before, after = contour(wave), contour(stretch(wave, tempo))
    places = (torch.arange(len(after)) * tempo).round().long().clamp(max=len(before) - 1)
    voiced = (before[places] > 0) & (after > 0)
    assert voiced.sum() > 0.7 * (after > 0).sum() > 10
    assert (1200 * torch.log2(after / before[places])[voiced]).median().abs() < 10


@settings(max_examples=40)
@given(samples=st.integers(1, 6000), tempo=st.floats(0.5, 2.0))
def test_time_scales_whatever_the_length(samples: int, tempo: float) -> None:
    stretched = stretch(voice()[:samples], tempo)
    assert stretched.shape == (max(1, round(samples / tempo)),)
    assert stretched.dtype == torch.float32
    assert stretched.isfinite().all()


@pytest.mark.parametrize("tempo", TEMPOS)
@pytest.mark.parametrize("onset_s", [0.0, 0.4])
def test_speech_begins_and_ends_where_the_tempo_puts_it(tempo: float, onset_s: float) -> None:
    silence, end_s = torch.zeros(int(onset_s * RATE)), onset_s + 0.6
    loud = stretch(torch.cat([silence, voice(0.6), torch.zeros(4000)]), tempo).abs() > 0.1
    heard = loud.nonzero().flatten() / RATE
    assert heard[0].item() == pytest.approx(onset_s / tempo, abs=0.02)
    assert heard[-1].item() == pytest.approx(end_s / tempo, abs=0.02)


@pytest.mark.parametrize("tempo", TEMPOS)
def test_the_end_does_not_fade(tempo: float) -> None:
    stretched = stretch(voice(), tempo)
    assert level_db(stretched[-800:]) == pytest.approx(level_db(stretched[2000:-2000]), abs=1.5)


@pytest.mark.parametrize("tempo", [0.85, 1.15])
def test_a_new_tempo_leaves_the_level(tempo: float) -> None:
    assert level_db(stretch(voice(), tempo)) == pytest.approx(level_db(voice()), abs=0.5)


@pytest.mark.parametrize("gain_db", [-3.0, 0.0, 6.0])
def test_the_level_changes_by_the_gain(gain_db: float) -> None:
    assert level_db(amplify(voice(), gain_db)) - level_db(voice()) == pytest.approx(gain_db, abs=1e-4)


def test_full_scale_is_no_limit() -> None:
    wave = torch.tensor([0.9, -0.9, 1.0])
    fixed = Perturbation(tempo=(1.0, 1.0), gain_db=(6.0, 6.0))
    torch.testing.assert_close(perturb(wave, fixed, np.random.default_rng(1)), wave * 1.99526)


def test_what_is_drawn_lies_between_the_bounds_and_follows_the_seed() -> None:
    wave, config = voice(0.2), Perturbation()
    generator = np.random.default_rng(7)
    drawn = [perturb(wave, config, generator) for _ in range(60)]
    tempos = np.array([len(wave) / len(each) for each in drawn])
    gains = np.array([level_db(each) - level_db(wave) for each in drawn])
    assert 0.849 <= tempos.min() < 0.87
    assert 1.13 < tempos.max() <= 1.151
    assert -4 <= gains.min() < -2
    assert 5 < gains.max() <= 6.5
    again = [perturb(wave, config, np.random.default_rng(7)) for _ in range(2)]
    assert torch.equal(again[0], drawn[0])
    assert torch.equal(again[0], again[1])
    assert not torch.equal(perturb(wave, config, np.random.default_rng(8))[:1000], drawn[0][:1000])


def test_the_same_tempo_gives_back_the_same_sound() -> None:
    assert torch.equal(stretch(voice(), 1.0), voice())
    assert len(stretch(torch.zeros(0), 1.1)) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"tempo": [1.15, 0.85]},
        {"tempo": [0.0, 1.0]},
        {"tempo": [1.0, 3.0]},
        {"tempo": [float("nan"), 1.0]},
        {"tempo": [1.0]},
        {"gain_db": [6.0, -3.0]},
        {"gain_db": [0.0, float("inf")]},
    ],
)
def test_bounds_that_are_none_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Perturbation.parse(values)


def test_a_missing_stretcher_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_stretch.Signalsmith", None)
    with pytest.raises(MissingExtraError, match=r"affetto\[train\]"):
        stretch(voice(0.1), 1.1)


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.1, 1.25])
def test_a_tape_raises_pitch_with_speed(speed: float) -> None:
    wave = torch.sin(2 * torch.pi * 400 * torch.arange(16_000) / 16_000)
    faster = resample(wave, speed)
    assert len(faster) == pytest.approx(16_000 / speed, abs=1)
    spectrum = torch.fft.rfft(faster * torch.hann_window(len(faster)), n=16_000).abs()
    assert spectrum.argmax().item() == pytest.approx(400 * speed, abs=1)
    assert faster[1000:-1000].abs().max().item() == pytest.approx(1.0, abs=0.01)


@given(samples=st.integers(0, 50), speed=st.floats(0.5, 2.0))
def test_a_tape_of_any_length_keeps_some_sound(samples: int, speed: float) -> None:
    assert len(resample(torch.ones(samples), speed)) >= min(1, samples)
