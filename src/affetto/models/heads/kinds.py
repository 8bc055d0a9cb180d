"""The kinds of emotion heads: the paper's four, a weighted sum of layers, and attention over frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from affetto.config import Config
from affetto.errors import ConfigError
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames, Statistic, thin, weighted_statistics
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.gru import bidirectional_gru, gru_stack, pack, read_both_ways
from affetto.models.heads.head import ACOUSTIC, ALL, MAX_WIDTH, HeadConfig, LayerConfig, Part, pool, within


class Pooled(Part):
    """Fine-tuning MP-x: statistics of layers over time, one beside the other (paper 3.1.3, figure 3b)."""

    linear: ClassVar[bool] = True

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__(widths, sum(widths.values()))

    def forward(self, given: Mapping[str, Frames]) -> Tensor:
        """Standardised, if they were measured."""
        values: Tensor = self.standardise(torch.cat([pool(given, name) for name in self.widths], dim=-1))
        return values


class MeanPoolingConfig(LayerConfig):
    """The averages of one or several layers into a softmax; the paper takes one."""

    kind: Literal["mean_pooling"] = "mean_pooling"
    # of each unit over time: its mean, as in the paper, its standard deviation, or both
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1)] = ("mean",)

    @property
    def pooling(self) -> tuple[Statistic, ...]:
        """`statistics`."""
        return self.statistics

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """The statistics."""
        return {"pooled": Pooled(widths)}


class WeightedSum(Part):
    """The averages of layers of one width, each by its trained share in the sum.

    Source: S. Yang et al. (2021), SUPERB: Speech processing Universal PERformance Benchmark, Interspeech, section 3.
    """

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

    pooling: ClassVar[tuple[Statistic, ...]] = ("mean",)
    kind: Literal["weighted_sum"] = "weighted_sum"
    layer: str | tuple[str, ...] = ALL

    def choose(self, known: Sequence[LayerInfo]) -> dict[str, int]:
        """See `HeadConfig.choose`; layers that are named have to have one width.

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


class Attention(Part):
    """Attentive statistics pooling: mean and deviation of a layer's frames by trained weights (equations 3 to 6).

    Source: K. Okabe, T. Koshinaka, K. Shinoda (2018), Attentive Statistics Pooling for Deep Speaker Embedding,
    Interspeech, section 3.
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
    """Attention over the frames of one or several layers, each with weights of its own."""

    fold_s: ClassVar[float] = 50.0
    kind: Literal["attentive_statistics"] = "attentive_statistics"
    units: int = Field(default=64, ge=1, le=MAX_WIDTH)  # of the hidden layer that scores frames

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """One for each layer."""
        layers = enumerate(widths.items())
        return {f"attention{number}": Attention({name: width}, self.units) for number, (name, width) in layers}


class BranchConfig(Config):
    """The paper's emotion branch (3.1.2): bidirectional GRU layers over acoustic features, averaged over time."""

    units: int = Field(default=96, ge=1, le=MAX_WIDTH)  # of each direction
    depth: int = Field(default=2, ge=1, le=64)  # GRU layers
    acoustic: AcousticConfig = AcousticConfig()  # the features that it reads


class BranchedConfig(HeadConfig):
    """What heads with a branch share."""

    branch: BranchConfig = BranchConfig()  # what reads the sound itself

    @property
    def acoustic(self) -> AcousticConfig:
        """The branch's."""
        return self.branch.acoustic

    @property
    def fold_s(self) -> float:
        """See `HeadConfig.fold_s`."""
        return _branch_s(self.branch.units, self.branch.depth)

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:  # noqa: ARG002  it reads no layer
        """The branch."""
        return {"branch": Branch({ACOUSTIC: self.acoustic.width}, self.branch.units, self.branch.depth)}


def _branch_s(units: int, depth: int) -> float:
    return 200.0 * units * depth / (96 * 2)


class Branch(Part):
    """Bidirectional GRU layers over one input, averaged over time; ``stride`` frames are averaged into one first."""

    def __init__(self, widths: Mapping[str, int], units: int, depth: int, stride: int = 1) -> None:
        super().__init__(widths, 2 * units)
        ((self.name, in_width),) = widths.items()
        self.stride = stride
        in_widths = [in_width] + [2 * units] * (depth - 1)
        self.layers = nn.ModuleList(nn.GRU(width, units, bidirectional=True) for width in in_widths)

    def forward(self, given: Mapping[str, Frames]) -> Tensor:
        """The last layer's outputs, averaged."""
        frames = thin(given[self.name], self.stride)
        values = self.standardise(frames.values)
        packed = pack_padded_sequence(values, frames.lengths.cpu(), batch_first=True, enforce_sorted=False)
        for gru in self.layers:
            assert isinstance(gru, nn.GRU)
            packed = bidirectional_gru(gru, packed)
        outputs, _ = pad_packed_sequence(packed, batch_first=True)
        return Frames(outputs, frames.lengths).mean()

    def stacked(self, own: Mapping[str, Tensor], given: Mapping[str, Frames], chosen: Tensor) -> Tensor:
        """See `Part.stacked`; it is fastest with the longest utterances first."""
        frames = thin(given[self.name], self.stride)
        packing = pack(frames.lengths[chosen])
        rows = packing.both_ways(chosen[:, packing.sequences] * frames.values.shape[1] + packing.steps)
        values = frames.values.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, -1)
        for number in range(len(self.layers)):
            parameters = within(own, f"layers.{number}.")
            if number == 0:
                parameters |= _scaled(parameters, own["standardise.mean"], own["standardise.deviation"])
            else:
                values = read_both_ways(values, packing)
            values = gru_stack(parameters, values, packing)
        return packing.averages(values)


def _scaled(parameters: Mapping[str, Tensor], mean: Tensor, deviation: Tensor) -> dict[str, Tensor]:
    """Input weights and biases that do to frames as they are what a GRU's own do to scaled ones, in fewer passes.

    W (x - mean) / deviation + b = (W / deviation) x + (b - W / deviation mean).
    """
    scaled: dict[str, Tensor] = {}
    for end in ("", "_reverse"):
        weight = parameters[f"weight_ih_l0{end}"] / deviation[:, None]
        shift = (weight @ mean[..., None])[..., 0]
        scaled |= {f"weight_ih_l0{end}": weight, f"bias_ih_l0{end}": parameters[f"bias_ih_l0{end}"] - shift}
    return scaled


class BaselineConfig(BranchedConfig):
    """The branch alone, without a recogniser (paper 3.1.2, figure 3a)."""

    kind: Literal["baseline"] = "baseline"


class RecurrentConfig(LayerConfig):
    """Fine-tuning RNN-x: new GRU layers over a layer's frames, averaged (paper 3.1.3, figure 3c)."""

    kind: Literal["recurrent"] = "recurrent"
    layer: str
    units: int = Field(default=96, ge=1, le=MAX_WIDTH)  # of each direction; the paper does not give it
    depth: int = Field(default=1, ge=1, le=64)  # GRU layers
    # average so many frames into one first; 1 keeps the layer's own rate, as the paper does
    stride: int = Field(default=1, ge=1, le=1_000)

    @property
    def layers(self) -> tuple[str, ...]:
        """The one."""
        return (self.layer,)

    @property
    def fold_s(self) -> float:
        """That of a branch."""
        return _branch_s(self.units, self.depth)

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """The GRU layers."""
        return {"branch": Branch(widths, self.units, self.depth, self.stride)}


class ProgressiveConfig(BranchedConfig, LayerConfig):
    """The averages of one or several layers beside the branch (paper 3.1.4, figure 3d); the paper takes one layer."""

    pooling: ClassVar[tuple[Statistic, ...]] = ("mean",)
    kind: Literal["progressive"] = "progressive"

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """The averages and the branch."""
        return {"pooled": Pooled(widths), **super().parts(widths)}
