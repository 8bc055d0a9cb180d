"""What the heads of a stack learn in an epoch, however they go about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from affetto.training.heads.plan import EpochPlan


class StackEpoch(NamedTuple):
    """An epoch of a stack.

    Attributes:
        plans: what chance decides, one a repeat.
        repeats: the repeat of each head; those of one repeat stand together.
        member: what each head learns from, (heads, utterances).
        weights: each head's weights of the classes, (heads, classes); None weighs them alike.
    """

    plans: Sequence[EpochPlan]
    repeats: Sequence[int]
    member: NDArray[np.bool_]
    weights: Tensor | None


class StepLosses(NamedTuple):
    """A step: every head has a gradient, and this is what it was.

    Attributes:
        losses: each head's, over its own utterances, (heads,).
        counts: how many these were, (heads,).
    """

    losses: Tensor
    counts: Tensor


def loss_weights(own: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """How much of a head's loss each utterance is; those that are the head's own add up to 1.

    Args:
        own: 1 or True where an utterance is the head's to learn from, (..., heads, batch).
        targets: each class's share, (..., heads or 1, classes, batch).
        weights: of the classes, (..., heads, classes).

    >>> import torch
    >>> loss_weights(torch.tensor([[1.0, 1.0, 0.0]]), torch.eye(3)[None], torch.tensor([[1.0, 3.0, 1.0]]))
    tensor([[0.2500, 0.7500, 0.0000]])
    """
    each = own.float() if weights is None else own * (weights[..., None] * targets).sum(dim=-2)
    # Nothing of a chunk may be a head's own: its loss is 0 then, and it does not move.
    return each / each.sum(dim=-1, keepdim=True).clamp(min=1e-12)
