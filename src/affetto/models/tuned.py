"""A head with recogniser layers under it that are trained along (paper 1: they "can be updated as well")."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from affetto.frames import Frames
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.heads import EmotionHead

INPUT = "input"
"""What stands below a recogniser's first layer: its spectrogram."""


def below(recogniser: DeepSpeech2, layer: str) -> str:
    """The name of the layer below another.

    >>> from affetto.models.deepspeech2 import PRESETS
    >>> below(DeepSpeech2(PRESETS["small"]), "gru1")
    'conv2'
    """
    names = [INPUT, *recogniser.layer_widths]
    return names[names.index(layer) - 1]


class TunedHead(nn.Module):
    """Reads frames of a frozen layer, climbs from there to the head's layer, and scores emotions.

    Dropout and batch normalisation within the recogniser stay as they are when it recognises: there are too few
    emotional utterances to estimate the statistics anew.

    Args:
        recogniser: trained; it is copied.
        head: what to put on it.
        first: the lowest layer that is trained along.
    """

    def __init__(self, recogniser: DeepSpeech2, head: EmotionHead, first: str) -> None:
        super().__init__()
        self.recogniser = copy.deepcopy(recogniser).eval()
        self.head = head
        self.first = first
        self.last = head.layer or first
        self.width, self.dropout = head.width, head.dropout
        names = list(recogniser.layer_widths)
        tuned = names[names.index(first) : names.index(self.last) + 1]
        for name, parameter in self.recogniser.named_parameters():
            kind, _, place = name.partition(".")
            layer = {"convolutions": "conv", "recurrent": "gru"}.get(kind, "") + _number(place)
            parameter.requires_grad_(layer in tuned)

    def train(self, mode: bool = True) -> TunedHead:
        """Leaves the recogniser in evaluation mode."""
        super().train(mode)
        self.recogniser.eval()
        return self

    def forward(self, layer: Frames | None, acoustic: Frames | None, keep: Tensor | None = None) -> Tensor:
        """See `EmotionHead.forward`; the layer is the one below the first that is trained along."""
        assert layer is not None, "the recogniser reads something"
        scores: Tensor = self.head(self.recogniser.climb(layer, self.first, self.last), acoustic, keep)
        return scores


def _number(place: str) -> str:
    """The number of a layer, counted from 1, of what PyTorch counts from 0."""
    first, _, _ = place.partition(".")
    return str(int(first) + 1) if first.isdigit() else ""
