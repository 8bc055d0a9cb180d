"""Emotion over time: checked by hand, against scipy, and by what must hold for any moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from affetto.errors import ConfigError
from affetto.timeline import Judgement, Moment, likeliest, mean, shares, smooth, strip

EMOTIONS = ("anger", "neutral", "sadness")


@st.composite
def moments(draw: st.DrawFn) -> list[Moment]:
    count = draw(st.integers(1, 20))
    found, time_s = [], 0.0
    for _ in range(count):
        start_s = time_s + draw(st.floats(0, 5))
        time_s = start_s + draw(st.floats(0.2, 15))
        weights = np.array([draw(st.floats(0.01, 1)) for _ in EMOTIONS])
        found.append(Moment(start_s, time_s, dict(zip(EMOTIONS, (weights / weights.sum()).tolist(), strict=True))))
    return found


def rows(probabilities: list[dict[str, float]]) -> np.ndarray:
    return np.array([list(each.values()) for each in probabilities])


@pytest.mark.parametrize("width_s", [0.7, 2.0, 3.0])
def test_smoothing_equal_moments_is_a_gaussian_filter(width_s: float, rng: np.random.Generator) -> None:
    values = rng.dirichlet([1, 1, 1], 60)
    series = [Moment(k, k + 1, dict(zip(EMOTIONS, row.tolist(), strict=True))) for k, row in enumerate(values)]
    expected = gaussian_filter1d(values, width_s, axis=0, truncate=4)
    np.testing.assert_allclose(rows(smooth(series, width_s))[13:-13], expected[13:-13], atol=2e-3)


@given(moments(), st.floats(0, 30))
def test_smoothed_probabilities_are_probabilities(series: list[Moment], width_s: float) -> None:
    found = rows(smooth(series, width_s))
    before = rows([dict(each.probabilities) for each in series])
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found <= before.max(axis=0) + 1e-9).all()
    assert (found >= before.min(axis=0) - 1e-9).all()


@given(moments())
def test_much_smoothing_is_the_mean(series: list[Moment]) -> None:
    found = rows(smooth(series, 1e6))
    np.testing.assert_allclose(found, np.tile(list(mean(series).values()), (len(series), 1)), atol=1e-6)


@given(moments(), st.floats(0, 1))
def test_shares_are_all_of_the_time(series: list[Moment], sure: float) -> None:
    found = shares(series, sure)
    assert sum(found.emotions.values()) + found.unsure == pytest.approx(1)
    assert set(found.emotions) == set(EMOTIONS)
    assert shares(series, 0.0).unsure == 0


@given(moments(), st.integers(1, 100))
def test_a_strip_shows_what_is_there(series: list[Moment], cells: int) -> None:
    duration_s = series[-1].end_s + 1
    found = strip(series, duration_s, cells)
    cell_s = duration_s / cells
    assert len(found) == cells
    for cell, place in enumerate(found):
        overlaps = [min(each.end_s, (cell + 1) * cell_s) - max(each.start_s, cell * cell_s) for each in series]
        assert overlaps[place] == pytest.approx(max(overlaps)) if place is not None else max(overlaps) < 1e-6


def test_nothing_can_be_smoothed() -> None:
    assert smooth([], 3.0) == []


def test_the_likeliest_is_the_first_of_equals() -> None:
    assert likeliest({"anger": 0.5, "sadness": 0.5}) == "anger"


@pytest.mark.parametrize(
    "values", [{"sure": 1.1}, {"sure": -0.1}, {"smooth_s": -1}, {"smooth_s": float("inf")}, {"x": 1}]
)
def test_impossible_judgements_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Judgement.parse(values)
