"""Emotion heads: what is trained on top of a frozen recogniser (paper 3.1.2 to 3.1.4).

One family, one contract: a head is given the frames of one recogniser layer, the frames of acoustic features, or both,
and answers with a score for each class. A layer may come averaged over time already, as frames of length one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from affetto.config import Config
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames
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


class BaselineConfig(Config):
    """The branch alone, without a recogniser (paper 3.1.2, figure 3a)."""

    kind: Literal["baseline"] = "baseline"
    branch: BranchConfig = BranchConfig()
    dropout: float = Field(default=0.25, ge=0, lt=1)
    standardise: bool = False


class MeanPoolingConfig(Config):
    """Fine-tuning MP-x: the average of one layer into a softmax (paper 3.1.3, figure 3b).

    Attributes:
        layer: x, as a layer's name ("gru3").
        dropout: on the averaged representation.
        standardise: scale each input by its mean and deviation over the training utterances; not in the paper.
    """

    kind: Literal["mean_pooling"] = "mean_pooling"
    layer: str
    dropout: float = Field(default=0.25, ge=0, lt=1)
    standardise: bool = False


class ProgressiveConfig(Config):
    """Progressive-x: the averaged layer and the branch, joined before the softmax (paper 3.1.4, figure 3d)."""

    kind: Literal["progressive"] = "progressive"
    layer: str
    branch: BranchConfig = BranchConfig()
    dropout: float = Field(default=0.25, ge=0, lt=1)
    standardise: bool = False


HeadConfig = Annotated[BaselineConfig | MeanPoolingConfig | ProgressiveConfig, Field(discriminator="kind")]


class Standardise(nn.Module):
    """Subtracts a mean and divides by a deviation that were measured on training utterances; at first, does nothing."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def measure(self, rows: Tensor) -> None:
        """Takes mean and deviation from (rows, width)."""
        self.mean = rows.mean(dim=0)
        deviation = rows.std(dim=0, correction=0)
        # What never varied in training tells nothing; divided by next to nothing, it would drown all else later.
        self.deviation = torch.where(deviation > 1e-5, deviation, 1.0)

    def forward(self, values: Tensor) -> Tensor:
        """Of (..., width)."""
        return (values - self.mean) / self.deviation


class Branch(nn.Module):
    """The emotion branch: (batch, time, features) to (batch, 2 x units)."""

    def __init__(self, config: BranchConfig) -> None:
        super().__init__()
        self.standardise = Standardise(config.acoustic.width)
        widths = [config.acoustic.width] + [2 * config.units] * (config.depth - 1)
        self.layers = nn.ModuleList(nn.GRU(width, config.units, bidirectional=True) for width in widths)
        self.width = 2 * config.units

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
        branch = None if isinstance(config, MeanPoolingConfig) else config.branch
        self.branch = None if branch is None else Branch(branch)
        self.standardise = Standardise(layer_width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(layer_width + (0 if self.branch is None else self.branch.width), len(classes))

    @property
    def layer(self) -> str | None:
        """The recogniser layer it reads."""
        return None if isinstance(self.config, BaselineConfig) else self.config.layer

    @property
    def acoustic(self) -> AcousticConfig | None:
        """The acoustic features it reads."""
        return None if isinstance(self.config, MeanPoolingConfig) else self.config.branch.acoustic

    def measure(self, layers: Tensor, acoustic_rows: Tensor | None) -> None:
        """Takes what the inputs are scaled by from training data, where the config asks for it.

        Args:
            layers: averaged layers, (utterances, layer_width).
            acoustic_rows: frames of acoustic features, (frames, features); None if the head hears none.
        """
        if not self.config.standardise:
            return
        if self.layer is not None:
            self.standardise.measure(layers)
        if self.branch is not None and acoustic_rows is not None:
            self.branch.standardise.measure(acoustic_rows)

    def forward(self, layer: Frames | None, acoustic: Frames | None) -> Tensor:
        """Scores (before the softmax) of each class.

        Args:
            layer: frames of the recogniser layer, (batch, time, layer_width); None if the head reads none.
            acoustic: frames of acoustic features, (batch, time, features); None if the head hears none.

        Returns:
            (batch, classes).
        """
        parts = []
        if self.layer is not None:
            assert layer is not None, f"the head reads {self.layer}"
            parts.append(self.standardise(layer.mean()))
        if self.branch is not None:
            assert acoustic is not None, "the head hears acoustic features"
            parts.append(self.branch(acoustic))
        scores: Tensor = self.output(self.dropout(torch.cat(parts, dim=-1)))
        return scores
