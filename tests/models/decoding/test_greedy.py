"""Best-path decoding, by hand."""

from __future__ import annotations

import pytest
import torch

from affetto.frames import Frames, pad
from affetto.models.decoding import greedy
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
