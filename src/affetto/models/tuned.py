"""A head with recogniser layers under it that are trained along (paper 1: they "can be updated as well")."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from affetto.frames import Frames
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads import EmotionHead
from affetto.models.network import Network

INPUT = "input"
"""What stands below a recogniser's first layer: its spectrogram."""


def below(layers: Sequence[LayerInfo], layer: str) -> str:
    """The name of the layer below another.

    >>> below([LayerInfo("conv2", 8, 25.0), LayerInfo("gru1", 8, 25.0)], "gru1")
    'conv2'
    """
    names = [INPUT, *(each.name for each in layers)]
    return names[names.index(layer) - 1]


class TunedHead(nn.Module):
    """Reads frames of a frozen layer, climbs from there to the head's layer, and scores emotions.

    Dropout and batch normalisation within the recogniser stay as they are when it recognises: there are too few
    emotional utterances to estimate the statistics anew.

    Args:
        network: a trained recogniser's; it is copied.
        head: what to put on it.
        first: the lowest layer that is trained along.
    """

    def __init__(self, network: Network, head: EmotionHead, first: str) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.head = head
        self.first = first
        self.last = head.layer or first
        self.width, self.dropout = head.width, head.dropout
        names = [layer.name for layer in network.layers]
        for name in names[names.index(first) : names.index(self.last) + 1]:
            for parameter in self.network.layer_parameters(name):
                parameter.requires_grad_()

    def train(self, mode: bool = True) -> TunedHead:
        """Leaves the recogniser in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, layer: Frames | None, acoustic: Frames | None, keep: Tensor | None = None) -> Tensor:
        """See `EmotionHead.forward`; the layer is the one below the first that is trained along."""
        assert layer is not None, "the recogniser reads something"
        scores: Tensor = self.head(self.network.climb(layer, self.first, self.last), acoustic, keep)
        return scores
