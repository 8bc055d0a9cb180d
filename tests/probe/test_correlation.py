"""Correlations of many units at once, against scipy's of two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from affetto.probe.correlation import Moments, correlations, ranks


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Seven units, some of which follow one of two targets, one in a clipped way; 60 frames."""
    targets = rng.standard_normal((2, 60))
    units = rng.standard_normal((7, 60))
    units[0] += 3 * targets[0]
    units[1] -= targets[1]
    units[2] = np.maximum(units[2] + targets[0], 0.5)  # most frames are equal
    units[3] = 1e3 + 0.1 * units[3]
    return units.astype(np.float32), targets


@pytest.mark.parametrize("method", ["pearsonr", "spearmanr"])
def test_they_are_those_of_scipy(method: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    units, targets = pair
    found = correlations(units, targets) if method == "pearsonr" else correlations(ranks(units), ranks(targets))
    expected = [[getattr(stats, method)(unit, target).statistic for unit in units] for target in targets]
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("units", "targets"),
    [
        ([[2.0, 2.0, 2.0, 2.0]], [[1.0, 2.0, 3.0, 4.0]]),
        ([[1.0, 2.0, 3.0, 4.0]], [[0.0, 0.0, 0.0, 0.0]]),
        ([[1.0, 2.0]], [[1.0, 2.0]]),
        ([[1e6, 1e6 + 0.0625, 1e6, 1e6]], [[1.0, 2.0, 3.0, 4.0]]),  # the last digit of a constant
    ],
)
def test_what_does_not_change_has_none(units: list[list[float]], targets: list[list[float]]) -> None:
    assert np.isnan(correlations(np.array(units, dtype=np.float32), np.array(targets))).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e4]))
def test_moments_in_pieces_are_scipy_on_the_whole(seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    units, target = rng.standard_normal((4, 90)) + offset, rng.standard_normal(90) - offset
    units[0] += target
    owners = rng.integers(0, 3, 6)
    moments = Moments(3, 4)
    for piece, (unit, part) in enumerate(zip(np.split(units, 6, axis=1), np.split(target, 6), strict=True)):
        moments.add(int(owners[piece]), unit, part)
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    times = weights[:, np.repeat(owners, 15)].astype(int)
    expected = [
        [stats.pearsonr(np.repeat(unit, each), np.repeat(target, each)).statistic for unit in units]
        if each.any()
        else [np.nan] * 4
        for each in times
    ]
    np.testing.assert_allclose(moments.correlation(weights), expected, atol=1e-6)


def test_moments_of_nothing_and_of_constants_have_none() -> None:
    moments = Moments(2, 2)
    assert np.isnan(moments.correlation(np.ones((1, 2)))).all()
    moments.add(0, np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]]), np.arange(4.0))
    found = moments.correlation(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert found[0, 0] == pytest.approx(1.0)
    assert np.isnan([found[0, 1], *found[1]]).all()
