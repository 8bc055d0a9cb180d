"""Attentive statistics pooling: the weights of frames are trained, and their mean and deviation go into a softmax.

Source: K. Okabe, T. Koshinaka, K. Shinoda (2018), Attentive Statistics Pooling for Deep Speaker Embedding, Interspeech.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from affetto.frames import Frames, weighted_statistics
from affetto.models.heads.head import MAX_WIDTH, LayerConfig, Part


class Attention(Part):
    """The weighted mean and standard deviation of a layer's frames (section 3, equations 3 to 6).

    Args:
        widths: name and width of the layer.
        units: of the hidden layer that scores frames.
    """

    def __init__(self, widths: Mapping[str, int], units: int) -> None:
        ((self.name, width),) = widths.items()
        super().__init__(widths, 2 * width)
        self.hidden = nn.Linear(width, units)
        self.score = nn.Linear(units, 1, bias=False)  # a bias would add the same to every frame

    def forward(self, given: Mapping[str, Frames]) -> Tensor:
        """Mean and deviation side by side, of standardised frames if they were measured."""
        frames = given[self.name]
        values = self.standardise(frames.values)
        scores = self.score(self.hidden(values).tanh())[..., 0]  # (batch, time)
        weights = scores.masked_fill(~frames.mask, -torch.inf).softmax(dim=-1)
        return torch.cat(weighted_statistics(values, weights), dim=-1)


class AttentiveStatisticsConfig(LayerConfig):
    """Attention over the frames of one or several layers, each with weights of its own.

    Attributes:
        units: of the hidden layer that scores frames.
    """

    kind: Literal["attentive_statistics"] = "attentive_statistics"
    units: int = Field(default=64, ge=1, le=MAX_WIDTH)

    @property
    def fold_s(self) -> float:
        """Of one layer's frames."""
        return 50.0

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """One for each layer."""
        layers = enumerate(widths.items())
        return {f"attention{number}": Attention({name: width}, self.units) for number, (name, width) in layers}
