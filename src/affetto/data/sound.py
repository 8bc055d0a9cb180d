"""The sound of utterances, as it is or under a listening condition."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from affetto import audio
from affetto.config import stable_seed
from affetto.data.utterance import Utterance
from affetto.errors import AudioError, CorpusError
from affetto.features.conditions import CLEAN, Condition, Voices
from affetto.streaming.segments import Spoken, cut

_TRIES = 20  # Files that may be unreadable, one after the other


@dataclass(frozen=True, slots=True)
class Crowd:
    """People who may speak in the background, by their utterances, sorted by speaker; `crowd_of` makes one."""

    utterances: tuple[Utterance, ...]

    def besides(self, utterance: Utterance) -> Voices:
        """Draws utterances of anybody but the one who speaks in this one; raises CorpusError where none can be read."""
        own = _who(utterance)
        first, end = (bound(self.utterances, own, key=_who) for bound in (bisect_left, bisect_right))
        others = len(self.utterances) - (end - first)

        def draw(generator: np.random.Generator) -> Tensor:
            for _ in range(_TRIES if others else 0):
                place = int(generator.integers(others))
                try:
                    return load_utterance(self.utterances[place if place < first else place + end - first])
                except AudioError:
                    continue
            raise CorpusError("too few others to make babble of", "give a corpus of several speakers", utterance.corpus)

        return draw


class Surroundings(NamedTuple):
    """The surroundings of utterances: a listening condition, with a crowd where there is babble.

    What is represented may be only what lies between the beginning and the end of the speech that is found.
    """

    condition: Condition = CLEAN
    crowd: Crowd | None = None
    speech_only: bool = False


def load_utterance(utterance: Utterance) -> Tensor:
    """(samples,), float32 at 16 kHz; raises AudioError, see `audio.stream`."""
    return audio.load(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)


def load_placed(utterance: Utterance, surroundings: Surroundings) -> Tensor:
    """The sound of an utterance in some surroundings; see `place`."""
    return place(load_utterance(utterance), utterance, surroundings)


def place(wave: Tensor, utterance: Utterance, surroundings: Surroundings) -> Tensor:
    """Puts the sound of an utterance, (samples,), into surroundings; what is drawn depends on its id alone."""
    condition, crowd, _ = surroundings
    generator = np.random.default_rng(stable_seed(condition.name, utterance.corpus, utterance.id))
    return condition(wave, generator, None if crowd is None else crowd.besides(utterance))


def speech_in(wave: Tensor) -> Spoken:
    """From the first to the last stretch of speech in (samples,), with the pauses around as recognition reads them; all
    of a wave in which no speech is found.

    >>> import torch
    >>> speech_in(torch.zeros(16_000)).end
    16000
    """
    found = list(cut([wave]))
    if not found:
        return Spoken(0, len(wave), 0, wave.numpy())
    (first, *_), last = found, found[-1]
    return Spoken(first.start, last.end, first.since, wave[first.since : last.since + len(last.wave)].numpy())


def crowd_of(utterances: Iterable[Utterance]) -> Crowd:
    """In an order of their own, so that it is the same whichever way they were listed."""
    return Crowd(tuple(sorted(utterances, key=lambda each: (*_who(each), each.id))))


def _who(utterance: Utterance) -> tuple[str, str]:
    return utterance.corpus, utterance.speaker
