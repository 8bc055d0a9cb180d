"""Predictions, the one source of truth, and the figures that are derived from them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from affetto import metrics
from affetto.data.utterance import Utterance
from affetto.models.heads import EmotionHead
from affetto.training.heads import Example, probabilities

_FIXED = ("repeat", "fold", "utterance", "speaker", "reference", "predicted")


class Prediction(NamedTuple):
    """What a head said of one test utterance.

    Attributes:
        repeat: which initialisation.
        fold: which test speakers.
        utterance: its id.
        speaker: who speaks.
        reference: the corpus's label.
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


class Scores(NamedTuple):
    """Figures over a set of predictions.

    Attributes:
        uar: unweighted average recall.
        accuracy: the share that is right.
        f1_macro: the mean F1 over the classes.
        classes: the order of the confusion's rows and columns.
        confusion: utterances; a row a true class, a column a predicted one.
    """

    uar: float
    accuracy: float
    f1_macro: float
    classes: tuple[str, ...]
    confusion: list[list[int]]


def predict(
    head: EmotionHead, utterances: Sequence[Utterance], examples: Sequence[Example], *, repeat: int = 0, fold: int = 0
) -> list[Prediction]:
    """What a head says of test utterances.

    Args:
        head: trained.
        utterances: who and what.
        examples: their representations, in the same order.
        repeat: which initialisation this is.
        fold: which test speakers these are.
    """
    predictions = []
    rows = probabilities(head, examples).tolist()
    for utterance, example, row in zip(utterances, examples, rows, strict=True):
        shares = dict(zip(head.classes, row, strict=True))
        predictions.append(
            Prediction(
                repeat,
                fold,
                utterance.id,
                utterance.speaker,
                head.classes[example.label],
                max(shares, key=shares.__getitem__),
                shares,
            )
        )
    return predictions


def score(predictions: Sequence[Prediction]) -> Scores:
    """The figures of predictions, of which there is at least one.

    >>> sure = {"anger": 0.9, "sadness": 0.1}
    >>> score([Prediction(0, 0, "a1", "anna", "anger", "anger", sure)]).uar
    1.0
    """
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


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes a CSV with a line for each prediction and a column for each class's probability, whole or not at all."""
    classes = list(predictions[0].probabilities)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_FIXED, *(f"p_{name}" for name in classes)])
        for each in predictions:
            writer.writerow([*each[:-1], *(f"{each.probabilities[name]:.6f}" for name in classes)])
    partial.replace(path)


def read_predictions(path: Path) -> list[Prediction]:
    """Reads what `write_predictions` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Prediction(
                int(row["repeat"]),
                int(row["fold"]),
                row["utterance"],
                row["speaker"],
                row["reference"],
                row["predicted"],
                {name[2:]: float(value) for name, value in row.items() if name.startswith("p_")},
            )
            for row in csv.DictReader(file)
        ]
