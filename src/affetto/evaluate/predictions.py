"""What models predict of utterances, on disk: a line an utterance; and the figures that follow from it."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Collection, Sequence
from itertools import chain, compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto import metrics, stats
from affetto.errors import RunError

_FIXED = ("repeat", "fold", "utterance", "speaker", "reference", "predicted")
COMPUTE_AGAIN = "remove the folder that it lies in and run the same command again: only what is missing is computed"


class Prediction(NamedTuple):
    """What a model predicts of one utterance; for its name and the speaker's see `affetto.data.folds`."""

    repeat: int  # which initialisation
    fold: int  # which test speakers
    utterance: str
    speaker: str
    reference: str  # the emotion it counts as
    predicted: str  # the likeliest class
    probabilities: dict[str, float]  # of each class


class Scores(NamedTuple):
    """Figures over a set of predictions."""

    uar: float  # unweighted average recall
    accuracy: float
    f1_macro: float  # the mean F1 over the classes
    classes: tuple[str, ...]  # the order of the confusion's rows and columns
    confusion: list[list[int]]  # utterances; a row a true class, a column a predicted one


def score(predictions: Sequence[Prediction]) -> Scores:
    """The figures of predictions, of which there is at least one."""
    references = [each.reference for each in predictions]
    predicted = [each.predicted for each in predictions]
    classes = tuple(predictions[0].probabilities)
    return Scores(
        metrics.uar(references, predicted),
        metrics.accuracy(references, predicted),
        metrics.f1_macro(references, predicted),
        classes,
        metrics.confusion(references, predicted, classes).tolist(),
    )


class Answers(NamedTuple):
    """Predictions, a column each: read four times as fast."""

    cells: list[tuple[int, int]]  # (repeat, fold)
    utterances: list[str]
    speakers: list[str]
    references: list[str]
    predicted: list[str]
    probabilities: NDArray[np.float64]  # (predictions, classes)

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Several files', one after the other; at least one."""
        columns = zip(*(part[:-1] for part in parts), strict=True)
        joined: list[Any] = [list(chain.from_iterable(column)) for column in columns]
        return cls(*[*joined, np.concatenate([part.probabilities for part in parts])])

    def of(self, cells: Collection[tuple[int, int]]) -> Answers:
        """Those of some cells."""
        kept = [cell in cells for cell in self.cells]
        columns: list[Any] = [[*compress(column, kept)] for column in self[:-1]]
        return Answers(*[*columns, self.probabilities[np.array(kept, dtype=bool)]])

    def tally(self, classes: Sequence[str]) -> stats.ConfusionCounts:
        """Counted by cell and speaker."""
        return stats.tally(self.cells, self.speakers, self.references, self.predicted, classes)


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes a CSV with a line for each prediction and a column for each class's probability, whole or not at all.

    There is at least one prediction, and all are over the same classes.
    """
    classes = list(predictions[0].probabilities)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_FIXED, *(f"p_{name}" for name in classes)])
        for each in predictions:
            writer.writerow([*each[:-1], *(f"{each.probabilities[name]:.6f}" for name in classes)])
    partial.replace(path)


def read_answers(path: Path, cell: tuple[int, int], classes: Sequence[str]) -> Answers:
    """Reads what `write_predictions` wrote into columns.

    Raises RunError where the file is missing or damaged, or of another (repeat, fold) or other classes.
    """
    found, answers = read_columns(path)
    if found != list(classes):
        raise RunError("holds other classes than the run", COMPUTE_AGAIN, path)
    if set(answers.cells) != {cell}:
        raise RunError("holds another fold or repeat than its folder says", COMPUTE_AGAIN, path)
    return answers


def read_columns(path: Path) -> tuple[list[str], Answers]:
    """The classes of a file, and its predictions."""
    classes, lines = _lines(path)
    repeats, folds, *named = list(zip(*lines, strict=True))[: len(_FIXED)]
    # Names occur in many files, and are kept once.
    utterances, speakers, references, predicted = ([*map(sys.intern, column)] for column in named)
    pairs = list(zip(repeats, folds, strict=True))
    try:
        known = {pair: (int(pair[0]), int(pair[1])) for pair in set(pairs)}
        shares = np.array([[*map(float, line[len(_FIXED) :])] for line in lines])
    except ValueError:
        _raise_first(path, lines, _no_numbers)
        raise
    valid = ((shares >= 0) & (shares <= 1)).all(axis=1)
    if not valid.all():
        place = f"{path}:{2 + int(valid.argmin())}"
        raise RunError("damaged (a probability is not between 0 and 1)", COMPUTE_AGAIN, place)
    if not {*references, *predicted} <= set(classes):
        _raise_first(path, lines, lambda line: "" if {*line[4:6]} <= set(classes) else "a class has no column")
    return classes, Answers([known[pair] for pair in pairs], utterances, speakers, references, predicted, shares)


def _raise_first(path: Path, lines: Sequence[Sequence[str]], fault: Callable[[Sequence[str]], str]) -> None:
    """Names the first line with a fault."""
    for number, line in enumerate(lines, start=2):
        problem = fault(line)
        if problem:
            raise RunError(f"damaged ({problem})", COMPUTE_AGAIN, f"{path}:{number}")


def _no_numbers(line: Sequence[str]) -> str:
    try:
        _ = int(line[0]), int(line[1]), [*map(float, line[len(_FIXED) :])]
    except ValueError as error:
        return str(error)
    return ""


def _lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The classes of a file, and its lines after the header, of which there is at least one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            content = file.read()
        if not content.endswith("\n"):
            raise RunError("ends in the middle of a line", COMPUTE_AGAIN, path)
        header, *lines = list(csv.reader(io.StringIO(content, newline=""), strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"cannot be read ({error})", COMPUTE_AGAIN, path) from error
    fixed, columns = header[: len(_FIXED)], header[len(_FIXED) :]
    classes = [column.removeprefix("p_") for column in columns]
    named = all(column.startswith("p_") for column in columns) and len(set(classes)) == len(classes)
    if tuple(fixed) != _FIXED or not classes or not named:
        raise RunError("not a file of predictions", COMPUTE_AGAIN, path)
    if not lines:
        raise RunError("no predictions in it", COMPUTE_AGAIN, path)
    _raise_first(path, lines, lambda line: "" if len(line) == len(header) else f"{len(line)} values")
    return classes, lines
