"""Against scikit-learn and scipy, by hand, and by simulation: do intervals cover, do tests keep their level?"""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from sklearn.metrics import accuracy_score, f1_score, recall_score

from affetto import metrics, stats

CLASSES = ("anger", "happiness", "neutral", "sadness")
LABELS = st.sampled_from(CLASSES)
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=40)
SAID = st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from("uvwx"), LABELS, LABELS)


def _tally(said: list[tuple[int, int, str, str, str]]) -> stats.ConfusionCounts:
    repeats, folds, speakers, references, predicted = (list(column) for column in zip(*said, strict=True))
    return stats.tally(list(zip(repeats, folds, strict=True)), speakers, references, predicted, CLASSES)


def _cloned(speakers: int, rng: np.random.Generator, *, runs: int = 1, spread: float = 0.12) -> stats.ConfusionCounts:
    """Speakers from one crowd: some are easier to hear than others, in all runs alike."""
    counts = rng.multinomial(rng.integers(40, 90, speakers)[:, None], [0.25] * 4)[:, 0] + 2
    ease = np.clip(np.array([0.7, 0.4, 0.5, 0.6]) + rng.normal(0, spread, (speakers, 1)), 0.02, 0.98)
    shares = np.repeat(((1 - ease) / 3)[..., None], 4, axis=-1)
    shares[:, range(4), range(4)] = ease
    confusions = rng.multinomial(np.broadcast_to(counts, (runs, *counts.shape)), shares)
    names = np.array([f"s{number:03d}" for number in range(speakers)])
    repeats = np.repeat(np.arange(runs), speakers)
    return stats.ConfusionCounts(
        repeats, np.tile(np.arange(speakers), runs), np.tile(names, runs), np.concatenate(confusions)
    )


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@settings(max_examples=40)
@given(pairs=PAIRS)
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    references, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    present = sorted(set(references))
    expected = [
        recall_score(references, predicted, labels=present, average="macro", zero_division=0),
        accuracy_score(references, predicted),
        f1_score(references, predicted, labels=present, average="macro", zero_division=0),
    ]
    found = stats.scores(metrics.confusion(references, predicted, CLASSES))
    assert found == pytest.approx(expected)


@settings(max_examples=40)
@given(said=st.lists(SAID, min_size=1, max_size=60))
def test_a_tally_keeps_every_prediction(said: list[tuple[int, int, str, str, str]]) -> None:
    counted = _tally(said)
    assert counted.cells() == {(each[0], each[1]) for each in said}
    assert set(counted.speakers) == {each[2] for each in said}
    whole = metrics.confusion([each[3] for each in said], [each[4] for each in said], CLASSES)
    assert counted.confusions.sum(axis=0).tolist() == whole.tolist()
    runs = sorted({each[0] for each in said})
    uars = [metrics.uar(*zip(*[each[3:] for each in said if each[0] == run], strict=True)) for run in runs]
    assert stats.run_scores(counted)[:, 0] == pytest.approx(uars)


@given(said=st.lists(SAID, min_size=1, max_size=60), seed=st.integers(0, 9))
def test_the_order_of_predictions_means_nothing(said: list[tuple[int, int, str, str, str]], seed: int) -> None:
    shuffled = [said[place] for place in np.random.default_rng(seed).permutation(len(said))]
    for one, other in zip(_tally(said), _tally(shuffled), strict=True):
        assert np.array_equal(one, other)


def _agreements(said: list[tuple[int, int, str, float, float, float]]) -> stats.Agreements:
    repeats, folds, speakers, references, *predicted = (list(column) for column in zip(*said, strict=True))
    truths = np.array([references, references[::-1]]).T
    return stats.agreements(list(zip(repeats, folds, strict=True)), speakers, truths, np.array(predicted).T)


VALUES = st.floats(-99, 99, width=16)
RATED = st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from("uvwx"), VALUES, VALUES, VALUES)


@settings(max_examples=60)
@given(said=st.lists(RATED, min_size=1, max_size=60))
def test_concordance_follows_from_sums_of_speakers(said: list[tuple[int, int, str, float, float, float]]) -> None:
    found = stats.run_scores(_agreements(said))
    backwards = [each[3] for each in said][::-1]
    for number, run in enumerate(sorted({each[0] for each in said})):
        kept = [place for place, each in enumerate(said) if each[0] == run]
        x, other = (np.array([values[place] for place in kept]) for values in ([each[3] for each in said], backwards))
        y, z = (np.array([said[place][column] for place in kept]) for column in (4, 5))
        expected = [metrics.ccc(x, y), metrics.ccc(other, z)]
        assert found[number] == pytest.approx([np.mean(expected), *expected], abs=1e-6)


def test_intervals_of_concordance_are_those_of_drawn_speakers() -> None:
    rng = np.random.default_rng(1)
    speakers = np.repeat([f"s{number:02d}" for number in range(12)], 30)
    truth = rng.normal(50, 10, len(speakers)) + np.repeat(rng.normal(0, 5, 12), 30)
    predicted = truth + rng.normal(0, 8, len(speakers)) + np.repeat(rng.normal(0, 6, 12), 30)
    counted = stats.agreements([(0, 0)] * len(truth), speakers.tolist(), truth[:, None], predicted[:, None])
    low, high = stats.speaker_interval(counted, np.random.default_rng(2), resamples=2_000)
    crowds = stats.draw_crowds(12, np.random.default_rng(2), 2_000).astype(int)
    drawn = []
    for crowd in crowds:
        places = np.concatenate([np.flatnonzero(speakers == f"s{each:02d}") for each in np.repeat(range(12), crowd)])
        drawn.append([metrics.ccc(truth[places], predicted[places])])
    expected = stats.interval_of(np.array(drawn), 12)
    assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert low[0] < metrics.ccc(truth, predicted) < high[0]


def test_runs_are_pooled_and_folds_are_averaged_over_repeats() -> None:
    counted = _tally(
        [
            *[(0, 0, "u", "anger", "anger")] * 3,
            (0, 0, "u", "sadness", "anger"),
            (0, 1, "v", "sadness", "sadness"),
            *[(1, 0, "u", "anger", "sadness")] * 3,
            (1, 0, "u", "sadness", "sadness"),
            (1, 1, "v", "sadness", "anger"),
        ]
    )
    # run 0: anger 3 of 3, sadness 1 of 2; run 1: 0 of 3, 1 of 2
    assert stats.run_scores(counted)[:, :2] == pytest.approx(np.array([[3 / 4, 4 / 5], [1 / 4, 1 / 5]]))
    folds, each = stats.fold_scores(counted)
    assert folds.tolist() == [0, 1]
    # fold 0: (1 + 0) / 2 and (0 + 1) / 2, on average 1 / 2; fold 1, without anger: 1 and 0
    assert each[:, 0] == pytest.approx([1 / 2, 1 / 2])
    assert each[:, 1] == pytest.approx([(3 / 4 + 1 / 4) / 2, 1 / 2])
    assert stats.missing_classes(counted) == {0: [1, 2], 1: [0, 1, 2]}


def test_a_run_is_whole_with_all_its_folds_only() -> None:
    said = [(0, 0, "u", "anger", "anger"), (0, 1, "v", "anger", "anger"), (1, 0, "u", "anger", "anger")]
    assert stats.whole_runs(_tally(said), {0, 1}).cells() == {(0, 0), (0, 1)}
    assert stats.whole_runs(_tally(said), {0, 1, 2}).cells() == set()


def test_refuses_labels_that_are_no_class() -> None:
    with pytest.raises(ValueError, match="joy: none of the classes anger"):
        stats.tally([(0, 0)], ["u"], ["anger"], ["joy"], CLASSES)


def test_mean_and_deviation() -> None:
    mean, deviation = stats.mean_and_deviation(np.array([[0.5], [0.6], [0.8]]))
    assert (mean[0], deviation[0]) == (pytest.approx(1.9 / 3), pytest.approx(np.sqrt(0.07 / 3)))
    assert np.isnan(stats.mean_and_deviation(np.array([[0.5]]))[1]).all()


# Intervals


def test_the_interval_of_an_accuracy_is_that_of_scipys_bootstrap(rng: np.random.Generator) -> None:
    """Speakers with as many utterances each: the accuracy is the mean of theirs. 60 of them need little widening."""
    right = rng.binomial(50, rng.beta(6, 4, 60))
    confusions = np.zeros((60, 2, 2), dtype=np.int64)
    confusions[:, 0, 0], confusions[:, 0, 1] = right, 50 - right
    names = np.array([f"s{number:02d}" for number in range(60)])
    counted = stats.ConfusionCounts(np.zeros(60, dtype=np.int64), np.arange(60), names, confusions)
    found = stats.speaker_interval(counted, rng, resamples=20_000)
    tail = scipy_stats.norm.sf(np.sqrt(60 / 59) * scipy_stats.t.isf(0.025, 59))
    expected = scipy_stats.bootstrap(
        (right / 50,), np.mean, n_resamples=20_000, method="percentile", confidence_level=1 - 2 * tail, rng=rng
    ).confidence_interval
    assert (found.low[1], found.high[1]) == pytest.approx((expected.low, expected.high), abs=0.002)


@pytest.mark.parametrize("speakers", [10, 30])
def test_intervals_hold_the_true_value_about_as_often_as_they_say(speakers: int) -> None:
    rng = np.random.default_rng(speakers)
    truth = stats.scores(_cloned(20_000, np.random.default_rng(0)).confusions.sum(axis=0))
    trials = 300
    held = np.zeros(3)
    for _ in range(trials):
        low, high = stats.speaker_interval(_cloned(speakers, rng), rng, resamples=400)
        held += (low <= truth) & (truth <= high)
    assert ((held / trials > 0.90) & (held / trials < 0.985)).all(), held / trials


def test_utterances_of_one_speaker_are_not_taken_for_independent(rng: np.random.Generator) -> None:
    counted = _cloned(40, rng, spread=0.2)
    pooled = stats.scores(counted.confusions.sum(axis=0))
    utterances = counted.confusions.sum()
    low, high = stats.speaker_interval(counted, rng)
    naive = 2 * 1.96 * np.sqrt(pooled[1] * (1 - pooled[1]) / utterances)
    assert high[1] - low[1] > 1.5 * naive


def test_a_difference_in_the_same_crowds_is_surer_than_two_intervals() -> None:
    one = _cloned(20, np.random.default_rng(1), runs=3)
    better = one.confusions.copy()
    moved = better[:, 0, 1] // 2  # half of what was anger, and taken for happiness, is now right
    better[:, 0, 1] -= moved
    better[:, 0, 0] += moved
    other = one._replace(confusions=better)
    low, high = stats.speaker_interval(other, np.random.default_rng(2), against=one)
    alone = stats.speaker_interval(one, np.random.default_rng(2))
    assert (low > 0).all()
    assert (high - low < (alone.high - alone.low) / 2).all()
    same = stats.speaker_interval(one, np.random.default_rng(2), against=one)
    assert np.array_equal(same.low, np.zeros(3))
    assert np.array_equal(same.high, np.zeros(3))


def test_only_speakers_of_both_are_compared(rng: np.random.Generator) -> None:
    one = _cloned(12, rng)
    fewer = one.where(one.folds < 8)
    found = stats.speaker_interval(one, np.random.default_rng(1), against=fewer)
    assert [*found.low, *found.high] == [0.0] * 6


def test_one_speaker_tells_nothing_of_others(rng: np.random.Generator) -> None:
    assert np.isnan(stats.speaker_interval(_cloned(1, rng), rng)).all()


def test_a_run_without_any_of_a_crowds_speakers_is_left_out() -> None:
    said = [(0, fold, name, "anger", "anger") for fold, name in enumerate("uvwx")] + [(1, 0, "u", "anger", "sadness")]
    low, high = stats.speaker_interval(_tally(said), np.random.default_rng(1))
    assert np.isfinite([low, high]).all()
    assert (low[0], high[0]) == (0.5, 1.0)


def test_intervals_are_quick(rng: np.random.Generator) -> None:
    counted = _cloned(91, rng, runs=10)
    since = time.process_time()
    stats.speaker_interval(counted, rng, against=counted, resamples=1_000)
    assert time.process_time() - since < 0.5  # takes .02 s: 25 rows are far below a few seconds even on a busy machine


# Tests


@given(st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=20).filter(lambda values: np.std(values) > 1e-3))
def test_without_overlap_the_corrected_test_is_scipys(values: list[float]) -> None:
    found = stats.corrected_t_test(np.array(values), ratio=0)
    assert found.difference == pytest.approx(np.mean(values))
    assert found.p == pytest.approx(scipy_stats.ttest_1samp(values, 0).pvalue)


def test_the_correction_by_hand() -> None:
    """Ten folds of ten, one of which validates: 1 / 8."""
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) / 100
    statistic = 0.055 / np.sqrt((1 / 10 + 1 / 8) * (0.0825 / 90))  # the squares of the distances sum to .00825
    found = stats.corrected_t_test(values, ratio=1 / 8)
    assert found.p == pytest.approx(2 * scipy_stats.t.sf(statistic, 9))
    assert found.p > stats.corrected_t_test(values, ratio=0).p


def _share_below(trials: NDArray[np.float64], ratio: float) -> float:
    return float(np.mean([stats.corrected_t_test(row, ratio).p < stats.ALPHA for row in trials]))


@pytest.mark.parametrize(("folds", "ratio"), [(5, 1 / 3), (10, 1 / 8)])
def test_false_alarms_of_correlated_folds_are_as_rare_as_promised(folds: int, ratio: float) -> None:
    """Nadeau and Bengio's own picture of a cross-validation: differences of correlation test / (test + training)."""
    rng = np.random.default_rng(folds)
    shared = ratio / (1 + ratio)
    noise = rng.standard_normal((2_000, folds)) * np.sqrt(1 - shared)
    trials = 0.03 * (noise + rng.standard_normal((2_000, 1)) * np.sqrt(shared))
    assert _share_below(trials, ratio) == pytest.approx(stats.ALPHA, abs=0.015)  # 3 standard errors
    assert _share_below(trials, 0) > 0.1  # the usual test, on the same data


def test_false_alarms_in_a_real_cross_validation_are_no_more_than_promised() -> None:
    """Two classifiers by one noise feature each, on speakers held out in turn: neither is better."""
    rng = np.random.default_rng(7)
    speakers, each, trials = 10, 30, 400
    differences = np.zeros((trials, speakers))
    for trial in range(trials):
        labels = rng.integers(0, 2, (speakers, each)) * 2 - 1
        # features tell a little, and all utterances of a speaker are shifted together
        features = 0.4 * labels + rng.standard_normal((2, speakers, each)) + 0.7 * rng.standard_normal((2, speakers, 1))
        for fold in range(speakers):
            others = np.arange(speakers) != fold
            means = [(features[:, others] * (labels[others] == side)).sum(axis=(1, 2)) for side in (-1, 1)]
            counts = [(labels[others] == side).sum() for side in (-1, 1)]
            middle = (means[0] / counts[0] + means[1] / counts[1]) / 2
            right = np.sign(features[:, fold] - middle[:, None]) == labels[fold]
            differences[trial, fold] = right[0].mean() - right[1].mean()
    assert _share_below(differences, 1 / 9) < 0.06
    assert np.mean([stats.signed_rank_test(row).p < stats.ALPHA for row in differences]) < 0.08


def test_a_true_difference_is_found(rng: np.random.Generator) -> None:
    trials = rng.normal(0.04, 0.03, (300, 10))
    assert _share_below(trials, 1 / 8) > 0.6


@settings(max_examples=40)
@given(st.lists(st.floats(-1, 1, width=16), min_size=2, max_size=30, unique_by=abs).filter(all))
def test_signed_ranks_are_scipys(values: list[float]) -> None:
    expected = scipy_stats.wilcoxon(values, method="exact").pvalue
    assert stats.signed_rank_test(np.array(values)).p == pytest.approx(expected)


@pytest.mark.parametrize("values", [[1, 1, 2, -2, 3], [0, 0, 1, -1], [0.5, 0.5, 0.5, -0.5, 0.25, 0, 1], [-1, -1, -1]])
def test_signed_ranks_with_ties_and_zeros_are_those_of_scipys_permutations(values: list[float]) -> None:
    expected = scipy_stats.wilcoxon(values, method=scipy_stats.PermutationMethod()).pvalue
    assert stats.signed_rank_test(np.array(values)).p == pytest.approx(expected)


def test_ties_up_to_the_last_digit_are_ties() -> None:
    assert stats.signed_rank_test(np.array([0.1 + 0.2 - 0.3, 0.0])).p == 1
    assert stats.signed_rank_test(np.array([0.3, 0.1 + 0.2, 0.3])).p == stats.signed_rank_test(np.full(3, 0.3)).p


@pytest.mark.parametrize(
    ("differences", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], 0.0), ([0.1], np.nan), ([], np.nan)]
)
def test_differences_that_do_not_vary(differences: list[float], p: float) -> None:
    assert stats.corrected_t_test(np.array(differences), 1 / 8).p == pytest.approx(p, nan_ok=True)


def test_one_fold_is_no_test() -> None:
    assert np.isnan(stats.signed_rank_test(np.array([0.1])).p)


# Many tests


def test_holm_by_hand() -> None:
    """Holm's own way: .01 against .05 / 4, .02 against .05 / 3, where it stops."""
    found = stats.holm([0.02, 0.04, 0.01, 0.03])
    assert found == pytest.approx([0.06, 0.06, 0.04, 0.06])


PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(PS)
def test_holm_rejects_what_its_step_down_procedure_rejects(ps: list[float]) -> None:
    rejected = set()
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[place] * (len(ps) - rank) >= stats.ALPHA:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(stats.holm(ps)) if p < stats.ALPHA} == rejected


@given(PS)
def test_holm_never_makes_a_difference_surer_and_keeps_the_order(ps: list[float]) -> None:
    found = stats.holm(ps)
    assert all(p <= corrected <= min(1, len(ps) * p) for p, corrected in zip(ps, found, strict=True))
    assert sorted(found) == [found[place] for place in sorted(range(len(ps)), key=ps.__getitem__)]


def test_holm_counts_only_what_was_tested() -> None:
    found = stats.holm([np.nan, 0.02, 0.03])
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([0.04, 0.04])


def test_holm_keeps_the_promise_for_the_whole_table() -> None:
    ps = np.random.default_rng(3).uniform(size=(4_000, 13))
    alarms = np.mean([min(stats.holm(row.tolist())) < stats.ALPHA for row in ps])
    assert alarms == pytest.approx(stats.ALPHA, abs=0.012)
    assert np.mean((ps < stats.ALPHA).any(axis=1)) > 0.4  # without it, every other table shows something


@pytest.mark.parametrize(
    ("ours", "theirs", "tau"),
    [([1, 2, 3], [2, 4, 9], 1), ([1, 2, 3], [9, 4, 2], -1), ([1, 1, 1], [1, 2, 3], np.nan), ([1], [2], np.nan)],
)
def test_agreement_of_orders(ours: list[float], theirs: list[float], tau: float) -> None:
    assert stats.rank_agreement(ours, theirs) == pytest.approx(tau, nan_ok=True)
