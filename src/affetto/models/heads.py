"""Emotion heads: what is trained on top of a frozen recogniser (paper 3.1.2 to 3.1.4).

One family, one contract: a head is given the frames of one recogniser layer, the frames of acoustic features, or both,
and answers with a score for each class. A head that only averages a layer may be given it averaged over time already,
as frames of length one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from affetto.config import Config
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames, thin
from affetto.models.gru import bidirectional_gru

MAX_WIDTH = 65_536
"""No layer is wider: a config that says otherwise is damaged."""


class BranchConfig(Config):
    """The emotion branch: bidirectional GRU layers over acoustic features, averaged over time.

    Attributes:
        units: of each direction.
        depth: GRU layers.
        acoustic: what it hears.
    """

    units: int = Field(default=96, ge=1, le=MAX_WIDTH)
    depth: int = Field(default=2, ge=1, le=64)
    acoustic: AcousticConfig = AcousticConfig()


class _HeadConfig(Config):
    """What all heads share.

    Attributes:
        dropout: on the utterance's representation, before the softmax.
        standardise: scale each input by its mean and deviation over the training utterances; not in the paper.
    """

    dropout: float = Field(default=0.25, ge=0, lt=1)
    standardise: bool = False


class _LayerConfig(_HeadConfig):
    """What heads on a recogniser share.

    Attributes:
        layer: x, as a layer's name ("gru3").
        trained_from: the lowest recogniser layer that is trained along with the head, up to x; None keeps the
            recogniser frozen, as the paper does.
    """

    layer: str
    trained_from: str | None = None


class BaselineConfig(_HeadConfig):
    """The branch alone, without a recogniser (paper 3.1.2, figure 3a)."""

    kind: Literal["baseline"] = "baseline"
    branch: BranchConfig = BranchConfig()


class MeanPoolingConfig(_LayerConfig):
    """Fine-tuning MP-x: the average of one layer into a softmax (paper 3.1.3, figure 3b)."""

    kind: Literal["mean_pooling"] = "mean_pooling"


class RecurrentConfig(_LayerConfig):
    """Fine-tuning RNN-x: a new bidirectional GRU over one layer, averaged, into a softmax (paper 3.1.3, figure 3c).

    Attributes:
        units: of each direction; the paper does not tell.
        depth: GRU layers.
        stride: average so many frames into one first; 1 keeps the layer's own rate, as the paper does.
    """

    kind: Literal["recurrent"] = "recurrent"
    units: int = Field(default=96, ge=1, le=MAX_WIDTH)
    depth: int = Field(default=1, ge=1, le=64)
    stride: int = Field(default=1, ge=1, le=1_000)


class ProgressiveConfig(_LayerConfig):
    """Progressive-x: the averaged layer and the branch, joined before the softmax (paper 3.1.4, figure 3d)."""

    kind: Literal["progressive"] = "progressive"
    branch: BranchConfig = BranchConfig()


HeadConfig = Annotated[
    BaselineConfig | MeanPoolingConfig | RecurrentConfig | ProgressiveConfig, Field(discriminator="kind")
]


class Standardise(nn.Module):
    """Subtracts a mean and divides by a deviation that were measured on training utterances; at first, does nothing."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def measure(self, mean: Tensor, deviation: Tensor) -> None:
        """Takes the mean and the standard deviation of each column over training data, (width,)."""
        self.mean = mean.float()
        # What never varied in training tells nothing; divided by next to nothing, it would drown all else later.
        self.deviation = torch.where(deviation > 1e-5, deviation, 1.0).float()

    def forward(self, values: Tensor) -> Tensor:
        """Of (..., width)."""
        return (values - self.mean) / self.deviation


class Branch(nn.Module):
    """Bidirectional GRU layers, averaged over time: (batch, time, in_width) to (batch, 2 x units)."""

    def __init__(self, in_width: int, units: int, depth: int) -> None:
        super().__init__()
        self.standardise = Standardise(in_width)
        widths = [in_width] + [2 * units] * (depth - 1)
        self.layers = nn.ModuleList(nn.GRU(width, units, bidirectional=True) for width in widths)
        self.width = 2 * units

    def forward(self, frames: Frames) -> Tensor:
        """The last layer's outputs, averaged over each utterance's frames."""
        values = self.standardise(frames.values)
        packed = pack_padded_sequence(values, frames.lengths.cpu(), batch_first=True, enforce_sorted=False)
        for gru in self.layers:
            assert isinstance(gru, nn.GRU)
            packed = bidirectional_gru(gru, packed)
        outputs, _ = pad_packed_sequence(packed, batch_first=True)
        return Frames(outputs, frames.lengths).mean()


class EmotionHead(nn.Module):
    """Scores emotions.

    Args:
        config: which head.
        classes: the emotions, in the order of the scores.
        layer_width: width of the recogniser layer that the head reads; 0 if it reads none.

    >>> head = EmotionHead(MeanPoolingConfig(layer="gru2"), ("anger", "sadness"), layer_width=3)
    >>> head(Frames(torch.ones(5, 1, 3), torch.ones(5, dtype=torch.int64)), None).shape
    torch.Size([5, 2])
    """

    def __init__(self, config: HeadConfig, classes: tuple[str, ...], layer_width: int) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self.layer_width = layer_width
        self.branch: Branch | None = None
        if isinstance(config, BaselineConfig | ProgressiveConfig):
            self.branch = Branch(config.branch.acoustic.width, config.branch.units, config.branch.depth)
        elif isinstance(config, RecurrentConfig):
            self.branch = Branch(layer_width, config.units, config.depth)
        pooled_width = layer_width if self.pools else 0
        self.standardise = Standardise(pooled_width)
        self.width = pooled_width + (0 if self.branch is None else self.branch.width)
        self.dropout = config.dropout
        self.output = nn.Linear(self.width, len(classes))

    @property
    def layer(self) -> str | None:
        """The recogniser layer it reads."""
        return None if isinstance(self.config, BaselineConfig) else self.config.layer

    @property
    def pools(self) -> bool:
        """Whether it averages that layer, so that the average is all it needs."""
        return isinstance(self.config, MeanPoolingConfig | ProgressiveConfig)

    @property
    def stride(self) -> int:
        """How many frames of the layer are averaged into one before the branch reads them."""
        return self.config.stride if isinstance(self.config, RecurrentConfig) else 1

    @property
    def acoustic(self) -> AcousticConfig | None:
        """The acoustic features it reads."""
        return self.config.branch.acoustic if isinstance(self.config, BaselineConfig | ProgressiveConfig) else None

    def forward(self, layer: Frames | None, acoustic: Frames | None, keep: Tensor | None = None) -> Tensor:
        """Scores (before the softmax) of each class.

        Args:
            layer: frames of the recogniser layer, (batch, time, layer_width); None if the head reads none.
            acoustic: frames of acoustic features, (batch, time, features); None if the head hears none.
            keep: what dropout leaves of the utterance's representation, as factors, (batch, width); None leaves all.

        Returns:
            (batch, classes).
        """
        parts = []
        if self.layer is not None:
            assert layer is not None, f"the head reads {self.layer}"
            parts.append(self.standardise(layer.mean()) if self.pools else self._branch(thin(layer, self.stride)))
        if self.acoustic is not None:
            assert acoustic is not None, "the head hears acoustic features"
            parts.append(self._branch(acoustic))
        joined = torch.cat(parts, dim=-1)
        scores: Tensor = self.output(joined if keep is None else joined * keep)
        return scores

    def _branch(self, frames: Frames) -> Tensor:
        assert self.branch is not None
        joined: Tensor = self.branch(frames)
        return joined
