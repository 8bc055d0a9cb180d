"""Words read off a path through CTC's probabilities, with their times and how sure they are.

A word begins with the first frame of its first character and ends with the last one of its last: times are as fine as a
frame, lie mostly inside the spoken word, for CTC answers with blanks elsewhere, and are no phonetic boundaries. A
character's confidence is its probability in the frame where the recogniser is surest of it, whatever a language model
says; a word's, the geometric mean of its characters'.
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
    symbol: str
    first: int  # frame
    end: int  # the frame after its last
    log_prob: float  # the best


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
