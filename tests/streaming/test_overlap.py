"""Chunks that overlap: their cores are the stream, whatever the blocks, and have their context around them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.audio import SAMPLE_RATE
from affetto.streaming import Chunk, Overlap, overlapping

UNIT = 8


def _chunks(samples: int, core: int, context: int, block: int) -> list[Chunk]:
    overlap = Overlap(core * UNIT / SAMPLE_RATE, context * UNIT / SAMPLE_RATE)
    return list(overlapping(torch.arange(float(samples)).split(block) if samples else [], overlap, UNIT))


@given(st.integers(0, 400), st.integers(1, 9), st.integers(0, 9), st.integers(1, 130))
def test_cores_are_the_stream_and_context_is_what_lies_around_them(
    samples: int, core: int, context: int, block: int
) -> None:
    chunks = _chunks(samples, core, context, block)
    cores = [chunk.wave[slice(*chunk.core)] for chunk in chunks]
    assert torch.equal(torch.cat([torch.zeros(0), *cores]), torch.arange(float(samples)))
    for chunk, kept in zip(chunks, cores, strict=True):
        first, last = int(kept[0]), int(kept[-1])
        heard = torch.arange(max(0, first - context * UNIT), min(samples, first + (core + context) * UNIT))
        assert first % UNIT == chunk.core[0] % UNIT == 0
        assert chunk.wave.int().tolist() == heard.tolist()
        assert last == min(samples, first + core * UNIT) - 1


@pytest.mark.parametrize("block", [1, 7, 400])
def test_how_the_stream_is_divided_into_blocks_changes_nothing(block: int) -> None:
    expected = _chunks(333, 5, 2, 333)
    for one, other in zip(_chunks(333, 5, 2, block), expected, strict=True):
        assert torch.equal(one.wave, other.wave)
        assert one.core == other.core
