"""How unlike the sound that a head was trained on a recording is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Familiarity(nn.Module):
    """Tells familiar sound from sound unlike all that a head was trained on, by the head's vectors.

    The distance is the root mean square of a vector's whitened principal components (Lee et al. 2018 use the same for
    images): 1 for typical training speech.

    Args:
        width: of the vectors.
        components: how many principal components count.
    """

    def __init__(self, width: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("axes", torch.zeros(width, components))
        self.register_buffer("limit", torch.ones(()))
        self.mean: Tensor
        self.axes: Tensor
        self.limit: Tensor

    @classmethod
    def fitted(cls, training: Tensor, judging: Tensor, components: int, quantile: float) -> Familiarity:
        """Fits it to vectors.

        Args:
            training: vectors of training speech, (utterances, width).
            judging: those of other speakers under the same conditions, which set the limit, (utterances, width).
            components: see above; no more than there are directions in the training speech.
            quantile: so much of the other speakers' speech counts as familiar.

        >>> speech = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> Familiarity.fitted(speech, speech, 2, 1.0)(torch.tensor([[0.5, 0.5], [3.0, 0.0]])).tolist()
        [True, False]
        """
        mean = training.mean(dim=0)
        _, sizes, directions = torch.linalg.svd(training - mean, full_matrices=False)
        count = min(components, int((sizes > 1e-5 * sizes[0]).sum()))
        found = cls(training.shape[1], count)
        found.mean.copy_(mean)
        found.axes.copy_(directions[:count].T / sizes[:count] * len(training) ** 0.5)
        found.limit.copy_(torch.quantile(found.distance(judging), quantile))
        return found

    def distance(self, vectors: Tensor) -> Tensor:
        """How far vectors lie from the training speech, (batch,)."""
        return ((vectors - self.mean) @ self.axes).square().mean(dim=-1).sqrt()

    def forward(self, vectors: Tensor) -> Tensor:
        """True where sound is familiar, (batch,)."""
        return self.distance(vectors) <= self.limit
