"""Words read off a path through CTC's probabilities, with their times and how sure they are.

**Times.** A recogniser trained by CTC spells a character in a frame or two somewhere within its sound, and answers
with blanks elsewhere. A word begins with the first frame of its first character and ends with the last frame of its
last one, so the times are as fine as a frame (40 ms in the model `small`), lie mostly inside the spoken word, and are
no phonetic boundaries.

**Confidence.** The probability that the recogniser gives a character in the frame where it is surest of it, and of a
word the geometric mean over its characters: 1 where no other spelling was considered. A language model has no say in
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.recording import Spelling, Word
from affetto.text import Alphabet


class _Letter(NamedTuple):
    """A character, its first frame, the one after its last, and its best log probability."""

    symbol: str
    first: int
    end: int
    log_prob: float


def spell(
    path: NDArray[np.int64], log_probs: NDArray[np.float32], alphabet: Alphabet, frame_rate_hz: float
) -> Spelling:
    """The words of a path, (time,), with log probabilities (time, classes); a space divides words."""
    of_path = log_probs[np.arange(len(path)), path]
    letters = _letters(path.tolist(), of_path.tolist(), alphabet)
    words = tuple(
        _word(list(group), frame_rate_hz)
        for is_space, group in groupby(letters, key=lambda letter: letter.symbol == " ")
        if not is_space
    )
    return Spelling(" ".join(word.text for word in words), words)


def _letters(path: list[int], log_probs: list[float], alphabet: Alphabet) -> Iterator[_Letter]:
    """Repeats joined, blanks dropped."""
    place = 0
    for number, run in groupby(path):
        end = place + len(list(run))
        if number != Alphabet.BLANK:
            yield _Letter(alphabet.symbols[number - 1], place, end, max(log_probs[place:end]))
        place = end


def _word(letters: list[_Letter], frame_rate_hz: float) -> Word:
    confidence = math.exp(min(0.0, sum(letter.log_prob for letter in letters) / len(letters)))
    text = "".join(letter.symbol for letter in letters)
    return Word(text, letters[0].first / frame_rate_hz, letters[-1].end / frame_rate_hz, confidence)
