"""The likeliest path of a known text against every path, one by one."""

from __future__ import annotations

import itertools

import pytest
import torch

from affetto.frames import pad
from affetto.models.decoding.paths import align


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
