"""Batches of utterances of like length: little padding, and short ones first in the first epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

JITTER = 0.1  # The share of its length by which an utterance may be misplaced in the order of lengths


class LengthSortedBatches:
    """Index batches for a DataLoader, sorted by length inside and shuffled outside.

    The first epochs run from the shortest batch to the longest (SortaGrad, Amodei et al. 2015; paper 3.3.1). Later ones
    shuffle lengths a little before sorting, so that batches differ, and then the order of the batches. The same seed
    and epoch give the same batches.

    Several processes that train together (`divide`) see the parts of one larger batch at each step: utterances of like
    length, so that none waits long for another. Each utterance comes once an epoch, to one of them, and all take the
    same number of steps; where there are fewer utterances than processes, some of these get an empty batch. Size and
    seconds (of sound, padding counted) are those of each process; a longer utterance is a batch by itself.

    >>> batches = LengthSortedBatches([3.0, 1.0, 2.0, 4.0], batch_size=2, seed=0)
    >>> [batch for batch in batches]
    [[1, 2], [0, 3]]
    >>> batches.divide(rank=1, ranks=2)
    >>> [batch for batch in batches]
    [[2, 3]]
    """

    def __init__(
        self,
        durations_s: Sequence[float],
        batch_size: int,
        seed: int,
        *,
        batch_seconds: float | None = None,
        sorted_epochs: int = 1,
    ) -> None:
        self.durations_s = np.asarray(durations_s, dtype=np.float64)
        self.batch_size = batch_size
        self.batch_seconds = batch_seconds
        self.seed = seed
        self.sorted_epochs = sorted_epochs
        self.epoch = 0
        self.divide(rank=0, ranks=1)

    def divide(self, *, rank: int, ranks: int) -> None:
        """Gives the share of one of several processes from now on."""
        self.rank, self.ranks = rank, ranks
        self._ends = self._cuts(np.sort(self.durations_s))

    def _cuts(self, lengths_s: NDArray[np.float64]) -> list[int]:
        """Where the batches of all processes together end, in the order of length.

        These places are the same in every epoch, and so is the number of steps that learning rates are planned by.
        """
        ends: list[int] = []
        start = 0
        while start < len(lengths_s):
            end = min(start + self.batch_size * self.ranks, len(lengths_s))
            if self.batch_seconds is not None:
                padded_s = np.arange(1, end - start + 1) * lengths_s[start:end]
                fitting = int(np.searchsorted(padded_s, self.batch_seconds * self.ranks, side="right"))
                end = start + max(fitting, min(self.ranks, end - start))
            ends.append(end)
            start = end
        if len(ends) > 1 and ends[-1] - ends[-2] < self.ranks:  # too few for all: the last two share
            ends[-2] -= min(self.ranks - (ends[-1] - ends[-2]), max(0, ends[-2] - [0, *ends][-3] - self.ranks))
        return ends

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration belongs to."""
        self.epoch = epoch

    @property
    def sampler(self) -> LengthSortedBatches:
        """Itself: where Lightning looks for a batch sampler's ``set_epoch``."""
        return self

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[list[int]]:
        keys = self.durations_s
        generator = np.random.default_rng((self.seed, self.epoch))
        if self.epoch >= self.sorted_epochs:
            keys = keys * generator.uniform(1 - JITTER, 1 + JITTER, len(keys))
        order = np.argsort(keys, kind="stable")
        batches = [
            order[start:end][self.rank :: self.ranks].tolist()
            for start, end in zip([0, *self._ends], self._ends, strict=False)
        ]
        if self.epoch >= self.sorted_epochs:
            batches = [batches[index] for index in generator.permutation(len(batches))]
        yield from batches
