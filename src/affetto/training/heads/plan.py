"""What an epoch is: what chance decides in it, the same for every fold of a repeat, and what its losses weigh.

All folds of a repeat see their utterances in one order and under one dropout, so that they can be trained together;
repeats, and nothing else, differ in it. Each depends on the seed, the repeat and the epoch alone: a training that was
stopped goes on with the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.config import stable_seed
from affetto.data.transcribed import JITTER


class EpochPlan(NamedTuple):
    """One epoch of one repeat: chunks of places of utterances of like length, and which variant of each is read.

    What a fold trains on of a chunk is its batch. The generator is that of dropout.
    """

    chunks: list[NDArray[np.int64]]
    variants: NDArray[np.int64]
    generator: np.random.Generator

    def keep(self, batch: int, width: int, dropout: float) -> Tensor:
        """Factors of dropout, (batch, width); to be asked once for each chunk, in order."""
        factors = np.empty((batch, width), dtype=np.float32)
        self.keep_into(factors, dropout)
        return torch.from_numpy(factors)

    def keep_into(self, factors: NDArray[np.float32], dropout: float) -> None:
        """Writes the same, drawn in steps of 1 / 65,536: drawing floats takes as long as an averaging head's batch."""
        words = self.generator.integers(0, 2**64 - 1, -(-factors.size // 4), dtype=np.uint64, endpoint=True)
        draws = words.view(np.uint16)[: factors.size].reshape(factors.shape)
        np.multiply(draws >= round(dropout * 2**16), np.float32(1 / (1 - dropout)), out=factors)


def plan_epoch(lengths: NDArray[np.int64], chunk: int, seed: int, repeat: int, epoch: int) -> EpochPlan:
    """Plans an epoch, from 0, over utterances of these lengths, (variants, utterances).

    The first runs from the shortest utterances to the longest (SortaGrad, paper 3.3.1). Later ones misplace lengths
    a little before sorting, so that batches differ, and shuffle the order of the chunks.

    >>> plan_epoch(np.array([[30, 10, 20, 40]]), chunk=2, seed=0, repeat=0, epoch=0).chunks
    [array([1, 2]), array([0, 3])]
    """
    generator = np.random.default_rng(stable_seed(seed, repeat, epoch))
    count = lengths.shape[1]
    variants = generator.integers(0, len(lengths), count)
    keys = lengths[variants, np.arange(count)].astype(np.float64)
    if epoch > 0:
        keys *= generator.uniform(1 - JITTER, 1 + JITTER, count)
    order = np.argsort(keys, kind="stable")
    starts = np.arange(0, count, chunk)
    if epoch > 0:
        starts = generator.permutation(starts)
    chunks = [order[start : start + chunk] for start in starts]
    dropout = np.random.Generator(np.random.SFC64(stable_seed(seed, repeat, epoch, "dropout")))
    return EpochPlan(chunks, np.asarray(variants), dropout)


class StackEpoch(NamedTuple):
    """An epoch of a stack: what chance decides, one plan a repeat, and what each head trains on, (heads, utterances).

    The heads of one repeat stand together. Weights are each head's of the classes, (heads, classes); None weighs them
    alike.
    """

    plans: Sequence[EpochPlan]
    repeats: Sequence[int]
    member: NDArray[np.bool_]
    weights: Tensor | None


def loss_weights(own: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """How much of a head's loss each utterance is; those that are the head's own add up to 1.

    Own utterances are 1, (..., heads, batch); targets each class's share, (..., heads or 1, classes, batch); weights
    those of the classes, (..., heads, classes).

    >>> loss_weights(torch.tensor([[1.0, 1.0, 0.0]]), torch.eye(3)[None], torch.tensor([[1.0, 3.0, 1.0]]))
    tensor([[0.2500, 0.7500, 0.0000]])
    """
    each = own.float() if weights is None else own * (weights[..., None] * targets).sum(dim=-2)
    # Nothing of a chunk may be a head's own: its loss is 0 then, and it does not move.
    return each / each.sum(dim=-1, keepdim=True).clamp(min=1e-12)
