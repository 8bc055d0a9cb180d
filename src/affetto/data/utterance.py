"""One stretch of speech and what is known about it, and one spelling of each emotion, whatever a corpus calls it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple


class Rating(NamedTuple):
    """What one rater, by the corpus's own name ("C-E2"), chose for an utterance: one or several emotions, in order."""

    rater: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What every corpus reader produces and everything else reads."""

    id: str  # unique within its corpus
    audio: Path  # the sound file
    speaker: str  # who speaks, unique within its corpus
    corpus: str  # the corpus's name
    start_s: float = 0.0  # where the utterance begins in the file, seconds
    end_s: float | None = None  # where it ends, seconds; None is the end of the file
    text: str | None = None  # what is said, as transcribed by the corpus
    emotion: str | None = None  # the label, by its full English name ("anger")
    votes: Mapping[str, int] | None = None  # how many raters chose each label, where only the counts are known
    # what each rater chose, in the corpus's order; empty where the corpus does not record it
    ratings: tuple[Rating, ...] = ()
    # emotion in numbers, in the corpus's own units ({"valence": 2.5}), where it has them
    dimensions: Mapping[str, float] | None = None
    group: str | None = None  # the session or other group that must not be divided; None where there is none
    partition: str | None = None  # the corpus's official part ("train", "test"); None where there is none
    sex: str | None = None  # "female" or "male", where the corpus records it
    age: str | None = None  # as the corpus writes it ("26", "adult"), where it does

    @property
    def key(self) -> tuple[str, str]:
        """Corpus and id, which together are unique."""
        return self.corpus, self.id

    def values(self, dimensions: Sequence[str]) -> tuple[float, ...]:
        """Its dimensions in this order; not a number where it lacks one."""
        return tuple((self.dimensions or {}).get(name, math.nan) for name in dimensions)


_ALSO = {
    "anger": ("ang", "angry"),
    "boredom": ("bored",),
    "disgust": ("dis", "disgusted"),
    "excited": ("exc", "excitement"),
    "fear": ("fea", "fearful", "afraid"),
    "frustration": ("fru", "frustrated"),
    "happiness": ("hap", "happy"),
    "joy": ("joyful",),
    "neutral": ("neu", "neutral state"),
    "sadness": ("sad",),
    "surprise": ("sur", "surprised"),
}
SPELLINGS = MappingProxyType({spelling: name for name, spellings in _ALSO.items() for spelling in spellings})
"""What emotions are called beside their names, in lower case -> the name; the list in docs/corpora.md."""
EMOTIONS = frozenset({*SPELLINGS.values(), "calm", "contempt"})  # The names; other labels are kept, in lower case


def emotion_name(label: str) -> str:
    """The name of the emotion that a label stands for.

    >>> emotion_name("Angry"), emotion_name(" SAD "), emotion_name("Laughter")
    ('anger', 'sadness', 'laughter')
    """
    name = " ".join(label.split()).lower()
    return SPELLINGS.get(name, name)


def named(utterance: Utterance) -> Utterance:
    """The same utterance, its label, votes and ratings by the emotions' names."""
    emotion = None if utterance.emotion is None else emotion_name(utterance.emotion)
    votes: Counter[str] = Counter()
    for label, count in (utterance.votes or {}).items():
        votes[emotion_name(label)] += count
    ratings = tuple(each._replace(labels=tuple(map(emotion_name, each.labels))) for each in utterance.ratings)
    return replace(utterance, emotion=emotion, votes=None if utterance.votes is None else dict(votes), ratings=ratings)
