"""Words read off a path through CTC's probabilities, with their times and how sure they are.

A word begins with the first frame of its first character and ends with the last one of its last: times are as fine as a
frame, lie mostly inside the spoken word, for CTC answers with blanks elsewhere, and are no phonetic boundaries. A
character's confidence is its probability in the frame where the recogniser is surest of it, whatever a language model
says; a word's, the geometric mean of its characters'.
"""

from __future__ import annotations

import math
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
    if not len(path):
        return Spelling("", ())
    first = np.flatnonzero(np.diff(path, prepend=-1))  # of each run of one class
    best = np.maximum.reduceat(log_probs[np.arange(len(path)), path], first)
    runs = zip(path[first].tolist(), first.tolist(), [*first[1:].tolist(), len(path)], best.tolist(), strict=True)
    letters = [_Letter(alphabet.symbols[each[0] - 1], *each[1:]) for each in runs if each[0] != Alphabet.BLANK]
    parts = groupby(letters, key=lambda letter: letter.symbol == " ")
    words = tuple(_word(list(part), frame_rate_hz) for is_space, part in parts if not is_space)
    return Spelling(" ".join(word.text for word in words), words)


def _word(letters: list[_Letter], frame_rate_hz: float) -> Word:
    confidence = math.exp(min(0.0, sum(letter.log_prob for letter in letters) / len(letters)))
    text = "".join(letter.symbol for letter in letters)
    return Word(text, letters[0].first / frame_rate_hz, letters[-1].end / frame_rate_hz, confidence)
