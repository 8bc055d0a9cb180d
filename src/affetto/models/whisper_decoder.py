"""Whisper's decoder: transformer layers that write tokens one after the other and look at the encoder's states.

They attend to the frames of an utterance alone, so that encoder states of any length, 30 s at most, make a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from affetto.config import Config
from affetto.frames import Frames
from affetto.models import transformers_folder
from affetto.models.whisper import TransformerLayer, parse_shape, read_part

_Size = Annotated[int, Field(ge=1, le=1_000_000)]


class WhisperDecoderConfig(Config):
    """The shape of a decoder; as it stands, that of Whisper's smallest English model."""

    tokens: _Size = 51_864  # of the vocabulary
    width: _Size = 384  # of every layer
    heads: _Size = 6  # of each attention
    depth: int = Field(default=4, ge=1, le=256)  # transformer layers
    feed_forward: _Size = 1536  # units of each layer's feed-forward network
    positions: _Size = 448  # the longest sequence of tokens

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> WhisperDecoderConfig:
        if self.width % self.heads:
            raise ValueError("the width is a multiple of the heads")
        return self


class Memory(NamedTuple):
    """What a layer knows of a batch: keys and values, (batch, heads, time, width of a head) each."""

    keys: Tensor
    values: Tensor


class Progress(NamedTuple):
    """Where the decoding of a batch is."""

    sound: tuple[Memory, ...]  # of each layer, of the encoder's states
    # (batch, 1, 1, frames) what is added to scores: 0 for frames, -inf for padding; None without any
    real: Tensor | None
    written: tuple[Memory, ...]  # of each layer, of the tokens so far
    states: Tensor  # (batch, tokens, width) what the tokens that were read last became: the next ones are scored by it

    def rows(self, which: Tensor) -> Progress:
        """Some utterances of the batch, by their numbers."""
        sound, written = (
            tuple(Memory(each.keys[which], each.values[which]) for each in memories)
            for memories in (self.sound, self.written)
        )
        return Progress(sound, None if self.real is None else self.real[which], written, self.states[which])


class Block(TransformerLayer):
    """A layer of the decoder: attention to earlier tokens, attention to the sound, a feed-forward network."""

    def __init__(self, config: WhisperDecoderConfig) -> None:
        width = config.width
        super().__init__(width, config.heads, config.feed_forward)
        self.sound_norm = nn.LayerNorm(width)
        self.sound_query = nn.Linear(width, width)
        self.sound_in = nn.Linear(width, 2 * width)  # keys, values
        self.sound_out = nn.Linear(width, width)

    def read_sound(self, states: Tensor) -> Memory:
        """Keys and values of the encoder's states, (batch, frames, width)."""
        keys, values = self.split(self.sound_in(states))
        return Memory(keys.contiguous(), values.contiguous())

    def forward(self, values: Tensor, written: Memory, sound: Memory, real: Tensor | None) -> tuple[Tensor, ...]:
        """What a layer makes of new tokens, (batch, tokens, width).

        With it, the keys and values of all tokens, and how much each head of each token attended to each frame, (batch,
        heads, tokens, frames).
        """
        query, key, value = self.split(self.attention_in(self.attention_norm(values)))
        keys, contents = torch.cat([written.keys, key], dim=2), torch.cat([written.values, value], dim=2)
        earlier = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool, device=keys.device)
        earlier = earlier.tril(keys.shape[2] - query.shape[2])
        mixed = nn.functional.scaled_dot_product_attention(query, keys, contents, attn_mask=earlier)
        values = values + self.attention_out(mixed.transpose(1, 2).flatten(2))
        query = self.split(self.sound_query(self.sound_norm(values)))[0]
        scores = query @ sound.keys.transpose(2, 3) * query.shape[3] ** -0.5
        weights = (scores if real is None else scores + real).softmax(dim=-1)
        values = values + self.sound_out((weights @ sound.values).transpose(1, 2).flatten(2))
        return self.fed_forward(values), keys, contents, weights


class WhisperDecoder(nn.Module):
    """From the encoder's states and the tokens so far to scores of the next token.

    >>> config = WhisperDecoderConfig(tokens=10, width=8, heads=2, depth=1, feed_forward=16, positions=20)
    >>> decoder = WhisperDecoder(config).eval()
    >>> progress = decoder.begin(Frames(torch.zeros(1, 50, 8), torch.tensor([50])))
    >>> scores, weights, progress = decoder(torch.tensor([[0, 3]]), progress)
    >>> scores.shape, weights.shape, decoder(torch.tensor([[5]]), progress)[0].shape
    (torch.Size([1, 2, 10]), torch.Size([1, 1, 2, 2, 50]), torch.Size([1, 1, 10]))
    """

    def __init__(self, config: WhisperDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Linear(config.width, config.tokens, bias=False)  # what scores tokens reads them, too
        self.positions = nn.Parameter(torch.rand(config.positions, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.normalisation = nn.LayerNorm(config.width)

    def begin(self, states: Frames) -> Progress:
        """Before the first token: what there is to know of the encoder's states, (batch, frames, width)."""
        width = self.config.width // self.config.heads
        nothing = states.values.new_zeros(len(states.values), self.config.heads, 0, width)
        real = states.values.new_zeros(states.mask.shape).masked_fill(~states.mask, -torch.inf)[:, None, None]
        return Progress(
            tuple(block.read_sound(states.values) for block in self._blocks()),
            None if bool(states.mask.all()) else real,
            tuple(Memory(nothing, nothing) for _ in self.blocks),
            states.values[:, :0],
        )

    def forward(self, tokens: Tensor, progress: Progress) -> tuple[Tensor, Tensor, Progress]:
        """Reads more tokens, (batch, tokens), and scores the token after each, (batch, tokens, vocabulary).

        With it, how much each layer's heads attended to each frame, (layers, batch, heads, tokens, frames), and the
        progress.
        """
        before = progress.written[0].keys.shape[2]
        places = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        values = nn.functional.embedding(tokens, self.tokens.weight) + self.positions[places]
        written, attended = [], []
        for block, memory, sound in zip(self._blocks(), progress.written, progress.sound, strict=True):
            values, keys, contents, weights = block(values, memory, sound, progress.real)
            written.append(Memory(keys, contents))
            attended.append(weights)
        states = self.normalisation(values)
        progress = progress._replace(written=tuple(written), states=states)
        return self.tokens(states), torch.stack(attended), progress

    def _blocks(self) -> Iterator[Block]:
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block


_SHAPE = {
    "tokens": "vocab_size",
    "width": "d_model",
    "heads": "decoder_attention_heads",
    "depth": "decoder_layers",
    "feed_forward": "decoder_ffn_dim",
    "positions": "max_target_positions",
}


def load_whisper_decoder(folder: Path) -> WhisperDecoder:
    """Reads the decoder of a Whisper model, see `load_whisper_encoder`."""
    config = parse_shape(WhisperDecoderConfig, transformers_folder.read_config(folder), _SHAPE, folder)
    return read_part(folder, "decoder.", lambda: WhisperDecoder(config))
