"""Batches: every utterance once an epoch, short ones first, then shuffled, with little padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from affetto.data.batching import LengthSortedBatches


def _epoch(batches: LengthSortedBatches, epoch: int) -> list[list[int]]:
    batches.set_epoch(epoch)
    return list(batches)


DURATIONS = st.lists(st.floats(0.1, 20), min_size=1, max_size=50)


@given(durations=DURATIONS, size=st.integers(1, 9), epoch=st.integers(0, 5))
def test_every_utterance_comes_once_an_epoch(durations: list[float], size: int, epoch: int) -> None:
    batches = LengthSortedBatches(durations, size, seed=1)
    found = _epoch(batches, epoch)
    assert sorted(index for batch in found for index in batch) == list(range(len(durations)))
    assert len(found) == len(batches)
    assert max(len(batch) for batch in found) <= size


@given(durations=DURATIONS, size=st.integers(1, 9))
def test_the_first_epoch_runs_from_short_to_long(durations: list[float], size: int) -> None:
    order = [durations[index] for batch in LengthSortedBatches(durations, size, seed=1) for index in batch]
    assert order == sorted(durations)


@pytest.fixture
def durations(rng: np.random.Generator) -> list[float]:
    found: list[float] = rng.gamma(4, 1.5, 400).tolist()
    return found


def test_later_epochs_differ_in_batches_and_in_order(durations: list[float]) -> None:
    batches = LengthSortedBatches(durations, 16, seed=1)
    second, third = _epoch(batches, 1), _epoch(batches, 2)
    assert {frozenset(batch) for batch in second} != {frozenset(batch) for batch in third}
    longest = [max(durations[index] for index in batch) for batch in second]
    assert longest != sorted(longest)


@pytest.mark.parametrize("epoch", [0, 3])
def test_the_same_seed_gives_the_same_batches(durations: list[float], epoch: int) -> None:
    first, again, other = (_epoch(LengthSortedBatches(durations, 16, seed=seed), epoch) for seed in (1, 1, 2))
    assert first == again
    assert (first == other) == (epoch == 0)


def test_little_padding(durations: list[float], rng: np.random.Generator) -> None:
    def padding(batches: list[list[int]]) -> float:
        padded = sum(len(batch) * max(durations[index] for index in batch) for batch in batches)
        return padded / sum(durations) - 1

    shuffled = rng.permutation(len(durations)).reshape(-1, 16).tolist()
    assert padding(_epoch(LengthSortedBatches(durations, 16, seed=1), 1)) < 0.2 * padding(shuffled)


def test_a_data_loader_takes_them(durations: list[float]) -> None:
    batches = LengthSortedBatches(durations, 16, seed=1)
    loader: DataLoader[float] = DataLoader(durations, batch_sampler=batches)  # type: ignore[arg-type]
    assert len(list(loader)) == len(batches) == 25
    assert loader.batch_sampler.sampler is batches  # type: ignore[union-attr]
