"""What models predict of utterances, on disk: a line an utterance."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Collection, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.errors import RunError

_FIXED = ("repeat", "fold", "utterance", "speaker", "reference", "predicted")
_REMEDY = "remove the folder that it lies in and run the same command again: only what is missing is computed"


class Prediction(NamedTuple):
    """What a model predicts of one utterance.

    Attributes:
        repeat: which initialisation.
        fold: which test speakers.
        utterance: its id, see `affetto.data.folds`.
        speaker: who speaks; likewise.
        reference: the emotion it counts as.
        predicted: the likeliest class.
        probabilities: class -> probability.
    """

    repeat: int
    fold: int
    utterance: str
    speaker: str
    reference: str
    predicted: str
    probabilities: dict[str, float]


class Answers(NamedTuple):
    """Predictions, a column each: read four times as fast.

    Attributes:
        cells: (repeat, fold).
        utterances: their ids.
        speakers: who speaks.
        references: the emotion each counts as.
        predicted: the likeliest class.
        probabilities: (predictions, classes).
    """

    cells: list[tuple[int, int]]
    utterances: list[str]
    speakers: list[str]
    references: list[str]
    predicted: list[str]
    probabilities: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Several files', one after the other; at least one."""
        return cls(
            [cell for part in parts for cell in part.cells],
            [name for part in parts for name in part.utterances],
            [name for part in parts for name in part.speakers],
            [name for part in parts for name in part.references],
            [name for part in parts for name in part.predicted],
            np.concatenate([part.probabilities for part in parts]),
        )

    def of(self, cells: Collection[tuple[int, int]]) -> Answers:
        """Those of some cells."""
        kept = [cell in cells for cell in self.cells]
        return Answers(
            [*compress(self.cells, kept)],
            [*compress(self.utterances, kept)],
            [*compress(self.speakers, kept)],
            [*compress(self.references, kept)],
            [*compress(self.predicted, kept)],
            self.probabilities[np.array(kept, dtype=bool)],
        )

    def rows(self, classes: Sequence[str]) -> list[Prediction]:
        """One by one.

        Args:
            classes: in the order of the probabilities.
        """
        named = zip(self.cells, self.utterances, self.speakers, self.references, self.predicted, strict=True)
        return [
            Prediction(*cell, utterance, speaker, reference, predicted, dict(zip(classes, shares, strict=True)))
            for (cell, utterance, speaker, reference, predicted), shares in zip(
                named, self.probabilities.tolist(), strict=True
            )
        ]


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes a CSV with a line for each prediction and a column for each class's probability, whole or not at all.

    Args:
        path: the CSV.
        predictions: at least one, all over the same classes.
    """
    classes = list(predictions[0].probabilities)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_FIXED, *(f"p_{name}" for name in classes)])
        for each in predictions:
            writer.writerow([*each[:-1], *(f"{each.probabilities[name]:.6f}" for name in classes)])
    partial.replace(path)


def read_predictions(path: Path) -> list[Prediction]:
    """Reads what `write_predictions` wrote.

    Raises:
        RunError: the file is missing or damaged; it names the line.
    """
    classes, answers = _read(path)
    return answers.rows(classes)


def read_answers(path: Path, cell: tuple[int, int], classes: Sequence[str]) -> Answers:
    """Reads what `write_predictions` wrote into columns.

    Args:
        path: the CSV.
        cell: the (repeat, fold) that it must be of.
        classes: those that it must have, in order.

    Raises:
        RunError: the file is missing or damaged, or of another cell or other classes.
    """
    found, answers = _read(path)
    if found != list(classes):
        raise RunError("holds other classes than the run", _REMEDY, path)
    if set(answers.cells) != {cell}:
        raise RunError("holds another fold or repeat than its folder says", _REMEDY, path)
    return answers


def _read(path: Path) -> tuple[list[str], Answers]:
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
    if not ((shares >= 0) & (shares <= 1)).all():
        _raise_first(path, lines, _no_probability)
    if not {*references, *predicted} <= set(classes):
        _raise_first(path, lines, lambda line: "" if {*line[4:6]} <= set(classes) else "a class has no column")
    return classes, Answers([known[pair] for pair in pairs], utterances, speakers, references, predicted, shares)


def _raise_first(path: Path, lines: Sequence[Sequence[str]], fault: Callable[[Sequence[str]], str]) -> None:
    """Names the first line with a fault."""
    for number, line in enumerate(lines, start=2):
        problem = fault(line)
        if problem:
            raise RunError(f"damaged ({problem})", _REMEDY, f"{path}:{number}")


def _no_numbers(line: Sequence[str]) -> str:
    try:
        _ = int(line[0]), int(line[1]), [*map(float, line[len(_FIXED) :])]
    except ValueError as error:
        return str(error)
    return ""


def _no_probability(line: Sequence[str]) -> str:
    valid = all(0 <= float(value) <= 1 for value in line[len(_FIXED) :])
    return "" if valid else "a probability is not between 0 and 1"


def _lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The classes of a file, and its lines after the header, of which there is at least one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            content = file.read()
        if not content.endswith("\n"):
            raise RunError("ends in the middle of a line", _REMEDY, path)
        header, *lines = list(csv.reader(io.StringIO(content, newline=""), strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error
    fixed, columns = header[: len(_FIXED)], header[len(_FIXED) :]
    classes = [column.removeprefix("p_") for column in columns]
    named = all(column.startswith("p_") for column in columns) and len(set(classes)) == len(classes)
    if tuple(fixed) != _FIXED or not classes or not named:
        raise RunError("not a file of predictions", _REMEDY, path)
    if not lines:
        raise RunError("no predictions in it", _REMEDY, path)
    _raise_first(path, lines, lambda line: "" if len(line) == len(header) else f"{len(line)} values")
    return classes, lines
