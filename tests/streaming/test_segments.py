"""Long recordings are cut where it is quiet, completely and always at the same places."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.streaming.segments import LONGEST_S, SHORTEST_REST_S, cut


def murmur(duration_s: float, seed: int = 0) -> Tensor:
    """Noise whose level wanders, as that of speech does."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(round(duration_s * SAMPLE_RATE), generator=generator)
    level = 1.1 + torch.sin(torch.arange(len(noise)) / 3000) * torch.sin(torch.arange(len(noise)) / 41000)
    return noise * level


@settings(max_examples=25)
@given(duration_s=st.floats(0.01, 50), block_s=st.floats(0.2, 40), seed=st.integers(0, 99))
def test_cuts_depend_on_the_sound_alone(duration_s: float, block_s: float, seed: int) -> None:
    sound = murmur(duration_s, seed)
    segments = list(cut([sound]))
    assert torch.equal(torch.cat(segments), sound)
    again = list(cut(sound.split(round(block_s * SAMPLE_RATE))))
    assert [len(segment) for segment in again] == [len(segment) for segment in segments]


@settings(max_examples=25)
@given(duration_s=st.floats(0.01, 60), seed=st.integers(0, 99))
def test_segments_are_of_useful_length(duration_s: float, seed: int) -> None:
    lengths_s = [len(segment) / SAMPLE_RATE for segment in cut([murmur(duration_s, seed)])]
    assert max(lengths_s) <= LONGEST_S
    assert len(lengths_s) == 1 or min(lengths_s) >= SHORTEST_REST_S


@pytest.mark.parametrize("pause_s", [8.5, 10.0, 12.3, 14.5])
def test_cuts_fall_into_pauses(pause_s: float) -> None:
    sound = murmur(25)
    begin, end = round((pause_s - 0.15) * SAMPLE_RATE), round((pause_s + 0.15) * SAMPLE_RATE)
    sound[begin:end] *= 0.001
    assert begin < len(next(cut([sound]))) < end


def test_short_recordings_stay_whole() -> None:
    assert [len(segment) for segment in cut([murmur(15.0)])] == [15 * SAMPLE_RATE]


def test_nothing_gives_nothing() -> None:
    assert list(cut([])) == []
