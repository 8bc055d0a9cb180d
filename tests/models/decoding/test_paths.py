"""The best path, the likeliest of a known text against every path, and words read off them by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.frames import Frames, pad
from affetto.models.decoding import greedy
from affetto.models.decoding.paths import align
from affetto.recording import Spelling
from affetto.spelling import spell
from affetto.text import Alphabet

ALPHABET = Alphabet()


def _spelt(path: str) -> torch.Tensor:
    """Scores whose best class is that of each character, "_" being the blank: (frames, classes)."""
    classes = [0 if symbol == "_" else ALPHABET.encode(symbol)[0] for symbol in path]
    return torch.nn.functional.one_hot(torch.tensor(classes), len(ALPHABET)).float()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a", "a"),
        ("aaa", "a"),
        ("a_a", "aa"),
        ("aa__aab", "aab"),
        ("_____", ""),
        ("hhe_l_ll__oo", "hello"),
        ("  a  b ", "a b"),
        ("a _ _ b", "a b"),
        ("it_'s", "it's"),
        ("_a_ _b_", "a b"),
    ],
)
def test_repeats_join_and_blanks_fall_out(path: str, text: str) -> None:
    assert greedy(pad([_spelt(path)]), ALPHABET) == [text]


def test_what_lies_beyond_an_utterance_is_not_read() -> None:
    values = torch.stack([_spelt("ab_cc"), _spelt("abccc")])
    assert greedy(Frames(values, torch.tensor([5, 2])), ALPHABET) == ["abc", "ab"]


def test_an_alphabet_of_ones_own() -> None:
    scores = torch.nn.functional.one_hot(torch.tensor([[1, 0, 2]]), 3).float()
    assert greedy(Frames(scores, torch.tensor([3])), Alphabet("xy")) == ["xy"]


def _random(time: int, classes: int, seed: int) -> torch.Tensor:
    return torch.randn(time, classes, generator=torch.Generator().manual_seed(seed)).log_softmax(dim=-1)


def _spells(path: tuple[int, ...]) -> list[int]:
    return [number for number, _ in itertools.groupby(path) if number]


@pytest.mark.parametrize("text", [[], [1], [1, 1], [2, 1], [1, 2, 1], [2, 2, 1]])
@pytest.mark.parametrize("seed", range(3))
def test_no_path_that_spells_the_text_is_likelier(text: list[int], seed: int) -> None:
    log_probs = _random(6, 3, seed)
    paths = [path for path in itertools.product(range(3), repeat=6) if _spells(path) == text]
    best = max(paths, key=lambda path: sum(log_probs[time, number].item() for time, number in enumerate(path)))
    assert tuple(align(pad([log_probs]), [text])[0].tolist()) == best


def test_each_of_a_batch_is_aligned_as_if_alone() -> None:
    utterances = [_random(time, 4, time) for time in (9, 2, 5, 1)]
    texts = [[1, 2, 2, 3], [3], [1, 1], []]
    together = align(pad(utterances), texts)
    alone = [align(pad([each]), [text])[0] for each, text in zip(utterances, texts, strict=True)]
    assert [path.tolist() for path in together] == [path.tolist() for path in alone]


def _spell(path: str, probabilities: list[float] | None = None, rate_hz: float = 25.0) -> Spelling:
    """What a path spells, "_" being the blank, whose class at each frame has the probability given."""
    classes = torch.tensor([0 if symbol == "_" else ALPHABET.encode(symbol)[0] for symbol in path], dtype=torch.int64)
    found = torch.full((len(path), len(ALPHABET)), 1e-9)
    found[torch.arange(len(path)), classes] = torch.tensor(probabilities or [1.0] * len(path))
    return spell(classes.numpy(), found.log().numpy(), ALPHABET, rate_hz)


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
    assert spell(np.array([1, 0, 2]), scores.numpy(), Alphabet("xy"), 10.0).text == "xy"


def test_plain_values_are_rounded() -> None:
    [word] = _spell("a", [0.123456], rate_hz=3.0).words
    assert word.later(1.0).as_dict() == {"text": "a", "start_s": 1.0, "end_s": 1.3333, "confidence": 0.1235}
