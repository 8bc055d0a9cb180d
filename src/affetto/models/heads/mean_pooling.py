"""Fine-tuning MP-x: statistics of layers over time into a softmax (paper 3.1.3, figure 3b)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from affetto.frames import Frames, Statistic
from affetto.models.heads.head import LayerConfig, Part, pool

Statistics = Annotated[tuple[Statistic, ...], Field(min_length=1)]


class Pooled(Part):
    """Statistics of layers over time, one beside the other."""

    linear: ClassVar[bool] = True

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__(widths, sum(widths.values()))

    def forward(self, given: Mapping[str, Frames]) -> Tensor:
        """Standardised, if they were measured."""
        values: Tensor = self.standardise(torch.cat([pool(given, name) for name in self.widths], dim=-1))
        return values


class MeanPoolingConfig(LayerConfig):
    """The averages of one or several layers into a softmax; the paper takes one.

    Attributes:
        statistics: of each unit over time: its mean, as in the paper, its standard deviation, or both.
    """

    kind: Literal["mean_pooling"] = "mean_pooling"
    statistics: Statistics = ("mean",)

    @property
    def pooling(self) -> tuple[Statistic, ...]:
        """`statistics`."""
        return self.statistics

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """The statistics."""
        return {"pooled": Pooled(widths)}
