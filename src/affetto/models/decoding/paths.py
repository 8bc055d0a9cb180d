"""Paths through CTC's probabilities: the best, those of the best text, that of a known one.

A prefix beam search (Hannun et al. 2014) adds up the frame paths that spell the same text: it keeps the likeliest
beginnings, each with the probability of its paths that end in a blank and of those that end in its last character.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from affetto.config import Config
from affetto.errors import ConfigError
from affetto.frames import Frames, pad
from affetto.models.language_model import LanguageModel
from affetto.text import Alphabet

Scores = NDArray[np.float64]
Numbers = NDArray[np.int64]

_NEVER = float("-inf")
_MULTIPLIER = 0x5851F42D4C957F2D  # of a good linear congruential generator (Knuth's MMIX), for the names of prefixes
_NO_PARENT = -1
_SURE = math.log(0.999)  # a blank as probable as that, behind another such, is no frame worth a step of a search


def best_paths(log_probs: Frames) -> list[Tensor]:
    """The best class of every frame (Graves et al. 2006, best path), (length,) an utterance."""
    return [each.argmax(dim=-1) for each in log_probs.unpad()]


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


class BeamConfig(Config):
    """How to search.

    With a language model, a prefix scores log p(the frames spell it) + weight x log p(of the language model)
    + bonus x its characters; without one, the first of these alone.
    """

    width: int = Field(default=32, ge=1, le=4096)  # prefixes that are kept a frame
    weight: float = Field(default=0.7, ge=0, le=100, allow_inf_nan=False)  # of the language model
    # for each character; above 0 it makes up for the language model's dislike of long texts
    bonus: float = Field(default=1.4, ge=-100, le=100, allow_inf_nan=False)


class Found(NamedTuple):
    """What a search ended with."""

    classes: list[int]  # of the best text, no blanks among them
    score: float  # its score, see `BeamConfig`


class _Beam(NamedTuple):
    """The prefixes of a batch, each (batch, width)."""

    blank: Scores  # log probability of the paths that spell the prefix and end in a blank
    last_class: Scores  # ... of those that end in its last character
    prior: Scores  # what language model and bonus give it
    name: Numbers  # a number for the prefix, the same for the same prefix of an utterance
    parent_name: Numbers  # the number of the prefix without its last character
    last: Numbers  # its last character's class; 0 if it is empty
    state: Numbers  # the language model's

    @property
    def total(self) -> Scores:
        """Log probability of all paths that spell the prefix."""
        total: Scores = np.logaddexp(self.blank, self.last_class)
        return total


class _Prior:
    """What language model and bonus add for each next character: nothing where there is no language model."""

    def __init__(self, alphabet: Alphabet, config: BeamConfig, language_model: LanguageModel | None) -> None:
        if language_model is not None and language_model.alphabet.symbols != alphabet.symbols:
            raise ConfigError(
                f"a language model over {language_model.alphabet.symbols!r} for a recogniser of {alphabet.symbols!r}",
                "train the language model with this recogniser's alphabet",
            )
        nothing = torch.zeros(1, len(alphabet.symbols))
        model = language_model or LanguageModel(alphabet, nothing, nothing.int(), start=0)
        self._log_probs, self._following = model.log_probs.numpy(), model.following.numpy()
        self._weight, self._bonus = (0.0, 0.0) if language_model is None else (config.weight, config.bonus)
        self._space = alphabet.encode(" ")[0] if " " in alphabet.symbols else -1
        self.start = model.start  # the language model's state before anything is said

    def __call__(self, beam: _Beam) -> Scores:
        """(batch, width, symbols)."""
        return self._bonus + self._weight * self._log_probs[beam.state].astype(np.float64)

    def advance(self, state: Numbers, added: Numbers) -> Numbers:
        """The state after a character; 0 adds none."""
        return np.where(added > 0, self._following[state, np.maximum(added - 1, 0)], state)

    def end(self, beam: _Beam) -> Scores:
        """What is added at the end of an utterance, where a word that is begun has to be one."""
        if self._space < 0:
            return np.zeros_like(beam.prior)
        ends = self._weight * self._log_probs[beam.state, self._space - 1]
        return np.where((beam.last == 0) | (beam.last == self._space), 0.0, ends)


def beam_search(
    log_probs: Frames, alphabet: Alphabet, config: BeamConfig, language_model: LanguageModel | None = None
) -> list[Found]:
    """The text of the highest score of each utterance, as far as the beam's width lets it be found.

    Of log probabilities (batch, time, classes), class 0 the blank; without a language model by the recogniser alone.
    Raises ConfigError where the language model is one of another alphabet.
    """
    prior = _Prior(alphabet, config, language_model)
    frames = _padded_with_blanks(_without_pauses(log_probs))
    beam = _first(len(frames), config.width, prior.start)
    steps = []
    for place in range(frames.shape[1]):
        beam, *step = _advance(beam, frames[:, place], prior)
        steps.append(step)
    scores = beam.total + beam.prior + prior.end(beam)
    texts = _trace(steps, scores.argmax(axis=1))
    return [Found(text, score) for text, score in zip(texts, scores.max(axis=1).tolist(), strict=True)]


def _without_pauses(log_probs: Frames) -> Frames:
    """Of blanks that are sure and follow each other, the first: the others change hardly any score beside another.

    It is a third to a half of all frames of speech; one text in 160 came out otherwise, with as many wrong words.
    """
    sure = log_probs.values[..., Alphabet.BLANK] > _SURE
    kept = log_probs.mask.clone()
    kept[:, 1:] &= ~(sure[:, 1:] & sure[:, :-1])
    return pad([values[keep] for values, keep in zip(log_probs.values, kept, strict=True)])


def _padded_with_blanks(log_probs: Frames) -> Scores:
    """Beyond its end an utterance is certain to go on with blanks, which changes no score."""
    values = log_probs.values.detach().to("cpu", torch.float64)
    certain = torch.full((values.shape[-1],), _NEVER, dtype=torch.float64)
    certain[Alphabet.BLANK] = 0
    return torch.where(log_probs.mask.cpu()[..., None], values, certain).numpy()


def _first(batch: int, width: int, state: int) -> _Beam:
    """The empty prefix, and places that nothing has taken yet, whose names are no prefix's."""
    never = np.full((batch, width), _NEVER)
    blank = never.copy()
    blank[:, 0] = 0
    whole = np.zeros((batch, width), dtype=np.int64)
    name = whole - np.where(np.arange(width) > 0, 2 + np.arange(width), 0)
    return _Beam(blank, never, np.zeros_like(never), name, whole + _NO_PARENT, whole, whole + state)


def _advance(beam: _Beam, now: Scores, prior: _Prior) -> tuple[_Beam, Numbers, Numbers]:
    """The beam after a frame, (batch, classes), each prefix's place in the one before, and the class added, or 0."""
    batch, width = beam.last.shape
    symbols = now.shape[1] - 1
    row = np.arange(batch)[:, None]
    same_blank, same_last, longer = _paths(beam, now)
    prior_longer = (beam.prior[..., None] + prior(beam)).reshape(batch, width * symbols)
    score_same = np.logaddexp(same_blank, same_last) + beam.prior
    scores = np.concatenate([score_same, longer + prior_longer], axis=1)
    chosen = scores.argpartition(scores.shape[1] - width, axis=1)[:, -width:]
    lost = scores[row, chosen] == _NEVER  # no more prefixes than places: the place waits without a name

    place = chosen - width  # among the longer ones
    grown = place >= 0
    place = np.maximum(place, 0)
    parent = np.where(grown, place // symbols, chosen)
    added = np.where(grown, place % symbols + 1, 0)
    name = beam.name[row, parent]
    longer_name = (name ^ (added * _MULTIPLIER)) * _MULTIPLIER
    longer_name ^= longer_name >> 32
    new = _Beam(
        blank=np.where(grown, _NEVER, same_blank[row, parent]),
        last_class=np.where(grown, longer[row, place], same_last[row, parent]),
        prior=np.where(grown, prior_longer[row, place], beam.prior[row, parent]),
        name=np.where(lost, -2 - np.arange(width), np.where(grown, longer_name, name)),
        parent_name=np.where(lost, _NO_PARENT, np.where(grown, name, beam.parent_name[row, parent])),
        last=np.where(grown, added, beam.last[row, parent]),
        state=prior.advance(beam.state[row, parent], added),
    )
    return new, parent, added


def _paths(beam: _Beam, now: Scores) -> tuple[Scores, Scores, Scores]:
    """Log probabilities after one more frame.

    Of paths that spell the same prefix and end in a blank, and in its last character, (batch, width) each; of paths
    that spell a longer prefix which is not in the beam, (batch, width * symbols).
    """
    batch, width = beam.last.shape
    row = np.arange(batch)[:, None]
    total = beam.total
    same_blank = total + now[:, :1]
    same_last = beam.last_class + now[row, beam.last]
    longer = total[..., None] + now[:, None, 1:]
    # A character that follows itself needs a blank between.
    doubled = np.maximum(beam.last - 1, 0)
    longer[row, np.arange(width), doubled] = np.where(beam.last > 0, beam.blank, total) + now[row, doubled + 1]
    longer = longer.reshape(batch, -1)
    # A longer prefix that is in the beam already takes the paths that lead to it.
    is_parent = beam.parent_name[:, :, None] == beam.name[:, None, :]  # (batch, child, parent)
    which, child, parent = is_parent.nonzero()
    place = parent * (now.shape[1] - 1) + beam.last[which, child] - 1
    same_last[which, child] = np.logaddexp(same_last[which, child], longer[which, place])
    longer[which, place] = _NEVER
    return same_blank, same_last, longer


def _trace(steps: list[list[Numbers]], best: Numbers) -> list[list[int]]:
    """The classes of the best prefix of each utterance, from its last frame to its first."""
    row = np.arange(len(best))
    added = []
    for parent, classes in reversed(steps):
        added.append(classes[row, best])
        best = parent[row, best]
    if not added:
        return [[] for _ in best]
    return [[number for number in each if number] for each in np.stack(added[::-1], axis=1).tolist()]
