"""One vector an utterance, the mean of a layer or of features over time; and what a linear probe predicts from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from affetto import metrics
from affetto.data.utterance import Utterance
from affetto.errors import TrainingError
from affetto.features.acoustic import AcousticConfig
from affetto.frames import pooled
from affetto.models.encoders.encoder import Encoder
from affetto.represent import Acoustics, Layers, Progress, represent
from affetto.training.heads.tasks import Task

FEATURES = AcousticConfig(level="relative")
"""MFCC, their deltas and pitch, without how loud the recording is as a whole, which the recogniser does not get."""

COMPLEXITIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths of the penalty that are tried; on CREMA-D the ends are seldom chosen."""

_STEPS, _TOLERANCE = 200, 1e-3  # Of the solver: more exact ones change no label in a hundred


class Vectors(NamedTuple):
    """A representation of every utterance; of features, network and layer are both "features"."""

    network: str
    layer: str
    values: NDArray[np.float32]  # (utterances, width); zero where the sound cannot be read
    readable: NDArray[np.bool_]  # (utterances,)

    @property
    def name(self) -> str:
        """For files and tables.

        >>> Vectors("trained", "gru3", np.zeros((0, 0), np.float32), np.zeros(0, bool)).name
        'trained-gru3'
        """
        return self.network if self.network == self.layer else f"{self.network}-{self.layer}"


def layer_vectors(
    utterances: Sequence[Utterance], encoder: Encoder, network: str, cache: Path, progress: Progress | None
) -> Iterator[Vectors]:
    """The mean of every layer over time (paper 3.1.3), from the input up."""
    names = tuple(layer.name for layer in encoder.layers)
    banks = represent(utterances, Layers(encoder, tuple(map(pooled, names))), cache, progress=progress)
    for name in names:
        bank = banks[pooled(name)]
        yield Vectors(network, name, bank.dense[0].numpy(), bank.readable)


def feature_vectors(utterances: Sequence[Utterance], cache: Path, progress: Progress | None) -> Vectors:
    """The mean of MFCC, deltas and pitch over time."""
    extractor = Acoustics(FEATURES)
    bank = represent(utterances, extractor, cache, progress=progress)[extractor.names[0]]
    means = bank.moments.sums / np.maximum(bank.moments.counts, 1)[:, None]
    return Vectors("features", "features", means.astype(np.float32), bank.readable)


class Probed(NamedTuple):
    """What a probe predicts of the test utterances, and how its complexity was chosen."""

    test: NDArray[np.float64]  # (utterances, classes) probabilities
    complexity: float
    validation_uar: float


def linear_probe(
    vectors: NDArray[np.floating], labels: NDArray[np.int64], task: Task, complexities: Sequence[float] = COMPLEXITIES
) -> Probed:
    """Fits a multinomial logistic regression, whose complexity the validation speakers choose by UAR.

    Columns are brought to mean 0 and deviation 1 of the training utterances, and classes count the same.

    Args:
        vectors: (utterances, width).
        labels: (utterances,) the class of each, from 0.
        task: which utterances train, validate and are tested.
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
