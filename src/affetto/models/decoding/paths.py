"""Paths through CTC's probabilities, one class a frame: the best, that of a known text, and the words read off them.

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
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from affetto.frames import Frames
from affetto.recording import Spelling, Word
from affetto.text import Alphabet


def best_paths(log_probs: Frames) -> list[Tensor]:
    """The best class of every frame (Graves et al. 2006, best path), (length,) an utterance."""
    best = Frames(log_probs.values.argmax(dim=-1)[..., None], log_probs.lengths)
    return [path[:, 0] for path in best.unpad()]


def greedy(log_probs: Frames, alphabet: Alphabet) -> list[str]:
    """The text of each utterance's best path, repeats joined and blanks dropped.

    >>> scores = torch.nn.functional.one_hot(torch.tensor([[3, 3, 0, 3, 4]]), 29).float()
    >>> greedy(Frames(scores, torch.tensor([5])), Alphabet())
    ['aab']
    """
    paths = [torch.unique_consecutive(path).tolist() for path in best_paths(log_probs)]
    return [" ".join(alphabet.decode(path).split()) for path in paths]


def align(log_probs: Frames, texts: Sequence[Sequence[int]]) -> list[Tensor]:
    """The likeliest path of each utterance among those that spell its text (Viterbi): class numbers, (length,) each.

    Of log probabilities (batch, time, classes), class 0 the blank, and texts as classes that fit into their frames.
    """
    rows = [torch.tensor([0] + [each for number in text for each in (number, 0)]) for text in texts]
    places = pad_sequence(rows, batch_first=True)  # (batch, 2 x characters + 1): blanks around each character
    values = log_probs.values.detach().to("cpu", torch.float64)
    emitted = values.gather(2, places[:, None].expand(-1, values.shape[1], -1)).transpose(0, 1).contiguous().numpy()
    moves, ends = _search(emitted, places.numpy(), [len(row) - 1 for row in rows], log_probs.lengths.tolist())
    paths = []
    for number, (row, length) in enumerate(zip(rows, log_probs.lengths.tolist(), strict=True)):
        path = [ends[number]]
        for move in moves[length - 1 : 0 : -1, number]:
            path += [path[-1] - int(move[path[-1]])]
        paths.append(row[path[::-1]][:length])
    return paths


def _search(
    emitted: NDArray[np.float64], places: NDArray[np.int64], last: Sequence[int], lengths: Sequence[int]
) -> tuple[NDArray[np.int8], list[int]]:
    """The best way into each place at each time, 0 to 2 places on, (time, batch, places), and where each path ends."""
    skips = np.zeros(places.shape, bool)  # over the blank between two characters
    skips[:, 2:] = (places[:, 2:] != Alphabet.BLANK) & (places[:, 2:] != places[:, :-2])
    ways = np.full((3, *places.shape), -np.inf)  # from itself, from the one before, from the one before that
    moves = np.zeros(emitted.shape, np.int8)
    ends = [0] * len(lengths)
    scores = np.full(places.shape, -np.inf)
    scores[:, :2] = 0
    for time, now in enumerate(emitted):
        if time > 0:
            ways[0] = scores
            ways[1, :, 1:] = scores[:, :-1]
            ways[2, :, 2:] = np.where(skips[:, 2:], scores[:, :-2], -np.inf)
            moves[time] = ways.argmax(axis=0)
            scores = ways.max(axis=0)
        scores = scores + now
        for number in (number for number, length in enumerate(lengths) if length == time + 1):
            end = last[number]
            ends[number] = end if end == 0 or scores[number, end] >= scores[number, end - 1] else end - 1
    return moves, ends


class _Letter(NamedTuple):
    """A character, its first frame, the one after its last, and its best log probability."""

    symbol: str
    first: int
    end: int
    log_prob: float


def spell(path: Tensor, log_probs: Tensor, alphabet: Alphabet, frame_rate_hz: float) -> Spelling:
    """The words of a path, (time,), with log probabilities (time, classes); a space divides words."""
    of_path = log_probs.gather(1, path[:, None])[:, 0]
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
