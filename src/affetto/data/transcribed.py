"""Transcribed utterances ready for a recogniser: selected, read (or kept decoded on disk), joined into batches."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto import audio, text
from affetto.data.sound import load_utterance
from affetto.data.utterance import Utterance
from affetto.errors import AudioError, TrainingError
from affetto.files import draft
from affetto.frames import Frames, Waves, pad, pad_waves

logger = logging.getLogger(__name__)

_FULL_SCALE = 2**15
JITTER = 0.1  # The share of its length by which an utterance may be misplaced in the order of lengths


class Transcribed(NamedTuple):
    """An utterance that a recogniser can be trained on: where its sound is, what is said, in the alphabet, seconds."""

    utterance: Utterance
    text: str
    duration_s: float


class TranscribedBatch(NamedTuple):
    """What the recogniser is trained on: recordings, or frames that were computed from them before, and their texts.

    Targets are class numbers, (batch, characters), padded with 0; their lengths are in characters, (batch,).
    """

    inputs: Waves | Frames
    targets: Tensor
    target_lengths: Tensor
    texts: list[str]
    ids: list[str]


def fewest_frames(classes: Sequence[int]) -> int:
    """The frames that CTC needs for a sequence: one a character, and a blank between equal neighbours."""
    return len(classes) + sum(left == right for left, right in pairwise(classes))


def _measure(utterance: Utterance) -> float | None:
    """Seconds of sound, whatever the corpus says of its end; None if the file cannot be read."""
    try:
        end_s = audio.duration(utterance.audio)
    except AudioError as error:
        logger.warning("left out: %s", error)
        return None
    return (end_s if utterance.end_s is None else min(end_s, utterance.end_s)) - utterance.start_s


def select(
    utterances: Iterable[Utterance], alphabet: text.Alphabet, *, max_duration_s: float, frame_rate_hz: float
) -> tuple[list[Transcribed], Counter[str]]:
    """Keeps the utterances a recogniser can be trained on, and counts for which reason others were left out.

    The frame rate is the recogniser's at its output, for which a transcript may be too long.
    """
    candidates, kept, left_out = list(utterances), list[Transcribed](), Counter[str]()
    with ThreadPoolExecutor() as pool:
        durations = list(pool.map(_measure, candidates))
    for utterance, duration_s in zip(candidates, durations, strict=True):
        spoken = text.normalise(utterance.text or "")
        if duration_s is None:
            left_out["unreadable audio"] += 1
        elif duration_s <= 0:
            left_out["beyond the end of the audio"] += 1
        elif not spoken:
            left_out["no transcript"] += 1
        elif not set(spoken) <= set(alphabet.symbols):
            left_out["characters outside the alphabet"] += 1
        elif duration_s > max_duration_s:
            left_out[f"over {max_duration_s:g} s"] += 1
        elif fewest_frames(alphabet.encode(spoken)) > int(duration_s * frame_rate_hz) - 1:
            left_out["transcript too long for the audio"] += 1
        else:
            kept.append(Transcribed(utterance, spoken, duration_s))
    return kept, left_out


def read_sound(item: Transcribed) -> Tensor:
    """The sound of an utterance, from its file: (samples,)."""
    return load_utterance(item.utterance)


def batch_loader(
    alphabet: text.Alphabet, read: Callable[[Transcribed], Tensor] = read_sound
) -> Callable[[Sequence[Transcribed]], TranscribedBatch | None]:
    """A DataLoader's ``collate_fn``: reads each utterance of a batch, as (samples,) or as frames, (frames, width).

    What turns out to be unreadable is left out with a warning; None stands for a batch of which nothing is left.
    """

    def load(items: Sequence[Transcribed]) -> TranscribedBatch | None:
        sequences, kept = [], []
        for item in items:
            try:
                sequences.append(read(item))
            except AudioError as error:
                logger.warning("left out: %s", error)
                continue
            kept.append(item)
        if not sequences:
            return None
        targets = [torch.tensor(alphabet.encode(item.text)) for item in kept]
        return TranscribedBatch(
            pad_waves(sequences) if sequences[0].dim() == 1 else pad(sequences),
            torch.nn.utils.rnn.pad_sequence(targets, batch_first=True),
            torch.tensor([len(target) for target in targets]),
            [item.text for item in kept],
            [item.utterance.id for item in kept],
        )

    return load


class SoundCache:
    """Decoded sound, kept on disk: 16-bit samples of many utterances in one file, mapped into memory, and their places.

    Reading it costs next to nothing beside decoding mp3 or opus in each epoch; an hour of speech takes 115 MB.
    """

    def __init__(self, samples: NDArray[np.int16], places: dict[str, tuple[int, int]]) -> None:
        self.samples, self.places = samples, places

    @classmethod
    def make(cls, folder: Path, items: Sequence[Transcribed]) -> Self:
        """Decodes the sound of utterances into a folder, or opens what was decoded before.

        What cannot be read is left out with a warning, and read from its own file when asked for. The sound's file is
        named by the utterances, their files' sizes and times.
        """
        name = hashlib.sha256("\n".join(sorted(map(_key, items))).encode()).hexdigest()[:16]
        path, index = folder / f"{name}.int16", folder / f"{name}.json"
        if not (path.exists() and index.exists()):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                logger.info("decoding %d utterances into %s", len(items), path)
                with draft(path, synced=True) as sound:
                    places = _write(sound, items)
                with draft(index, synced=True) as table:
                    table.write_text(json.dumps(places), encoding="utf-8")
            except OSError as error:
                problem = f"decoded sound cannot be kept ({error.strerror})"
                raise TrainingError(problem, "make room, or set cache_sound = false", path) from error
        found = {key: (start, end) for key, (start, end) in json.loads(index.read_text(encoding="utf-8")).items()}
        samples = np.memmap(path, dtype="<i2", mode="r") if found else np.zeros(0, np.int16)
        return cls(samples, found)

    def read(self, item: Transcribed) -> Tensor:
        """The sound of an utterance: (samples,), float32; from its file where it was left out."""
        place = self.places.get(_key(item))
        if place is None:
            return read_sound(item)
        return torch.from_numpy(self.samples[slice(*place)].astype(np.float32)) / _FULL_SCALE


def _key(item: Transcribed) -> str:
    utterance = item.utterance
    try:
        stat = utterance.audio.stat()
        state: tuple[int, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = ()
    return json.dumps([str(utterance.audio.resolve()), utterance.start_s, utterance.end_s, *state])


def _write(path: Path, items: Sequence[Transcribed]) -> dict[str, tuple[int, int]]:
    places, end = dict[str, tuple[int, int]](), 0
    with path.open("wb") as file, ThreadPoolExecutor() as pool:
        for start in range(0, len(items), 256):  # so many in memory at once
            some = items[start : start + 256]
            for item, sound in zip(some, pool.map(_decode, some), strict=True):
                if sound is not None:
                    file.write(sound.tobytes())
                    places[_key(item)] = (end, end + len(sound))
                    end += len(sound)
    return places


def _decode(item: Transcribed) -> NDArray[np.int16] | None:
    try:
        wave = read_sound(item).numpy()
    except AudioError as error:
        logger.warning("left out: %s", error)
        return None
    coarse: NDArray[np.int16] = np.clip(np.rint(wave * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    return coarse


class LengthSortedBatches:
    """Index batches for a DataLoader, sorted by length inside and shuffled outside.

    The first epochs run from the shortest batch to the longest (SortaGrad, Amodei et al. 2015; paper 3.3.1). Later ones
    shuffle lengths a little before sorting, so that batches differ, and then the order of the batches. The same seed
    and epoch give the same batches.

    Several processes that train together (`divide`) see the parts of one larger batch at each step: utterances of like
    length, so that none waits long for another. Each utterance comes once an epoch, to one of them, and all take the
    same number of steps; where there are fewer utterances than processes, some of these get an empty batch. Size and
    seconds (of sound, padding counted) are those of each process; a longer utterance is a batch by itself.

    >>> batches = LengthSortedBatches([3.0, 1.0, 2.0, 4.0], batch_size=2, seed=0)
    >>> [batch for batch in batches]
    [[1, 2], [0, 3]]
    >>> batches.divide(rank=1, ranks=2)
    >>> [batch for batch in batches]
    [[2, 3]]
    """

    def __init__(
        self,
        durations_s: Sequence[float],
        batch_size: int,
        seed: int,
        *,
        batch_seconds: float | None = None,
        sorted_epochs: int = 1,
    ) -> None:
        self.durations_s = np.asarray(durations_s, dtype=np.float64)
        self.batch_size, self.batch_seconds = batch_size, batch_seconds
        self.seed, self.sorted_epochs, self.epoch = seed, sorted_epochs, 0
        self.divide(rank=0, ranks=1)

    def divide(self, *, rank: int, ranks: int) -> None:
        """Gives the share of one of several processes from now on."""
        self.rank, self.ranks = rank, ranks
        self._ends = self._cuts(np.sort(self.durations_s))

    def _cuts(self, lengths_s: NDArray[np.float64]) -> list[int]:
        """Where the batches of all processes together end, in the order of length: the same places in every epoch."""
        ends, start = list[int](), 0
        while start < len(lengths_s):
            end = min(start + self.batch_size * self.ranks, len(lengths_s))
            if self.batch_seconds is not None:
                padded_s = np.arange(1, end - start + 1) * lengths_s[start:end]
                fitting = int(np.searchsorted(padded_s, self.batch_seconds * self.ranks, side="right"))
                end = start + max(fitting, min(self.ranks, end - start))
            ends.append(end)
            start = end
        if len(ends) > 1 and ends[-1] - ends[-2] < self.ranks:  # too few for all: the last two share
            ends[-2] -= min(self.ranks - (ends[-1] - ends[-2]), max(0, ends[-2] - [0, *ends][-3] - self.ranks))
        return ends

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration belongs to."""
        self.epoch = epoch

    @property
    def sampler(self) -> LengthSortedBatches:
        """Itself: where Lightning looks for a batch sampler's ``set_epoch``."""
        return self

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[list[int]]:
        keys = self.durations_s
        generator = np.random.default_rng((self.seed, self.epoch))
        if self.epoch >= self.sorted_epochs:
            keys = keys * generator.uniform(1 - JITTER, 1 + JITTER, len(keys))
        order = np.argsort(keys, kind="stable")
        batches = [order[start:end][self.rank :: self.ranks].tolist() for start, end in pairwise([0, *self._ends])]
        if self.epoch >= self.sorted_epochs:
            batches = [batches[index] for index in generator.permutation(len(batches))]
        yield from batches
