"""Paths through CTC's probabilities: the best, those of the best text, that of a known one.

Many frame paths spell the same text. A prefix beam search (Hannun et al. 2014) adds them up: it goes from frame to
frame with the likeliest beginnings of a text, each with the probability of all paths that spell it and end in a blank,
and of those that end in its last character. All prefixes of all utterances of a batch take a step at once.
"""

from __future__ import annotations

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
from affetto.frames import Frames
from affetto.models.language_model import LanguageModel
from affetto.text import Alphabet

_NEVER = float("-inf")
_MULTIPLIER = 0x5851F42D4C957F2D  # of a good linear congruential generator (Knuth's MMIX), for the names of prefixes
_NO_PARENT = -1


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

    blank: Tensor  # log probability of the paths that spell the prefix and end in a blank
    last_class: Tensor  # ... of those that end in its last character
    prior: Tensor  # what language model and bonus give it
    name: Tensor  # a number for the prefix, the same for the same prefix of an utterance
    parent_name: Tensor  # the number of the prefix without its last character
    last: Tensor  # its last character's class; 0 if it is empty
    state: Tensor  # the language model's

    @property
    def total(self) -> Tensor:
        """Log probability of all paths that spell the prefix."""
        return torch.logaddexp(self.blank, self.last_class)


class _Step(NamedTuple):
    """Where each prefix of a beam comes from: its place in the beam before, and the class added (0: none)."""

    parent: Tensor
    added: Tensor


class _Prior:
    """What language model and bonus add for each next character: nothing where there is no language model."""

    def __init__(self, alphabet: Alphabet, config: BeamConfig, language_model: LanguageModel | None) -> None:
        if language_model is not None and language_model.alphabet.symbols != alphabet.symbols:
            raise ConfigError(
                f"a language model over {language_model.alphabet.symbols!r} for a recogniser of {alphabet.symbols!r}",
                "train the language model with this recogniser's alphabet",
            )
        nothing = torch.zeros(1, len(alphabet.symbols))
        self._model = language_model or LanguageModel(alphabet, nothing, nothing.int(), start=0)
        self._weight, self._bonus = (0.0, 0.0) if language_model is None else (config.weight, config.bonus)
        self._space = alphabet.encode(" ")[0] if " " in alphabet.symbols else -1
        self.start = self._model.start  # the language model's state before anything is said

    def __call__(self, beam: _Beam) -> Tensor:
        """(batch, width, symbols)."""
        return self._bonus + self._weight * self._model.log_probs[beam.state].double()

    def advance(self, state: Tensor, added: Tensor) -> Tensor:
        """The state after a character; 0 adds none."""
        following = self._model.following[state, (added - 1).clamp(min=0)]
        return torch.where(added > 0, following.long(), state)

    def end(self, beam: _Beam) -> Tensor:
        """What is added at the end of an utterance, where a word that is begun has to be one."""
        if self._space < 0:
            return torch.zeros_like(beam.prior)
        ends = self._weight * self._model.log_probs[beam.state, self._space - 1]
        return torch.where((beam.last == 0) | (beam.last == self._space), 0.0, ends)


def beam_search(
    log_probs: Frames, alphabet: Alphabet, config: BeamConfig, language_model: LanguageModel | None = None
) -> list[Found]:
    """The text of the highest score of each utterance, as far as the beam's width lets it be found.

    Of log probabilities (batch, time, classes), class 0 the blank; without a language model by the recogniser alone.
    Raises ConfigError where the language model is one of another alphabet.
    """
    prior = _Prior(alphabet, config, language_model)
    frames = _padded_with_blanks(log_probs)
    beam = _first(len(frames), config.width, prior.start)
    steps = []
    for now in frames.unbind(dim=1):
        beam, step = _advance(beam, now, prior)
        steps.append(step)
    scores, best = (beam.total + beam.prior + prior.end(beam)).max(dim=1)
    classes = _trace(steps, best)
    return [Found(found, score) for found, score in zip(classes, scores.tolist(), strict=True)]


def _padded_with_blanks(log_probs: Frames) -> Tensor:
    """Beyond its end an utterance is certain to go on with blanks, which changes no score."""
    values = log_probs.values.detach().to("cpu", torch.float64)
    certain = torch.full((values.shape[-1],), _NEVER, dtype=torch.float64)
    certain[Alphabet.BLANK] = 0
    return torch.where(log_probs.mask.cpu()[..., None], values, certain)


def _first(batch: int, width: int, state: int) -> _Beam:
    """The empty prefix, and places that nothing has taken yet, whose names are no prefix's."""
    never = torch.full((batch, width), _NEVER, dtype=torch.float64)
    blank = never.clone()
    blank[:, 0] = 0
    whole = torch.zeros((batch, width), dtype=torch.int64)
    name = _unused(width) * (torch.arange(width) > 0) + whole
    return _Beam(blank, never, torch.zeros_like(never), name, whole + _NO_PARENT, whole, whole + state)


def _unused(width: int) -> Tensor:
    return -2 - torch.arange(width)


def _advance(beam: _Beam, now: Tensor, prior: _Prior) -> tuple[_Beam, _Step]:
    """One frame, of log probabilities (batch, classes)."""
    batch, width = beam.last.shape
    symbols = now.shape[1] - 1
    same_blank, same_last, longer = _paths(beam, now)
    prior_longer = (beam.prior[..., None] + prior(beam)).expand(batch, width, symbols).flatten(1)
    score_same = torch.logaddexp(same_blank, same_last) + beam.prior
    scores, chosen = torch.cat([score_same, longer + prior_longer], dim=1).topk(width, dim=1)

    place = chosen - width  # among the longer ones
    grown = place >= 0
    place = place.clamp(min=0)
    parent = torch.where(grown, place // symbols, chosen)
    added = torch.where(grown, place % symbols + 1, 0)
    name = beam.name.gather(1, parent)
    longer_name = (name ^ (added * _MULTIPLIER)) * _MULTIPLIER
    longer_name = longer_name ^ (longer_name >> 32)
    lost = scores == _NEVER  # no more prefixes than places: the place waits without a name
    new = _Beam(
        blank=torch.where(grown, _NEVER, same_blank.gather(1, parent)),
        last_class=torch.where(grown, longer.gather(1, place), same_last.gather(1, parent)),
        prior=torch.where(grown, prior_longer.gather(1, place), beam.prior.gather(1, parent)),
        name=torch.where(lost, _unused(width), torch.where(grown, longer_name, name)),
        parent_name=torch.where(lost, _NO_PARENT, torch.where(grown, name, beam.parent_name.gather(1, parent))),
        last=torch.where(grown, added, beam.last.gather(1, parent)),
        state=prior.advance(beam.state.gather(1, parent), added),
    )
    return new, _Step(parent, added)


def _paths(beam: _Beam, now: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log probabilities after one more frame.

    Of paths that spell the same prefix and end in a blank, and in its last character, (batch, width) each; of paths
    that spell a longer prefix which is not in the beam, (batch, width * symbols).
    """
    total = beam.total
    same_blank = total + now[:, :1]
    same_last = beam.last_class + now.gather(1, beam.last)
    longer = total[..., None] + now[:, None, 1:]
    # A character that follows itself needs a blank between.
    doubled = (beam.last - 1).clamp(min=0)[..., None]
    from_blank = torch.where(beam.last > 0, beam.blank, total) + now.gather(1, doubled[..., 0] + 1)
    longer = longer.scatter(2, doubled, from_blank[..., None]).flatten(1)
    # A longer prefix that is in the beam already takes the paths that lead to it.
    is_parent = beam.parent_name[:, :, None] == beam.name[:, None, :]  # (batch, child, parent)
    row, child, parent = is_parent.nonzero(as_tuple=True)
    place = parent * (now.shape[1] - 1) + beam.last[row, child] - 1
    same_last[row, child] = torch.logaddexp(same_last[row, child], longer[row, place])
    longer[row, place] = _NEVER
    return same_blank, same_last, longer


def _trace(steps: list[_Step], best: Tensor) -> list[list[int]]:
    """The classes of the best prefix of each utterance, from its last frame to its first."""
    place = best[:, None]
    added = []
    for step in reversed(steps):
        added.append(step.added.gather(1, place)[:, 0])
        place = step.parent.gather(1, place)
    if not added:
        return [[] for _ in best]
    return [[number for number in row if number] for row in torch.stack(added[::-1], dim=1).tolist()]
