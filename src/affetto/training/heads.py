"""Trains emotion heads on cached representations (paper 3.3.1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from affetto.config import Config
from affetto.data.batching import LengthSortedBatches
from affetto.errors import TrainingError
from affetto.frames import Frames, pad
from affetto.models.heads import EmotionHead
from affetto.training.memory import keep_freed_memory


class HeadTraining(Config):
    """How to train a head; the defaults are the paper's (3.3.1) where it tells.

    Attributes:
        epochs: at most so many.
        batch_size: utterances a batch.
        learning_rate: Adam's, at first.
        weight_decay: decoupled; the paper has none.
        clip_norm: the norm to which gradients are clipped.
        patience: epochs without a lower validation cross-entropy after which the learning rate falls.
        anneal: what it is divided by then.
        stop_learning_rate: training ends when the learning rate falls below it.
        balanced: weigh classes so that each counts the same; the paper does not.
    """

    epochs: int = Field(default=300, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=15.0, gt=0)
    patience: int = Field(default=2, ge=1)
    anneal: float = Field(default=2.0, gt=1)
    stop_learning_rate: float = Field(default=1e-6, gt=0)
    balanced: bool = False


class Example(NamedTuple):
    """What a head learns from.

    Attributes:
        layer: frames of the recogniser layer, (time, width), or None.
        acoustic: acoustic features, (time, features), or None.
        label: the class's place among the head's classes.
    """

    layer: Tensor | None
    acoustic: Tensor | None
    label: int

    @property
    def frames(self) -> int:
        """Its length: of the acoustic features if there are any."""
        longest = self.acoustic if self.acoustic is not None else self.layer
        return 0 if longest is None else len(longest)


class Epoch(NamedTuple):
    """One line of a learning curve: mean cross-entropies, and the learning rate that led there."""

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float


def batch_of(examples: Sequence[Example]) -> tuple[Frames | None, Frames | None, Tensor]:
    """Pads examples to what a head takes, and their labels (batch,)."""
    layers = [example.layer for example in examples if example.layer is not None]
    acoustics = [example.acoustic for example in examples if example.acoustic is not None]
    labels = torch.tensor([example.label for example in examples])
    return pad(layers) if layers else None, pad(acoustics) if acoustics else None, labels


def fit_head(
    head: EmotionHead,
    training: Sequence[Example],
    validation: Sequence[Example],
    config: HeadTraining,
    seed: int,
    *,
    progress: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Trains a head in place and leaves it as it was when the validation cross-entropy was lowest.

    Args:
        head: freshly made.
        training: what to learn from.
        validation: of other speakers; chooses the learning rate's falls and the epoch.
        config: how.
        seed: of the batches and of dropout; torch's own random numbers are left as they were.
        progress: is told of each epoch.

    Returns:
        The learning curve.

    Raises:
        TrainingError: there is nothing to train or validate on, or the loss is not a number.
    """
    if not training or not validation:
        raise TrainingError("no utterances to train or validate on", "check the split and the labels")
    keep_freed_memory()
    _measure(head, training)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        curve, best = _descend(head, training, validation, config, seed, progress)
    head.load_state_dict(best)
    head.eval()
    return curve


def _descend(
    head: EmotionHead,
    training: Sequence[Example],
    validation: Sequence[Example],
    config: HeadTraining,
    seed: int,
    progress: Callable[[Epoch], None] | None,
) -> tuple[list[Epoch], dict[str, Tensor]]:
    """The learning curve, and the weights of its lowest validation loss."""
    optimiser = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    annealing = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=1 / config.anneal, patience=config.patience - 1, threshold=0.0, eps=0.0
    )
    batches = LengthSortedBatches([example.frames for example in training], config.batch_size, seed)
    weights = _class_weights(training, len(head.classes)) if config.balanced else None
    curve: list[Epoch] = []
    best_loss, best_state = float("inf"), copy.deepcopy(head.state_dict())
    for number in range(config.epochs):
        batches.set_epoch(number)
        rate = optimiser.param_groups[0]["lr"]
        training_loss = _train_epoch(head, training, batches, optimiser, weights, config.clip_norm)
        validation_loss = _finite(cross_entropy(head, validation, weights), "validation")
        curve.append(Epoch(number, rate, training_loss, validation_loss))
        if progress is not None:
            progress(curve[-1])
        if validation_loss < best_loss:
            best_loss, best_state = validation_loss, copy.deepcopy(head.state_dict())
        annealing.step(validation_loss)
        if optimiser.param_groups[0]["lr"] < config.stop_learning_rate:
            break
    return curve, best_state


def _finite(loss: float, part: str) -> float:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the {part} loss became {loss}", "look for values that are not numbers, or lower the learning rate"
        )
    return loss


def _measure(head: EmotionHead, training: Sequence[Example]) -> None:
    layers = [example.layer.mean(dim=0) for example in training if example.layer is not None]
    acoustics = [example.acoustic for example in training if example.acoustic is not None]
    head.measure(torch.stack(layers) if layers else torch.empty(0), torch.cat(acoustics) if acoustics else None)


def _class_weights(examples: Sequence[Example], classes: int) -> Tensor:
    counts = np.bincount([example.label for example in examples], minlength=classes)
    return torch.tensor(len(examples) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def _train_epoch(
    head: EmotionHead,
    examples: Sequence[Example],
    batches: LengthSortedBatches,
    optimiser: torch.optim.Optimizer,
    weights: Tensor | None,
    clip_norm: float,
) -> float:
    head.train()
    total = 0.0
    for indices in batches:
        layer, acoustic, labels = batch_of([examples[index] for index in indices])
        loss = torch.nn.functional.cross_entropy(head(layer, acoustic), labels, weights)
        total += _finite(loss.item(), "training") * len(indices)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(head.parameters(), clip_norm)
        optimiser.step()
    return total / len(examples)


def cross_entropy(head: EmotionHead, examples: Sequence[Example], weights: Tensor | None = None) -> float:
    """The mean cross-entropy over examples, without dropout."""
    scores = torch.cat(list(_scores(head, examples)))
    labels = torch.tensor([example.label for example in examples])
    return torch.nn.functional.cross_entropy(scores, labels, weights).item()


def probabilities(head: EmotionHead, examples: Sequence[Example]) -> Tensor:
    """Each class's probability for each example: (examples, classes)."""
    return torch.cat(list(_scores(head, examples))).softmax(dim=-1)


def _scores(head: EmotionHead, examples: Sequence[Example], batch_size: int = 128) -> Iterator[Tensor]:
    head.eval()
    for start in range(0, len(examples), batch_size):
        layer, acoustic, _ = batch_of(examples[start : start + batch_size])
        with torch.inference_mode():
            yield head(layer, acoustic)
