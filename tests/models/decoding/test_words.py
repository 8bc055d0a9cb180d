"""Words, their times and confidences, by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.models.decoding.paths import Spelling, spell
from affetto.text import Alphabet

ALPHABET = Alphabet()


def _spell(path: str, probabilities: list[float] | None = None, rate_hz: float = 25.0) -> Spelling:
    """What a path spells, "_" being the blank, whose class at each frame has the probability given."""
    classes = torch.tensor([0 if symbol == "_" else ALPHABET.encode(symbol)[0] for symbol in path], dtype=torch.int64)
    found = torch.full((len(path), len(ALPHABET)), 1e-9)
    found[torch.arange(len(path)), classes] = torch.tensor(probabilities or [1.0] * len(path))
    return spell(classes, found.log(), ALPHABET, rate_hz)


def test_a_word_lasts_from_its_first_character_to_its_last() -> None:
    spelling = _spell("__hh__i_ _ttoo_")
    assert spelling.text == "hi to"
    assert [(word.text, word.start_s, word.end_s) for word in spelling.words] == [
        ("hi", pytest.approx(2 / 25), pytest.approx(7 / 25)),
        ("to", pytest.approx(10 / 25), pytest.approx(14 / 25)),
    ]


def test_confidence_is_the_mean_of_its_characters_best_frames() -> None:
    spelling = _spell("aa_b c", [0.1, 0.5, 0.9, 0.02, 0.3, 0.7])
    assert [word.confidence for word in spelling.words] == [pytest.approx((0.5 * 0.02) ** 0.5), pytest.approx(0.7)]


@pytest.mark.parametrize("path", ["", "___", "  _ "])
def test_where_nothing_is_spelt_there_are_no_words(path: str) -> None:
    assert _spell(path) == Spelling("", ())


@given(st.text(alphabet="ab' _", max_size=30))
def test_words_are_the_text_in_order_of_time(path: str) -> None:
    text, words = _spell(path)
    assert text == " ".join(word.text for word in words) == " ".join(text.split())
    times = [time for word in words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert all(word.start_s < word.end_s <= len(path) / 25 for word in words)
    assert all(0 <= word.confidence <= 1 for word in words)


def test_without_a_space_in_the_alphabet_all_is_one_word() -> None:
    scores = torch.nn.functional.one_hot(torch.tensor([1, 0, 2]), 3).float().log()
    assert spell(torch.tensor([1, 0, 2]), scores, Alphabet("xy"), 10.0).text == "xy"


def test_plain_values_are_rounded() -> None:
    [word] = _spell("a", [0.123456], rate_hz=3.0).words
    assert word.later(1.0).as_dict() == {"text": "a", "start_s": 1.0, "end_s": 1.3333, "confidence": 0.1235}
