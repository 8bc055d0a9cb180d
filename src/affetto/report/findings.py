"""What figures show, as numbers: confusions, recalls, speakers, learning curves, calibration, confident errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto import metrics, stats
from affetto.evaluate.predictions import Answers
from affetto.report.build import SEED
from affetto.training.heads.tasks import Epoch

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Confusion(NamedTuple):
    """Which class is taken for which; a row a true class, a column a predicted one."""

    counts: Floats  # (classes, classes) utterances of a fold, averaged over folds and repeats
    shares: Floats  # (classes, classes) of a true class's utterances; not a number where a class has none


def confusion(counted: stats.ConfusionCounts) -> Confusion:
    """Pooled over all cells, so that utterances weigh alike and the diagonal's mean is the table's UAR."""
    total = counted.confusions.sum(axis=0)
    true = total.sum(axis=1, keepdims=True)
    shares = np.divide(total, true, out=np.full(total.shape, np.nan), where=true > 0)
    return Confusion(total / len(counted.cells()), shares)


class Recalls(NamedTuple):
    """The recall of each class, (classes,), with its interval over speakers; not a number where there is none."""

    mean: Floats
    low: Floats
    high: Floats


def class_recalls(counted: stats.ConfusionCounts, *, intervals: bool = True) -> Recalls:
    """Of each class, pooled over all cells; the intervals draw the same speakers for every row."""
    mean = np.diagonal(confusion(counted).shares)
    ends = np.full((2, len(mean)), np.nan)
    for place in np.flatnonzero(~np.isnan(mean)) if intervals else ():
        alone = np.zeros_like(counted.confusions)
        alone[:, place] = counted.confusions[:, place]  # the UAR of a single class is its recall
        interval = stats.speaker_interval(counted._replace(confusions=alone), np.random.default_rng(SEED))
        ends[:, place] = interval.low[0], interval.high[0]
    return Recalls(mean, *ends)


class SpeakerScores(NamedTuple):
    """The UAR of each speaker over the classes that he or she has, or the CCC, repeats pooled."""

    names: NDArray[np.str_]  # (speakers,) sorted
    scores: Floats  # (speakers,)


def speaker_scores(counted: stats.Counted) -> SpeakerScores:
    """One UAR or CCC a speaker."""
    names, scores = stats.speaker_scores(counted)
    return SpeakerScores(names, scores[:, stats.MAIN])


class Learning(NamedTuple):
    """Learning curves of several cells, as far as at least half of them go."""

    epochs: Integers  # (epochs,) from 1
    training: Floats  # (2, epochs) mean and standard deviation of the training loss over cells
    validation: Floats  # (2, epochs) the same of the validation loss
    cells: Integers  # (epochs,) how many still train
    best: Integers  # (cells,) the epoch of each with the lowest validation loss
    broken: int  # cells with a loss that is no number


def learning(curves: Mapping[tuple[int, int], Sequence[Epoch]]) -> Learning | None:
    """Averages learning curves; None where nothing is trained in epochs, or no curve is whole."""
    begun = [[(each.training_loss, each.validation_loss) for each in curve] for curve in curves.values() if curve]
    whole = [curve for curve in begun if np.isfinite(curve).all()]
    if not whole:
        return None
    every = np.array([*zip_longest(*whole, fillvalue=(np.nan, np.nan))])  # (epochs, cells, losses)
    cells = np.isfinite(every[:, :, 0]).sum(axis=1)
    kept = int((2 * cells >= len(whole)).sum())
    cells, grid = cells[:kept], every[:kept]
    mean = np.nanmean(grid, axis=1)
    deviation = np.sqrt(np.nansum((grid - mean[:, None]) ** 2, axis=1) / np.maximum(cells[:, None] - 1, 1))
    training, validation = np.stack([mean, deviation]).transpose(2, 0, 1)
    best = np.nanargmin(every[:, :, 1], axis=0) + 1
    return Learning(np.arange(1, kept + 1), training, validation, cells, best, len(begun) - len(whole))


class Calibrated(NamedTuple):
    """What one set of probabilities is worth on the test speakers, averaged over runs."""

    error: float  # expected calibration error
    cross_entropy: float  # in nats
    bins: metrics.Reliability  # of all runs together


class Calibration(NamedTuple):
    """A row before and after scaling by each cell's temperature, (cells,), fitted on its validation speakers."""

    before: Calibrated
    after: Calibrated
    temperatures: Floats


def calibrate(tested: Answers, validating: Answers, classes: Sequence[str]) -> Calibration:
    """Applies to each cell a temperature of its validation speakers; raises ValueError where it has none."""
    truth, chosen = _places(tested.references, classes), _places(validating.references, classes)
    scaled = np.empty_like(tested.probabilities)
    temperatures = []
    validated = _rows_of(validating)
    for cell, rows in _rows_of(tested).items():
        if cell not in validated:
            raise ValueError(f"nothing was validated in repeat {cell[0]}, fold {cell[1]}")
        known = validated[cell]
        temperature = metrics.fit_temperature(validating.probabilities[known], chosen[known])
        scaled[rows] = metrics.temper(tested.probabilities[rows], temperature)
        temperatures.append(temperature)
    predicted = _places(tested.predicted, classes)
    repeats = np.array([repeat for repeat, _ in tested.cells])
    before, after = (_calibrated(each, predicted, truth, repeats) for each in (tested.probabilities, scaled))
    return Calibration(before, after, np.array(temperatures))


def _calibrated(probabilities: Floats, predicted: Integers, truth: Integers, repeats: Integers) -> Calibrated:
    sure, right = np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0], predicted == truth
    runs = [repeats == repeat for repeat in np.unique(repeats)]
    errors = [metrics.expected_calibration_error(sure[run], right[run]) for run in runs]
    losses = [metrics.cross_entropy(probabilities[run], truth[run]) for run in runs]
    return Calibrated(float(np.mean(errors)), float(np.mean(losses)), metrics.reliability(sure, right))


class Mistake(NamedTuple):
    """An utterance that is taken for something else; probabilities are averaged over repeats."""

    utterance: str
    speaker: str
    true_class: str
    predicted: str  # the likeliest class
    probability: float  # of the predicted class
    true_probability: float


def mistakes(answers: Answers, classes: Sequence[str]) -> list[Mistake]:
    """Every utterance that is wrong when probabilities are averaged over repeats, the surest first."""
    ids, first, place = np.unique(np.array(answers.utterances), return_index=True, return_inverse=True)
    sums = np.zeros((len(ids), len(classes)))
    np.add.at(sums, place, answers.probabilities)
    shares = sums / np.bincount(place)[:, None]
    truth = _places(answers.references, classes)[first]
    predicted = shares.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    order = wrong[np.argsort(-shares[wrong, predicted[wrong]], kind="stable")]
    found = []
    for each in order.tolist():
        true, taken = truth[each], predicted[each]
        shown = shares[each, [taken, true]].tolist()
        found.append(Mistake(str(ids[each]), answers.speakers[first[each]], classes[true], classes[taken], *shown))
    return found


def _places(names: Sequence[str], classes: Sequence[str]) -> Integers:
    place = {name: number for number, name in enumerate(classes)}
    return np.array([place[name] for name in names], dtype=np.int64)


def _rows_of(answers: Answers) -> dict[tuple[int, int], Integers]:
    """Cell -> the places of its predictions."""
    found: dict[tuple[int, int], list[int]] = {}
    for number, cell in enumerate(answers.cells):
        found.setdefault(cell, []).append(number)
    return {cell: np.array(rows) for cell, rows in found.items()}
