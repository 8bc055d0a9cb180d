"""Listening conditions: levels, bands and rates are what their names say, time stays, and silence stays silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import signal

from affetto.errors import ConfigError
from affetto.features.conditions import CLEAN, EFFECTS, PRESETS, Chances, Condition, draw_condition

RATE = 16_000
EXAMPLES = {
    "clean", "eq", "reverb-0.5", "room-0.3", "white-20", "pink-10", "noise-5", "babble-10", "clip-12", "telephone",
    "opus-8", "mp3-16", "mp3-64", "gain--40", "gain-6", "dc-0.02", "silence-0.5", "reverb-0.3+babble-15+telephone",
}  # fmt: skip
LENGTHENING = {"room-0.3": 9600, "silence-0.5": 16_000}


def speech(seconds: float = 1.5, seed: int = 1) -> torch.Tensor:
    """Bursts of noise with the slope of speech."""
    generator = np.random.default_rng(seed)
    noise = signal.lfilter([1.0], [1.0, -0.9], generator.standard_normal(int(seconds * RATE)))
    syllables = np.clip(np.sin(2 * np.pi * 3 * np.arange(len(noise)) / RATE), 0, 1)
    wave = noise * syllables
    return torch.from_numpy((0.3 * wave / np.abs(wave).max()).astype(np.float32))


def voices(generator: np.random.Generator) -> torch.Tensor:
    return speech(generator.uniform(0.5, 3.0), int(generator.integers(1000)))


def hear(name: str, wave: torch.Tensor, seed: int = 1) -> torch.Tensor:
    return Condition.parse(name)(wave, np.random.default_rng(seed), voices)


def power_db(wave: torch.Tensor) -> float:
    return float(10 * wave.double().square().mean().log10())


def band_db(wave: torch.Tensor, low_hz: float, high_hz: float) -> float:
    frequencies, power = signal.welch(wave.numpy(), RATE, nperseg=1024)
    return float(10 * np.log10(power[(frequencies >= low_hz) & (frequencies < high_hz)].mean()))


def lag(wave: torch.Tensor, other: torch.Tensor) -> int:
    size = 2 * len(wave)
    product = torch.fft.rfft(wave, size).conj() * torch.fft.rfft(other, size)
    place = int(torch.fft.irfft(product).argmax())
    return place if place < len(wave) else place - size


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_generator_decides_all(name: str) -> None:
    wave = speech()
    first, again = hear(name, wave), hear(name, wave)
    assert torch.equal(first, again)
    assert first.dtype == torch.float32
    assert len(first) == len(wave) + LENGTHENING.get(name, 0)


@pytest.mark.parametrize("name", ["eq", "reverb-0.5", "white-20", "pink-10", "noise-5", "babble-10", "room-0.3"])
def test_another_seed_sounds_otherwise(name: str) -> None:
    assert not torch.equal(hear(name, speech(), 1), hear(name, speech(), 2))


@pytest.mark.parametrize("name", sorted(EXAMPLES - {"dc-0.02"}))
@settings(max_examples=10, deadline=None)
@given(samples=st.sampled_from([0, 1, 2, 3, 7, 160, 161, 16_001]))
def test_silence_stays_silence_whatever_its_length(name: str, samples: int) -> None:
    heard = hear(name, torch.zeros(samples))
    assert len(heard) == (samples + LENGTHENING.get(name, 0) if samples else 0)
    assert heard.abs().max() < 1e-4 if samples else True


@pytest.mark.parametrize("name", sorted(EXAMPLES))
@settings(max_examples=15, deadline=None)
@given(samples=st.integers(1, 3000), scale=st.sampled_from([1e-6, 0.1, 1.0, 30.0]))
def test_any_sound_stays_finite_and_as_long(name: str, samples: int, scale: float) -> None:
    heard = hear(name, scale * speech()[2000 : 2000 + samples])
    assert len(heard) == samples + LENGTHENING.get(name, 0)
    assert heard.isfinite().all()


@pytest.mark.parametrize("kind", ["white", "pink", "noise", "babble"])
@settings(max_examples=10, deadline=None)
@given(snr_db=st.integers(-5, 30), scale=st.sampled_from([0.01, 1.0]), seed=st.integers(0, 99))
def test_noise_is_as_far_below_as_it_says(kind: str, snr_db: int, scale: float, seed: int) -> None:
    wave = scale * speech()
    noise = hear(f"{kind}-{snr_db}", wave, seed) - wave
    assert power_db(wave) - power_db(noise) == pytest.approx(snr_db, abs=0.5)


def test_colours_of_noise() -> None:
    wave = speech(20.0)
    white, pink = (hear(f"{kind}-0", wave) - wave for kind in ("white", "pink"))
    assert band_db(white, 500, 1000) - band_db(white, 4000, 7900) == pytest.approx(0.0, abs=0.5)
    assert band_db(pink, 250, 500) - band_db(pink, 2000, 4000) == pytest.approx(9.0, abs=1.0)  # 3 dB an octave


def test_a_telephone_lets_its_band_through() -> None:
    wave = torch.from_numpy(0.1 * np.random.default_rng(1).standard_normal(10 * RATE).astype(np.float32))
    heard = hear("telephone", wave)
    inside = band_db(heard, 500, 3200) - band_db(wave, 500, 3200)
    assert inside == pytest.approx(0.0, abs=0.7)
    assert band_db(heard, 0, 120) - band_db(wave, 0, 120) < -25
    assert band_db(heard, 4300, 7900) - band_db(wave, 4300, 7900) < -25


@pytest.mark.parametrize("name", ["telephone", "opus-8", "opus-24", "mp3-8", "mp3-24", "mp3-64", "eq"])
def test_nothing_is_late(name: str) -> None:
    wave = speech()
    assert abs(lag(wave, hear(name, wave))) <= 3


@pytest.mark.parametrize("rt60_s", [0.3, 0.8])
def test_echoes_fall_by_60_db_in_their_time(rt60_s: float) -> None:
    click = torch.zeros(2 * RATE)
    click[0] = 1.0
    energy = hear(f"reverb-{rt60_s}", click).double().square()[100:]
    left = energy.flip(0).cumsum(0).flip(0)  # Schroeder's backward integration
    decay_db = 10 * (left / left[0]).log10()
    fast, slow = (int((decay_db < level).nonzero()[0]) for level in (-5, -35))
    assert 2 * (slow - fast) / RATE == pytest.approx(rt60_s, rel=0.1)


@pytest.mark.parametrize("gain_db", [-40, -6, 6])
def test_gain_is_that_of_a_file_of_16_bits(gain_db: int) -> None:
    heard = hear(f"gain-{gain_db}", speech())
    assert power_db(heard) - power_db(speech()) == pytest.approx(gain_db, abs=0.1)
    assert torch.equal(heard * 32_768, (heard * 32_768).round())
    assert hear("gain-30", speech()).abs().max() <= 1.0


def test_clipping_cuts_the_peaks() -> None:
    heard = hear("clip-12", speech())
    assert heard.abs().max() == pytest.approx(float(speech().abs().max()) * 10 ** (-12 / 20), rel=1e-4)
    quiet = speech().abs() < 0.05
    assert torch.equal(heard[quiet], speech()[quiet])


def test_an_offset_is_added() -> None:
    torch.testing.assert_close(hear("dc-0.02", speech()), speech() + 0.02)


def test_the_equaliser_stays_within_its_bounds() -> None:
    wave = torch.from_numpy(0.1 * np.random.default_rng(1).standard_normal(20 * RATE).astype(np.float32))
    heard = hear("eq-6", wave)
    changes = [band_db(heard, low, 1.4 * low) - band_db(wave, low, 1.4 * low) for low in (100, 300, 900, 2700, 5400)]
    assert max(map(abs, changes)) < 6.3
    assert max(changes) - min(changes) > 1.0


def test_silence_is_zeros_and_a_room_is_faint() -> None:
    silent, room = hear("silence-0.5", speech()), hear("room-0.5", speech())
    assert torch.equal(silent[8000:-8000], speech())
    assert torch.equal(room[8000:-8000], speech())
    assert not silent[:8000].any()
    assert not silent[-8000:].any()
    beside = torch.cat([room[:8000], room[-8000:]])
    assert power_db(beside) - power_db(speech()) == pytest.approx(-40, abs=0.5)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_names_are_read_and_written(name: str) -> None:
    assert Condition.parse(name).name == name
    assert Condition.parse(f" {name} ") == Condition.parse(name)


@pytest.mark.parametrize(
    "text", ["", "telefone", "pink", "pink-", "pink-x", "pink-nan", "opus-1", "telephone-3", "white-10+"]
)
def test_what_is_no_condition_is_refused_and_what_is_one_listed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"telephone|from .* to "):
        Condition.parse(text)


def test_an_unknown_name_lists_all() -> None:
    with pytest.raises(ConfigError) as refused:
        Condition.parse("telefone")
    assert all(name in str(refused.value) for name in ["clean", *EFFECTS])


def test_babble_needs_voices() -> None:
    assert Condition.parse("telephone+babble-3").needs_voices
    assert not CLEAN.needs_voices
    with pytest.raises(ConfigError, match="voices"):
        Condition.parse("babble-3")(speech(), np.random.default_rng(1))


def chances(values: object) -> Chances:
    return TypeAdapter(Chances).validate_python(values)


def test_conditions_are_drawn_as_often_and_as_much_as_asked() -> None:
    asked = chances({"gain": {"chance": 0.5, "between": [-40, 6]}, "pink": {"chance": 1.0, "between": [5, 30]}})
    generator = np.random.default_rng(1)
    drawn = [dict(draw_condition(asked, generator).steps) for _ in range(400)]
    snrs = np.array([each["pink"] for each in drawn])
    gains = np.array([each["gain"] for each in drawn if "gain" in each])
    assert len(gains) == pytest.approx(200, abs=40)
    assert [snrs.min(), snrs.max()] == pytest.approx([5, 30], abs=0.5)
    assert [gains.min(), gains.max()] == pytest.approx([-40, 6], abs=1.5)
    assert next(iter(drawn[0])) == "pink"  # the sound passes the room before the recorder


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_hold_and_what_they_draw_is_audible(preset: str) -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        drawn = draw_condition(chances(preset), generator)
        assert Condition.parse(drawn.name) == Condition(
            tuple((name, float(f"{amount:.12g}")) for name, amount in drawn.steps)
        )
        assert drawn(speech(), generator, voices).isfinite().all()


@pytest.mark.parametrize(
    "values",
    [
        "everything",
        {"echo": {"chance": 1.0}},
        {"pink": {"chance": 1.5, "between": [5, 6]}},
        {"pink": {"chance": 0.5, "between": [6, 5]}},
        {"opus": {"chance": 0.5}},
        {"opus": {"chance": 0.5, "between": [1, 8]}},
        {"pink": {"chance": 0.5, "from": 3}},
    ],
)
def test_chances_that_are_none_are_refused(values: object) -> None:
    with pytest.raises(ValidationError):
        chances(values)
