"""Sequences of different lengths in one padded tensor: the one shape that features and layers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor


def time_mask(lengths: Tensor, time: int) -> Tensor:
    """True where a frame is real, False where it is padding: (batch, time).

    >>> time_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(time, device=lengths.device)[None, :] < lengths[:, None]


class Frames(NamedTuple):
    """A batch of frame sequences; what lies beyond a sequence's length is zero."""

    values: Tensor  # (batch, time, width), float32
    lengths: Tensor  # (batch,), int64, each at least 1 and at most ``time``

    @property
    def mask(self) -> Tensor:
        """True where a frame is real: (batch, time)."""
        return time_mask(self.lengths, self.values.shape[1])

    def zero_padding(self) -> Frames:
        """The same frames with zeros beyond each length."""
        return Frames(self.values * self.mask[..., None], self.lengths)

    def mean(self) -> Tensor:
        """The mean over each sequence's own frames: (batch, width).

        >>> Frames(torch.tensor([[[2.0], [4.0], [0.0]]]), torch.tensor([2])).mean().tolist()
        [[3.0]]
        """
        return (self.values * self.mask[..., None]).sum(dim=1) / self.lengths[:, None]

    def deviation(self) -> Tensor:
        """The standard deviation over each sequence's own frames: (batch, width).

        >>> Frames(torch.tensor([[[2.0], [4.0], [0.0]]]), torch.tensor([2])).deviation().tolist()
        [[1.0]]
        """
        return weighted_statistics(self.values, self.mask / self.lengths[:, None])[1]

    def unpad(self) -> list[Tensor]:
        """One (length, width) tensor a sequence."""
        return [values[:length] for values, length in zip(self.values, self.lengths.tolist(), strict=True)]

    def to(self, device: torch.device | str) -> Frames:
        """The same frames on another device."""
        return Frames(self.values.to(device), self.lengths.to(device))


Statistic = Literal["mean", "deviation"]  # Of each unit over time
# Statistic -> what computes it: frames to (batch, width).
STATISTICS: Mapping[str, Callable[[Frames], Tensor]] = {"mean": Frames.mean, "deviation": Frames.deviation}
_LEAST_VARIANCE = 1e-10  # below, the root has no gradient, rather than one beyond all bounds


def pooled(layer: str, statistic: Statistic = "mean") -> str:
    """The name of a layer's statistic over time (paper 3.1.3).

    >>> pooled("gru3")
    'gru3/mean'
    """
    return f"{layer}/{statistic}"


def weighted_statistics(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of (..., time, width) over time, (..., width) each; a deviation is at least 1e-5.

    ``weights``, (..., time), say how much each frame counts; they add up to 1.
    """
    mean = (weights[..., None] * values).sum(dim=-2)
    variance = (weights[..., None] * (values - mean[..., None, :]).square()).sum(dim=-2)
    return mean, variance.clamp(min=_LEAST_VARIANCE).sqrt()


def pad(sequences: Sequence[Tensor]) -> Frames:
    """Joins (length, width) tensors into one padded batch.

    >>> pad([torch.ones(1, 2), torch.ones(3, 2)]).values.shape
    torch.Size([2, 3, 2])
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return Frames(torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True), lengths)


def thin(frames: Frames, stride: int) -> Frames:
    """Averages each ``stride`` neighbouring frames; the last average is over those that are left.

    >>> thin(Frames(torch.tensor([[[1.0], [3.0], [4.0]]]), torch.tensor([3])), stride=2).values.flatten().tolist()
    [2.0, 4.0]
    """
    if stride == 1:
        return frames
    lengths = -(-frames.lengths // stride)
    values = torch.nn.functional.pad(frames.values, (0, 0, 0, -frames.values.shape[1] % stride))
    sums = values.reshape(len(values), -1, stride, values.shape[2]).sum(dim=2)
    starts = torch.arange(sums.shape[1], device=sums.device) * stride
    counts = (frames.lengths[:, None] - starts).clamp(1, stride)
    return Frames(sums / counts[..., None], lengths)


class Waves(NamedTuple):
    """A batch of mono recordings at 16 kHz; what lies beyond a recording's length is zero."""

    values: Tensor  # (batch, samples), float32, full scale at 1
    lengths: Tensor  # (batch,), int64, samples of each recording
    # where somebody speaks in each, (batch, 2), int64: the first sample and the one after the last; None where that is
    # not asked, which takes all of each
    speech: Tensor | None = None

    def to(self, device: torch.device | str) -> Waves:
        """The same recordings on another device."""
        return Waves(self.values.to(device), self.lengths.to(device), self.speech)

    def of_speech(self, frames: Frames) -> Frames:
        """Those frames of the recordings that lie where somebody speaks, at least one of each.

        >>> waves = Waves(torch.zeros(1, 1600), torch.tensor([1600]), torch.tensor([[400, 800]]))
        >>> waves.of_speech(pad([torch.arange(8.0)[:, None]])).values.flatten().tolist()
        [2.0, 3.0]
        """
        if self.speech is None:
            return frames
        found = zip(frames.unpad(), self.lengths.tolist(), self.speech.tolist(), strict=True)
        return pad([own[first * len(own) // n : max(1, -(-end * len(own) // n))] for own, n, (first, end) in found])

    def spoken(self) -> Waves:
        """The recordings from where somebody speaks to where nobody speaks any more.

        >>> waves = Waves(torch.arange(8.0)[None], torch.tensor([8]), torch.tensor([[2, 4]]))
        >>> waves.spoken().values.tolist()
        [[2.0, 3.0]]
        """
        if self.speech is None:
            return self
        found = zip(self.values, self.speech.tolist(), strict=True)
        return pad_waves([wave[first:end] for wave, (first, end) in found])


def pad_waves(waves: Sequence[Tensor]) -> Waves:
    """Joins (samples,) tensors into one padded batch.

    >>> pad_waves([torch.ones(2), torch.ones(5)]).lengths.tolist()
    [2, 5]
    """
    lengths = torch.tensor([len(wave) for wave in waves])
    return Waves(torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True), lengths)
