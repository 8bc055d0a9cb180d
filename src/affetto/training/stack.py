"""Trains several heads of one shape together: the folds and repeats of one row of a table.

Each head ends as it would have if it had been trained alone by `affetto.training.heads.fit_head`, within the noise of
floating point: the same order of utterances, the same dropout, a learning rate and an end of its own. What differs is
how much work goes into one call of the linear algebra below. ``benchmarks/heads.py`` measures the gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.frames import Frames
from affetto.models.head_stack import HeadStack
from affetto.models.heads import EmotionHead, MeanPoolingConfig
from affetto.training.heads import EVALUATION_BATCH, HeadTraining, check_task, finite
from affetto.training.material import Material, cross_entropies, measure
from affetto.training.memory import keep_freed_memory
from affetto.training.optimiser import StackedAdamW
from affetto.training.plan import EpochPlan, plan_epoch
from affetto.training.tasks import Epoch, Task

MOST_STATES = 2**26
"""Numbers in a layer's states, of all heads computed at once: a dozen such tensors of 256 MB are held in training."""


class _Batch(NamedTuple):
    """What every head scores at one step."""

    scores: Tensor  # (heads, batch, classes)
    targets: Tensor  # (heads, batch, classes)
    counts: Tensor  # 1 where an utterance is the head's to learn from, else 0: (heads, batch)


class StackTraining:
    """The training of several heads, epoch by epoch.

    Args:
        heads: freshly made, of one config; they are measured here, and trained in place.
        tasks: the fold of each, all of one repeat standing together.
        material: what to learn from.
        config: how.
        seed: of the order of utterances and of dropout.

    Raises:
        TrainingError: a task has nothing to train or validate on.
    """

    def __init__(
        self, heads: Sequence[EmotionHead], tasks: Sequence[Task], material: Material, config: HeadTraining, seed: int
    ) -> None:
        for head, task in zip(heads, tasks, strict=True):
            check_task(task)
            measure(head, material, task.training)
            head.to(material.device)
        keep_freed_memory()
        self.heads, self.material, self.config, self.seed = heads, material, config, seed
        self.stack = HeadStack(heads)
        self.optimiser = StackedAdamW(self._parameters, config.weight_decay)
        self.tasks = list(tasks)
        self.live = list(range(len(heads)))
        self.rates = [config.learning_rate] * len(heads)
        self.stalled = [0] * len(heads)
        self.best_losses = [float("inf")] * len(heads)
        self.best = [self.stack.state(place) for place in range(len(heads))]
        self.curves: list[list[Epoch]] = [[] for _ in heads]
        self.epoch = 0

    @property
    def _parameters(self) -> dict[str, Tensor]:
        return {name: self.stack.values[name] for name in self.stack.trained}

    @property
    def _shared(self) -> bool:
        """Whether all heads can score one batch at little more than the cost of one."""
        return isinstance(self.heads[0].config, MeanPoolingConfig)

    def run_epoch(self) -> None:
        """Trains every head that is not done for one epoch, and lets its validation speakers judge it.

        Raises:
            TrainingError: a loss is not a number.
        """
        training = self._train()
        validation = self._validate()
        going = []
        for place, (head, loss, judged) in enumerate(zip(self.live, training, validation, strict=True)):
            self.curves[head].append(Epoch(self.epoch, self.rates[head], loss, judged))
            if judged < self.best_losses[head]:
                self.best_losses[head], self.stalled[head] = judged, 0
                self.best[head] = self.stack.state(place)
            else:
                self.stalled[head] += 1
            if self.stalled[head] >= self.config.patience:
                self.rates[head] /= self.config.anneal
                self.stalled[head] = 0
            if self.rates[head] >= self.config.stop_learning_rate:
                going.append(place)
        self.epoch += 1
        if len(going) < len(self.live):
            self.live = [self.live[place] for place in going]
            self.select(going)

    def select(self, places: Sequence[int]) -> None:
        """Goes on with some of the heads that are not done."""
        self.stack.select(places)
        self.optimiser.select(places)

    @property
    def done(self) -> bool:
        """Whether every head has stopped."""
        return not self.live or self.epoch >= self.config.epochs

    def finish(self) -> None:
        """Leaves every head as it was when its validation cross-entropy was lowest."""
        for head, state in zip(self.heads, self.best, strict=True):
            head.load_state_dict(state)
            head.eval()

    def probabilities(self, part: Literal["validation", "test"]) -> list[NDArray[np.float32]]:
        """What each finished head says of a part of its fold: (utterances, classes)."""
        self.stack = HeadStack(self.heads)
        scores = self._scores([getattr(task, part) for task in self.tasks])
        return [each.softmax(dim=-1).cpu().numpy() for each in scores]

    def _live_tasks(self) -> list[Task]:
        return [self.tasks[head] for head in self.live]

    def _train(self) -> list[float]:
        """The mean training loss of every live head."""
        tasks = self._live_tasks()
        member = np.zeros((len(tasks), len(self.material.targets)), dtype=bool)
        for row, task in zip(member, tasks, strict=True):
            row[task.training] = True
        weights = self._class_weights(tasks)
        repeats = [(repeat, len(list(group))) for repeat, group in groupby(task.repeat for task in tasks)]
        chunk = self.material.chunk(self.config.batch_size)
        plans = [
            (plan_epoch(self.material.durations, chunk, self.seed, repeat, self.epoch), count)
            for repeat, count in repeats
        ]
        rates = torch.tensor([self.rates[head] for head in self.live], device=self.material.device)
        totals = torch.zeros_like(rates)
        for step in range(len(plans[0][0].chunks)):
            make = self._shared_batches if self._shared else self._own_batches
            losses, sizes = [], []
            for heads, batch in make(plans, step, member):
                losses.append(_losses(batch, None if weights is None else weights[heads]))
                sizes.append(batch.counts.sum(dim=1))
                losses[-1].sum().backward()  # type: ignore[no-untyped-call]
            learnt = torch.cat(sizes)
            totals += torch.cat(losses).detach() * learnt
            self.optimiser.step(self._parameters, rates, self.config.clip_norm, learnt > 0)
        return [
            finite(total / len(task.training), "training") for total, task in zip(totals.tolist(), tasks, strict=True)
        ]

    def _class_weights(self, tasks: Sequence[Task]) -> Tensor | None:
        if not self.config.balanced:
            return None
        return torch.stack([self.material.class_weights(task.training) for task in tasks])

    def _shared_batches(
        self, plans: Sequence[tuple[EpochPlan, int]], step: int, member: NDArray[np.bool_]
    ) -> Iterator[tuple[slice, _Batch]]:
        """Every head of a repeat scores the whole chunk, and learns from what is its own."""
        layer, device, first = self.material.layer, self.material.device, self.heads[0]
        assert layer is not None
        chunks = [plan.chunks[step] for plan, _ in plans]
        (places, counts), (variants, _) = (
            _fill(rows)
            for rows in (chunks, [plan.variants[chunk] for (plan, _), chunk in zip(plans, chunks, strict=True)])
        )
        keeps = [
            plan.keep(len(chunk), first.width, first.dropout) for (plan, _), chunk in zip(plans, chunks, strict=True)
        ]
        keep = torch.nn.utils.rnn.pad_sequence(keeps, batch_first=True).to(device)
        heads = np.split(np.arange(len(member)), np.cumsum([count for _, count in plans])[:-1])
        group = np.repeat(np.arange(len(plans)), [count for _, count in plans])
        filled, real = _fill(heads)
        scores = self.stack.shared_scores(layer.dense[variants, places].to(device), keep, torch.from_numpy(filled))
        own = torch.from_numpy(member[np.arange(len(member))[:, None], places[group]]) * counts[group]
        targets = self.material.targets_of(places)[group]
        yield slice(None), _Batch(scores[real.bool()], targets, own.to(device))

    def _own_batches(
        self, plans: Sequence[tuple[EpochPlan, int]], step: int, member: NDArray[np.bool_]
    ) -> Iterator[tuple[slice, _Batch]]:
        """Every head scores what is its own, filled up to the size of the largest batch."""
        batches, variants, keeps, rows = [], [], [], iter(member)
        for plan, count in plans:
            chunk = plan.chunks[step]
            keep = plan.keep(len(chunk), self.heads[0].width, self.heads[0].dropout)
            for own in (next(rows)[chunk] for _ in range(count)):
                batches.append(chunk[own])
                variants.append(plan.variants[chunk[own]])
                keeps.append(keep[torch.from_numpy(own)])
        (places, counts), (heard, _) = _fill(batches), _fill(variants)
        kept = torch.nn.utils.rnn.pad_sequence(keeps, batch_first=True)
        for heads in self._groups(places, heard):
            layer, acoustic = self._read(places[heads], heard[heads])
            scores = self.stack.scores(layer, acoustic, kept[heads].to(self.material.device), heads)
            targets = self.material.targets_of(places[heads])
            yield heads, _Batch(scores, targets, counts[heads].to(self.material.device))

    def _groups(self, places: NDArray[np.int64], variants: NDArray[np.int64]) -> list[slice]:
        """As many heads at a time as fit into memory, for a batch of long recordings may take gigabytes a head."""
        branch, (layer, acoustic) = self.heads[0].branch, self.material[:2]
        bank = layer if acoustic is None else acoustic
        assert branch is not None and bank is not None, "heads without a branch share their batches"  # noqa: PT018
        states = int(bank.lengths[variants, places].max()) * places.shape[1] * branch.width
        size = max(1, MOST_STATES // states)
        return [slice(start, start + size) for start in range(0, len(places), size)]

    def _read(
        self, places: NDArray[np.int64], variants: NDArray[np.int64] | None = None
    ) -> tuple[Frames | None, Frames | None]:
        """Of (heads, batch) places: frames with values (heads, batch, time, width)."""
        flat = self.material.read(places.ravel(), None if variants is None else variants.ravel())
        layer, acoustic = (
            None
            if frames is None
            else Frames(frames.values.view(*places.shape, *frames.values.shape[1:]), frames.lengths.view(places.shape))
            for frames in flat
        )
        return layer, acoustic

    def _validate(self) -> list[float]:
        tasks = self._live_tasks()
        scores = self._scores([task.validation for task in tasks])
        weights = self._class_weights(tasks)
        targets = [self.material.targets_of(task.validation) for task in tasks]
        batches = [
            _Batch(scored[None], target[None], torch.ones_like(target[None, :, 0]))
            for scored, target in zip(scores, targets, strict=True)
        ]
        losses = [
            _losses(batch, None if weights is None else weights[row : row + 1]) for row, batch in enumerate(batches)
        ]
        return [finite(loss.item(), "validation") for loss in losses]

    def _plain_scores(self, places: NDArray[np.int64]) -> Tensor:
        """Every live head's scores of a batch of its own, (heads, batch, classes) of (heads, batch) places."""
        groups = self._groups(places, np.zeros_like(places))
        return torch.cat([self.stack.scores(*self._read(places[heads]), heads=heads) for heads in groups])

    @torch.inference_mode()
    def _scores(self, parts: Sequence[NDArray[np.int64]]) -> list[Tensor]:
        """Each live head's scores of its own utterances."""
        layer = self.material.layer
        if self._shared and layer is not None:
            pooled = layer.dense[:1].to(self.material.device)
            (everyone,) = self.stack.shared_scores(pooled, torch.ones_like(pooled), torch.arange(len(self.stack))[None])
            return [scores[torch.from_numpy(part)] for scores, part in zip(everyone, parts, strict=True)]
        durations = self.material.durations[0]
        orders = [np.argsort(durations[part], kind="stable") for part in parts]
        places, _ = _fill([part[order] for part, order in zip(parts, orders, strict=True)])
        scores = torch.cat(
            [
                self._plain_scores(places[:, start : start + EVALUATION_BATCH])
                for start in range(0, places.shape[1], EVALUATION_BATCH)
            ],
            dim=1,
        )
        return [row[np.argsort(order)] for row, order in zip(scores, orders, strict=True)]


def _losses(batch: _Batch, weights: Tensor | None) -> Tensor:
    """The mean cross-entropy of each head's own utterances, each weighted by its classes: (heads,)."""
    each = batch.counts if weights is None else batch.counts * (batch.targets @ weights[:, :, None])[..., 0]
    # Nothing of a chunk may be a head's own: its loss is 0 then, and it does not move.
    return (cross_entropies(batch.scores, batch.targets) * each).sum(dim=1) / each.sum(dim=1).clamp(min=1e-12)


def _fill(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], Tensor]:
    """Rows of different lengths, filled up with what stands first in them, and 1 where they are real, else 0."""
    longest = max(1, *(len(row) for row in rows))
    filled = np.stack([np.concatenate([row, np.full(longest - len(row), row[0] if len(row) else 0)]) for row in rows])
    counts = torch.tensor([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in rows])
    return filled.astype(np.int64), counts


def fit_stack(
    heads: Sequence[EmotionHead],
    tasks: Sequence[Task],
    material: Material,
    config: HeadTraining,
    seed: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[tuple[Epoch, ...]]:
    """Trains heads in place.

    Args:
        heads: see `StackTraining`.
        tasks: the fold of each.
        material: what to learn from.
        config: how.
        seed: of the order of utterances and of dropout.
        progress: is told the number of each epoch that ended.

    Returns:
        Each head's learning curve.

    Raises:
        TrainingError: see `StackTraining`.
    """
    training = StackTraining(heads, tasks, material, config, seed)
    while not training.done:
        training.run_epoch()
        if progress is not None:
            progress(training.epoch)
    training.finish()
    return [tuple(curve) for curve in training.curves]
