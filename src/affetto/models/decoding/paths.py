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

import torch
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


_NEVER = float("-inf")


def align(log_probs: Frames, texts: Sequence[Sequence[int]]) -> list[Tensor]:
    """The likeliest path of each utterance among those that spell its text (Viterbi): class numbers, (length,) each.

    Args:
        log_probs: (batch, time, classes), class 0 the blank.
        texts: the class numbers of each utterance's characters, no blanks; each fits into its frames.
    """
    values = log_probs.values.detach().to("cpu", torch.float64)
    rows = [torch.tensor([0] + [each for number in text for each in (number, 0)]) for text in texts]
    places = pad_sequence(rows, batch_first=True)  # (batch, 2 x characters + 1): blanks around each character
    last = torch.tensor([len(row) for row in rows]) - 1
    skips = torch.zeros_like(places, dtype=torch.bool)
    skips[:, 2:] = (places[:, 2:] != Alphabet.BLANK) & (places[:, 2:] != places[:, :-2])
    scores = torch.full(places.shape, _NEVER, dtype=torch.float64)
    scores[:, :2] = 0
    scores[:, 2:] = _NEVER
    steps = []
    best = torch.zeros_like(last)
    for time, now in enumerate(values.unbind(dim=1)):
        if time > 0:
            scores, moved = _move(scores, skips)
            steps.append(moved)
        scores = scores + now.gather(1, places)
        ends = log_probs.lengths.cpu() == time + 1
        best = torch.where(ends, _better_end(scores, last), best)
    return _trace(steps, best, places, log_probs.lengths.tolist())


def _move(scores: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
    """The best way into each place: from itself, from the one before, or over a blank from the one before that."""
    by_one = scores.roll(1, dims=1)
    by_one[:, :1] = _NEVER
    by_two = torch.where(skips, scores.roll(2, dims=1), _NEVER)
    best, moved = torch.stack([scores, by_one, by_two]).max(dim=0)
    return best, moved.to(torch.int8)


def _better_end(scores: Tensor, last: Tensor) -> Tensor:
    """A path ends in its last character or in a blank after it."""
    before = (last - 1).clamp(min=0)
    ends = scores.gather(1, torch.stack([last, before], dim=1))
    return torch.where(ends[:, 0] >= ends[:, 1], last, before)


def _trace(steps: list[Tensor], best: Tensor, places: Tensor, lengths: list[int]) -> list[Tensor]:
    """From the last frame of each utterance to its first."""
    batch = torch.arange(len(best))
    lengths_ = torch.tensor(lengths)
    place = best
    path = [places[batch, place]]
    for time in range(len(steps) - 1, -1, -1):
        moved = steps[time][batch, place].long()
        place = torch.where(time + 1 < lengths_, place - moved, place)  # an utterance waits until its own end
        path.append(places[batch, place])
    whole = torch.stack(path[::-1], dim=1)
    return [row[:length] for row, length in zip(whole, lengths, strict=True)]


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
