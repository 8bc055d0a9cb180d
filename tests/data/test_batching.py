"""Batches: every utterance once an epoch, short ones first, then shuffled, with little padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from affetto.data.transcribed import LengthSortedBatches


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


@pytest.mark.parametrize(("sorted_epochs", "epoch", "ascending"), [(0, 0, False), (1, 1, False), (2, 1, True)])
def test_so_many_epochs_run_from_short_to_long_as_are_asked_for(
    durations: list[float], sorted_epochs: int, epoch: int, ascending: bool
) -> None:
    batches = LengthSortedBatches(durations, 16, seed=1, sorted_epochs=sorted_epochs)
    order = [durations[index] for batch in _epoch(batches, epoch) for index in batch]
    assert (order == sorted(durations)) == ascending


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


@given(
    durations=DURATIONS,
    size=st.integers(1, 9),
    ranks=st.integers(1, 4),
    epoch=st.integers(0, 3),
    seconds=st.none() | st.floats(1, 60),
)
def test_processes_share_an_epoch_fairly(
    durations: list[float], size: int, ranks: int, epoch: int, seconds: float | None
) -> None:
    parts = []
    for rank in range(ranks):
        batches = LengthSortedBatches(durations, size, seed=1, batch_seconds=seconds)
        batches.divide(rank=rank, ranks=ranks)
        parts.append(_epoch(batches, epoch))
        assert len(parts[-1]) == len(batches)
    assert len({len(part) for part in parts}) == 1  # as many steps for each
    assert sorted(index for part in parts for batch in part for index in batch) == list(range(len(durations)))
    for together in zip(*parts, strict=True):
        sizes = [len(batch) for batch in together]
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1
    if size > 1 and len(durations) >= ranks and seconds is None:
        assert all(batch for part in parts for batch in part)


def test_processes_get_like_lengths_at_a_step(durations: list[float]) -> None:
    parts = []
    for rank in range(4):
        batches = LengthSortedBatches(durations, 8, seed=1)
        batches.divide(rank=rank, ranks=4)
        parts.append([max(durations[index] for index in batch) for batch in _epoch(batches, 2)])
    spread = [max(lengths) / min(lengths) for lengths in zip(*parts, strict=True)]
    assert np.median(spread) < 1.25


@given(durations=DURATIONS, size=st.integers(1, 9), seconds=st.floats(1, 60))
def test_no_batch_is_longer_than_asked_for(durations: list[float], size: int, seconds: float) -> None:
    for batch in LengthSortedBatches(durations, size, seed=1, batch_seconds=seconds):
        assert len(batch) == 1 or len(batch) * max(durations[index] for index in batch) <= seconds * (1 + 1e-9)


def test_batches_are_filled_by_length() -> None:
    durations = [1.0] * 10 + [5.0] * 4
    assert [len(batch) for batch in LengthSortedBatches(durations, 8, seed=1, batch_seconds=10.0)] == [8, 2, 2, 2]


def test_steps_are_as_many_in_every_epoch(durations: list[float]) -> None:
    batches = LengthSortedBatches(durations, 16, seed=1, batch_seconds=60.0)
    assert {len(_epoch(batches, epoch)) for epoch in range(5)} == {len(batches)}
