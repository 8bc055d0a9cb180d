"""Padded batches: what is beyond a sequence's length never counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.frames import Frames, pad, pad_waves, time_mask

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def _sequences(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randn(length, 3, generator=generator) for length in lengths]


@given(lengths=LENGTHS)
def test_padding_and_back(lengths: list[int]) -> None:
    sequences = _sequences(lengths)
    frames = pad(sequences)
    assert frames.values.shape == (len(lengths), max(lengths), 3)
    assert frames.lengths.tolist() == lengths
    torch.testing.assert_close(frames.unpad(), sequences, rtol=0, atol=0)
    assert not frames.values[~frames.mask].any()


@given(lengths=LENGTHS)
def test_the_mean_is_numpys_over_real_frames(lengths: list[int]) -> None:
    sequences = _sequences(lengths)
    frames = pad(sequences)
    dirty = Frames(frames.values + 99 * ~frames.mask[..., None], frames.lengths)
    expected = np.stack([sequence.numpy().mean(axis=0) for sequence in sequences])
    np.testing.assert_allclose(dirty.mean().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_zero_padding_clears_what_lies_beyond() -> None:
    frames = Frames(torch.ones(2, 3, 1), torch.tensor([1, 3]))
    assert frames.zero_padding().values[..., 0].tolist() == [[1, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("length", "row"), [(0, [False, False]), (1, [True, False]), (2, [True, True])])
def test_mask(length: int, row: list[bool]) -> None:
    assert time_mask(torch.tensor([length]), 2).tolist() == [row]


@given(lengths=LENGTHS)
def test_waves_are_padded_with_silence(lengths: list[int]) -> None:
    waves = pad_waves([torch.full((length,), 0.5) for length in lengths])
    assert waves.lengths.tolist() == lengths
    assert waves.values.sum(dim=1).tolist() == [0.5 * length for length in lengths]


def test_to_a_device_goes_everything() -> None:
    frames = pad(_sequences([2, 3])).to("meta")
    waves = pad_waves([torch.ones(2)]).to("meta")
    assert {each.device.type for each in (*frames, waves.values, waves.lengths)} == {"meta"}
