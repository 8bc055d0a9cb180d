"""What every model of a table is trained on, fold by fold, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.errors import TrainingError
from affetto.frames import Frames
from affetto.models.heads import EmotionHead
from affetto.represent import Bank


class Task(NamedTuple):
    """One fold of one repeat (initialisation): the places of its utterances in the data set, part by part.

    The validation part chooses the epoch and every other setting, the test part nothing.
    """

    repeat: int
    fold: int
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    def check(self) -> None:
        """Makes sure that there is something to train and validate on, or raises TrainingError."""
        if not len(self.training) or not len(self.validation):
            raise TrainingError("no utterances to train or validate on", "check the split and the labels")


class Epoch(NamedTuple):
    """One line of a learning curve: mean losses (cross-entropies, or 1 - CCC), and the learning rate that led there."""

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float


class Outcome(NamedTuple):
    """What a trained model predicts, each class's probability or dimension's value, (utterances, outputs).

    The curve is empty where nothing is trained in epochs, parameters are how many numbers were trained, and the head is
    there where it was trained on a recogniser as it is.
    """

    validation: NDArray[np.float32]
    test: NDArray[np.float32]
    curve: tuple[Epoch, ...]
    parameters: int
    head: EmotionHead | None = None


class HeadData(NamedTuple):
    """A data set as a head reads it: banks, by the names that it knows them by, and targets, on a device.

    Targets are each class's share in what an utterance counts as, or its value of each dimension, (utterances,
    outputs); the share is the mean one that a fold trains on of all utterances.
    """

    banks: Mapping[str, Bank]
    targets: Tensor
    share: float
    device: torch.device = torch.device("cpu")

    @property
    def durations(self) -> NDArray[np.int64]:
        """Samples of each utterance in each variant, (variants, utterances)."""
        return next(iter(self.banks.values())).durations

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each utterance in each variant, of what has most, (variants, utterances)."""
        return reduce(np.maximum, (bank.lengths for bank in self.banks.values()))

    def chunk(self, batch_size: int) -> int:
        """How many utterances to cut into one chunk, for the folds' batches to have about so many."""
        return max(1, round(batch_size / self.share))

    def read(self, places: NDArray[np.int64], variants: NDArray[np.int64] | None = None) -> dict[str, Frames]:
        """All of some utterances, (batch,), padded, on the device; None takes them as they were recorded."""
        return {name: bank.batch(places, variants).to(self.device) for name, bank in self.banks.items()}

    def targets_of(self, places: NDArray[np.int64]) -> Tensor:
        """The targets of some utterances on the device, (..., classes) of places (...)."""
        return self.targets[torch.from_numpy(places)].to(self.device)

    def class_weights(self, training: NDArray[np.int64]) -> Tensor:
        """Weights on the device that let each class count the same in training, (classes,); see `class_weights`."""
        return class_weights(self.targets, training).to(self.device)


def measure(head: EmotionHead, material: HeadData, training: NDArray[np.int64]) -> None:
    """Measures on training utterances what a head's inputs are scaled by, where its config asks for it.

    Of dimensions, also what their values are scaled by.
    """
    if head.dimensions:
        values = material.targets[torch.from_numpy(training)]
        head.units.measure(values.mean(dim=0), values.std(dim=0, correction=0))
    if not head.config.standardise:
        return
    for part in head.parts.values():
        moments = [material.banks[name].moments.of(training) for name in part.widths]
        part.standardise.measure(*map(torch.cat, zip(*moments, strict=True)))


def class_weights(targets: Tensor, training: NDArray[np.int64]) -> Tensor:
    """Weights that let each class count the same in training, (classes,); 1 on average over the utterances.

    >>> class_weights(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.arange(3))
    tensor([0.7500, 1.5000])
    """
    shares = targets[torch.from_numpy(training)].sum(dim=0)
    return len(training) / (shares.shape[0] * shares.clamp(min=1.0))


def cross_entropies(scores: Tensor, targets: Tensor) -> Tensor:
    """Of each utterance: (..., classes) and (..., classes) to (...)."""
    return -(targets * scores.log_softmax(dim=-1)).sum(dim=-1)
