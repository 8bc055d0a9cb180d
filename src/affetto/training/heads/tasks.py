"""What every model of a table is given to learn, and what it gives back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.models.heads import EmotionHead


class Task(NamedTuple):
    """One fold of one repeat: whose speech to learn from, by place among the utterances of the data set.

    Attributes:
        repeat: which initialisation.
        fold: which test speakers.
        training: what to learn from.
        validation: chooses the epoch and every other setting.
        test: chooses nothing.
    """

    repeat: int
    fold: int
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


class Epoch(NamedTuple):
    """One line of a learning curve: mean cross-entropies, and the learning rate that led there."""

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float


class Outcome(NamedTuple):
    """What a trained model predicts.

    Attributes:
        validation: each class's probability for each validation utterance, (utterances, classes).
        test: the same for each test utterance.
        curve: the learning curve; empty where nothing is trained in epochs.
        parameters: how many numbers were trained.
        head: that was trained on a recogniser as it is.
    """

    validation: NDArray[np.float32]
    test: NDArray[np.float32]
    curve: tuple[Epoch, ...]
    parameters: int
    head: EmotionHead | None = None
