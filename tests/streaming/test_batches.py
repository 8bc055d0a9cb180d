"""Many recordings at once: in order, complete, in bounded memory, and none stops another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from affetto.audio import SAMPLE_RATE
from affetto.frames import Waves
from affetto.streaming import Failure, Heard, Samples, Source, listen


def noise(duration_s: float, level: float = 0.1) -> Samples:
    generator = np.random.default_rng(round(1000 * duration_s))
    return Samples(level * generator.standard_normal(round(duration_s * SAMPLE_RATE)).astype(np.float32), SAMPLE_RATE)


def lengths(waves: Waves) -> list[int]:
    """Hears only how long a segment is."""
    return [int(length) for length in waves.lengths]


def test_results_come_in_the_order_of_the_sources(make_sound: Callable[..., Path]) -> None:
    sources: list[Source] = [noise(40), make_sound(duration_s=0.3), Path("missing.wav"), noise(1), noise(17)]
    results = list(listen(sources, lengths))
    assert [type(result) for result in results] == [Heard, Heard, Failure, Heard, Heard]
    assert [result.duration_s for result in results if isinstance(result, Heard)] == [40, 0.3, 1, 17]


def test_segments_come_home() -> None:
    (heard,) = listen([noise(100)], lengths)
    assert isinstance(heard, Heard)
    assert [piece.content for piece in heard.pieces] == [
        round((piece.end_s - piece.start_s) * SAMPLE_RATE) for piece in heard.pieces
    ]
    ends = [piece.end_s for piece in heard.pieces]
    assert [piece.start_s for piece in heard.pieces] == [0.0, *ends[:-1]]
    assert ends[-1] == 100


def test_batches_are_bounded() -> None:
    sizes = []

    def hear(waves: Waves) -> list[None]:
        sizes.append((len(waves.lengths), waves.values.numel() / SAMPLE_RATE))
        return [None] * len(waves.lengths)

    list(listen([*(noise(0.2 + 0.01 * number) for number in range(40)), noise(300)], hear))
    assert max(count for count, _ in sizes) == 32
    assert max(seconds for _, seconds in sizes) <= 240


def test_little_waits_at_a_time() -> None:
    taken = 0

    def sources() -> Iterator[Source]:
        nonlocal taken
        for _ in range(300):
            taken += 1
            yield noise(0.2)

    most = max(taken - given for given, _ in enumerate(listen(sources(), lengths), start=1))
    assert taken == 300
    assert most <= 64


def test_a_failing_recording_takes_only_its_own_segments_along(make_sound: Callable[..., Path]) -> None:
    broken = make_sound("broken.flac", duration_s=60)
    broken.write_bytes(broken.read_bytes()[:-2000])
    first, failure, last = listen([noise(2), broken, noise(3)], lengths)
    assert isinstance(first, Heard)
    assert isinstance(last, Heard)
    assert (first.duration_s, last.duration_s) == (2, 3)
    assert isinstance(failure, Failure)
    assert failure.source == str(broken)
    assert "breaks off" in failure.error.problem


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (noise(0.001), "only 1 ms long"),
        (noise(0.09), "only 90 ms long"),
        (noise(1.0, level=0.0), "only digital silence"),
        (noise(1.0, level=1e-5), "only digital silence"),
        (Samples(np.full(16_000, 0.25, np.float32), SAMPLE_RATE), "only digital silence"),  # a constant offset
        (noise(60.0, level=0.0), "only digital silence"),
        (noise(1.0, level=1e30), "times full scale"),
    ],
)
def test_where_there_is_nothing_to_hear_it_says_so(source: Samples, problem: str) -> None:
    (failure,) = listen([source], lengths)
    assert isinstance(failure, Failure)
    assert problem in failure.error.problem


def test_silent_segments_are_passed_over() -> None:
    values = np.concatenate([noise(20).values, np.zeros(60 * SAMPLE_RATE, np.float32), noise(20).values])
    (heard,) = listen([Samples(values, SAMPLE_RATE)], lengths)
    assert isinstance(heard, Heard)
    assert heard.duration_s == 100
    assert 40 <= sum(piece.end_s - piece.start_s for piece in heard.pieces) < 70
    assert (heard.pieces[0].start_s, heard.pieces[-1].end_s) == (0, 100)


def test_progress_counts_the_seconds_heard() -> None:
    seen: list[float] = []
    list(listen([noise(150), noise(150), noise(7)], lengths, seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(307)
