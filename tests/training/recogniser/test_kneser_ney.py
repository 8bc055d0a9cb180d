"""N-grams against a slow and literal reading of Chen and Goodman, by hand, and as probabilities."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from affetto.errors import ConfigError, TrainingError
from affetto.models.language_model import expand
from affetto.text import Alphabet
from affetto.training.recogniser.language_model import count, discounts, estimate, smooth

TEXTS = ["the cat sat ", "the cat ran ", "a rat sat on the cat ", "that tart ", "on and on and on ", "nan "]
SYMBOLS = sorted(set("".join(TEXTS)))
ALPHABET = Alphabet("".join(SYMBOLS))


def _literal(texts: Sequence[str], order: int, symbols: int) -> Callable[[str, str], float]:
    """Interpolated modified Kneser-Ney as its definition says, n-gram by n-gram: (context, character) -> probability.

    "^" is the start of a text.
    """
    grams: list[Counter[str]] = [Counter() for _ in range(order + 1)]
    for text in texts:
        marked = f"^{text}"
        for end in range(2, len(marked) + 1):
            for length in range(1, min(order, end) + 1):
                grams[length][marked[end - length : end]] += 1
    times = list(grams)
    for length in range(1, order):
        before = defaultdict(set)
        for gram in grams[length + 1]:
            before[gram[1:]].add(gram[0])
        times[length] = Counter(
            {gram: grams[length][gram] if gram[0] == "^" else len(before[gram]) for gram in grams[length]}
        )

    def taken(length: int, number: int) -> float:
        return 0.0 if number == 0 else float(discounts(np.array(list(times[length].values())))[min(number, 3) - 1])

    def probability(context: str, character: str) -> float:
        length = len(context) + 1
        seen = {gram: number for gram, number in times[length].items() if gram[:-1] == context}
        shorter = 1 / symbols if not context else probability(context[1:], character)
        if not seen:
            return shorter
        total = sum(seen.values())
        number = seen.get(context + character, 0)
        left_over = sum(taken(length, each) for each in seen.values())
        return (number - taken(length, number)) / total + left_over / total * shorter

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_definition(order: int) -> None:
    model = expand(ALPHABET, estimate([ALPHABET.encode(text) for text in TEXTS], order, len(SYMBOLS)), order)
    expected = _literal(TEXTS, order, len(SYMBOLS))
    for text in ("the cat", "a tan rat", "ttt", "non"):
        marked = f"^{text} "
        want = sum(
            math.log(expected(marked[max(0, end - order + 1) : end], marked[end])) for end in range(1, len(marked))
        )
        assert model.score(text) == pytest.approx(want, rel=1e-5)


def test_by_hand() -> None:
    # "aab" and "ab" over a and b. After the start: a twice; as many kinds of bigrams before a: ^, a; before b: a.
    # Two few rare n-grams, so counts lose .5, 1 or 1.5.
    low, high = smooth(count([[1, 1, 2], [1, 2]], order=2, symbols=2), symbols=2)
    # Unigrams: a counts 2 and b 1, so 1.5 of 3 is left over and shared by both.
    assert low.probabilities[1:].tolist() == pytest.approx([1 / 3 + 0.5 * 0.5, 0.5 / 3 + 0.5 * 0.5])
    # After a: a once and b twice; 1.5 of 3 is left over.
    assert high.keys.tolist() == [0 * 3 + 1, 1 * 3 + 1, 1 * 3 + 2]
    assert high.probabilities[1:].tolist() == pytest.approx([0.5 / 3 + 0.5 * 7 / 12, 1 / 3 + 0.5 * 5 / 12])


def test_discounts_need_rare_counts_of_every_kind() -> None:
    assert discounts(np.array([1, 1, 2, 3])).tolist() == [0.5, 1.0, 1.5]


@given(
    st.lists(st.text(alphabet="abc ", min_size=1, max_size=20), min_size=1, max_size=8),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.5, 2.0, 1e9]),
)
@with_settings(max_examples=60)
def test_after_whatever_context_probabilities_add_up_to_one(texts: list[str], order: int, least_gain: float) -> None:
    alphabet = Alphabet(" abcd")
    model = expand(alphabet, estimate([alphabet.encode(text) for text in texts], order, 5, least_gain), order)
    np.testing.assert_allclose(model.log_probs.exp().sum(dim=1), 1, rtol=1e-5)
    assert (model.log_probs > -math.inf).all()
    assert ((model.following >= 0) & (model.following < len(model.log_probs))).all()


def test_pruning_makes_it_smaller_and_little_worse() -> None:
    texts = [ALPHABET.encode(text) for text in TEXTS * 3]
    sizes, scores = [], []
    for least_gain in (0.0, 1.0, 3.0, 1e9):
        ngrams = estimate(texts, 4, len(SYMBOLS), least_gain)
        sizes.append(len(ngrams.symbols))
        scores.append(expand(ALPHABET, ngrams, 4).perplexity([text.strip() for text in TEXTS]))
    assert all(larger > smaller for larger, smaller in pairwise(sizes))
    assert scores[0] < scores[2] < scores[3]
    assert sizes[-1] == len(SYMBOLS) + 1


@pytest.mark.parametrize(("order", "symbols"), [(0, 28), (13, 28), (12, 60)])
def test_orders_out_of_range_are_refused(order: int, symbols: int) -> None:
    with pytest.raises(ConfigError, match=f"n-grams of {order} characters"):
        count([[1, 2]], order, symbols)


@pytest.mark.parametrize("texts", [[], [[]]])
def test_nothing_teaches_nothing(texts: list[list[int]]) -> None:
    with pytest.raises(TrainingError, match="no text"):
        estimate(texts, 3, 28)
