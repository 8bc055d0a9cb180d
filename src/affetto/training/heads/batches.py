"""Heads that are trained together, and how each scores its utterances at a step: of one batch, or of its own.

Heads that only pool layers share their batches: all folds of a repeat score the same one in one product. Each is a
regression, so gradients are written down rather than traced. Scaling and dropout are moved into the product's
factors, for a batch not to be copied for each head:
((x - mean) / deviation * keep) W = (x keep) (W / deviation) - keep (mean / deviation * W).

Heads of any other kind have a batch of their own, and all are computed at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.frames import Frames
from affetto.models.heads.training import HeadStack
from affetto.training.heads.loop import EVALUATION_BATCH
from affetto.training.heads.objective import objective_of
from affetto.training.heads.plan import StackEpoch, loss_weights
from affetto.training.heads.tasks import HeadData, Task

MOST_STATES = 2**26
"""Numbers in what a head makes of frames, of all heads computed at once: a dozen such tensors of 256 MB are held."""
NEAR_STATES = 2**21
"""The same on a CPU: of more, too much falls out of its caches between one time step and the next."""


class _Seats(NamedTuple):
    """Where the heads sit: a row a repeat; where a repeat has fewer heads than another, its first fills the row."""

    heads: NDArray[np.int64]  # (groups, count)
    taken: NDArray[np.bool_]  # (groups, count)

    def seat(self, values: Tensor) -> Tensor:
        """(heads, ...) to (groups, count, ...)."""
        if self.taken.all():
            return values.view(*self.heads.shape, *values.shape[1:])
        return values[torch.from_numpy(self.heads)]

    def leave(self, values: Tensor) -> Tensor:
        """(groups, count, ...) to (heads, ...)."""
        flat = values.flatten(0, 1)
        return flat if self.taken.all() else flat[torch.from_numpy(np.flatnonzero(self.taken))]


class SharedBatches:
    """How heads are trained that are a regression over their inputs, which are a frame an utterance."""

    def __init__(self, stack: HeadStack, material: HeadData) -> None:
        self.stack, self.material, self.objective = stack, material, objective_of(stack.head)
        ((self.name, part),) = stack.head.parts.items()
        dense = torch.cat([material.banks[name].dense for name in part.widths], dim=-1)
        self.pooled = dense.flatten(0, 1).to(material.device)  # (variants x utterances, width)
        self.scaled = stack.head.config.standardise

    def train(self, epoch: StackEpoch) -> Iterator[tuple[Tensor, Tensor]]:
        """Goes through an epoch; at each step, the heads' parameters have gradients.

        Gives each head's loss, and of how many utterances it is: (heads,) both.
        """
        seats, head = _seats(epoch), self.stack.head
        for step, (rows, own, targets) in enumerate(zip(*self._batches(epoch, seats), strict=True)):
            keep = np.zeros((*rows.shape, head.width), dtype=np.float32)
            for plan, own_keep in zip(epoch.plans, keep, strict=True):
                plan.keep_into(own_keep[: len(plan.chunks[step])], head.dropout)
            factors = torch.from_numpy(keep).to(self.pooled.device)
            values = self.pooled.index_select(0, rows.ravel()).view(factors.shape).mul_(factors)
            inputs = torch.cat([values, factors], dim=-1) if self.scaled else values
            shares = loss_weights(own, targets, None if epoch.weights is None else seats.seat(epoch.weights))
            yield self._step(inputs, targets, shares, seats), seats.leave(own.sum(dim=2))

    def _step(self, inputs: Tensor, targets: Tensor, shares: Tensor, seats: _Seats) -> Tensor:
        """Leaves the heads' gradients, and gives their losses, (heads,), of inputs (groups, batch, columns)."""
        bias, by_column = (seats.seat(each).flatten(1, 2) for each in (self._bias, self._by_column()))
        products = torch.baddbmm(bias[..., None], by_column, inputs.transpose(1, 2))
        scores = products.view(*shares.shape[:2], -1, shares.shape[2])  # (groups, count, outputs, batch)
        losses, by_scores = self.objective.slopes(scores, targets, shares)
        if self.stack.head.dimensions:
            by_scores *= seats.seat(self._units[1])[..., None]
        by_weight = seats.leave((by_scores.flatten(1, 2) @ inputs).view(*by_scores.shape[:3], -1))
        if self.scaled:  # so far, they are by what the columns are multiplied by
            by_values, by_keep = by_weight.chunk(2, dim=-1)
            mean, deviation = self._scale
            by_weight = by_values.addcmul(by_keep, mean, value=-1).div_(deviation)
        self.stack.values["output.weight"].grad = by_weight
        self.stack.values["output.bias"].grad = seats.leave(by_scores.sum(dim=3))
        return seats.leave(losses)

    @property
    def _bias(self) -> Tensor:
        bias = self.stack.values["output.bias"].detach()
        if not self.stack.head.dimensions:
            return bias
        mean, deviation = self._units
        return bias * deviation + mean

    @property
    def _units(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the dimensions that each head was given, (heads, outputs) each."""
        return self.stack.values["units.mean"], self.stack.values["units.deviation"]

    def _by_column(self) -> Tensor:
        """What each head multiplies the inputs' columns by, (heads, outputs, columns)."""
        weight = self.stack.values["output.weight"].detach()
        if self.stack.head.dimensions:
            weight = weight * self._units[1][..., None]
        if not self.scaled:
            return weight
        mean, deviation = self._scale
        return torch.cat([weight / deviation, weight / deviation * -mean], dim=-1)

    @property
    def _scale(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each head's inputs, (heads, 1, width) each."""
        mean, deviation = (self.stack.values[f"{self.name}.standardise.{each}"] for each in ("mean", "deviation"))
        return mean[:, None], deviation[:, None]

    def _batches(self, epoch: StackEpoch, seats: _Seats) -> tuple[Tensor, Tensor, Tensor]:
        """An epoch's rows of the bank, (steps, groups, batch), one group a repeat, which of them are each head's own,
        (steps, groups, count, batch), and targets, (steps, groups, 1, outputs, batch); place 0, nobody's own, fills up.
        """
        sizes = np.array([[len(chunk) for chunk in plan.chunks] for plan in epoch.plans]).T
        places = np.zeros((*sizes.shape, sizes.max()), dtype=np.int64)
        variants = np.zeros_like(places)
        for group, plan in enumerate(epoch.plans):
            for step, chunk in enumerate(plan.chunks):
                places[step, group, : len(chunk)] = chunk
                variants[step, group, : len(chunk)] = plan.variants[chunk]
        own = epoch.member[seats.heads[:, :, None], places[:, :, None]] & seats.taken[:, :, None]
        own &= np.arange(places.shape[2]) < sizes[:, :, None, None]
        rows = torch.from_numpy(variants * len(self.material.targets) + places)
        targets = self.material.targets_of(places).transpose(2, 3)[:, :, None].contiguous()
        return rows.to(self.pooled.device), torch.from_numpy(own).to(self.pooled.device), targets

    @torch.inference_mode()
    def scores(self, tasks: Sequence[Task], part: str) -> list[Tensor]:
        """Each head's scores of its own utterances; repeats of a fold, which share them, in one product."""
        by_column = self._by_column()
        found: dict[int, Tensor] = {}
        for fold in {task.fold for task in tasks}:
            heads = [place for place, task in enumerate(tasks) if task.fold == fold]
            values = self.pooled[torch.from_numpy(getattr(tasks[heads[0]], part))]  # of the sound as it was recorded
            inputs = torch.cat([values, torch.ones_like(values)], dim=-1) if self.scaled else values
            products = inputs @ by_column[heads].flatten(0, 1).T
            scores = products.view(len(values), len(heads), -1) + self._bias[heads]
            found |= dict(zip(heads, scores.transpose(0, 1), strict=True))
        return [found[place] for place in range(len(tasks))]


def _seats(epoch: StackEpoch) -> _Seats:
    repeats = [list(group) for _, group in groupby(range(len(epoch.repeats)), key=epoch.repeats.__getitem__)]
    most = max(len(heads) for heads in repeats)
    taken = np.array([[place < len(heads) for place in range(most)] for heads in repeats])
    return _Seats(np.array([heads + heads[:1] * (most - len(heads)) for heads in repeats]), taken)


class OwnBatches:
    """How heads are trained that need more than one product of what they read."""

    def __init__(self, stack: HeadStack, material: HeadData) -> None:
        self.stack, self.material, self.objective = stack, material, objective_of(stack.head)
        self.lengths = material.lengths

    def train(self, epoch: StackEpoch) -> Iterator[tuple[Tensor, Tensor]]:
        """See `SharedBatches.train`."""
        for step in range(len(epoch.plans[0].chunks)):
            batches, cut, keep = self._cut(epoch, step)
            (places, real), (variants, _) = _fill(batches), _fill(cut)
            own, keep = real.to(self.material.device), keep.to(self.material.device)
            losses = []
            given, chosen = self._read(places, variants)
            for heads in self._groups(places, variants):
                scores = self.stack.scores(given, chosen[heads], keep[heads], heads)
                targets = self.material.targets_of(places[heads])
                weights = None if epoch.weights is None else epoch.weights[heads]
                shares = loss_weights(own[heads], targets.transpose(1, 2), weights)
                losses.append(self.objective.losses(scores.mT, targets.mT, shares))
                losses[-1].sum().backward()  # type: ignore[no-untyped-call]
            yield torch.cat(losses).detach(), own.sum(dim=1)

    def _cut(self, epoch: StackEpoch, step: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]], Tensor]:
        """Each head's batch, the longest utterances first, their variants, and what dropout leaves of its vectors."""
        batches, variants, keeps, members = [], [], [], iter(epoch.member)
        for repeat, plan in zip(dict.fromkeys(epoch.repeats), epoch.plans, strict=True):
            chunk = plan.chunks[step]
            keep = plan.keep(len(chunk), self.stack.head.width, self.stack.head.dropout)
            order = np.argsort(-self.lengths[plan.variants[chunk], chunk], kind="stable")
            for _ in range(epoch.repeats.count(repeat)):
                own = order[next(members)[chunk[order]]]
                batches.append(chunk[own])
                variants.append(plan.variants[chunk[own]])
                keeps.append(keep[torch.from_numpy(own)])
        return batches, variants, torch.nn.utils.rnn.pad_sequence(keeps, batch_first=True)

    def _groups(self, places: NDArray[np.int64], variants: NDArray[np.int64]) -> list[slice]:
        """As many heads at a time as are computed fast, and as fit into memory: long recordings may take gigabytes."""
        states = int(self.lengths[variants, places].max()) * places.shape[1] * self.stack.head.width
        most = NEAR_STATES if self.material.device.type == "cpu" else MOST_STATES
        size = max(1, most // states)
        return [slice(start, start + size) for start in range(0, len(places), size)]

    def _read(self, places: NDArray[np.int64], variants: NDArray[np.int64]) -> tuple[dict[str, Frames], Tensor]:
        """The frames of all utterances in (heads, batch) places, read once, and where each place is among them."""
        once, chosen = np.unique(places * len(self.lengths) + variants, return_inverse=True)
        given = self.material.read(*np.divmod(once, len(self.lengths)))
        return given, torch.from_numpy(chosen.reshape(places.shape)).to(self.material.device)

    @torch.inference_mode()
    def scores(self, tasks: Sequence[Task], part: str) -> list[Tensor]:
        """Each head's scores of its own utterances; those of like length are read together."""
        parts = [getattr(task, part) for task in tasks]
        orders = [np.argsort(-self.lengths[0][each], kind="stable") for each in parts]
        everyone, _ = _fill([each[order] for each, order in zip(parts, orders, strict=True)])
        scores = []
        for start in range(0, everyone.shape[1], EVALUATION_BATCH):
            places = everyone[:, start : start + EVALUATION_BATCH]
            variants = np.zeros_like(places)
            given, chosen = self._read(places, variants)
            groups = self._groups(places, variants)
            scores.append(torch.cat([self.stack.scores(given, chosen[heads], heads=heads) for heads in groups]))
        return [row[np.argsort(order)] for row, order in zip(torch.cat(scores, dim=1), orders, strict=True)]


def _fill(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], Tensor]:
    """Rows of different lengths, filled up with what stands last in them, and where they are real."""
    longest = max(1, *(len(row) for row in rows))
    filled = np.stack([np.concatenate([row, np.full(longest - len(row), row[-1] if len(row) else 0)]) for row in rows])
    real = np.arange(longest) < np.array([len(row) for row in rows])[:, None]
    return filled.astype(np.int64), torch.from_numpy(real)
