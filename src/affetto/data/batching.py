"""Batches of utterances of like length: little padding, and short ones first in the first epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


class LengthSortedBatches:
    """Index batches for a DataLoader, sorted by length inside and shuffled outside.

    The first epoch runs from the shortest batch to the longest (SortaGrad, Amodei et al. 2015; paper 3.3.1). Later
    ones shuffle lengths a little before sorting, so that batches differ, and then the order of the batches.

    Args:
        durations_s: length of every utterance, seconds.
        batch_size: utterances a batch.
        seed: the same seed and epoch give the same batches.
        jitter: the share of its length by which an utterance may be misplaced.

    >>> batches = LengthSortedBatches([3.0, 1.0, 2.0, 4.0], batch_size=2, seed=0)
    >>> [batch for batch in batches]
    [[1, 2], [0, 3]]
    """

    def __init__(self, durations_s: Sequence[float], batch_size: int, seed: int, jitter: float = 0.1) -> None:
        self.durations_s = np.asarray(durations_s, dtype=np.float64)
        self.batch_size = batch_size
        self.seed = seed
        self.jitter = jitter
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration belongs to."""
        self.epoch = epoch

    @property
    def sampler(self) -> LengthSortedBatches:
        """Itself: where Lightning looks for a batch sampler's ``set_epoch``."""
        return self

    def __len__(self) -> int:
        return -(-len(self.durations_s) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        keys = self.durations_s
        generator = np.random.default_rng((self.seed, self.epoch))
        if self.epoch > 0:
            keys = keys * generator.uniform(1 - self.jitter, 1 + self.jitter, len(keys))
        order = np.argsort(keys, kind="stable")
        batches = [order[start : start + self.batch_size].tolist() for start in range(0, len(order), self.batch_size)]
        if self.epoch > 0:
            batches = [batches[index] for index in generator.permutation(len(batches))]
        yield from batches
