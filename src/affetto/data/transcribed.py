"""Transcribed utterances ready for a recogniser: loaded, normalised, joined into batches."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from affetto import audio, text
from affetto.data.utterance import Utterance
from affetto.errors import AudioError
from affetto.frames import Frames, Waves, pad, pad_waves

logger = logging.getLogger(__name__)


class Transcribed(NamedTuple):
    """An utterance that a recogniser can learn from.

    Attributes:
        utterance: where the sound is.
        text: what is said, in the alphabet.
        duration_s: its length in seconds.
    """

    utterance: Utterance
    text: str
    duration_s: float


class TranscribedBatch(NamedTuple):
    """What the recogniser is trained on.

    Attributes:
        inputs: the recordings, or frames that were computed from them before.
        targets: class numbers, padded with 0, (batch, characters).
        target_lengths: characters of each utterance, (batch,).
        texts: the same as text.
        ids: of the utterances.
    """

    inputs: Waves | Frames
    targets: Tensor
    target_lengths: Tensor
    texts: list[str]
    ids: list[str]


def fewest_frames(classes: Sequence[int]) -> int:
    """The frames that CTC needs for a sequence: one a character, and a blank between equal neighbours.

    >>> fewest_frames([1, 2, 2, 3])
    5
    """
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
    utterances: Iterable[Utterance],
    alphabet: text.Alphabet,
    *,
    max_duration_s: float,
    frame_rate_hz: float,
) -> tuple[list[Transcribed], Counter[str]]:
    """Keeps the utterances a recogniser can learn from.

    Args:
        utterances: with transcripts or without.
        alphabet: what the recogniser spells.
        max_duration_s: longer ones are left out (15 s in the paper).
        frame_rate_hz: the recogniser's output frames a second, for which a transcript may be too long.

    Returns:
        Those kept, and how many were left out for which reason.
    """
    candidates = list(utterances)
    with ThreadPoolExecutor() as pool:
        durations = list(pool.map(_measure, candidates))
    kept: list[Transcribed] = []
    left_out: Counter[str] = Counter()
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
    """The sound of an utterance, from its file: (samples,).

    Raises:
        AudioError: see `audio.load`.
    """
    utterance = item.utterance
    return audio.load(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)


def batch_loader(
    alphabet: text.Alphabet, read: Callable[[Transcribed], Tensor] = read_sound
) -> Callable[[Sequence[Transcribed]], TranscribedBatch | None]:
    """A DataLoader's ``collate_fn``: reads the sound of a batch.

    What turns out to be unreadable is left out with a warning; None stands for a batch of which nothing is left.

    Args:
        alphabet: what the recogniser spells.
        read: gives the sound of an utterance, (samples,), or its frames, (frames, width); or raises AudioError.
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
