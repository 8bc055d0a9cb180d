"""A linear probe: how well emotion can be predicted from a representation by a weighted sum of its columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from affetto import metrics
from affetto.errors import TrainingError
from affetto.training.heads.tasks import Task

COMPLEXITIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths of the penalty that are tried; on CREMA-D the ends are seldom chosen."""

_STEPS, _TOLERANCE = 200, 1e-3
"""Of the solver: more exact ones change no label in a hundred."""


class Probed(NamedTuple):
    """What a probe predicts.

    Attributes:
        test: each class's probability for each test utterance, (utterances, classes).
        complexity: the one that was chosen.
        validation_uar: of the chosen one.
    """

    test: NDArray[np.float64]
    complexity: float
    validation_uar: float


def linear_probe(
    vectors: NDArray[np.floating],
    labels: NDArray[np.int64],
    task: Task,
    complexities: Sequence[float] = COMPLEXITIES,
) -> Probed:
    """Fits a multinomial logistic regression, whose complexity the validation speakers choose by UAR.

    Columns are brought to mean 0 and deviation 1 of the training utterances, and classes count the same.

    Args:
        vectors: (utterances, width).
        labels: the class of each utterance, (utterances,), from 0.
        task: who trains, validates and is tested.
        complexities: to try, in order; of equals the first wins, which is penalised most.

    Raises:
        TrainingError: a class is missing from the training part, or values are not numbers.

    >>> vectors = np.array([[0.0], [1.0], [0.1], [0.9], [0.2], [0.8]])
    >>> task = Task(0, 0, np.array([0, 1]), np.array([2, 3]), np.array([4, 5]))
    >>> linear_probe(vectors, np.array([0, 1, 0, 1, 0, 1]), task).test.argmax(axis=1).tolist()
    [0, 1]
    """
    absent = sorted(set(labels.tolist()) - set(labels[task.training].tolist()))
    if absent or len(set(labels.tolist())) < 2:
        problem = f"the training part lacks class {absent[0]}" if absent else "a single class"
        raise TrainingError(problem, "divide the data otherwise, or name other classes", f"fold {task.fold}")
    if not np.isfinite(vectors).all():
        raise TrainingError("a representation with values that are not numbers", "look at the recogniser's weights")
    scaler = StandardScaler().fit(vectors[task.training].astype(np.float64))
    training, validation, test = (
        scaler.transform(vectors[part].astype(np.float64)).astype(np.float32)
        for part in (task.training, task.validation, task.test)
    )
    machine = LogisticRegression(class_weight="balanced", max_iter=_STEPS, tol=_TOLERANCE, warm_start=True)
    best = Probed(np.zeros((0, 0)), 0.0, -1.0)
    for complexity in complexities:
        machine.set_params(C=complexity)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of the weakest penalty, which validation judges
            machine.fit(training, labels[task.training])
        uar = metrics.uar(labels[task.validation], machine.predict(validation))
        if uar > best.validation_uar:
            best = Probed(machine.predict_proba(test), complexity, uar)
    return best
