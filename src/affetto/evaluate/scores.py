"""The figures of a set of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from affetto import metrics
from affetto.evaluate.predictions import Prediction


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
