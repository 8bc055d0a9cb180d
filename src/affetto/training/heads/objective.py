"""What heads are trained to: classes by their cross-entropy, dimensions by their concordance.

Losses are of a batch as a whole. Everything is laid out (..., outputs, batch), and shares, (..., batch), say how much
of a head's loss each utterance is: those that are its own add up to 1, others are 0 (see `plan.loss_weights`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from affetto.models.heads import EmotionHead
from affetto.training.heads.tasks import cross_entropies

_LEAST = 1e-8  # Added to what is divided by, where nothing of a batch is a head's own


class Objective(ABC):
    """A loss of what a head puts out, see `EmotionHead.score`, beside what is true."""

    @abstractmethod
    def losses(self, scores: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
        """(...) of scores and targets, (..., outputs, batch)."""

    def slopes(self, scores: Tensor, targets: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """The losses, (...), and their gradients by the scores, (..., outputs, batch)."""
        free = scores.detach().requires_grad_()
        losses = self.losses(free, targets, shares)
        (found,) = torch.autograd.grad(losses.sum(), free)
        return losses.detach(), found


class CrossEntropy(Objective):
    """Of classes; targets are each one's share in what an utterance counts as."""

    def losses(self, scores: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
        """The mean over utterances.

        >>> CrossEntropy().losses(torch.zeros(2, 1), torch.tensor([[1.0], [0.0]]), torch.ones(1)).item()
        0.6931471824645996
        """
        return (cross_entropies(scores.mT, targets.mT) * shares).sum(dim=-1)

    def slopes(self, scores: Tensor, targets: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Written down rather than traced, which takes less time."""
        logs = scores.log_softmax(dim=-2)
        losses = -((targets * logs).sum(dim=-2) * shares).sum(dim=-1)
        return losses, logs.exp_().sub_(targets).mul_(shares[..., None, :])


class Concordance(Objective):
    """Of dimensions: 1 - CCC (see `affetto.metrics.ccc`), the mean over dimensions; targets are their values."""

    def losses(self, scores: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
        """Over the utterances of the batch.

        >>> two = torch.tensor([[1.0, 3.0]])
        >>> Concordance().losses(two, torch.stack([two, 4 - two]), torch.full((2,), 0.5)).round().tolist()
        [0.0, 2.0]
        """
        weights = shares[..., None, :]
        one, other = ((weights * each).sum(dim=-1, keepdim=True) for each in (scores, targets))
        x, y = scores - one, targets - other
        covariance = (weights * x * y).sum(dim=-1)
        spread = (weights * (x.square() + y.square())).sum(dim=-1) + (one - other)[..., 0].square()
        return 1 - (2 * covariance / (spread + _LEAST)).mean(dim=-1)


def objective_of(head: EmotionHead) -> Objective:
    """What a head is trained to."""
    return Concordance() if head.dimensions else CrossEntropy()
