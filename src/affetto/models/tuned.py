"""A head with recogniser layers under it that are trained along (paper 1: they "can be updated as well")."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from affetto.frames import Frames
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads import EmotionHead
from affetto.models.network import Network

INPUT = "input"
"""What stands below a recogniser's first layer: its features of the sound."""


def below(layers: Sequence[LayerInfo], name: str) -> list[str]:
    """What stands below a layer, from the input up.

    >>> below([LayerInfo("conv1", 4, 50.0), LayerInfo("gru1", 8, 50.0), LayerInfo("gru2", 8, 50.0)], "gru2")
    ['input', 'conv1', 'gru1']
    """
    names = [INPUT, *(layer.name for layer in layers)]
    return names[: names.index(name)]


class TunedHead(nn.Module):
    """Reads frames of a frozen layer, climbs from there to the head's highest layer, and scores emotions.

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
        self.width, self.dropout = head.width, head.dropout
        names = [layer.name for layer in network.layers]
        self.below = below(network.layers, first)[-1]
        self.tuned = names[names.index(first) : 1 + max(map(names.index, head.layers))]
        for name in self.tuned:
            for parameter in self.network.layer_parameters(name):
                parameter.requires_grad_()

    def train(self, mode: bool = True) -> TunedHead:
        """Leaves the recogniser in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, given: Mapping[str, Frames], keep: Tensor | None = None) -> Tensor:
        """See `EmotionHead.forward`; in the place of layers that are trained along, the frames below them are given."""
        frames, climbed = given[self.below], dict(given)
        for name in self.tuned:
            climbed[name] = frames = self.network.climb(frames, name, name)
        scores: Tensor = self.head(climbed, keep)
        return scores
