"""A language model from the transcripts that a recogniser is trained on: n-grams of characters.

They are smoothed as Chen and Goodman (1999) do, interpolated Kneser-Ney with three discounts. An n-gram is one whole
number, its characters' classes the digits, the last character the lowest: dropping the last leaves its context,
dropping the first leaves what is backed off to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from affetto import pretrained
from affetto.config import Config
from affetto.data.transcribed import Transcribed
from affetto.environment import environment
from affetto.errors import ConfigError, TrainingError
from affetto.models.language_model import LONGEST_ORDER, START, NGrams, load_language_model, save_language_model
from affetto.text import Alphabet, normalise
from affetto.training.recogniser.recipe import RecogniserRecipe

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""For counts of one, two, and three or more, where there are too few rare n-grams to estimate them."""


class Counts(NamedTuple):
    """N-grams of one length, as sorted numbers, and how often each counts."""

    keys: Integers
    counts: Integers


class Smoothed(NamedTuple):
    """N-grams of one length, as sorted numbers, and the probability of the last character after the others.

    As a context, each has a weight for characters that were not seen after it; 1 where nothing was.
    """

    keys: Integers
    probabilities: Floats
    backoffs: Floats


def count(texts: Sequence[Sequence[int]], order: int, symbols: int) -> list[Counts]:
    """How often each n-gram of class numbers from 1 to ``symbols`` counts, for each length from 1 to ``order``.

    The longest count as often as they occur, and so do those that begin with the start of a text; any other counts once
    for each different character before it.
    """
    base = symbols + 1
    if base**order >= 2**63 or not 1 <= order <= LONGEST_ORDER:
        raise ConfigError(f"n-grams of {order} characters", f"choose an order from 1 to {LONGEST_ORDER}")
    stream = np.concatenate([np.array([START, *text], dtype=np.int64) for text in texts])
    place = np.concatenate([np.arange(len(text) + 1) for text in texts])
    occurring: list[Integers] = []
    keys = np.zeros(len(stream), dtype=np.int64)
    for length in range(1, order + 1):
        keys[length - 1 :] += stream[: len(stream) - length + 1] * base ** (length - 1)
        occurring.append(keys[place >= max(1, length - 1)])
    counts = []
    for length, found in enumerate(occurring, start=1):
        unit = base ** (length - 1)
        if length == order:
            counts.append(Counts(*np.unique(found, return_counts=True)))
            continue
        # What begins with the start has nothing before it: a smaller number than all the rest, it comes first.
        first = found[found // unit == START] if length > 1 else found[:0]
        later = np.unique(occurring[length]) % (unit * base)
        later = later[later // unit != START]
        counts.append(Counts(*np.unique(np.concatenate([first, later]), return_counts=True)))
    return counts


def discounts(counts: Integers) -> Floats:
    """What is taken from a count of one, of two, and of three or more."""
    ones, twos, threes, fours = (int((counts == number).sum()) for number in range(1, 5))
    if not (ones and twos and threes and fours):
        return np.array(FALLBACK_DISCOUNTS)
    share = ones / (ones + 2 * twos)
    pairs = enumerate(pairwise((ones, twos, threes, fours)), start=1)
    found = np.array([number - (number + 1) * share * more / less for number, (less, more) in pairs])
    # Without a discount nothing would be left over for what was not seen.
    return found if ((found > 0) & (found <= [1, 2, 3])).all() else np.array(FALLBACK_DISCOUNTS)


def smooth(counts: Sequence[Counts], symbols: int) -> list[Smoothed]:
    """The probability of each n-gram's last character, interpolated with those of shorter contexts, for each length.

    Of the shortest n-grams, every symbol is there, and `START` as a context.
    """
    base = symbols + 1
    levels: list[Smoothed] = []
    for length, (keys, times) in enumerate(counts, start=1):
        amounts = np.concatenate([[0.0], discounts(times)])[np.minimum(times, 3)]
        contexts, context = np.unique(keys // base, return_inverse=True)
        totals = np.bincount(context, weights=times)
        backoffs = np.bincount(context, weights=amounts) / totals
        seen = (times - amounts) / totals[context]
        if length == 1:
            probabilities = np.full(base, backoffs[0] / symbols)
            probabilities[keys] += seen
            levels.append(Smoothed(np.arange(base), probabilities, np.ones(base)))
            continue
        upper = levels[-1]
        upper.backoffs[np.searchsorted(upper.keys, contexts)] = backoffs
        shorter = upper.probabilities[np.searchsorted(upper.keys, keys % base ** (length - 1))]
        levels.append(Smoothed(keys, seen + backoffs[context] * shorter, np.ones(len(keys))))
    return levels


def _prune(levels: Sequence[Smoothed], counts: Sequence[Counts], symbols: int, least_gain: float) -> list[Smoothed]:
    """Leaves out n-grams that say little more than the shorter ones."""
    # One gains its count times the log of what its probability is against that of backing off, in nats. Those that gain
    # less go, longest first, unless a longer one needs them as a context. What a context leaves to the shorter ones is
    # then worked out anew, so that probabilities add up to 1 again.
    if least_gain <= 0:
        return list(levels)
    base = symbols + 1
    kept: list[Smoothed] = list(levels)
    for length in range(len(levels), 1, -1):
        level, upper = levels[length - 1], levels[length - 2]
        shorter = upper.probabilities[np.searchsorted(upper.keys, level.keys % base ** (length - 1))]
        backoff = upper.backoffs[np.searchsorted(upper.keys, level.keys // base)]
        gain = counts[length - 1].counts * np.log(level.probabilities / (backoff * shorter))
        stays = gain >= least_gain
        if length < len(levels):
            stays |= np.isin(level.keys, kept[length].keys // base)
        kept[length - 1] = Smoothed(level.keys[stays], level.probabilities[stays], np.ones(int(stays.sum())))
    return _with_backoffs(kept, base)


def _with_backoffs(levels: Sequence[Smoothed], base: int) -> list[Smoothed]:
    """The same probabilities with backing-off weights that make each context's add up to 1."""
    done = [Smoothed(levels[0].keys, levels[0].probabilities, np.ones(len(levels[0].keys)))]
    for length, level in enumerate(levels[1:], start=2):
        contexts, context = np.unique(level.keys // base, return_inverse=True)
        kept = np.bincount(context, weights=level.probabilities, minlength=len(contexts))
        shorter = _look_up(done, level.keys % base ** (length - 1), length - 1, base)
        left = np.bincount(context, weights=shorter, minlength=len(contexts))
        upper = done[-1]
        weights = np.maximum(1 - kept, 1e-6) / np.maximum(1 - left, 1e-6)
        upper.backoffs[np.searchsorted(upper.keys, contexts)] = weights
        done.append(level)
    return done


def _look_up(levels: Sequence[Smoothed], keys: Integers, length: int, base: int) -> Floats:
    """The probability of n-grams that may have been left out."""
    level = levels[length - 1]
    place = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
    found = level.keys[place] == keys if len(level.keys) else np.zeros(len(keys), dtype=bool)
    if length == 1 or found.all():
        return level.probabilities[place]
    upper = levels[length - 2]
    contexts = keys // base
    at = np.minimum(np.searchsorted(upper.keys, contexts), len(upper.keys) - 1)
    backoff = np.where(upper.keys[at] == contexts, upper.backoffs[at], 1.0)
    shorter = backoff * _look_up(levels, keys % base ** (length - 1), length - 1, base)
    return np.where(found, level.probabilities[place], shorter) if len(level.keys) else shorter


def _tree(levels: Sequence[Smoothed], symbols: int) -> NGrams:
    """The same n-grams as a tree to be kept or expanded."""
    base = symbols + 1
    children = [
        np.bincount(np.searchsorted(upper.keys, lower.keys // base), minlength=len(upper.keys))
        for upper, lower in pairwise(levels)
    ]
    shorter = levels[:-1]
    return NGrams(
        symbols=torch.from_numpy(np.concatenate([level.keys % base for level in levels])),
        log_probs=torch.from_numpy(np.log(np.concatenate([level.probabilities for level in levels]))),
        children=torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *children])),
        backoffs=torch.from_numpy(np.log(np.concatenate([np.zeros(0), *(level.backoffs for level in shorter)]))),
    )


def estimate(texts: Sequence[Sequence[int]], order: int, symbols: int, least_gain: float = 0.0) -> NGrams:
    """Texts, as class numbers from 1 to ``symbols``, to a tree of n-grams; see `_prune` for ``least_gain``.

    Raises ConfigError where the order is out of range, and TrainingError where there is no text.
    """
    if not any(len(text) for text in texts):
        raise TrainingError("no text to learn a language model from", "name transcribed corpora")
    counts = count(texts, order, symbols)
    return _tree(_prune(smooth(counts, symbols), counts, symbols, least_gain), symbols)


class NGramConfig(Config):
    """How much a language model keeps: the longest n-grams, and how much each gains over shorter ones, in nats."""

    order: int = Field(default=8, ge=1, le=LONGEST_ORDER)
    least_gain: float = Field(default=2.0, ge=0, allow_inf_nan=False)


class FittedLanguageModel(NamedTuple):
    """Where a language model is kept, and of how many different transcripts and characters it was trained.

    Its perplexity is a character's, of the validation speakers' transcripts that are none of those; None where all are.
    """

    path: Path
    texts: int
    characters: int
    ngrams: int
    megabytes: float
    perplexity: float | None


def fit_language_model(
    recipe: RecogniserRecipe,
    training: Sequence[Transcribed],
    validation: Sequence[Transcribed],
    folder: Path,
    config: NGramConfig | None = None,
    more: Sequence[Path] = (),
) -> FittedLanguageModel:
    """Counts which characters follow which, and keeps it as small as it stays good, in the recogniser's folder.

    Each different transcript counts once, however many speakers read it: prompts recur in corpora, not in life. More
    text files, an utterance a line, count as well; validation utterances are those of other speakers.

    Raises:
        ConfigError: the order is too high for so many symbols.
        TextError: the recogniser's alphabet has no space.
        TrainingError: there is no text, or a file of text cannot be read.
    """
    config = config or NGramConfig()
    order, least_gain = config.order, config.least_gain
    alphabet = Alphabet(recipe.shape.symbols)
    files = [_read(path, alphabet) for path in more]
    texts = sorted({item.text for item in training}.union(*files))
    ngrams = estimate([alphabet.encode(f"{text} ") for text in texts], order, len(alphabet.symbols), least_gain)
    path = folder / pretrained.LANGUAGE_MODEL
    others = sorted({item.text for item in validation} - set(texts))
    characters = sum(len(text) + 1 for text in texts)
    facts = {
        "licence": recipe.licence,
        "recipe": recipe.model_dump(mode="json"),
        "least_gain": least_gain,
        "more_texts": {path.name: len(lines) for path, lines in zip(more, files, strict=True)},
        "texts": len(texts),
        "characters": characters,
        "environment": environment(),
    }
    save_language_model(path, alphabet, ngrams, order, facts)
    perplexity = load_language_model(path)[0].perplexity(others) if others else None
    save_language_model(path, alphabet, ngrams, order, {**facts, "validation_perplexity": perplexity})
    size = sum(each.stat().st_size for each in (path, path.with_suffix(".json")))
    return FittedLanguageModel(path, len(texts), characters, len(ngrams.symbols), size / 1e6, perplexity)


def _read(path: Path, alphabet: Alphabet) -> set[str]:
    """The different lines of a text file that the alphabet can spell."""
    try:
        lines = {normalise(line) for line in path.read_text(encoding="utf-8").splitlines()}
    except (OSError, UnicodeDecodeError) as error:
        remedy = "name a text file in UTF-8, an utterance a line"
        raise TrainingError(f"cannot be read ({error})", remedy, path) from error
    return {line for line in lines if line and set(line) <= set(alphabet.symbols)}
