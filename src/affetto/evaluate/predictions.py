"""What models predict of utterances, on disk: a line an utterance; and the figures that follow from it.

Classes are `Prediction`, read as `Answers`; dimensions `ValuePrediction`, read as `Values`.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain, compress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from affetto import metrics, stats
from affetto.errors import RunError
from affetto.files import draft

_FIXED = ("repeat", "fold", "utterance", "speaker")
_NAMED = (*_FIXED, "reference", "predicted")
_TRUE, _PREDICTED = "true_", "predicted_"
_NO_PREDICTIONS = "not a file of predictions"
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

    def cells(self) -> dict[str, object]:
        """Column -> what stands in it in a file."""
        named = dict(zip(_NAMED, self, strict=False))
        return named | {f"p_{name}": f"{share:.6f}" for name, share in self.probabilities.items()}


class ValuePrediction(NamedTuple):
    """What a model predicts of the dimensions of one utterance; for its name and the speaker's see `Prediction`."""

    repeat: int
    fold: int
    utterance: str
    speaker: str
    references: dict[str, float]  # dimension -> its value in the corpus
    predicted: dict[str, float]

    def cells(self) -> dict[str, object]:
        """Column -> what stands in it in a file."""
        true = {f"{_TRUE}{name}": repr(value) for name, value in self.references.items()}
        predicted = {f"{_PREDICTED}{name}": f"{value:.6f}" for name, value in self.predicted.items()}
        return dict(zip(_FIXED, self, strict=False)) | true | predicted


AnyPrediction = Prediction | ValuePrediction


class Scores(NamedTuple):
    """Figures over a set of predictions."""

    uar: float  # unweighted average recall
    accuracy: float
    f1_macro: float  # the mean F1 over the classes
    classes: tuple[str, ...]  # the order of the confusion's rows and columns
    confusion: list[list[int]]  # utterances; a row a true class, a column a predicted one


class ValueScores(NamedTuple):
    """Figures over a set of predictions of dimensions."""

    ccc: dict[str, float]  # of each dimension


def score(predictions: Sequence[AnyPrediction]) -> Scores | ValueScores:
    """The figures of predictions, of which there is at least one, all of one kind."""
    values = [each for each in predictions if isinstance(each, ValuePrediction)]
    if values:
        pairs = (
            (name, [(each.references[name], each.predicted[name]) for each in values]) for name in values[0].predicted
        )
        return ValueScores({name: metrics.ccc(*np.array(pair).T) for name, pair in pairs})
    named = [each for each in predictions if isinstance(each, Prediction)]
    pair, classes = (
        ([each.reference for each in named], [each.predicted for each in named]),
        tuple(named[0].probabilities),
    )
    confusion = metrics.confusion(*pair, classes).tolist()
    return Scores(metrics.uar(*pair), metrics.accuracy(*pair), metrics.f1_macro(*pair), classes, confusion)


class Answers(NamedTuple):
    """Predictions, a column each: read four times as fast."""

    cells: list[tuple[int, int]]  # (repeat, fold)
    utterances: list[str]
    speakers: list[str]
    references: list[str]
    predicted: list[str]
    probabilities: NDArray[np.float64]  # (predictions, classes)

    @property
    def truths(self) -> list[str]:
        """What each counts as."""
        return self.references

    def of(self, cells: Collection[tuple[int, int]]) -> Answers:
        """Those of some cells."""
        return Answers(*_of(self, cells))

    def tally(self, classes: Sequence[str]) -> stats.ConfusionCounts:
        """Counted by cell and speaker."""
        return stats.tally(self.cells, self.speakers, self.references, self.predicted, classes)


class Values(NamedTuple):
    """Predictions of dimensions, a column each."""

    cells: list[tuple[int, int]]  # (repeat, fold)
    utterances: list[str]
    speakers: list[str]
    references: NDArray[np.float64]  # (predictions, dimensions)
    predicted: NDArray[np.float64]  # (predictions, dimensions)

    @property
    def truths(self) -> list[tuple[float, ...]]:
        """The true values of each."""
        return [tuple(row) for row in self.references.tolist()]

    def of(self, cells: Collection[tuple[int, int]]) -> Values:
        """Those of some cells."""
        return Values(*_of(self, cells))

    def tally(self, _: Sequence[str]) -> stats.Agreements:
        """Added up by cell and speaker."""
        return stats.agreements(self.cells, self.speakers, self.references, self.predicted)


AnyAnswers = Answers | Values
Kind = TypeVar("Kind", Answers, Values)


def _joined(parts: Sequence[Kind]) -> Kind:
    """Several files', of which there is at least one."""
    columns: list[Any] = [
        np.concatenate(column) if isinstance(column[0], np.ndarray) else list(chain.from_iterable(column))
        for column in zip(*parts, strict=True)
    ]
    return type(parts[0])(*columns)


def _of(columns: AnyAnswers, cells: Collection[tuple[int, int]]) -> list[Any]:
    """What of each column is of some cells."""
    kept = [cell in cells for cell in columns.cells]
    mask = np.array(kept, dtype=bool)
    return [each[mask] if isinstance(each, np.ndarray) else [*compress(each, kept)] for each in columns]


def write_predictions(path: Path, predictions: Sequence[AnyPrediction]) -> None:
    """Writes a CSV with a line for each prediction and a column for each class or dimension, whole or not at all.

    There is at least one prediction, and all are over the same classes or dimensions.
    """
    with draft(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(predictions[0].cells()))
        writer.writeheader()
        writer.writerows(each.cells() for each in predictions)


def read_cells(files: Mapping[tuple[int, int], Path], classes: Sequence[str], dimensions: Sequence[str]) -> AnyAnswers:
    """Reads what `write_predictions` wrote of each (repeat, fold), of dimensions where there are any, else of classes.

    Raises RunError where a file is missing or damaged, or of another (repeat, fold), or other classes or dimensions.
    """
    if dimensions:
        return _joined([_checked(path, cell, dimensions, *_read_values(path)) for cell, path in files.items()])
    return _joined([_checked(path, cell, classes, *read_columns(path)) for cell, path in files.items()])


def _read_values(path: Path) -> tuple[list[str], Values]:
    """The dimensions of a file, and its predictions."""
    header, lines = _lines(path)
    names = [column.removeprefix(_TRUE) for column in header if column.startswith(_TRUE)]
    if header != [*_FIXED, *(f"{kind}{name}" for kind in (_TRUE, _PREDICTED) for name in names)] or not names:
        raise RunError(_NO_PREDICTIONS, COMPUTE_AGAIN, path)
    cells, (utterances, speakers), values = _columns(path, lines, _FIXED)
    if not np.isfinite(values).all():
        place = f"{path}:{2 + int(np.isfinite(values).all(axis=1).argmin())}"
        raise RunError("damaged (a value is not a number)", COMPUTE_AGAIN, place)
    return names, Values(cells, utterances, speakers, *np.split(values, 2, axis=1))


def _checked(path: Path, cell: tuple[int, int], names: Sequence[str], found: Sequence[str], answers: Kind) -> Kind:
    if list(found) != list(names):
        raise RunError("holds other classes or dimensions than the run", COMPUTE_AGAIN, path)
    if set(answers.cells) != {cell}:
        raise RunError("holds another fold or repeat than its folder says", COMPUTE_AGAIN, path)
    return answers


def read_columns(path: Path) -> tuple[list[str], Answers]:
    """The classes of a file, and its predictions."""
    header, lines = _lines(path)
    fixed, columns = header[: len(_NAMED)], header[len(_NAMED) :]
    classes = [column.removeprefix("p_") for column in columns]
    named = all(column.startswith("p_") for column in columns) and len(set(classes)) == len(classes)
    if tuple(fixed) != _NAMED or not classes or not named:
        raise RunError(_NO_PREDICTIONS, COMPUTE_AGAIN, path)
    cells, (utterances, speakers, references, predicted), shares = _columns(path, lines, _NAMED)
    valid = ((shares >= 0) & (shares <= 1)).all(axis=1)
    if not valid.all():
        place = f"{path}:{2 + int(valid.argmin())}"
        raise RunError("damaged (a probability is not between 0 and 1)", COMPUTE_AGAIN, place)
    if not {*references, *predicted} <= set(classes):
        _raise_first(path, lines, lambda line: "" if {*line[4:6]} <= set(classes) else "a class has no column")
    return classes, Answers(cells, utterances, speakers, references, predicted, shares)


def _columns(
    path: Path, lines: Sequence[Sequence[str]], fixed: Sequence[str]
) -> tuple[list[tuple[int, int]], list[list[str]], NDArray[np.float64]]:
    """Cells, the columns of names, and the numbers after these, (lines, columns)."""
    repeats, folds, *named = list(zip(*lines, strict=True))[: len(fixed)]
    pairs = list(zip(repeats, folds, strict=True))
    try:
        known = {pair: (int(pair[0]), int(pair[1])) for pair in set(pairs)}
        numbers = np.array([[*map(float, line[len(fixed) :])] for line in lines])
    except ValueError:
        _raise_first(path, lines, lambda line: _no_numbers(line, len(fixed)))
        raise
    # Names occur in many files, and are kept once.
    return [known[pair] for pair in pairs], [[*map(sys.intern, column)] for column in named], numbers


def _raise_first(path: Path, lines: Sequence[Sequence[str]], fault: Callable[[Sequence[str]], str]) -> None:
    """Names the first line with a fault."""
    for number, line in enumerate(lines, start=2):
        problem = fault(line)
        if problem:
            raise RunError(f"damaged ({problem})", COMPUTE_AGAIN, f"{path}:{number}")


def _no_numbers(line: Sequence[str], fixed: int) -> str:
    try:
        _ = int(line[0]), int(line[1]), [*map(float, line[fixed:])]
    except ValueError as error:
        return str(error)
    return ""


def _lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header of a file, and its lines after it, of which there is at least one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            content = file.read()
        if not content.endswith("\n"):
            raise RunError("ends in the middle of a line", COMPUTE_AGAIN, path)
        header, *lines = list(csv.reader(io.StringIO(content, newline=""), strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"cannot be read ({error})", COMPUTE_AGAIN, path) from error
    if tuple(header[: len(_FIXED)]) != _FIXED:
        raise RunError(_NO_PREDICTIONS, COMPUTE_AGAIN, path)
    if not lines:
        raise RunError("no predictions in it", COMPUTE_AGAIN, path)
    _raise_first(path, lines, lambda line: "" if len(line) == len(header) else f"{len(line)} values")
    return header, lines
