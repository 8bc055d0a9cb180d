"""Words of tokens: their times from attention, their confidences, and numbers that are said in several words."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.models.decoding.whisper_tokens import spell_tokens, token_starts


def _looks(starts: list[int], frames: int, heads: int = 3) -> torch.Tensor:
    """Attention that looks at each token's own frames, in some noise."""
    noise = torch.rand(heads, len(starts), frames, generator=torch.Generator().manual_seed(0))
    for token, (start, end) in enumerate(zip(starts, [*starts[1:], frames], strict=True)):
        noise[:, token, start:end] += 3
    return noise / noise.sum(dim=2, keepdim=True)


@given(lengths=st.lists(st.integers(5, 40), min_size=1, max_size=8))
def test_tokens_begin_where_they_are_looked_for(lengths: list[int]) -> None:
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    found = token_starts(_looks(starts, sum(lengths)))
    assert all(abs(ours - true) <= 2 for ours, true in zip(found, starts, strict=True))
    assert found == sorted(set(found))


@given(tokens=st.integers(1, 30), frames=st.integers(1, 30), seed=st.integers(0, 99))
def test_whatever_was_looked_at_tokens_come_in_order(tokens: int, frames: int, seed: int) -> None:
    looks = torch.rand(2, tokens, frames, generator=torch.Generator().manual_seed(seed))
    found = token_starts(looks)
    assert found == sorted(found)
    assert len(found) == tokens
    assert 0 == found[0] <= found[-1] < frames
    if tokens <= frames:
        assert len(set(found)) == tokens


def test_the_path_is_the_best_of_all() -> None:
    scores = torch.rand(1, 3, 6, generator=torch.Generator().manual_seed(3))
    spread, mean = torch.std_mean(scores, dim=1, keepdim=True, correction=0)
    table = ((scores - mean) / spread)[0]

    def total(first: int, second: int) -> float:
        return float(table[0, :first].sum() + table[1, first:second].sum() + table[2, second:].sum())

    best = max(
        ((first, second) for first in range(1, 5) for second in range(first + 1, 6)), key=lambda each: total(*each)
    )
    assert token_starts(scores) == [0, *best]


def _spelt(*pieces: str) -> list[tuple[str, float, float]]:
    """Each token lasts a second and is sure."""
    found = spell_tokens(
        [piece.encode() for piece in pieces], [0.0] * len(pieces), list(range(len(pieces))), len(pieces)
    )
    assert found.text == " ".join(word.text for word in found.words)
    return [(word.text, round(word.start_s, 2), round(word.end_s, 2)) for word in found.words]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([" He", "llo", ",", " World", "!"], [("hello", 0, 3), ("world", 3, 5)]),
        (["Hi"], [("hi", 0, 1)]),
        ([" In", " 1984", "."], [("in", 0, 1), ("nineteen", 1, 1.89), ("eighty", 1.89, 2.56), ("four", 2.56, 3.0)]),
        ([" $", "20", " million"], [("twenty", 0, 0.9), ("million", 0.9, 1.95), ("dollars", 1.95, 3)]),
        ([" a", " $", "5", " k"], [("a", 0, 1), ("five", 1, 1.6), ("thousand", 1.6, 2.9), ("dollars", 2.9, 4)]),
        ([" caf", "é"], [("cafe", 0, 2)]),
        ([" -", " no"], [("no", 1, 2)]),
        ([" ...", "!"], []),
        ([" 你", "好"], [("nihao", 0, 2)]),
    ],
    ids=str,
)
def test_words_are_said_as_the_alphabet_has_them(pieces: list[str], words: list[tuple[str, float, float]]) -> None:
    found = _spelt(*pieces)
    assert [word for word, _, _ in found] == [word for word, _, _ in words]
    assert [time for _, *times in found for time in times] == pytest.approx(
        [time for _, *times in words for time in times], abs=0.3
    )


def test_a_character_divided_between_tokens_is_put_together() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    assert spell_tokens([b" caf", first, second], [0.0] * 3, [0.0, 1.0, 2.0], 3.0).text == "cafe"


def test_a_words_confidence_is_the_geometric_mean_of_its_letters_tokens() -> None:
    found = spell_tokens([b" a", b"b", b".", b" c"], [math.log(0.5), math.log(0.32), -9.0, 0.0], [0, 1, 2, 3], 4)
    assert [word.confidence for word in found.words] == pytest.approx([0.4, 1.0])
