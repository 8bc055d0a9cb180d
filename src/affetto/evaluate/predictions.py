"""What models said of utterances, on disk: a line an utterance."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Collection, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.errors import RunError

_FIXED = ("repeat", "fold", "utterance", "speaker", "reference", "predicted")
_REMEDY = "remove the folder that it lies in and run the same command again: only what is missing is computed"


class Prediction(NamedTuple):
    """What a model said of one utterance.

    Attributes:
        repeat: which initialisation.
        fold: which test speakers.
        utterance: its id.
        speaker: who speaks.
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
    classes, lines = _lines(path)
    predictions = []
    for number, line in enumerate(lines, start=2):
        try:
            predictions.append(_prediction(line, classes))
        except ValueError as error:
            raise RunError(f"damaged ({error})", _REMEDY, f"{path}:{number}") from error
    return predictions


def read_answers(path: Path, cell: tuple[int, int], classes: Sequence[str]) -> Answers:
    """Reads what `write_predictions` wrote into columns.

    Args:
        path: the CSV.
        cell: the (repeat, fold) that it must be of.
        classes: those that it must have, in order.

    Raises:
        RunError: the file is missing or damaged, or of another cell or other classes.
    """
    found, lines = _lines(path)
    if found != list(classes):
        raise RunError("holds other classes than the run", _REMEDY, path)
    if {len(line) for line in lines} != {len(_FIXED) + len(found)}:
        raise RunError("damaged (lines of different length)", _REMEDY, path)
    columns = list(zip(*lines, strict=True))
    repeats, folds, *named = columns[: len(_FIXED)]
    # Names occur in many files, and are kept once.
    utterances, speakers, references, predicted = ([*map(sys.intern, column)] for column in named)
    if not {*references, *predicted} <= set(found):
        raise RunError("damaged (a class has no column)", _REMEDY, path)
    if {*zip(repeats, folds, strict=True)} != {(str(cell[0]), str(cell[1]))}:
        raise RunError("holds another fold or repeat than its folder says", _REMEDY, path)
    try:
        shares = np.array([[*map(float, column)] for column in columns[len(_FIXED) :]]).T
    except ValueError as error:
        raise RunError(f"damaged ({error})", _REMEDY, path) from error
    if not ((shares >= 0) & (shares <= 1)).all():
        raise RunError("damaged (a probability is not between 0 and 1)", _REMEDY, path)
    return Answers([cell] * len(lines), utterances, speakers, references, predicted, shares)


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
    return classes, lines


def _prediction(line: Sequence[str], classes: Sequence[str]) -> Prediction:
    repeat, fold, utterance, speaker, reference, predicted = line[: len(_FIXED)]
    shares = {name: float(value) for name, value in zip(classes, line[len(_FIXED) :], strict=True)}
    if not all(0 <= share <= 1 for share in shares.values()):
        raise ValueError("a probability is not between 0 and 1")
    if reference not in shares or predicted not in shares:
        raise ValueError("a class has no column")
    return Prediction(int(repeat), int(fold), utterance, speaker, reference, predicted, shares)
