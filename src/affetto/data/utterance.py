"""One stretch of speech and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Rating(NamedTuple):
    """What one rater, by the corpus's own name ("C-E2"), chose for an utterance: one or several emotions, in order."""

    rater: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What every corpus reader produces and everything else reads.

    >>> Utterance(id="a1", audio=Path("a1.wav"), speaker="anna", corpus="mine").end_s is None
    True
    """

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
    group: str | None = None  # the session or other group that must not be divided; None where there is none
    partition: str | None = None  # the corpus's official part ("train", "test"); None where there is none
    sex: str | None = None  # "female" or "male", where the corpus records it
    age: str | None = None  # as the corpus writes it ("26", "adult"), where it does

    @property
    def key(self) -> tuple[str, str]:
        """Corpus and id, which together are unique."""
        return self.corpus, self.id
