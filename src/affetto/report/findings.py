"""What figures show, as numbers: confusions, recalls, speakers, learning curves, calibration, confident errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto import metrics, stats
from affetto.evaluate.predictions import Answers
from affetto.training.heads.tasks import Epoch

Floats = NDArray[np.float64]
SEED = 20170912
"""Of the speakers drawn for intervals."""


class Confusion(NamedTuple):
    """Who is taken for whom.

    Attributes:
        counts: (classes, classes) utterances of a fold, averaged over folds and repeats; a row a true class.
        shares: (classes, classes) of a true class's utterances; not a number where a class has none.
    """

    counts: Floats
    shares: Floats


def confusion(counted: stats.ConfusionCounts) -> Confusion:
    """Pooled over all cells, so that utterances weigh alike and the diagonal's mean is the table's UAR."""
    total = counted.confusions.sum(axis=0)
    spoken = total.sum(axis=1, keepdims=True)
    shares = np.divide(total, spoken, out=np.full(total.shape, np.nan), where=spoken > 0)
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
    """The UAR of each speaker, over the classes that he or she has, repeats pooled.

    Attributes:
        names: (speakers,) sorted.
        uars: (speakers,).
    """

    names: NDArray[np.str_]
    uars: Floats


def speaker_scores(counted: stats.ConfusionCounts) -> SpeakerScores:
    """One UAR a speaker."""
    names, place = np.unique(counted.speakers, return_inverse=True)
    sums = np.zeros((len(names), *counted.confusions.shape[1:]), dtype=np.int64)
    np.add.at(sums, place, counted.confusions)
    return SpeakerScores(names, stats.scores(sums)[:, 0])


class Learning(NamedTuple):
    """Learning curves of several cells, as far as at least half of them go.

    Attributes:
        epochs: (epochs,).
        training: (2, epochs) mean and standard deviation of the training loss over cells.
        validation: (2, epochs) the same of the validation loss.
        cells: (epochs,) how many still train.
        best: (cells,) the epoch of each with the lowest validation loss.
        broken: how many cells have a loss that is no number.
    """

    epochs: NDArray[np.int64]
    training: Floats
    validation: Floats
    cells: NDArray[np.int64]
    best: NDArray[np.int64]
    broken: int


def learning(curves: Mapping[tuple[int, int], Sequence[Epoch]]) -> Learning | None:
    """Averages learning curves; None where nothing is trained in epochs, or no curve is whole."""
    found = [np.array([(each.training_loss, each.validation_loss) for each in curve]) for curve in curves.values()]
    begun = [curve for curve in found if len(curve)]
    whole = [curve for curve in begun if np.isfinite(curve).all()]
    if not whole:
        return None
    lengths = np.array([len(curve) for curve in whole])
    cells = np.array([(lengths > epoch).sum() for epoch in range(lengths.max())])
    kept = int((2 * cells >= len(whole)).sum())
    grid = np.full((len(whole), lengths.max(), 2), np.nan)
    for curve, row in zip(whole, grid, strict=True):
        row[: len(curve)] = curve
    grid = grid[:, :kept]
    deviation = np.where(cells[:kept, None] > 1, _deviation(grid), 0.0)
    both = np.stack([np.nanmean(grid, axis=0), deviation])  # (2, epochs, losses)
    best = np.array([int(curve[:, 1].argmin()) for curve in whole])
    return Learning(
        np.arange(1, kept + 1), both[:, :, 0], both[:, :, 1], cells[:kept], best + 1, len(begun) - len(whole)
    )


def _deviation(grid: Floats) -> Floats:
    """Over the first axis, of those that are numbers; 0 for a single one."""
    count = np.maximum((~np.isnan(grid)).sum(axis=0) - 1, 1)
    found: Floats = np.sqrt(np.nansum((grid - np.nanmean(grid, axis=0)) ** 2, axis=0) / count)
    return found


class Calibrated(NamedTuple):
    """What one set of probabilities is worth on the test speakers, averaged over runs.

    Attributes:
        error: expected calibration error.
        cross_entropy: in nats.
        bins: of all runs together.
    """

    error: float
    cross_entropy: float
    bins: metrics.Reliability


class Calibration(NamedTuple):
    """A row before and after temperature scaling.

    Attributes:
        before: as the models give them.
        after: with each cell's temperature, fitted on its validation speakers.
        temperatures: (cells,).
    """

    before: Calibrated
    after: Calibrated
    temperatures: Floats


def calibrate(tested: Answers, validating: Answers, classes: Sequence[str]) -> Calibration:
    """Fits a temperature to each cell's validation speakers and applies it to its test speakers.

    Args:
        tested: of the cells to judge.
        validating: of at least these cells.
        classes: in the order of the probabilities.

    Raises:
        ValueError: a cell that is tested was not validated.
    """
    truth, chosen = places(tested.references, classes), places(validating.references, classes)
    scaled = np.empty_like(tested.probabilities)
    temperatures = []
    validated = rows_of(validating)
    for cell, rows in rows_of(tested).items():
        if cell not in validated:
            raise ValueError(f"nothing was validated in repeat {cell[0]}, fold {cell[1]}")
        temperature = metrics.fit_temperature(validating.probabilities[validated[cell]], chosen[validated[cell]])
        scaled[rows] = metrics.temper(tested.probabilities[rows], temperature)
        temperatures.append(temperature)
    predicted = places(tested.predicted, classes)
    repeats = np.array([repeat for repeat, _ in tested.cells])
    before, after = (_calibrated(each, predicted, truth, repeats) for each in (tested.probabilities, scaled))
    return Calibration(before, after, np.array(temperatures))


def _calibrated(
    probabilities: Floats, predicted: NDArray[np.int64], truth: NDArray[np.int64], repeats: NDArray[np.int64]
) -> Calibrated:
    sure, right = np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0], predicted == truth
    runs = [repeats == repeat for repeat in np.unique(repeats)]
    errors = [metrics.expected_calibration_error(sure[run], right[run]) for run in runs]
    losses = [metrics.cross_entropy(probabilities[run], truth[run]) for run in runs]
    return Calibrated(float(np.mean(errors)), float(np.mean(losses)), metrics.reliability(sure, right))


class Mistake(NamedTuple):
    """An utterance that is taken for something else.

    Attributes:
        utterance: its id.
        speaker: who speaks.
        true_class: its emotion.
        predicted: the likeliest class, probabilities averaged over repeats.
        probability: of the predicted class.
        true_probability: of the true class.
    """

    utterance: str
    speaker: str
    true_class: str
    predicted: str
    probability: float
    true_probability: float


def mistakes(answers: Answers, classes: Sequence[str]) -> list[Mistake]:
    """Every utterance that is wrong when probabilities are averaged over repeats, the surest first."""
    ids, first, place = np.unique(np.array(answers.utterances), return_index=True, return_inverse=True)
    sums = np.zeros((len(ids), len(classes)))
    np.add.at(sums, place, answers.probabilities)
    shares = sums / np.bincount(place)[:, None]
    truth = places(answers.references, classes)[first]
    predicted = shares.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    order = wrong[np.argsort(-shares[wrong, predicted[wrong]], kind="stable")]
    return [
        Mistake(
            str(ids[each]),
            answers.speakers[first[each]],
            classes[truth[each]],
            classes[predicted[each]],
            float(shares[each, predicted[each]]),
            float(shares[each, truth[each]]),
        )
        for each in order.tolist()
    ]


def places(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each name among the classes."""
    place = {name: number for number, name in enumerate(classes)}
    return np.array([place[name] for name in names], dtype=np.int64)


def rows_of(answers: Answers) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Cell -> the places of its predictions."""
    found: dict[tuple[int, int], list[int]] = {}
    for number, cell in enumerate(answers.cells):
        found.setdefault(cell, []).append(number)
    return {cell: np.array(rows) for cell, rows in found.items()}
