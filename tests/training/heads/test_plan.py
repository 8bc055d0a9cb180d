"""The order of utterances and dropout: SortaGrad first, then like lengths together, the same for every fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.training.heads.plan import plan_epoch

LENGTHS = np.random.default_rng(0).integers(50, 900, (3, 101))


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_every_utterance_once(chunk: int, epoch: int, repeat: int, seed: int) -> None:
    plan = plan_epoch(LENGTHS, chunk, seed, repeat, epoch)
    assert sorted(np.concatenate(plan.chunks)) == list(range(101))
    assert sorted(len(each) for each in plan.chunks)[1:] == [chunk] * (len(plan.chunks) - 1)
    assert set(plan.variants) <= {0, 1, 2}


def test_the_first_epoch_goes_from_the_shortest_to_the_longest() -> None:
    plan = plan_epoch(LENGTHS[:1], 8, seed=1, repeat=0, epoch=0)
    lengths = LENGTHS[0, np.concatenate(plan.chunks)]
    assert (np.diff(lengths) >= 0).all()


def test_later_epochs_shuffle_chunks_of_like_length() -> None:
    plan = plan_epoch(LENGTHS[:1], 8, seed=1, repeat=0, epoch=1)
    means = [LENGTHS[0, chunk].mean() for chunk in plan.chunks]
    assert means != sorted(means)
    within = np.mean([LENGTHS[0, chunk].std() for chunk in plan.chunks])
    assert within < 0.3 * LENGTHS[0].std()


@pytest.mark.parametrize("change", [{"seed": 2}, {"repeat": 1}, {"epoch": 4}])
def test_depends_on_seed_repeat_and_epoch_alone(change: dict[str, int]) -> None:
    asked = {"seed": 1, "repeat": 0, "epoch": 3}
    one, same = (plan_epoch(LENGTHS, 8, **asked) for _ in range(2))
    other = plan_epoch(LENGTHS, 8, **{**asked, **change})
    assert np.array_equal(np.concatenate(one.chunks), np.concatenate(same.chunks))
    assert not np.array_equal(np.concatenate(one.chunks), np.concatenate(other.chunks))
    kept = one.keep(8, 50, 0.5)
    assert torch.equal(kept, same.keep(8, 50, 0.5))
    assert not torch.equal(kept, other.keep(8, 50, 0.5))


def test_dropout_keeps_its_share_and_the_mean() -> None:
    keep = plan_epoch(LENGTHS, 8, seed=1, repeat=0, epoch=0).keep(200, 500, 0.25)
    assert keep.unique().tolist() == pytest.approx([0, 4 / 3])
    assert keep.mean().item() == pytest.approx(1, abs=0.01)
