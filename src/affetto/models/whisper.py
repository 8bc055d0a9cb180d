"""Whisper's encoder: two convolutions and a stack of transformer layers over a log-mel spectrogram.

After Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision". An utterance is encoded as long
as it is, in windows of 30 s where it is longer: nothing sees beyond its end, so no number depends on padding or mates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from affetto.config import Config
from affetto.errors import CheckpointError, ConfigError
from affetto.features.spectrogram import log_mel
from affetto.frames import Frames, Waves, time_mask
from affetto.models import checkpoint, transformers_folder
from affetto.models.checkpoint import ModuleT
from affetto.models.encoders.encoder import Encoding, LayerInfo
from affetto.models.network import Network

FRAME_RATE_HZ = 50.0

ConfigT = TypeVar("ConfigT", bound=Config)

_Size = Annotated[int, Field(ge=1, le=65_536)]


class WhisperEncoderConfig(Config):
    """The shape of an encoder; as it stands, that of Whisper's smallest models, "tiny"."""

    width: _Size = 384  # of every layer
    heads: _Size = 6  # of each self-attention
    depth: int = Field(default=4, ge=1, le=256)  # transformer layers
    feed_forward: _Size = 1536  # units of each layer's feed-forward network
    bins: int = Field(default=80, ge=1, le=1024)  # mel bands of the input
    positions: _Size = 1500  # frames of a window, 30 s; what is longer is encoded in several
    # what the loudest value of an utterance is brought to, see `log_mel`; None leaves levels as they are, as Whisper
    # does
    level: float | None = Field(default=None, ge=-4, le=4)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> WhisperEncoderConfig:
        if self.width % self.heads or self.width % 2:
            raise ValueError("the width is an even multiple of the heads")
        return self


class TransformerLayer(nn.Module):
    """What layers of encoder and decoder share: self-attention and a feed-forward network, each normalised before."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.head_shape = (heads, width // heads)
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)  # queries, keys, values
        self.attention_out = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward_in = nn.Linear(width, feed_forward)
        self.feed_forward_out = nn.Linear(feed_forward, width)

    def split(self, joined: Tensor) -> Tensor:
        """What attention reads, (batch, time, parts x width), as (parts, batch, heads, time, width of a head)."""
        return joined.view(*joined.shape[:2], -1, *self.head_shape).permute(2, 0, 3, 1, 4)

    def fed_forward(self, values: Tensor) -> Tensor:
        """With what the feed-forward network adds, (batch, time, width)."""
        held = self.feed_forward_in.weight.dtype
        hidden = nn.functional.gelu(self.feed_forward_in(self.feed_forward_norm(values).to(held)))
        added: Tensor = self.feed_forward_out(hidden).float()
        return values + added


class Block(TransformerLayer):
    """A layer of the encoder."""

    def forward(self, values: Tensor, real: Tensor | None) -> Tensor:
        """(batch, time, width) to the same; ``real`` (batch, 1, 1, time) is true where may be attended to."""
        held = self.attention_in.weight.dtype
        query, key, value = self.split(self.attention_in(self.attention_norm(values).to(held)))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=real)
        return self.fed_forward(values + self.attention_out(mixed.transpose(1, 2).flatten(2)).float())


class WhisperEncoder(Network):
    """From recordings to states at 50 Hz.

    Its layers are "conv", what both convolutions and the positions give, and "layer1", "layer2" and so on, what each
    transformer layer adds up to. The last of them comes after the final normalisation, as in transformers'
    ``hidden_states``.
    """

    takes_level = True

    def __init__(self, config: WhisperEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.level = config.level
        sizes = config.width, config.heads, config.feed_forward
        first = nn.Conv1d(config.bins, config.width, 3, padding=1)
        self.convolutions = nn.ModuleList([first, nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)])
        self.positions: Tensor = nn.Buffer(sinusoids(config.positions, config.width))
        self.blocks = nn.ModuleList(Block(*sizes) for _ in range(config.depth))
        self.normalisation = nn.LayerNorm(config.width)
        names = ("conv", *(f"layer{number}" for number in range(1, config.depth + 1)))
        self.layers = tuple(LayerInfo(name, config.width, FRAME_RATE_HZ) for name in names)

    def compute_in(self, precision: torch.dtype) -> None:
        """See `Network.compute_in`; what layers add up to and normalisations stay in float32."""
        self.precision = precision
        for part in self.modules():
            if isinstance(part, nn.Conv1d | nn.Linear):
                part.to(precision)

    def features(self, waves: Waves) -> Frames:
        """The input of the convolutions: (batch, time, bins), 100 frames a second."""
        return log_mel(waves, self.config.bins, self.level)

    def forward(self, waves: Waves, collect: Collection[str] = ()) -> Encoding:
        """Encodes a batch of recordings: the layers to hand out, and the last one as the output."""
        last = self.layers[-1].name
        found = self.represent(waves, {*collect, last})
        return Encoding({name: found[name] for name in found if name in collect}, found[last])

    def climb(self, frames: Frames, first: str, last: str) -> Frames:
        """See `Network.climb`."""
        names = [layer.name for layer in self.layers]
        windows = _split(frames, self.config.positions * (2 if first == "conv" else 1))
        if first == "conv":
            windows = self.convolve(windows)
        values, lengths = windows
        time = values.shape[1]
        real = time_mask(lengths.clamp(min=1), time)[:, None, None] if int(lengths.min()) < time else None
        for place in range(max(names.index(first), 1), names.index(last) + 1):
            values = self.blocks[place - 1](values, real)
        if last == names[-1]:
            values = self.normalisation(values)
        return _join(Frames(values, lengths), len(frames.values)).zero_padding()

    def layer_parameters(self, name: str) -> Iterator[nn.Parameter]:
        """What training a layer changes; the final normalisation belongs to the last one."""
        if name == "conv":
            yield from self.convolutions.parameters()
            return
        yield from self.blocks[[layer.name for layer in self.layers].index(name) - 1].parameters()
        if name == self.layers[-1].name:
            yield from self.normalisation.parameters()

    def convolve(self, frames: Frames) -> Frames:
        """(batch, time, bins) to (batch, time / 2, width), with the positions added."""
        first, second = self.convolutions
        values = nn.functional.gelu(first(frames.values.transpose(1, 2).to(self.precision)))  # (batch, width, time)
        values = values * frames.mask[:, None]
        values = nn.functional.gelu(second(values)).transpose(1, 2).float()
        return Frames(values + self.positions[: values.shape[1]], (frames.lengths + 1) // 2)


def sinusoids(length: int, width: int) -> Tensor:
    """Sinusoidal position embeddings: (length, width), sines and then cosines.

    >>> sinusoids(2, 2).tolist()[0]
    [0.0, 1.0]
    """
    if torch.get_default_device().type == "meta":
        return torch.empty(length, width)  # to reckon without numbers, torch would load its compiler: 1 s
    half = width // 2
    steps = torch.exp(-math.log(10_000) / max(half - 1, 1) * torch.arange(half))
    angles = torch.arange(length)[:, None] * steps
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _split(frames: Frames, size: int) -> Frames:
    """Windows of at most ``size`` frames as a batch of their own; of a short utterance some may be empty."""
    batch, time, width = frames.values.shape
    if time <= size:
        return frames
    count = -(-time // size)
    values = nn.functional.pad(frames.values, (0, 0, 0, count * size - time)).view(batch * count, size, width)
    begins = size * torch.arange(count, device=values.device)
    return Frames(values, (frames.lengths[:, None] - begins).clamp(0, size).flatten())


def _join(frames: Frames, batch: int) -> Frames:
    """The opposite of `_split`."""
    if len(frames.values) == batch:
        return frames
    lengths = frames.lengths.view(batch, -1).sum(dim=1)
    return Frames(frames.values.reshape(batch, -1, frames.values.shape[2])[:, : int(lengths.max())], lengths)


_SHAPE = {
    "width": "d_model",
    "heads": "encoder_attention_heads",
    "depth": "encoder_layers",
    "feed_forward": "encoder_ffn_dim",
    "bins": "num_mel_bins",
    "positions": "max_source_positions",
}
# Our names of an encoder's and a decoder's parts -> theirs, which are joined where there are several.
_PARTS = {
    "positions": ("embed_positions",),
    "tokens": ("embed_tokens",),
    "convolutions.0": ("conv1",),
    "convolutions.1": ("conv2",),
    "normalisation": ("layer_norm",),
    "attention_norm": ("self_attn_layer_norm",),
    "attention_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention_out": ("self_attn.out_proj",),
    "sound_norm": ("encoder_attn_layer_norm",),
    "sound_query": ("encoder_attn.q_proj",),
    "sound_in": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "sound_out": ("encoder_attn.out_proj",),
    "feed_forward_norm": ("final_layer_norm",),
    "feed_forward_in": ("fc1",),
    "feed_forward_out": ("fc2",),
}


def load_whisper_encoder(folder: Path) -> WhisperEncoder:
    """Reads a Whisper model's encoder as transformers writes it, for evaluation; CheckpointError if damaged or none."""
    values = transformers_folder.read_config(folder)
    kind, activation = values.get("model_type"), values.get("activation_function")
    if (kind, activation) != ("whisper", "gelu"):
        raise CheckpointError(f"describes a {kind} with {activation}, no Whisper model", "name one", folder)
    config = parse_shape(WhisperEncoderConfig, values, _SHAPE, folder)
    return read_part(folder, "encoder.", lambda: WhisperEncoder(config))


def parse_shape(kind: type[ConfigT], values: Mapping[str, Any], names: Mapping[str, str], folder: Path) -> ConfigT:
    """A shape out of what ``config.json`` says; ``names`` are the file's by ours."""
    with transformers_folder.refused(ConfigError, "describes no Whisper model", folder, "copy it again"):
        return kind.parse({ours: values.get(theirs) for ours, theirs in names.items()})


def read_part(folder: Path, part: str, make: Callable[[], ModuleT]) -> ModuleT:
    """A part of a model ("encoder." or "decoder.") with its numbers, see `checkpoint.restore`."""
    weights = transformers_folder.read_tensors(folder, within=part)
    with transformers_folder.refused((KeyError, RuntimeError), "does not fit its description", folder):
        theirs = {name.partition(part)[2]: tensor.float() for name, tensor in weights.items()}
        for name in [each for each in theirs if each.endswith("v_proj.bias")]:
            # Keys have no bias: it would change no attention.
            theirs[name.replace("v_proj", "k_proj")] = torch.zeros_like(theirs[name])
        with torch.device("meta"):
            names = make().state_dict()
        ours = {name: _found(theirs, name) for name in names}
    return checkpoint.restore(make, ours, folder)


def _found(theirs: Mapping[str, Tensor], name: str) -> Tensor:
    part = re.sub(r"^blocks\.\d+\.|\.(weight|bias)$", "", name)
    layer, _, kind = name.replace("blocks", "layers").partition(part)
    tensors = [theirs[f"{layer}{each}{kind or '.weight'}"] for each in _PARTS[part]]
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
