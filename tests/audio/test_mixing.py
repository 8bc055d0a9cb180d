"""Channels that cancel, sound that hovers about another value than zero, and samples of another scale."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from affetto import audio
from affetto.audio.mixing import Centre, Channels, Mixer, full_scale, tracks

Wave = NDArray[np.float32]
RATE = 16_000


@pytest.fixture(scope="module")
def speech(demo: dict[str, torch.Tensor]) -> Wave:
    wave: Wave = demo["neutral"].numpy()
    return wave


def mixed(channels: list[Wave], rate: int = RATE) -> Wave:
    mixer = Mixer(len(channels), rate)
    return np.concatenate([mixer.feed(np.stack(channels, axis=1).astype(np.float32)), mixer.finish()])


def centred(wave: Wave, rate: int = RATE) -> Wave:
    centre = Centre(rate)
    return np.concatenate([centre.feed(wave.astype(np.float32)), centre.finish()])


def low_inverted(wave: Wave) -> Wave:
    """The same, with what is below 800 Hz turned round."""
    spectrum = np.fft.rfft(wave)
    spectrum[np.fft.rfftfreq(len(wave), 1 / RATE) < 800] *= -1
    return np.fft.irfft(spectrum, len(wave)).astype(np.float32)


def noise(wave: Wave, level: float, seed: int) -> Wave:
    return wave + np.random.default_rng(seed).normal(0, level, len(wave)).astype(np.float32)


CANCELLING = {
    "all": lambda wave: [wave, -wave],
    "at another level": lambda wave: [wave, -0.6 * wave],
    "in noise": lambda wave: [noise(wave, 0.002, 1), -noise(wave, 0.002, 2)],
    "one of three": lambda wave: [wave, -wave, np.zeros_like(wave)],
    "half of six": lambda wave: [wave, -wave, wave, -wave, -wave, wave],
    "from the middle on": lambda wave: [wave, np.where(np.arange(len(wave)) < 20_000, wave, -wave)],
    "low frequencies": lambda wave: [wave, low_inverted(wave)],
}


@pytest.mark.parametrize("voice", ["angry", "happy", "neutral", "sad"])
@pytest.mark.parametrize("name", CANCELLING)
def test_channels_that_cancel_do_not(voice: str, name: str, demo: dict[str, torch.Tensor]) -> None:
    speech = demo[voice].numpy()
    found = mixed(CANCELLING[name](speech))
    assert np.corrcoef(found, speech)[0, 1] > 0.93
    assert found.std() / speech.std() > 0.45


@pytest.mark.parametrize("second", ["same", "softer", "another", "silent"])
def test_channels_that_add_up_are_averaged(second: str, speech: Wave, demo: dict[str, torch.Tensor]) -> None:
    other = {
        "same": speech,
        "softer": 0.3 * speech,
        "another": demo["sad"].numpy()[: len(speech)],
        "silent": np.zeros_like(speech),
    }[second]
    np.testing.assert_allclose(mixed([speech, other]), (speech + other) / 2, atol=1e-6)


def test_cancelling_channels_of_a_file_are_decoded(tmp_path: Path, speech: Wave) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([speech, -speech], axis=1), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", speech, RATE, subtype="FLOAT")
    torch.testing.assert_close(audio.load(tmp_path / "a.wav"), audio.load(tmp_path / "b.wav"), atol=1e-6, rtol=0)


@given(
    sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=8),
    channels=st.integers(1, 3),
    way=st.sampled_from(["mix", "separate"]),
)
def test_blocks_change_nothing(sizes: list[int], channels: int, way: Channels) -> None:
    rng = np.random.default_rng(0)
    sound = rng.normal(0.1, 0.1, (sum(sizes), channels)).astype(np.float32)
    sound[:, channels // 2] *= -1
    blocks = np.split(sound, np.cumsum(sizes)[:-1])
    whole, parts = (np.concatenate(list(tracks(each, RATE, way)), axis=1) for each in ([sound], blocks))
    assert whole.shape == (1 if way == "mix" else channels, len(sound))
    np.testing.assert_allclose(parts, whole, atol=1e-6)


@pytest.mark.parametrize("offset", [-0.5, 0.005, 0.02, 0.3])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_an_offset_is_taken_away(offset: float, rate: int, speech: Wave) -> None:
    np.testing.assert_allclose(centred(speech + np.float32(offset), rate), centred(speech, rate), atol=1e-6)


def test_an_offset_that_changes_is_followed(speech: Wave) -> None:
    wave = np.tile(speech, 3)
    drifting = wave + np.linspace(0, 0.2, len(wave)) + 0.1 * (np.arange(len(wave)) > len(wave) / 2)
    assert np.abs(centred(drifting)[-2 * RATE :].mean()) < 0.03


def test_sound_without_an_offset_hardly_changes(speech: Wave) -> None:
    changed = centred(speech) - speech
    assert 20 * np.log10(changed.std() / speech.std()) < -40
    time_s = np.arange(RATE) / RATE
    low_voice = np.sin(2 * np.pi * 60 * time_s).astype(np.float32)
    np.testing.assert_allclose(centred(low_voice), low_voice, atol=0.01)


def test_the_shortest_sound_stays_as_it_is() -> None:
    wave = np.full(300, 0.25, np.float32)
    np.testing.assert_array_equal(centred(wave), wave)


def test_floats_of_another_scale_are_taken_for_what_they_are(
    tmp_path: Path, speech: Wave, caplog: pytest.LogCaptureFixture
) -> None:
    soundfile.write(tmp_path / "a.wav", speech * 32768, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", speech, RATE, subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        found = audio.load(tmp_path / "a.wav")
    torch.testing.assert_close(found, audio.load(tmp_path / "b.wav"), atol=1e-6, rtol=0)
    assert len(caplog.messages) == 1
    assert "a.wav: values up to" in caplog.text
    assert "taken for 16-bit samples" in caplog.text


@pytest.mark.parametrize("peak", [0.0, 1e-6, 1.0, 1.5, 30.0])
def test_floats_about_full_scale_are_what_they_are(peak: float) -> None:
    assert full_scale(peak, 1.0, "x") == 1.0
