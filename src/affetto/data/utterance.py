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

    Attributes:
        id: unique within its corpus.
        audio: the sound file.
        speaker: who speaks, unique within its corpus.
        corpus: the corpus's name.
        start_s: where the utterance begins in the file, seconds.
        end_s: where it ends, seconds; None is the end of the file.
        text: what is said, as transcribed by the corpus.
        emotion: the label, by its full English name ("anger").
        votes: how many raters chose each label, where only the counts are known.
        ratings: what each rater chose, in the corpus's order; empty where the corpus does not record it.
        group: the session or other group that must not be divided; None where there is none.
        partition: the corpus's official part ("train", "test"); None where there is none.
        sex: "female" or "male", where the corpus records it.
        age: as the corpus writes it ("26", "adult"), where it does.

    >>> Utterance(id="a1", audio=Path("a1.wav"), speaker="anna", corpus="mine").end_s is None
    True
    """

    id: str
    audio: Path
    speaker: str
    corpus: str
    start_s: float = 0.0
    end_s: float | None = None
    text: str | None = None
    emotion: str | None = None
    votes: Mapping[str, int] | None = None
    ratings: tuple[Rating, ...] = ()
    group: str | None = None
    partition: str | None = None
    sex: str | None = None
    age: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Corpus and id, which together are unique."""
        return self.corpus, self.id
