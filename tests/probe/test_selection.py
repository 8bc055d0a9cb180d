"""Units are found where they are planted, figures are those of scipy, and noise is taken for an effect 1 time in 20."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy import stats
from tests.probe.simulated import empty, heard, layers

from affetto.probe.correlation import Found, Tally, best_rows, find
from affetto.probe.frame_reader import TARGETS, UtteranceFrames

SPEAKERS, EACH, UNITS = 8, 6, 12
PLANTED = 7  # the first of the second layer
CHOOSING = np.arange(SPEAKERS) % 2 == 0


def _plant(units: np.ndarray, values: np.ndarray) -> None:
    units[PLANTED] -= 1.5 * values[:, 0]  # follows loudness, the wrong way round
    units[3] = np.maximum(units[3], 0)  # half of it is equal
    units[5] = 4.0  # says nothing


@pytest.fixture(scope="module")
def spoken() -> list[UtteranceFrames]:
    rng = np.random.default_rng(5)
    return [heard(place, UNITS, int(rng.integers(12, 40)), rng, _plant) for place in range(SPEAKERS * EACH)]


@pytest.fixture(scope="module")
def tally(spoken: list[UtteranceFrames]) -> Tally:
    speakers = np.repeat(np.arange(SPEAKERS), EACH)
    found = empty(layers(7, 5), speakers, CHOOSING, permutations=19, seed=2)
    for each in spoken:
        found.add(each)
    return found


@pytest.fixture(scope="module")
def found(tally: Tally) -> dict[tuple[str, str], Found]:
    every = find(tally, CHOOSING, np.random.default_rng(3))
    return {(each.level, each.method): each for each in every}


def _measuring(spoken: list[UtteranceFrames]) -> list[UtteranceFrames]:
    return [each for each in spoken if not CHOOSING[each.place // EACH]]


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize(("target", "unit"), [(0, PLANTED), (0, 3), (1, 2), (4, 11)])
def test_frames_are_scipy_averaged_over_utterances(
    method: str, target: int, unit: int, spoken: list[UtteranceFrames], found: dict[tuple[str, str], Found]
) -> None:
    each_r = []
    for each in _measuring(spoken):
        units, prosody = each.parts[0]
        valid = prosody.valid[:, target]
        correlate = stats.pearsonr if method == "pearson" else stats.spearmanr
        each_r.append(correlate(units[unit, valid], prosody.values[valid, target]).statistic)
    assert found["frame", method].measured[target, unit] == pytest.approx(np.mean(each_r), abs=1e-5)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_utterances_are_scipy_of_means(
    method: str, spoken: list[UtteranceFrames], found: dict[tuple[str, str], Found]
) -> None:
    means = [each.parts[0].units[PLANTED].mean() for each in _measuring(spoken)]
    values = [each.prosody.means()[0] for each in _measuring(spoken)]
    expected = (stats.pearsonr if method == "pearson" else stats.spearmanr)(means, values).statistic
    assert found["utterance", method].measured[0, PLANTED] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_the_planted_unit_is_found(method: str, tally: Tally, found: dict[tuple[str, str], Found]) -> None:
    rows = list(best_rows(tally, found["frame", method], CHOOSING, np.random.default_rng(0), count=3))
    first = next(row for row in rows if row.target == "loudness")
    assert (first.place, first.layer, first.number, first.p) == (1, "gru2", 0, 1 / 20)
    assert first.low < first.measured < first.high < -0.6
    assert [row.place for row in rows] == [1, 2, 3] * len(TARGETS)


def test_pooled_is_scipy_of_all_frames(
    tally: Tally, spoken: list[UtteranceFrames], found: dict[tuple[str, str], Found]
) -> None:
    rows = best_rows(tally, found["frame", "pearson"], CHOOSING, np.random.default_rng(0), count=1)
    units = np.concatenate([each.parts[0].units[PLANTED] for each in _measuring(spoken)])
    values = np.concatenate([each.prosody.values[:, 0] for each in _measuring(spoken)])
    assert next(rows).pooled == pytest.approx(stats.pearsonr(units, values).statistic, abs=1e-5)


def test_a_constant_unit_is_never_listed(tally: Tally, found: dict[tuple[str, str], Found]) -> None:
    for each in found.values():
        assert np.isnan(each.measured[:, 5]).all()
    frames = found["frame", "pearson"]
    rows = list(best_rows(tally, frames, CHOOSING, np.random.default_rng(0), count=UNITS))
    assert ("gru1", 5) not in {(row.layer, row.number) for row in rows}
    assert not any(math.isnan(row.measured) or math.isnan(row.p) for row in rows)


def test_a_unit_that_seldom_changes_is_not_looked_at() -> None:
    """One correlation in many utterances is whatever it is; its mean over one is no mean."""
    rng = np.random.default_rng(0)
    found = empty(layers(2), np.repeat(np.arange(4), 4), np.arange(4) < 2, permutations=3, seed=0)

    def silent(units: np.ndarray, values: np.ndarray) -> None:
        units[0] = 0.0

    def loud(units: np.ndarray, values: np.ndarray) -> None:
        units[0] = values[:, 0]

    for place in range(16):
        found.add(heard(place, 2, 10, rng, loud if place % 8 == 0 else silent))
    frames = next(iter(find(found, np.arange(4) < 2, rng)))
    assert np.isnan(frames.chosen[0, 0])
    assert frames.best(0, 2).tolist() == [1]


def _rejections(p: np.ndarray) -> int:
    """In how many families some unit is taken for one that follows the target."""
    return int((np.nanmin(p, axis=1) <= 0.05 + 1e-9).sum())


def _within_nominal(rejected: int, tests: int) -> bool:
    low, high = stats.binom.interval(0.998, tests, 0.05)
    return bool(low <= rejected <= high)


def _differ(units: np.ndarray, values: np.ndarray, *, voice: np.ndarray, way: np.ndarray) -> None:
    units += voice[:, None]
    values += way


def test_the_null_rejects_noise_at_its_nominal_rate() -> None:
    """With 19 permutations the largest of 20 is ours one time in twenty; speakers differ in all but what is tested."""
    trials, people, each = 80, 6, 3
    choosing, speakers = np.arange(people) < 2, np.repeat(np.arange(people), each)
    rejected = {("frame", "pearson"): 0, ("frame", "spearman"): 0, ("utterance", "pearson"): 0}
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        found = empty(layers(5), speakers, choosing, permutations=19, seed=trial)
        voices, ways = 3 * rng.standard_normal((people, 5)), 3 * rng.standard_normal((people, 5))
        for place, speaker in enumerate(speakers):
            found.add(heard(place, 5, 10, rng, partial(_differ, voice=voices[speaker], way=ways[speaker])))
        for result in find(found, choosing, rng):
            if (result.level, result.method) in rejected:
                rejected[result.level, result.method] += _rejections(result.p())
    assert {key: _within_nominal(count, trials * len(TARGETS)) for key, count in rejected.items()} == dict.fromkeys(
        rejected, True
    ), rejected
