"""Syllable nuclei and their rate, on sound in which syllables can be counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affetto.features.speaking_rate import speaking_rate, speech_span, syllable_nuclei


def _syllables(count: int, each: int, quiet: float = 1.0) -> np.ndarray:
    """The loudness of so many syllables of so many frames, with silence around."""
    pulse = quiet + (10 - quiet) * np.sin(np.linspace(0, np.pi, each)) ** 2
    return np.concatenate([np.full(20, quiet), np.tile(pulse, count), np.full(20, quiet)])


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("each", [14, 25])
def test_every_syllable_is_found_once(count: int, each: int) -> None:
    loudness = _syllables(count, each)
    found = syllable_nuclei(loudness, loudness > 1.5)
    middles = 20 + each * np.arange(count) + each // 2
    assert len(found) == count
    assert np.abs(found - middles).max() <= 2


@pytest.mark.parametrize(
    ("loudness", "voiced"),
    [
        (_syllables(4, 20), False),  # loud, but a hiss
        (_syllables(4, 20, quiet=9.0), True),  # dips of less than 2 dB
        (np.zeros(50), True),
        (np.full(1, 5.0), True),
    ],
)
def test_what_is_no_syllable(loudness: np.ndarray, voiced: bool) -> None:
    assert len(syllable_nuclei(loudness, np.full(len(loudness), voiced))) == 0


def test_faint_peaks_do_not_count() -> None:
    faint = np.where(np.arange(300) < 150, 1.0, 0.1) * _syllables(13, 20)
    found = syllable_nuclei(faint, np.ones(300, dtype=bool))
    assert found.max() < 160  # a tenth of the loudness is 33 dB less


@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_counting_over_the_span_gives_the_nuclei(frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    span = speech_span(rng.random(frames) < 0.3)
    nuclei = np.flatnonzero(span & (rng.random(frames) < 0.1))
    rate = speaking_rate(nuclei, span)
    assert rate.shape == (frames,)
    assert np.isfinite(rate).all()
    assert (rate >= 0).all()
    assert not rate[~span].any()
    assert (len(nuclei) > 0) == bool(rate.any())


@pytest.mark.parametrize("rate_hz", [2.0, 5.0])
def test_a_steady_rate_is_found_up_to_the_ends(rate_hz: float) -> None:
    gap = round(100 / rate_hz)
    nuclei = np.arange(gap // 2, 600, gap)
    rate = speaking_rate(nuclei, np.ones(600, dtype=bool))
    np.testing.assert_allclose(rate, rate_hz, rtol=0.25)
    np.testing.assert_allclose(rate[100:500], rate_hz, rtol=0.05)
