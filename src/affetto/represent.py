"""What frozen networks and feature extractors say of every utterance, computed once and kept on disk.

Work is stored in shards of some hundred utterances, each written whole or not at all: a run that was stopped goes on
where it was, and another run over the same utterances reads instead of computing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from affetto import audio
from affetto.data.utterance import Utterance
from affetto.errors import AudioError
from affetto.features.acoustic import AcousticConfig, acoustic
from affetto.frames import Frames, Waves, pad_waves
from affetto.models.encoders.encoder import Encoder

logger = logging.getLogger(__name__)

CACHE_VERSION = 1
"""Raise it with every change to what features or layers are computed to be: what older code kept is not read then."""

SHARD_UTTERANCES = 256
BATCH_UTTERANCES = 16

Progress = Callable[[int, int], None]
"""Is told the utterances done and the utterances in all."""


class Extractor(Protocol):
    """Something that turns recordings into named frames."""

    @property
    def key(self) -> str:
        """Equal only for extractors that compute the same numbers."""
        ...

    def extract(self, waves: Waves) -> dict[str, Frames]:
        """Name -> frames of a batch."""
        ...


class PooledLayers(NamedTuple):
    """An encoder's layers, each averaged over time to a single frame (paper 3.1.3)."""

    encoder: Encoder
    layers: tuple[str, ...]

    @property
    def key(self) -> str:
        """The encoder's fingerprint and the layers."""
        return f"pooled-{self.encoder.fingerprint}-{'-'.join(self.layers)}"

    def extract(self, waves: Waves) -> dict[str, Frames]:
        """Layer -> (batch, 1, width)."""
        found = self.encoder.represent(waves.to(self.encoder.device), self.layers)
        return {name: Frames(frames.mean()[:, None], torch.ones_like(frames.lengths)) for name, frames in found.items()}


class Acoustics(NamedTuple):
    """The emotion branch's features, under the name "acoustic"."""

    config: AcousticConfig

    @property
    def key(self) -> str:
        """A digest of the config."""
        return f"acoustic-{_digest(self.config.model_dump(mode='json'))}"

    def extract(self, waves: Waves) -> dict[str, Frames]:
        """Under "acoustic": (batch, time, features)."""
        return {"acoustic": acoustic(waves, self.config)}


Representation = dict[str, Tensor]
"""Name -> (time, width) of one utterance."""


def represent(
    utterances: Sequence[Utterance], extractor: Extractor, cache: Path, progress: Progress | None = None
) -> list[Representation | None]:
    """Extracts, or reads from the cache, what an extractor says of each utterance.

    Args:
        utterances: any number, in any order.
        extractor: what to compute.
        cache: the folder to keep results in.
        progress: is told how far it is after every shard.

    Returns:
        One for each utterance, in order; None where the sound cannot be read (a warning names the file).
    """
    folder = cache / f"{extractor.key}-v{CACHE_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Representation | None] = []
    for start in range(0, len(utterances), SHARD_UTTERANCES):
        shard = utterances[start : start + SHARD_UTTERANCES]
        path = folder / f"{_digest([_identity(each) for each in shard])}.safetensors"
        found = _read_shard(len(shard), path)
        results += found if found is not None else _make_shard(shard, extractor, path)
        if progress is not None:
            progress(len(results), len(utterances))
    return results


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _identity(utterance: Utterance) -> list[object]:
    """What tells the sound of an utterance from any other, a changed file from the old one."""
    try:
        status = utterance.audio.stat()
    except OSError:
        return [str(utterance.audio), "missing"]
    return [str(utterance.audio), status.st_size, status.st_mtime_ns, utterance.start_s, utterance.end_s]


def _make_shard(shard: Sequence[Utterance], extractor: Extractor, path: Path) -> list[Representation | None]:
    tensors: dict[str, Tensor] = {}
    for indices, waves in _batches(shard):
        for name, frames in extractor.extract(waves).items():
            for index, values in zip(indices, frames.unpad(), strict=True):
                tensors[f"{index}/{name}"] = values.cpu().contiguous()
    partial = path.with_suffix(f".{os.getpid()}.partial")  # of its own, should two runs fill one cache
    save_file(tensors, partial)
    partial.replace(path)
    return _by_utterance(tensors, len(shard))


def _batches(shard: Sequence[Utterance]) -> Iterator[tuple[list[int], Waves]]:
    """Reads the sound of a shard and joins recordings of like length."""
    sounds: list[tuple[int, Tensor]] = []
    for index, utterance in enumerate(shard):
        try:
            wave = audio.load(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)
        except AudioError as error:
            logger.warning("left out: %s", error)
            continue
        sounds.append((index, wave))
    sounds.sort(key=lambda sound: len(sound[1]))
    for start in range(0, len(sounds), BATCH_UTTERANCES):
        batch = sounds[start : start + BATCH_UTTERANCES]
        yield [index for index, _ in batch], pad_waves([wave for _, wave in batch])


def _read_shard(count: int, path: Path) -> list[Representation | None] | None:
    """What is stored, or None if nothing is, or something damaged."""
    try:
        return _by_utterance(load_file(path), count)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        logger.warning("computed again: %s cannot be read (%s)", path, error)
        return None


def _by_utterance(tensors: dict[str, Tensor], count: int) -> list[Representation | None]:
    found: list[Representation] = [{} for _ in range(count)]
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        found[int(index)][name] = tensor
    return [each or None for each in found]
