"""The speech recogniser: two convolutions, five bidirectional GRU layers, a softmax over characters (paper 3.1.1).

After Amodei et al. 2015, "Deep Speech 2". No number depends on padding: convolutions see zeros beyond each utterance,
and everything after them, the statistics of batch normalisation too, runs on packed sequences of real frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from affetto.config import Config
from affetto.features import spectrogram
from affetto.features.spectrogram import FRAME_RATE_HZ, normalise
from affetto.frames import Frames, Waves, time_mask
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.gru import bidirectional_gru
from affetto.models.network import RecogniserConfig, RecogniserNetwork


class BatchNorm(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over (frames, width) or (frames, width, bins).

    While ``shared`` is set and several processes train together, the statistics are those of all their frames, each
    frame counting once: what a single process with all of them would compute. torch's own layer for this works on
    GPUs alone.
    """

    shared = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """(frames, width) or (frames, width, bins), real frames only, to the same shape."""
        if not (self.training and self.shared and torch.distributed.is_initialized()):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            exact = input if input.dtype == torch.float64 else input.float()
            return self._together(exact).to(input.dtype)

    def _together(self, inputs: Tensor) -> Tensor:
        others = (0, 2) if inputs.dim() == 3 else (0,)
        shape = (1, -1, 1) if inputs.dim() == 3 else (1, -1)
        count = inputs.new_tensor([inputs.numel() // self.num_features])
        sums = _Sum.apply(torch.cat([inputs.sum(others), count]))  # type: ignore[no-untyped-call]
        mean, total = sums[:-1] / sums[-1].detach(), sums[-1].detach()
        centred = inputs - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(others)) / total  # type: ignore[no-untyped-call]
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), self.momentum or 0.0)
        scaled: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape)


class _Sum(torch.autograd.Function):
    """The sum over all processes; each one's gradient is the sum of all theirs."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def share_statistics(module: nn.Module, shared: bool) -> None:
    """Sets ``shared`` of every batch normalisation in a network."""
    for each in module.modules():
        if isinstance(each, BatchNorm):
            each.shared = shared


class RecurrentLayer(nn.Module):
    """Normalisation, a bidirectional GRU, and its directions added (width) or concatenated (2 x width)."""

    def __init__(
        self, in_width: int, width: int, *, summed: bool, dropout: float, normalisation: nn.Module | None
    ) -> None:
        super().__init__()
        self.normalisation = normalisation or nn.Identity()
        self.gru = nn.GRU(in_width, width, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.summed = summed
        self.width = width if summed else 2 * width

    def forward(self, frames: Frames) -> Frames:
        """(batch, time, in_width) to (batch, time, width)."""
        inputs = pack(frames)
        outputs = bidirectional_gru(self.gru, inputs._replace(data=self.normalisation(inputs.data)))
        return unpack(outputs._replace(data=self.dropout(self.merged(outputs.data))), frames.lengths)

    def merged(self, data: Tensor) -> Tensor:
        """Both directions of each frame, (..., 2 x width), as one."""
        if not self.summed:
            return data
        forwards, backwards = data.chunk(2, dim=-1)
        return forwards + backwards


def pack(frames: Frames) -> PackedSequence:
    """Real frames only, time step by time step, see `unpack`."""
    return pack_padded_sequence(frames.values, frames.lengths.cpu(), batch_first=True, enforce_sorted=False)


def unpack(packed: PackedSequence, lengths: Tensor) -> Frames:
    """The opposite of `pack`, with the lengths that it was given."""
    values, _ = pad_packed_sequence(packed, batch_first=True)
    return Frames(values, lengths)


Normalisation = Literal["batch", "layer"]
Size = TypeVar("Size", int, Tensor)
_Width = Annotated[int, Field(ge=1, le=65_536)]
_Reach = Annotated[int, Field(ge=1, le=1_000)]


class ConvolutionConfig(Config):
    """A two-dimensional convolution."""

    channels: _Width  # that it puts out
    kernel: tuple[_Reach, _Reach]  # its reach, (bins, frames)
    stride: tuple[_Reach, _Reach]  # its steps, (bins, frames)


class DeepSpeech2Config(RecogniserConfig):
    """The shape of a recogniser."""

    kind: Literal["deepspeech2"] = "deepspeech2"

    # over frequency and time, with a clipped ReLU after each
    convolutions: tuple[ConvolutionConfig, ...] = (
        ConvolutionConfig(channels=32, kernel=(41, 11), stride=(2, 2)),
        ConvolutionConfig(channels=32, kernel=(21, 11), stride=(2, 1)),
    )
    width: _Width = 800  # units of each GRU direction
    depth: int = Field(default=5, ge=1, le=64)  # bidirectional GRU layers
    # how a layer's two directions join: added (width) or concatenated (2 x width)
    merge: Literal["sum", "concat"] = "concat"
    # before each clipped ReLU, from the second GRU layer on its input, and before the softmax: of each feature over the
    # batch, or of each frame over its features
    normalisation: Normalisation = "batch"
    dropout: float = Field(default=0.0, ge=0, lt=1)  # share of each GRU layer's outputs dropped in training


PRESETS = {
    # The paper does not give the width; its "neuron 840" of a layer needs more than 420 a direction.
    "lakomkin2017": DeepSpeech2Config(),
    # One output frame every 40 ms and 4.6 million parameters: what fits into the package and trains on a CPU.
    "small": DeepSpeech2Config(
        convolutions=(
            ConvolutionConfig(channels=16, kernel=(21, 11), stride=(2, 4)),
            ConvolutionConfig(channels=32, kernel=(11, 7), stride=(4, 1)),
        ),
        width=256,
        merge="sum",
    ),
}


def _normalisation(kind: Normalisation, width: int, bins: int = 1) -> nn.Module:
    """Works on (frames, width) or (frames, width, bins), real frames only."""
    if kind == "batch":
        return BatchNorm(width)
    return nn.LayerNorm((width, bins) if bins > 1 else width)


class Convolution(nn.Module):
    """Convolution, normalisation and clipped ReLU over frames of (channels, bins), one after the other."""

    def __init__(self, config: ConvolutionConfig, in_channels: int, in_bins: int, kind: Normalisation) -> None:
        super().__init__()
        padding = (config.kernel[0] // 2, config.kernel[1] // 2)
        self.convolution = nn.Conv2d(in_channels, config.channels, config.kernel, config.stride, padding)
        self.bins = self._positions(in_bins, axis=0)
        self.normalisation = _normalisation(kind, config.channels, self.bins)

    def _positions(self, size: Size, axis: int) -> Size:
        """How many places the kernel takes along an axis (0 bins, 1 frames) of that size."""
        reach = 2 * int(self.convolution.padding[axis]) - self.convolution.kernel_size[axis]
        return (size + reach) // self.convolution.stride[axis] + 1

    def forward(self, frames: Frames) -> Frames:
        """What is beyond each length stays zero, as if the recording ended there."""
        bins = frames.values.view(*frames.values.shape[:2], self.convolution.in_channels, -1)
        values = (
            self.convolution(bins.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()
        )  # (batch, time, channels, bins)
        lengths = self._positions(frames.lengths, axis=1)
        batch, time, *shape = values.shape
        places = time_mask(lengths, time).flatten().nonzero()[:, 0]  # whole rows are copied faster than masked
        real = self.normalisation(values.flatten(0, 1)[places])  # (frames, channels, bins)
        masked = real.new_zeros(batch * time, *shape).index_copy(0, places, real.clamp(0, 20))
        joined = masked.view(batch, time, *shape).permute(0, 2, 3, 1).flatten(1, 2)
        return Frames(joined.transpose(1, 2), lengths)


class DeepSpeech2(RecogniserNetwork):
    """A recogniser of characters from recordings."""

    shape = DeepSpeech2Config

    def __init__(self, config: DeepSpeech2Config) -> None:
        super().__init__()
        self.config = config
        self.convolutions = nn.ModuleList()
        self.recurrent = nn.ModuleList()
        layers = []
        channels, bins, rate_hz = 1, spectrogram.BINS, FRAME_RATE_HZ
        for number, shape in enumerate(config.convolutions, start=1):
            convolution = Convolution(shape, channels, bins, config.normalisation)
            self.convolutions.append(convolution)
            channels, bins, rate_hz = shape.channels, convolution.bins, rate_hz / shape.stride[1]
            layers.append(LayerInfo(f"conv{number}", channels * bins, rate_hz))
        width = channels * bins
        summed, dropout = config.merge == "sum", config.dropout
        for number in range(1, config.depth + 1):
            before = _normalisation(config.normalisation, width) if number > 1 else None
            recurrent = RecurrentLayer(width, config.width, summed=summed, dropout=dropout, normalisation=before)
            self.recurrent.append(recurrent)
            width = recurrent.width
            layers.append(LayerInfo(f"gru{number}", width, rate_hz))
        self.layers = tuple(layers)
        self.normalisation = _normalisation(config.normalisation, width)
        self.output = nn.Linear(width, len(config.symbols) + 1)

    def features(self, waves: Waves) -> Frames:
        """The input of the first layer: normalised log power spectrogram, (batch, time, 161)."""
        return normalise(spectrogram.log_power(waves))

    def spell(self, frames: Frames) -> Frames:
        """See `RecogniserNetwork.spell`."""
        packed = pack(frames)
        scores = self.output(self.normalisation(packed.data))
        exact = scores if scores.dtype == torch.float64 else scores.float()  # half the bits are too few for a loss
        return unpack(packed._replace(data=exact.log_softmax(dim=-1)), frames.lengths)

    def climb(self, frames: Frames, first: str, last: str) -> Frames:
        """See `Network.climb`."""
        for part in self._parts(first, last):
            frames = part(frames)
        return frames

    def layer_parameters(self, name: str) -> Iterator[nn.Parameter]:
        """See `Network.layer_parameters`."""
        return self._parts(name, name)[0].parameters()

    def _parts(self, first: str, last: str) -> list[nn.Module]:
        names = [layer.name for layer in self.layers]
        return [*self.convolutions, *self.recurrent][names.index(first) : names.index(last) + 1]
