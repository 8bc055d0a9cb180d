"""Trains a head, whatever stands under it, one batch after the other (paper 3.3.1).

`affetto.training.heads.stack` does the same to several heads at once; this is for networks that cannot be stacked, and
what the stack is held against.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from affetto.config import Config
from affetto.errors import TrainingError
from affetto.memory import keep_freed_memory
from affetto.models.heads import EmotionHead
from affetto.models.heads.training import TunedHead
from affetto.training.heads.objective import objective_of
from affetto.training.heads.plan import EpochPlan, loss_weights, plan_epoch
from affetto.training.heads.tasks import Epoch, HeadData, Task

EVALUATION_BATCH = 64


class HeadTraining(Config):
    """How to train a head; the defaults are the paper's (3.3.1) where it gives them."""

    epochs: int = Field(default=300, ge=1)  # at most so many
    # utterances a batch, on average: batches are cut out of one order for all folds
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)  # Adam's, at first
    weight_decay: float = Field(default=0.0, ge=0)  # decoupled; the paper has none
    clip_norm: float = Field(default=15.0, gt=0)  # the norm to which gradients are clipped
    # epochs without a lower validation loss after which the learning rate falls
    patience: int = Field(default=2, ge=1)
    anneal: float = Field(default=2.0, gt=1)  # what it is divided by then
    stop_learning_rate: float = Field(default=1e-6, gt=0)  # training ends when the learning rate falls below it
    balanced: bool = False  # weigh classes so that each counts the same; the paper does not


Network = EmotionHead | TunedHead
"""What scores emotions: a head, or one with recogniser layers under it."""


def _head(network: Network) -> EmotionHead:
    return network.head if isinstance(network, TunedHead) else network


def fit_head(
    network: Network,
    material: HeadData,
    task: Task,
    config: HeadTraining,
    seed: int,
    *,
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Epoch, ...]:
    """Trains a network in place and leaves it as it was when the validation loss was lowest.

    The network is freshly made and measured, on the material's device. The seed is that of the order of utterances and
    of dropout; validation speakers choose the learning rate's falls and the epoch. Gives the learning curve. Raises
    TrainingError where there is nothing to train or validate on, or the loss is not a number.
    """
    task.check()
    keep_freed_memory()
    trained = [each for each in network.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay)
    annealing = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=1 / config.anneal, patience=config.patience - 1, threshold=0.0, eps=0.0
    )
    weights = material.class_weights(task.training) if config.balanced else None
    curve: list[Epoch] = []
    best_loss, best_state = float("inf"), copy.deepcopy(network.state_dict())
    for number in range(config.epochs):
        plan = plan_epoch(material.durations, material.chunk(config.batch_size), seed, task.repeat, number)
        rate = optimiser.param_groups[0]["lr"]
        training_loss = _train_epoch(network, material, task, plan, optimiser, weights, config.clip_norm)
        validation_loss = finite(mean_loss(network, material, task.validation, weights), "validation")
        curve.append(Epoch(number, rate, training_loss, validation_loss))
        if progress is not None:
            progress(curve[-1])
        if validation_loss < best_loss:
            best_loss, best_state = validation_loss, copy.deepcopy(network.state_dict())
        annealing.step(validation_loss)
        if optimiser.param_groups[0]["lr"] < config.stop_learning_rate:
            break
    network.load_state_dict(best_state)
    return tuple(curve)


def finite(loss: float, part: str) -> float:
    """The loss of a part of the data; raises TrainingError where it is no number."""
    if not math.isfinite(loss):
        remedy = "look for values that are not numbers, or lower the learning rate"
        raise TrainingError(f"the {part} loss became {loss}", remedy)
    return loss


def _train_epoch(  # noqa: PLR0913, PLR0917
    network: Network,
    material: HeadData,
    task: Task,
    plan: EpochPlan,
    optimiser: torch.optim.Optimizer,
    weights: Tensor | None,
    clip_norm: float,
) -> float:
    member = np.zeros(len(material.targets), dtype=bool)
    member[task.training] = True
    total = 0.0
    for chunk in plan.chunks:
        keep = plan.keep(len(chunk), network.width, network.dropout)
        mine = torch.from_numpy(member[chunk])
        if not mine.any():
            continue
        batch = chunk[member[chunk]]
        scores = network(material.read(batch, plan.variants[batch]), keep[mine].to(material.device))
        loss = loss_of(_head(network), scores, material.targets_of(batch), weights)
        total += finite(loss.item(), "training") * len(batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimiser.step()
    return total / len(task.training)


def loss_of(head: EmotionHead, scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Of a batch, (batch, outputs), each utterance weighted by its classes."""
    shares = loss_weights(torch.ones(len(scores), device=scores.device), targets.T, weights)
    return objective_of(head).losses(scores.T, targets.T, shares)


def mean_loss(network: Network, material: HeadData, places: NDArray[np.int64], weights: Tensor | None = None) -> float:
    """The loss over some utterances, without dropout."""
    scores = torch.cat(list(_scores(network, material, places)))
    return loss_of(_head(network), scores, material.targets_of(places), weights).item()


def predictions(network: Network, material: HeadData, places: NDArray[np.int64]) -> Tensor:
    """Each class's probability, or each dimension's value, for some utterances: (utterances, outputs)."""
    return _head(network).predict(torch.cat(list(_scores(network, material, places)))).cpu()


def _scores(network: Network, material: HeadData, places: NDArray[np.int64]) -> Iterator[Tensor]:
    for start in range(0, len(places), EVALUATION_BATCH):
        with torch.inference_mode():
            yield network(material.read(places[start : start + EVALUATION_BATCH]))
