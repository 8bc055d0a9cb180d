"""What a figure is worth: spread over runs and folds, intervals over speakers, paired tests, correction for many tests.

All follows from sums over the utterances of each speaker in each cell (a repeat and a fold): of classes, confusions; of
dimensions, sums and squares. Why these intervals and these tests: ``docs/statistics.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from affetto.metrics import agreement, concordance

METRICS = ("uar", "accuracy", "f1_macro")  # Of classes, in the order of the last axis of everything called scores
MAIN = 0  # The place there of what models are compared by
LEVEL = 0.95  # How often an interval should hold the true value
ALPHA = 0.05  # How often, at most, a whole table should show a difference where there is none
RESAMPLES = 5_000  # An interval's ends then vary by about a hundredth of its width from one seed to another
_NOTHING = 1e-12  # Differences below this are the last digits of a sum
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class ConfusionCounts(NamedTuple):
    """The confusions of one model; an entry is one speaker in one cell."""

    repeats: Integers  # (entries,) which initialisation
    folds: Integers  # (entries,) which division of the speakers
    speakers: NDArray[np.str_]  # (entries,) names
    confusions: Integers  # (entries, classes, classes) utterances; a row a true class, a column a predicted one

    @property
    def sums(self) -> Integers:
        """What scores follow from: hits, true and predicted utterances, (entries, 3, classes)."""
        return np.moveaxis(_counts(self.confusions), 0, 1)

    @property
    def utterances(self) -> Integers:
        """Of each entry, (entries,)."""
        return np.asarray(self.confusions.sum(axis=(1, 2)))

    def scored(self, sums: NDArray[np.floating]) -> Floats:
        """The scores of sums that were added up, (3, classes, ...), in the order of `METRICS`: (3, ...)."""
        return _scores(sums)

    def where(self, kept: NDArray[np.bool_]) -> ConfusionCounts:
        """The entries for which ``kept``, (entries,), is true."""
        return ConfusionCounts(self.repeats[kept], self.folds[kept], self.speakers[kept], self.confusions[kept])

    def cells(self) -> set[tuple[int, int]]:
        """Each (repeat, fold) there is."""
        return set(zip(self.repeats.tolist(), self.folds.tolist(), strict=True))


class Agreements(NamedTuple):
    """How predicted dimensions agree with true ones; an entry is one speaker in one cell, as of `ConfusionCounts`."""

    repeats: Integers
    folds: Integers
    speakers: NDArray[np.str_]
    sums: Floats  # (entries, 6, dimensions) see `affetto.metrics.agreement`

    @property
    def utterances(self) -> Integers:
        """Of each entry, (entries,)."""
        return self.sums[:, 0, 0].astype(np.int64)

    def scored(self, sums: NDArray[np.floating]) -> Floats:
        """CCCs of sums that were added up, (6, dimensions, ...); of several dimensions, the mean of theirs first."""
        found = concordance(sums)
        return found if len(found) == 1 else np.concatenate([found.mean(axis=0, keepdims=True), found])

    def where(self, kept: NDArray[np.bool_]) -> Agreements:
        """The entries for which ``kept``, (entries,), is true."""
        return Agreements(self.repeats[kept], self.folds[kept], self.speakers[kept], self.sums[kept])

    def cells(self) -> set[tuple[int, int]]:
        """Each (repeat, fold) there is."""
        return set(zip(self.repeats.tolist(), self.folds.tolist(), strict=True))


def score_names(dimensions: Sequence[str]) -> tuple[str, ...]:
    """What scores are called, in their order; without dimensions, those of classes.

    >>> score_names(()), score_names(("valence", "activation"))
    (('uar', 'accuracy', 'f1_macro'), ('ccc', 'ccc_valence', 'ccc_activation'))
    """
    each = tuple(f"ccc_{name}" for name in dimensions)
    return ("ccc", *each) if len(each) > 1 else each or METRICS


Counted = ConfusionCounts | Agreements
"""What scores are derived from."""


def agreements(
    cells: Sequence[tuple[int, int]], speakers: Sequence[str], references: Floats, predicted: Floats
) -> Agreements:
    """Adds up predictions, (utterances, dimensions), an entry of each (repeat, fold) and speaker for each."""
    entries = {entry: number for number, entry in enumerate(sorted(set(zip(cells, speakers, strict=True))))}
    places = [entries[entry] for entry in zip(cells, speakers, strict=True)]
    centre = references.mean(axis=0)  # so that sums of squares lose no digits; it changes no concordance
    sums = np.zeros((len(entries), 6, references.shape[1]))
    np.add.at(sums, places, np.moveaxis(agreement(references - centre, predicted - centre), 0, 1))
    return Agreements(*_columns(entries), sums)


def _columns(entries: Iterable[tuple[tuple[int, int], str]]) -> tuple[Integers, Integers, NDArray[np.str_]]:
    """Repeats, folds and speakers."""
    repeats, folds, speakers = zip(*((*cell, speaker) for cell, speaker in entries), strict=True)
    return np.array(repeats, dtype=np.int64), np.array(folds, dtype=np.int64), np.array(speakers, dtype=np.str_)


def tally(
    cells: Sequence[tuple[int, int]],
    speakers: Sequence[str],
    references: Sequence[str],
    predicted: Sequence[str],
    classes: Sequence[str],
) -> ConfusionCounts:
    """Counts predictions, an entry of each (repeat, fold), speaker, true and predicted class for each.

    Raises ValueError where a label is none of the classes, which order rows and columns, or the lengths differ.
    """
    places = {name: place for place, name in enumerate(classes)}
    unknown = (set(references) | set(predicted)) - set(places)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: none of the classes {', '.join(classes)}")
    counted = Counter(zip(cells, speakers, references, predicted, strict=True))
    entries = {entry: number for number, entry in enumerate(sorted({key[:2] for key in counted}))}
    confusions = np.zeros((len(entries), len(classes), len(classes)), dtype=np.int64)
    for (cell, speaker, reference, label), count in counted.items():
        confusions[entries[cell, speaker], places[reference], places[label]] = count
    return ConfusionCounts(*_columns(entries), confusions)


def scores(confusions: NDArray[np.integer] | NDArray[np.floating]) -> Floats:
    """Unweighted average recall, accuracy and macro F1 of confusions, each over the classes that its references hold.

    A class without an utterance has no recall; counting it as 0 would punish a model for what it was not asked.
    Confusions (..., classes, classes) give (..., 3) in the order of `METRICS`, not a number where one is empty.
    """
    return np.moveaxis(_scores(np.moveaxis(_counts(confusions).astype(np.float64), -1, 1)), 0, -1)


def _counts(confusions: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[Any]:
    """Hits, true and predicted utterances, (3, ..., classes), of confusions, (..., classes, classes)."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    return np.stack([hits, confusions.sum(axis=-1), confusions.sum(axis=-2)])


def _scores(counts: NDArray[np.floating]) -> Floats:
    """Scores, (3, ...), from hits, true and predicted utterances of each class, (3, classes, ...)."""
    hits, true, predicted = counts
    present = true > 0
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=present)
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=present)
    classes = present.sum(axis=0)
    sums = np.stack([recall.sum(axis=0), hits.sum(axis=0), f1.sum(axis=0)]).astype(np.float64)
    parts = np.stack([classes, true.sum(axis=0), classes])
    found: Floats = np.divide(sums, parts, out=np.full_like(sums, np.nan), where=parts > 0)
    return found


def run_scores(counted: Counted) -> Floats:
    """The scores of each run: of one repeat's predictions over all its folds together, (runs, scores)."""
    return _scored(counted, counted.repeats[:, None])[1]


def speaker_scores(counted: Counted) -> tuple[NDArray[np.str_], Floats]:
    """The speakers' names, sorted, and the scores of each, all repeats pooled, (speakers, scores)."""
    names, place = np.unique(counted.speakers, return_inverse=True)
    return names, _scored(counted, place.reshape(-1, 1))[1]


def fold_scores(counted: Counted) -> tuple[Integers, Floats]:
    """The folds, (folds,), and the scores in each, averaged over its repeats, (folds, scores)."""
    cells, each = _scored(counted, np.stack([counted.repeats, counted.folds], axis=1))
    folds, repeats = np.unique(cells[:, 1], return_counts=True)
    return folds, _pooled(cells[:, 1:], each)[1] / repeats[:, None]


def missing_classes(counted: ConfusionCounts) -> dict[int, list[int]]:
    """Fold -> the classes, by their place, that no reference in it has; folds with all classes are left out."""
    folds, confusions = _pooled(counted.folds[:, None], counted.confusions)
    absent = confusions.sum(axis=2) == 0
    return {int(fold): np.flatnonzero(row).tolist() for fold, row in zip(folds[:, 0], absent, strict=True) if row.any()}


def whole_runs(counted: Counted, folds: set[int]) -> Counted:
    """What belongs to repeats in which every one of ``folds`` is finished; perhaps nothing."""
    cells = counted.cells()
    whole = [repeat for repeat in {cell[0] for cell in cells} if all((repeat, fold) in cells for fold in folds)]
    return counted.where(np.isin(counted.repeats, whole))


def mean_and_deviation(values: Floats) -> tuple[Floats, Floats]:
    """Over the first axis; the deviation is that of a sample (divided by n - 1), not a number for a single value."""
    deviation = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), deviation


class Interval(NamedTuple):
    """Where the true values lie, (scores,) each; not a number where there are fewer than two speakers."""

    low: Floats
    high: Floats


def speaker_interval(
    counted: Counted, rng: np.random.Generator, *, against: Counted | None = None, resamples: int = RESAMPLES
) -> Interval:
    """Where the scores, or their differences to a model ``against`` it, would lie with other speakers of the kind.

    A bootstrap in clusters (Field & Welsh 2007): speakers are drawn with replacement, each with all utterances in all
    repeats; a crowd's scores are those of each run, averaged over runs. The interval is the expanded percentile one
    (Hesterberg 2015), as far out as makes that of a mean Student's t. The same state of ``rng`` draws the same crowds
    of the same speakers; of two models, those of both.
    """
    names = np.unique(counted.speakers)
    if against is not None:
        names = np.intersect1d(names, against.speakers)
    if len(names) < 2:
        return interval_of(run_scores(counted), len(names))
    crowds = draw_crowds(len(names), rng, resamples)
    values = _crowd_scores(crowds, counted, names)
    if against is not None:
        values = values - _crowd_scores(crowds, against, names)
    return interval_of(values, len(names))


def draw_crowds(count: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[np.float32]:
    """How often each of so many speakers is drawn, with replacement, into each crowd of as many: (resamples, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float32)


def interval_of(values: Floats, count: int) -> Interval:
    """The expanded percentile interval (Hesterberg 2015) of figures of drawn crowds, (resamples, ...).

    Not a number where a figure is, or where ``count``, the number of speakers, is below two; see `speaker_interval`.
    """
    if count < 2:
        nowhere = np.full(values.shape[1:], np.nan)
        return Interval(nowhere, nowhere)
    widened = np.sqrt(count / (count - 1)) * distributions.t.isf((1 - LEVEL) / 2, count - 1)
    tail = float(distributions.norm.sf(widened))
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return Interval(low, high)


def _crowd_scores(crowds: NDArray[np.float32], counted: Counted, names: NDArray[np.str_]) -> Floats:
    """The scores of each crowd (resamples, speakers), averaged over the runs: (resamples, scores).

    What scores of a crowd follow from are sums over its speakers: all crowds are one product of matrices. Each of
    ``names``, sorted, has an utterance in at least one run.
    """
    counted = counted.where(np.isin(counted.speakers, names))
    runs, run = np.unique(counted.repeats, return_inverse=True)
    sums = counted.sums  # (entries, kinds, outputs)
    # Counts stay far below 2 ** 24, where float32 would round them.
    exact = np.float32 if np.issubdtype(sums.dtype, np.integer) else np.float64
    spoken = np.zeros((len(names), len(runs), *sums.shape[1:]), dtype=exact)
    np.add.at(spoken, (np.searchsorted(names, counted.speakers), run), sums)
    weights = spoken.transpose(2, 3, 1, 0).reshape(-1, len(names))  # (kinds x outputs x runs, speakers)
    drawn = (weights @ crowds.T).reshape(*sums.shape[1:], len(runs), len(crowds))
    each = counted.scored(drawn)  # (scores, runs, resamples)
    present = ~np.isnan(each)  # an unfinished run may have none of a crowd's speakers
    means: Floats = np.where(present, each, 0).sum(axis=1) / present.sum(axis=1)
    return means.T


class PairedTest(NamedTuple):
    """A test of whether the mean of paired differences is 0."""

    difference: float  # the mean
    p: float  # two-sided; not a number with fewer than two pairs


def corrected_t_test(differences: Floats, ratio: float) -> PairedTest:
    """Nadeau and Bengio's corrected resampled t-test, for differences (folds,) over the folds of a cross-validation.

    Folds share training speakers, so their differences are correlated: the variance of the mean is widened from
    ``s2 / folds`` to ``s2 * (1 / folds + ratio)``, the ratio being test / training utterances (2003, Machine Learning
    52). Average over repeats first: they make a fold's value more exact, but no more folds.
    """
    mean, count = _mean(differences), len(differences)
    if count < 2:
        return PairedTest(mean, float("nan"))
    deviation = float(np.std(differences, ddof=1))
    if deviation < _NOTHING:
        return PairedTest(mean, 1.0 if abs(mean) < _NOTHING else 0.0)
    statistic = mean / (deviation * np.sqrt(1 / count + ratio))
    return PairedTest(mean, float(2 * distributions.t.sf(abs(statistic), count - 1)))


def signed_rank_test(differences: Floats) -> PairedTest:
    """Wilcoxon's signed-rank test over folds (Wilcoxon 1945; for classifiers: Demsar 2006).

    A second opinion beside `corrected_t_test`: it supposes no normal distribution, but independent folds. Those without
    a difference are left out.
    """
    mean = _mean(differences)
    if len(differences) < 2:
        return PairedTest(mean, float("nan"))
    rounded = np.round(differences, 12)  # so that equal differences tie, and no difference is exactly none
    rounded = rounded[rounded != 0]
    # Twice the ranks, which are whole even where ties share one. The exact distribution of their sum under random
    # signs is a product of polynomials; scipy's wilcoxon has it without ties only, and with them takes half a second.
    ranks = np.round(2 * distributions.rankdata(np.abs(rounded))).astype(np.int64)
    chances = np.ones(1)
    for rank in ranks.tolist():
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    positive = int(ranks[rounded > 0].sum())
    tail = min(chances[: positive + 1].sum(), chances[positive:].sum())
    return PairedTest(mean, min(1.0, float(2 * tail)))


def _mean(differences: Floats) -> float:
    return float(np.mean(differences)) if len(differences) else float("nan")


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): p-values that hold for all tests together, in the given order.

    What is not a number was not tested, and stays so.
    """
    tested = sorted((p, place) for place, p in enumerate(ps) if not np.isnan(p))
    corrected = [float("nan")] * len(ps)
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        corrected[place] = highest
    return corrected


def rank_agreement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Kendall's tau-b: 1 where two lists put the same things in the same order, -1 where in the opposite one.

    Not a number where either list has fewer than two different values.

    >>> round(rank_agreement([0.5, 0.6, 0.7], [0.51, 0.54, 0.58]), 3)
    1.0
    """
    if len(set(ours)) < 2 or len(set(theirs)) < 2:
        return float("nan")
    return float(distributions.kendalltau(ours, theirs).statistic)


def _scored(counted: Counted, keys: Integers) -> tuple[Integers, Floats]:
    """The keys there are, (groups, parts of a key), and the scores of what is pooled of each, (groups, scores)."""
    groups, sums = _pooled(keys, counted.sums)
    return groups, counted.scored(np.moveaxis(sums, 0, -1).astype(np.float64)).T


def _pooled(keys: Integers, values: NDArray[Any]) -> tuple[Integers, NDArray[Any]]:
    """The sum of the values of each key: keys (groups, parts of a key), sums (groups, ...)."""
    groups, place = np.unique(keys, axis=0, return_inverse=True)
    sums = np.zeros((len(groups), *values.shape[1:]), dtype=values.dtype)
    np.add.at(sums, place.reshape(-1), values)
    return groups, sums
