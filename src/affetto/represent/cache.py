"""Computes representations, and keeps them in shards of some hundred utterances, each written whole or not at all.

A run that was stopped goes on where it was; another over the same utterances reads instead of computing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from affetto.config import Config, stable_seed
from affetto.data.sound import Surroundings, load_utterance, place, speech_in
from affetto.data.utterance import Utterance
from affetto.errors import AudioError, RunError
from affetto.features.acoustic import AcousticConfig, acoustic
from affetto.features.conditions import BABBLE, CLEAN, Chances, draw_condition
from affetto.features.functionals import FeatureSet, functionals
from affetto.features.perturbation import Perturbation, perturb
from affetto.files import draft
from affetto.frames import STATISTICS, Frames, Waves
from affetto.models.encoders.encoder import Encoder, computed
from affetto.models.heads.training import INPUT
from affetto.models.words import WordReader
from affetto.represent.bank import DURATIONS, LENGTHS, VALUES, Bank
from affetto.streaming.segments import Spoken, join


class Extractor(Protocol):
    """Something that turns recordings into named frames."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it computes, by names that no other extractor of a data set uses."""

    def key(self, name: str) -> str:
        """Where to keep it: equal only where the numbers are."""

    def dtype(self, name: str) -> torch.dtype:
        """How exactly to keep it."""

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Name -> frames of a batch, for the names asked for."""


def digest(content: object) -> str:
    """A short digest of JSON values.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class Layers(NamedTuple):
    """An encoder's layers, frame by frame ("gru3"), or as statistics over time, a single frame ("gru3/mean")."""

    encoder: Encoder
    names: tuple[str, ...]

    def key(self, name: str) -> str:
        """The encoder's fingerprint and the layer."""
        return f"{computed(self.encoder)}-{name.replace('/', '-')}"

    def dtype(self, name: str) -> torch.dtype:
        """Statistics as they are; frames, of which there are many, with ten bits."""
        return torch.float32 if "/" in name else torch.float16

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Frames (batch, time, width), statistics (batch, 1, width)."""
        found = self.encoder.represent(waves.to(self.encoder.device), layers_of(names))
        return as_named(names, {layer: waves.of_speech(frames) for layer, frames in found.items()})


class Words(NamedTuple):
    """What is said, as layers of tokens, or statistics of these; those of the whole sound, wherever somebody speaks."""

    encoder: Encoder
    reader: WordReader
    names: tuple[str, ...]

    def key(self, name: str) -> str:
        """The encoder's fingerprint, that of what writes and reads the layer, and the layer."""
        (layer,) = layers_of([name])
        return f"{computed(self.encoder)}-{self.reader.fingerprint(layer)}-{name.replace('/', '-')}"

    def dtype(self, name: str) -> torch.dtype:
        """As for `Layers`."""
        return Layers(self.encoder, self.names).dtype(name)

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Frames (batch, tokens, width), statistics (batch, 1, width)."""
        output = self.encoder.encode(waves.to(self.encoder.device), []).output
        reader = self.reader.to(self.encoder.device)
        return as_named(names, reader.read(output, layers_of(names)).layers)


class Inputs(NamedTuple):
    """What an encoder's first layer reads, for training all its layers along."""

    encoder: Encoder
    names: tuple[str, ...] = (INPUT,)

    def key(self, name: str) -> str:
        """The encoder's fingerprint: others may read other features."""
        return f"{computed(self.encoder)}-{name}"

    def dtype(self, name: str) -> torch.dtype:  # noqa: ARG002
        """Frames with ten bits."""
        return torch.float16

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """Under "input": (batch, time, bins)."""
        assert self.encoder.network is not None, "layers of such an encoder cannot be trained along"
        features = self.encoder.network.features(waves.to(self.encoder.device))
        return dict.fromkeys(names, features)


class Acoustics(NamedTuple):
    """The emotion branch's features."""

    config: AcousticConfig

    @property
    def names(self) -> tuple[str, ...]:
        """One name, unique to this config."""
        return (f"acoustic-{digest(self.config.model_dump(mode='json'))}",)

    def key(self, name: str) -> str:
        """The name is the key."""
        return name

    def dtype(self, name: str) -> torch.dtype:  # noqa: ARG002
        """With ten bits: a pitch to a quarter of a hertz, all else to a thousandth of itself."""
        return torch.float16

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """(batch, time, features)."""
        return {name: acoustic(waves.spoken(), self.config) for name in names}


class Functionals(NamedTuple):
    """openSMILE's functionals of a whole utterance."""

    feature_set: FeatureSet

    @property
    def names(self) -> tuple[str, ...]:
        """The feature set's name."""
        return (f"functionals-{self.feature_set}",)

    def key(self, name: str) -> str:
        """The name is the key."""
        return name

    def dtype(self, name: str) -> torch.dtype:  # noqa: ARG002
        """As they are: some are larger than ten bits allow."""
        return torch.float32

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """(batch, 1, features)."""
        return {name: functionals(waves.spoken(), self.feature_set) for name in names}


def layers_of(names: Collection[str]) -> set[str]:
    """The layers that frames or statistics of these names come from.

    >>> sorted(layers_of(["gru3", "gru3/mean", "text/mean"]))
    ['gru3', 'text']
    """
    return {name.partition("/")[0] for name in names}


def as_named(names: Collection[str], layers: Mapping[str, Frames]) -> dict[str, Frames]:
    """Layers by their names, and what is named as a statistic of one as a single frame."""
    parts = {name: name.partition("/") for name in names}
    return {
        name: one_frame(STATISTICS[statistic](layers[layer])) if statistic else layers[layer]
        for name, (layer, _, statistic) in parts.items()
    }


def one_frame(values: Tensor) -> Frames:
    """(batch, width) as frames of length one."""
    return Frames(values[:, None], torch.ones(len(values), dtype=torch.int64))


logger = logging.getLogger(__name__)

# Raise it with every change to what features or layers are computed to be: what older code kept is not read then.
CACHE_VERSION = 5
SHARD_UTTERANCES = 256
BATCH_UTTERANCES = 16

Progress = Callable[[int, int], None]  # Called with the utterances done and the utterances in all


class Variants(Config):
    """How many variants of each recording are made, each at another tempo and gain (paper 3.3.1) and elsewhere."""

    count: int = 0  # variants of each recording; 0 trains on the recordings as they are
    perturbation: Perturbation = Perturbation()  # how tempo and gain are changed
    conditions: Chances = Field(default_factory=dict)  # what else happens to the sound, how often and how much
    seed: int = 0  # another seed gives other variants


class _Variant(NamedTuple):
    """One variant of the sound of a data set, number 0 being the sound itself, in some surroundings."""

    variants: Variants
    number: int
    surroundings: Surroundings

    @property
    def suffix(self) -> str:
        condition, crowd, speech_only = self.surroundings
        voices = [] if crowd is None else [_identity(each) for each in crowd.utterances]
        suffix = ""
        if self.number:
            chances = self.variants.conditions
            facts: list[object] = [self.variants.perturbation.model_dump(mode="json"), self.variants.seed, self.number]
            if chances:
                facts.append({name: each.model_dump(mode="json") for name, each in chances.items()})
            if BABBLE in chances:
                facts.append(voices)
            suffix = f"-perturbed-{digest(facts)}"
        if condition != CLEAN:
            suffix += f"-under-{digest([condition.steps, voices if condition.needs_voices else []])}"
        return f"{suffix}-speech" if speech_only else suffix

    def load(self, utterance: Utterance) -> Spoken:
        crowd = self.surroundings.crowd
        wave = load_utterance(utterance)
        if self.number:
            seed = stable_seed(self.variants.seed, self.number, utterance.corpus, utterance.id)
            generator = np.random.default_rng(seed)
            wave = perturb(wave, self.variants.perturbation, generator)
            drawn = draw_condition(self.variants.conditions, generator)
            wave = drawn(wave, generator, None if crowd is None else crowd.besides(utterance))
        wave = place(wave, utterance, self.surroundings)
        return speech_in(wave) if self.surroundings.speech_only else Spoken(0, len(wave), 0, wave.numpy())


def represent(
    utterances: Sequence[Utterance],
    extractor: Extractor,
    cache: Path,
    *,
    variants: Variants | None = None,
    surroundings: Surroundings | None = None,
    progress: Progress | None = None,
) -> dict[str, Bank]:
    """Extracts, or finds in the cache folder, what an extractor computes of each utterance: a bank for each name.

    Variants are added to each recording as it is. The surroundings are the listening condition of everything, the
    variants too, and whose voices babble is made of. Progress is told after every shard. What cannot be read (a warning
    names the file) has no frames.

    Raises RunError where the cache cannot be written to, and ConfigError where there is babble and no crowd.
    """
    variants = variants or Variants()
    all_variants = [_Variant(variants, number, surroundings or Surroundings()) for number in range(variants.count + 1)]
    shards = [utterances[start : start + SHARD_UTTERANCES] for start in range(0, len(utterances), SHARD_UTTERANCES)]
    keys = [digest([_identity(each) for each in shard]) for shard in shards]
    paths: dict[str, list[list[Path]]] = {name: [] for name in extractor.names}
    counts: dict[str, list[Tensor]] = {name: [] for name in extractor.names}
    done, total = 0, len(utterances) * len(all_variants)
    for variant in all_variants:
        for name in extractor.names:
            folder = cache / f"{extractor.key(name)}{variant.suffix}-v{CACHE_VERSION}"
            folder.mkdir(parents=True, exist_ok=True)
            paths[name].append([folder / f"{key}.safetensors" for key in keys])
        for number, shard in enumerate(shards):
            files = {name: paths[name][-1][number] for name in extractor.names}
            for name, counted in _fill(shard, extractor, variant, files).items():
                counts[name].append(counted)
            done += len(shard)
            if progress is not None:
                progress(done, total)
    banks = {}
    for name in extractor.names:
        lengths, durations = torch.cat(counts[name], dim=1).view(2, len(all_variants), -1).numpy()
        widths = (int(load_file(path)[VALUES].shape[1]) for files in paths[name] for path in files)
        width = next(filter(None, widths), 0)  # a shard without readable sound knows none
        banks[name] = Bank(paths[name], lengths, durations, width, SHARD_UTTERANCES)
    return banks


def _identity(utterance: Utterance) -> list[object]:
    """An identity of the sound of an utterance, another one for a changed file."""
    try:
        status = utterance.audio.stat()
    except OSError:
        return [str(utterance.audio), "missing"]
    return [str(utterance.audio), status.st_size, status.st_mtime_ns, utterance.start_s, utterance.end_s]


def _fill(
    shard: Sequence[Utterance], extractor: Extractor, variant: _Variant, files: dict[str, Path]
) -> dict[str, Tensor]:
    """Makes what is missing of a shard; name -> frames and samples of each utterance, (2, utterances)."""
    counts = {name: _read_counts(path, len(shard)) for name, path in files.items()}
    missing = [name for name, counted in counts.items() if counted is None]
    if missing:
        sequences: dict[str, dict[int, Tensor]] = {name: {} for name in missing}
        durations = torch.zeros(len(shard), dtype=torch.int64)
        for indices, waves in _batches(shard, variant):
            durations[indices] = waves.lengths
            for name, frames in extractor.extract(waves, missing).items():
                kept = (values.to(extractor.dtype(name)).cpu() for values in frames.unpad())
                sequences[name].update(zip(indices, kept, strict=True))
        for name in missing:
            counts[name] = _write(files[name], sequences[name], durations)
    return {name: counted for name, counted in counts.items() if counted is not None}


def _write(path: Path, sequences: dict[int, Tensor], durations: Tensor) -> Tensor:
    lengths = [len(sequences[index]) if index in sequences else 0 for index in range(len(durations))]
    values = torch.cat([sequences[index] for index in sorted(sequences)]) if sequences else torch.zeros(0, 0)
    try:
        with draft(path) as unfinished:
            save_file({VALUES: values, LENGTHS: torch.tensor(lengths), DURATIONS: durations}, unfinished)
    except (SafetensorError, OSError) as error:
        remedy = "make room and run again: what is there is kept"
        raise RunError(f"cannot be written ({error})", remedy, path) from error
    return torch.stack([torch.tensor(lengths), durations])


def _read_counts(path: Path, utterances: int) -> Tensor | None:
    """What is stored, or None if nothing is, or something damaged."""
    try:
        with safe_open(path, "pt") as stored:  # frames stay on the disk
            counts = torch.stack([stored.get_tensor(LENGTHS), stored.get_tensor(DURATIONS)])
            frames = stored.get_slice(VALUES).get_shape()[0]
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        logger.warning("computed again: %s cannot be read (%s)", path, error)
        return None
    return counts if counts.shape[1] == utterances and int(counts[0].sum()) == frames else None


def _batches(shard: Sequence[Utterance], variant: _Variant) -> Iterator[tuple[list[int], Waves]]:
    """Reads the sound of a shard and joins recordings of like length."""
    sounds: list[tuple[int, Spoken]] = []
    for index, utterance in enumerate(shard):
        try:
            sounds.append((index, variant.load(utterance)))
        except AudioError as error:
            logger.warning("left out: %s", error)
    sounds.sort(key=lambda sound: len(sound[1].wave))
    for start in range(0, len(sounds), BATCH_UTTERANCES):
        indices, spoken = zip(*sounds[start : start + BATCH_UTTERANCES], strict=True)
        waves = join(spoken)
        yield list(indices), waves if variant.surroundings.speech_only else waves._replace(speech=None)
