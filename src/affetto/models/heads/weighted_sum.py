"""A trained weighted sum of a recogniser's layers, averaged over time, into a softmax.

Source: S. Yang et al. (2021), SUPERB: Speech processing Universal PERformance Benchmark, Interspeech, section 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from affetto.errors import ConfigError
from affetto.frames import Frames, Statistic
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads.head import ALL, LayerConfig, Part, pool


class WeightedSum(Part):
    """The averages of layers of one width, each by its share in the sum."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__(widths, next(iter(widths.values())))
        self.weights = nn.Parameter(torch.zeros(len(widths)))

    def forward(self, given: Mapping[str, Frames]) -> Tensor:
        """Shares are the softmax of the weights; each layer is standardised by itself, if it was measured."""
        averages = self.standardise(torch.cat([pool(given, name) for name in self.widths], dim=-1))
        layers: Tensor = averages.unflatten(-1, (len(self.widths), self.width))  # (batch, layers, width)
        return (self.weights.softmax(dim=0)[:, None] * layers).sum(dim=-2)


class WeightedSumConfig(LayerConfig):
    """The sum of the named layers; of "all", those of the width that most of them have."""

    kind: Literal["weighted_sum"] = "weighted_sum"
    layer: str | tuple[str, ...] = ALL

    @property
    def pooling(self) -> tuple[Statistic, ...]:
        """The mean."""
        return ("mean",)

    def choose(self, known: Sequence[LayerInfo]) -> dict[str, int]:
        """See `HeadConfig.choose`.

        Raises:
            ConfigError: see there; or layers of different width are named.

        >>> layers = [LayerInfo("conv1", 4, 50.0), LayerInfo("gru1", 8, 50.0), LayerInfo("gru2", 8, 50.0)]
        >>> WeightedSumConfig().choose(layers)
        {'gru1': 8, 'gru2': 8}
        """
        found = super().choose(known)
        if self.layers is None:
            ((common, _),) = Counter(reversed(found.values())).most_common(1)  # of two as common, the upper ones'
            return {name: width for name, width in found.items() if width == common}
        if len(set(found.values())) > 1:
            shown = ", ".join(f"{name} {width}" for name, width in found.items())
            raise ConfigError(f"layers of different width cannot be summed ({shown})", "name layers of one width")
        return found

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """The sum."""
        return {"sum": WeightedSum(widths)}
