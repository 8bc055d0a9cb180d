"""A recogniser of characters on top of Whisper's encoder.

Of the encoder's 50 frames a second a convolution joins neighbours, and bidirectional GRU layers read the pairs. English
is spoken at up to 20 characters a second, and CTC wants more frames than that: the softmax spells two of each pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from affetto.config import Config
from affetto.devices import one_thread
from affetto.frames import Frames, Waves
from affetto.models.deepspeech2 import RecurrentLayer
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.network import RecogniserConfig, RecogniserNetwork
from affetto.models.whisper import FRAME_RATE_HZ, WhisperEncoder, WhisperEncoderConfig

_STRIDE = 2
_Width = Annotated[int, Field(ge=1, le=65_536)]


class CtcHeadConfig(Config):
    """What stands between the encoder and the softmax."""

    channels: _Width = 256  # of the convolution that halves the frames
    kernel: Literal[1, 3, 5, 7, 9] = 5  # its reach, encoder frames; odd
    width: _Width = 256  # units of each GRU direction; the two are added
    depth: int = Field(default=2, ge=1, le=64)  # GRU layers
    dropout: float = Field(default=0.0, ge=0, lt=1)  # share of every layer's outputs dropped in training
    spelt: int = Field(default=2, ge=1, le=4)  # frames of characters that the softmax makes of one of the highest layer


class WhisperCtcConfig(RecogniserConfig):
    """The shape of a recogniser on Whisper's encoder."""

    kind: Literal["whisper_ctc"] = "whisper_ctc"
    encoder: WhisperEncoderConfig = WhisperEncoderConfig()  # the shape of the encoder
    head: CtcHeadConfig = CtcHeadConfig()  # of what reads it


class WhisperCtc(RecogniserNetwork):
    """From recordings to characters.

    Its layers are the encoder's, then "pairs", what the convolution makes of neighbours, and "gru1", "gru2" and so on.

    >>> import torch
    >>> encoder = WhisperEncoderConfig(width=8, heads=2, depth=1, feed_forward=16)
    >>> model = WhisperCtc(WhisperCtcConfig(encoder=encoder, head=CtcHeadConfig(channels=4, depth=1))).eval()
    >>> [layer.name for layer in model.layers]
    ['conv', 'layer1', 'pairs', 'gru1']
    >>> model(Waves(torch.zeros(1, 16000), torch.tensor([16000]))).log_probs.values.shape
    torch.Size([1, 50, 29])
    """

    shape = WhisperCtcConfig
    delicate = ("encoder.blocks.0.attention",)

    def __init__(self, config: WhisperCtcConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WhisperEncoder(config.encoder)
        self.level = config.encoder.level
        head = config.head
        self.pairs = nn.Conv1d(config.encoder.width, head.channels, head.kernel, _STRIDE, head.kernel // 2)
        self.dropout = nn.Dropout(head.dropout)
        widths = [head.channels, *[head.width] * head.depth]
        self.recurrent = nn.ModuleList(
            RecurrentLayer(width, head.width, summed=True, dropout=head.dropout, normalisation=nn.LayerNorm(width))
            for width in widths[:-1]
        )
        self.normalisation = nn.LayerNorm(widths[-1])
        self.output = nn.Linear(widths[-1], head.spelt * (len(config.symbols) + 1))
        names = ("pairs", *(f"gru{number}" for number in range(1, head.depth + 1)))
        rate_hz = FRAME_RATE_HZ / _STRIDE
        own = (LayerInfo(name, width, rate_hz) for name, width in zip(names, widths, strict=True))
        self.layers = (*self.encoder.layers, *own)

    @property
    def output_rate_hz(self) -> float:
        """Frames a second that the characters come at."""
        return float(self.config.head.spelt * self.layers[-1].frame_rate_hz)

    def compute_in(self, precision: torch.dtype) -> None:
        """The encoder; recurrent layers gain nothing."""
        self.encoder.compute_in(precision)
        self.precision = precision

    def features(self, waves: Waves) -> Frames:
        """The encoder's: (batch, time, bins), 100 frames a second."""
        return self.encoder.features(waves)

    def climb(self, frames: Frames, first: str, last: str) -> Frames:
        """See `Network.climb`."""
        names = [layer.name for layer in self.layers]
        start, end, border = names.index(first), names.index(last), len(self.encoder.layers)
        if start < border:
            frames = self.encoder.climb(frames, first, names[min(end, border - 1)])
        if start <= border <= end:
            values = nn.functional.gelu(self.pairs(frames.values.transpose(1, 2))).transpose(1, 2)
            frames = Frames(self.dropout(values), -(-frames.lengths // _STRIDE)).zero_padding()
        with nullcontext() if torch.is_grad_enabled() else one_thread:  # see `devices.one_thread`
            for place in range(max(start, border + 1), end + 1):
                frames = self.recurrent[place - border - 1](frames)
        return frames

    def spell(self, frames: Frames) -> Frames:
        """See `RecogniserNetwork.spell`."""
        scores = self.output(self.normalisation(frames.values)).float()
        spelt = self.config.head.spelt
        apart = scores.view(len(scores), spelt * scores.shape[1], -1)  # (batch, spelt x time, classes)
        return Frames(apart.log_softmax(dim=-1), spelt * frames.lengths).zero_padding()

    def layer_parameters(self, name: str) -> Iterator[nn.Parameter]:
        """See `Network.layer_parameters`."""
        if name in {layer.name for layer in self.encoder.layers}:
            return self.encoder.layer_parameters(name)
        return self.pairs.parameters() if name == "pairs" else self.recurrent[int(name[3:]) - 1].parameters()
