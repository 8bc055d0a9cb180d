"""Heads of any kind, trained together: each scores a batch of its own, all in one computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.frames import Frames
from affetto.models.heads.training import HeadStack
from affetto.training.heads.data import HeadData, cross_entropies
from affetto.training.heads.loop import EVALUATION_BATCH
from affetto.training.heads.stack_epoch import StackEpoch, StepLosses, loss_weights
from affetto.training.heads.tasks import Task

MOST_STATES = 2**26
"""Numbers in what a head makes of frames, of all heads computed at once: a dozen such tensors of 256 MB are held."""
NEAR_STATES = 2**21
"""The same on a CPU: of more, too much falls out of its caches between one time step and the next."""


class OwnBatches:
    """How heads are trained that need more than one product of what they read.

    Args:
        stack: the heads.
        material: what they read.
    """

    def __init__(self, stack: HeadStack, material: HeadData) -> None:
        self.stack, self.material = stack, material
        self.lengths = material.lengths

    def train(self, epoch: StackEpoch) -> Iterator[StepLosses]:
        """Goes through an epoch; at each step, the heads' parameters have gradients."""
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
                losses.append((cross_entropies(scores, targets) * shares).sum(dim=1))
                losses[-1].sum().backward()  # type: ignore[no-untyped-call]
            yield StepLosses(torch.cat(losses).detach(), own.sum(dim=1))

    def _cut(self, epoch: StackEpoch, step: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]], Tensor]:
        """Each head's batch, from the longest utterance to the shortest, the variants that it reads, and what dropout
        leaves, (heads, batch, width).
        """
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
        places, _ = _fill([each[order] for each, order in zip(parts, orders, strict=True)])
        batches = [places[:, start : start + EVALUATION_BATCH] for start in range(0, places.shape[1], EVALUATION_BATCH)]
        scores = torch.cat([self._plain_scores(each) for each in batches], dim=1)
        return [row[np.argsort(order)] for row, order in zip(scores, orders, strict=True)]

    def _plain_scores(self, places: NDArray[np.int64]) -> Tensor:
        """(heads, batch, classes) of (heads, batch) places."""
        variants = np.zeros_like(places)
        given, chosen = self._read(places, variants)
        groups = self._groups(places, variants)
        return torch.cat([self.stack.scores(given, chosen[heads], heads=heads) for heads in groups])


def _fill(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], Tensor]:
    """Rows of different lengths, filled up with what stands last in them, and where they are real."""
    longest = max(1, *(len(row) for row in rows))
    filled = np.stack([np.concatenate([row, np.full(longest - len(row), row[-1] if len(row) else 0)]) for row in rows])
    real = np.arange(longest) < np.array([len(row) for row in rows])[:, None]
    return filled.astype(np.int64), torch.from_numpy(real)
