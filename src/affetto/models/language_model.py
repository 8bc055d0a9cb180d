"""A language model of characters: how likely each character is after those before it (n-grams with backing off).

It is kept as a tree of n-grams and used as a table: a state for each context, with the log probability of every next
character and the state that follows. A text ends with the space after its last word, for want of a sign for its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from affetto.config import Config
from affetto.errors import ConfigError, TextError
from affetto.models import checkpoint
from affetto.models.transformers_folder import refused
from affetto.text import Alphabet

KIND = "language model"
START = 0  # Stands for the start of a text, with which contexts may begin; the recogniser's blank
LONGEST_ORDER = 12  # Characters of the longest n-gram: 29 to this power is still a 64-bit number
_STEPS = 16  # a sixteenth of a nat: 3 % of a probability; rows are made to add up to 1 again
_HIGHEST_BACKOFF = 32  # steps above 0; pruning may leave a context with more to give away than the shorter one holds
_MOST_STATES = 1_000_000  # of a table with 28 symbols: 224 MB, twice that while it is made


class NGrams(NamedTuple):
    """A tree of n-grams, level by level, each level in the order of its parents and then of its last characters."""

    symbols: Tensor  # the last character's class, (n-grams,), uint8; `START` only as the first n-gram of all
    # of that character after those before it, (n-grams,), natural, float; that of `START` is not used
    log_probs: Tensor
    children: Tensor  # how many longer n-grams begin with it, (n-grams of all levels but the last,)
    backoffs: Tensor  # log weight of the shorter context for characters that have no child, (as many,), float


class LanguageModel:
    """Log probabilities and next states of the contexts that the model knows, as tables for a decoder."""

    def __init__(self, alphabet: Alphabet, log_probs: Tensor, following: Tensor, start: int) -> None:
        self.alphabet = alphabet
        self.log_probs = log_probs
        self.following = following
        self.start = start

    @property
    def fingerprint(self) -> str:
        """A digest of the characters and of how likely each is after each context."""
        digest = hashlib.sha256(f"{self.start} {self.alphabet.symbols}".encode())
        for table in (self.log_probs, self.following):
            digest.update(table.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def score(self, text: str) -> float:
        """Log probability of a text and the space after it, natural; TextError if it cannot be spelt."""
        state, total = self.start, 0.0
        for number in self.alphabet.encode(f"{text} "):
            total += self.log_probs[state, number - 1].item()
            state = int(self.following[state, number - 1])
        return total

    def perplexity(self, texts: Sequence[str]) -> float:
        """A character's, of texts, each with the space after it.

        Raises TextError where there are no texts, or one with a character that is not in the alphabet.
        """
        if not texts:
            raise TextError("no texts", "give some")
        characters = sum(len(text) + 1 for text in texts)
        return float(torch.tensor(-sum(map(self.score, texts)) / characters).exp())


class _Shape(Config):
    """The contents of the JSON: enough to read the tree."""

    order: int = Field(ge=1, le=LONGEST_ORDER)
    symbols: str = Field(min_length=1, max_length=200)


def save_language_model(path: Path, alphabet: Alphabet, ngrams: NGrams, order: int, facts: Mapping[str, Any]) -> None:
    """Writes a tree of n-grams, a byte a number: log probabilities by sixteenths, not below -15.9."""
    weights = {
        "symbols": ngrams.symbols.to(torch.uint8),
        "log_probs": _to_steps(-ngrams.log_probs),
        "children": ngrams.children.to(torch.uint8),
        "backoffs": _to_steps(_HIGHEST_BACKOFF / _STEPS - ngrams.backoffs),
    }
    shape = _Shape(order=order, symbols=alphabet.symbols)
    description = checkpoint.Description(kind=KIND, config=shape.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, weights, description)


def _to_steps(values: Tensor) -> Tensor:
    return (values * _STEPS).round().clamp(0, 255).to(torch.uint8)


def load_language_model(path: Path) -> tuple[LanguageModel, checkpoint.Description]:
    """Reads a language model, ready to use; CheckpointError if it is missing, damaged, foreign or of another kind."""
    description = checkpoint.describe(path, KIND)
    with refused((ConfigError, TextError), f"describes no {KIND}", path):
        shape = _Shape.parse(description.config)
        alphabet = Alphabet(shape.symbols)
    weights = checkpoint.load_weights(path, description)
    with refused(ValueError, f"holds no {KIND}", path):
        _check(weights)
        ngrams = NGrams(
            symbols=weights["symbols"].long(),
            log_probs=weights["log_probs"] / -_STEPS,
            children=weights["children"].long(),
            backoffs=(_HIGHEST_BACKOFF - weights["backoffs"].long()) / _STEPS,
        )
        return expand(alphabet, ngrams, shape.order), description


def _check(weights: Mapping[str, Tensor]) -> None:
    if set(weights) != set(NGrams._fields):
        raise ValueError(f"the arrays {', '.join(sorted(weights))}")
    for name, array in weights.items():
        if array.dtype != torch.uint8 or array.dim() != 1:
            raise ValueError(f"{name} of the type {array.dtype} and the shape {tuple(array.shape)}")
    if len(weights["symbols"]) != len(weights["log_probs"]) or len(weights["children"]) != len(weights["backoffs"]):
        raise ValueError("arrays of different lengths")


def expand(alphabet: Alphabet, ngrams: NGrams, order: int) -> LanguageModel:
    """The table of a tree of so many levels; ValueError if it is none."""
    levels = _levels(ngrams, order, len(alphabet.symbols))
    states = 1 + int((ngrams.children > 0).sum())
    if states > _MOST_STATES:
        raise ValueError(f"{states} contexts, over {_MOST_STATES}")
    log_probs = torch.full((states, len(alphabet.symbols)), float("-inf"), dtype=torch.float64)
    following = torch.zeros((states, len(alphabet.symbols)), dtype=torch.int64)
    parents = torch.zeros(len(levels[0].symbols), dtype=torch.int64)  # state of the context of each n-gram of a level
    own = torch.zeros(1, dtype=torch.int64)
    taken = 1
    for level in levels:
        known = level.symbols != START
        rows, columns = parents[known], level.symbols[known] - 1
        shorter = torch.where(known, following[parents, (level.symbols - 1).clamp(min=0)], 0)
        log_probs[rows, columns] = level.log_probs[known].double()
        log_probs[own] = log_probs[own].log_softmax(dim=1)  # whose n-grams these are
        inner = level.children > 0
        own = taken + torch.arange(int(inner.sum()))
        following[parents[inner & known], level.symbols[inner & known] - 1] = own[known[inner]]
        # What a longer context has not seen, it leaves to the shorter one.
        log_probs[own] = log_probs[shorter[inner]] + level.backoffs[inner, None]
        following[own] = following[shorter[inner]]
        parents = own.repeat_interleave(level.children[inner])
        taken += len(own)
    start = int(levels[0].children[START] > 0)  # the first n-gram's state, or none of its own
    return LanguageModel(alphabet, log_probs.float(), following.int(), start)


def _levels(ngrams: NGrams, order: int, symbols: int) -> list[NGrams]:
    """Divides a tree into its levels and checks it; the longest n-grams have no children and backoffs of 0."""
    longest = len(ngrams.symbols) - len(ngrams.children)
    none = torch.zeros(max(longest, 0))
    children = torch.cat([ngrams.children, none.long()])
    backoffs = torch.cat([ngrams.backoffs, none])
    size, begin, levels = symbols + 1, 0, []
    for _ in range(order):
        part = slice(begin, begin + size)
        level = NGrams(ngrams.symbols[part], ngrams.log_probs[part], children[part], backoffs[part])
        if len(level.symbols) < size:
            raise ValueError("n-grams are missing")
        levels.append(level)
        begin, size = begin + size, int(level.children.sum())
    if begin != len(ngrams.symbols) or size or longest < 0:
        raise ValueError("more n-grams than the tree has places for")
    if levels[0].symbols.tolist() != list(range(symbols + 1)):
        raise ValueError("the shortest n-grams are not the alphabet")
    for upper, lower in pairwise(levels):
        parent = torch.arange(len(upper.symbols)).repeat_interleave(upper.children)
        place = parent * (symbols + 1) + lower.symbols
        if bool((lower.symbols == START).any()) or bool((lower.symbols > symbols).any()):
            raise ValueError("a character beyond the alphabet")
        if bool((place[1:] <= place[:-1]).any()):
            raise ValueError("n-grams out of order")
    return levels
