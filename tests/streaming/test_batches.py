"""Many recordings at once: in order, complete, in bounded memory, and none stops another."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.streaming import Deferred, Failure, Samples, Source, StreamResult, batches, listen
from affetto.streaming.segments import Spoken, join, neighbours

HALVES = (torch.bfloat16, torch.float16)
SOUNDS = (("short", 3), ("long", 100), ("longer", 150), ("last", 3))


def noise(duration_s: float, level: float = 0.1) -> Samples:
    generator = np.random.default_rng(round(1000 * duration_s))
    return Samples(level * generator.standard_normal(round(duration_s * SAMPLE_RATE)).astype(np.float32), SAMPLE_RATE)


@pytest.fixture(scope="module")
def talk(demo: dict[str, Tensor]) -> Callable[[float], Samples]:
    """Somebody talking for so long, 4 s at a time, with pauses."""
    voice = torch.cat([demo["happy"][: 2 * SAMPLE_RATE], demo["angry"][: 2 * SAMPLE_RATE]])
    turn = torch.cat([voice, torch.zeros(SAMPLE_RATE)])

    def samples(duration_s: float) -> Samples:
        length = round(duration_s * SAMPLE_RATE)
        return Samples(turn.repeat(-(-length // len(turn)))[:length], SAMPLE_RATE)

    return samples


def lengths(stretches: Sequence[Spoken]) -> list[int]:
    """Hears only how long a segment is."""
    return [len(each.wave) for each in stretches]


def test_results_come_in_the_order_of_the_sources(make_sound: Callable[..., Path]) -> None:
    sources: list[Source] = [noise(40), make_sound(duration_s=0.3), Path("missing.wav"), noise(1), noise(17)]
    results = list(listen(sources, lengths))
    assert [type(result) for result in results] == [StreamResult, StreamResult, Failure, StreamResult, StreamResult]
    assert [result.duration_s for result in results if isinstance(result, StreamResult)] == [40, 0.3, 1, 17]


def test_segments_come_home(talk: Callable[[float], Samples]) -> None:
    heard, short = listen([talk(100), talk(3)], lengths)
    assert isinstance(heard, StreamResult)
    assert isinstance(short, StreamResult)
    assert len(heard.pieces) == 20
    assert len(short.pieces) == 1
    for piece in heard.pieces:  # each with at most 2 s of the pauses around it
        assert 0 <= piece.content / SAMPLE_RATE - (piece.end_s - piece.start_s) <= 2
    ends = [piece.end_s for piece in heard.pieces]
    assert all(start > end for start, end in zip([piece.start_s for piece in heard.pieces][1:], ends, strict=False))


def test_parts_come_before_their_result(talk: Callable[[float], Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_POOL_SEGMENTS", 8)
    order: list[StreamResult[int]] = []
    sources = [Deferred(name, lambda duration_s=duration_s: [talk(duration_s).values]) for name, duration_s in SOUNDS]
    for found in listen(sources, lengths, part=order.append):
        assert isinstance(found, StreamResult)
        order.append(found)
    assert [(each.source, len(each.pieces)) for each in order] == [
        *(("short", 1), ("long", 7), ("long", 8), ("long", 20)),  # the first pool held the short one, too
        *(("longer", 3), ("longer", 8), ("longer", 8), ("longer", 8), ("longer", 30), ("last", 1)),
    ]
    for name, many in (("long", 15), ("longer", 27)):
        *parts, whole = [each for each in order if each.source == name]
        assert [piece for part in parts for piece in part.pieces] == list(whole.pieces[:many])


def test_neighbours_are_recognised_together(talk: Callable[[float], Samples]) -> None:
    (alone,) = listen([talk(100)], lengths)
    (heard,) = listen([talk(100)], lengths, arrange=partial(neighbours, longest_s=30.0))
    assert isinstance(alone, StreamResult)
    assert isinstance(heard, StreamResult)
    assert [each for piece in heard.pieces for each in piece.stretches] == [
        (piece.start_s, piece.end_s) for piece in alone.pieces
    ]
    assert 1 < len(heard.pieces) <= 5
    for piece in heard.pieces:
        assert (piece.start_s, piece.end_s) == (piece.stretches[0][0], piece.stretches[-1][1])
        assert piece.content / SAMPLE_RATE <= 30
        assert 0 <= piece.content / SAMPLE_RATE - (piece.end_s - piece.since_s) <= 1


def test_batches_are_bounded(demo: dict[str, Tensor]) -> None:
    sizes = []

    def hear(stretches: Sequence[Spoken]) -> list[None]:
        sizes.append((len(stretches), join(stretches).values.numel() / SAMPLE_RATE))
        return [None] * len(stretches)

    without_pause = torch.cat([demo["neutral"][: 5 * SAMPLE_RATE // 2]] * 100)
    recordings = [Samples(demo["happy"][: 16_000 + 160 * number], SAMPLE_RATE) for number in range(40)]
    list(listen([*recordings, Samples(without_pause, SAMPLE_RATE)], hear))
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
    assert isinstance(first, StreamResult)
    assert isinstance(last, StreamResult)
    assert (first.duration_s, last.duration_s) == (2, 3)
    assert isinstance(failure, Failure)
    assert failure.source == str(broken)
    assert "breaks off" in failure.error.problem


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (noise(0.001), "only 1 ms long"),
        (noise(0.09), "only 90 ms long"),
        (noise(1.0, level=1e30), "times full scale"),
    ],
)
def test_what_is_no_sound_is_an_error(source: Samples, problem: str) -> None:
    (failure,) = listen([source], lengths)
    assert isinstance(failure, Failure)
    assert problem in failure.error.problem


def closed() -> io.BytesIO:
    stream = io.BytesIO(b"sound")
    stream.close()
    return stream


class Breaking(io.RawIOBase):
    """A stream that breaks off with an error of its own."""

    def readinto(self, _: object) -> int:
        raise RuntimeError("connection lost")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (closed(), "closed file"),
        (Breaking(), "connection lost"),
        (b"RIFF", "bytes where a sound file is expected"),
        (None, "None"),
        (7, "int where a sound file is expected"),
        ({}, "dict where a sound file is expected"),
        (io.StringIO("RIFF"), "text where a sound file is expected"),
        (Samples(np.zeros(16_000, np.float32), None), "None"),  # type: ignore[arg-type]
        (Samples([[0.0], "x"], 16_000), "cannot be read"),  # type: ignore[arg-type]
    ],
)
def test_a_source_that_is_none_stops_no_other(source: Any, problem: str, capfd: pytest.CaptureFixture[str]) -> None:
    first, failure, last = listen([noise(1), source, noise(2)], lengths)
    assert isinstance(failure, Failure)
    assert problem in failure.error.problem
    assert "Traceback" not in capfd.readouterr().err
    assert [each.duration_s for each in (first, last) if isinstance(each, StreamResult)] == [1, 2]


def test_text_is_refused_however_it_is_opened(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    path = make_sound()
    with path.open(encoding="latin-1") as text, tempfile.NamedTemporaryFile("w+", dir=tmp_path) as wrapped:
        for failure in listen([text, wrapped], lengths):  # type: ignore[list-item]
            assert isinstance(failure, Failure)
            assert "mode 'rb'" in str(failure.error)
    with path.open("rb") as file, tempfile.NamedTemporaryFile(dir=tmp_path) as copy:
        copy.write(path.read_bytes())
        assert all(isinstance(each, StreamResult) for each in listen([file, copy], lengths))


def test_half_precision_is_recognised() -> None:
    results = list(listen([Samples(torch.zeros(16_000, dtype=kind), 16_000) for kind in HALVES], lengths))
    assert results == [StreamResult("samples", 1.0, (), True)] * len(HALVES)


def test_what_fails_while_hearing_is_no_fault_of_a_source(demo: dict[str, Tensor]) -> None:
    def hear(stretches: Sequence[Spoken]) -> list[None]:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(listen([Samples(demo["happy"], SAMPLE_RATE)], hear))


@pytest.mark.parametrize(
    ("source", "silent"),
    [
        (noise(1.0), False),
        (noise(60.0, level=0.001), False),
        (noise(1.0, level=0.0), True),
        (noise(1.0, level=1e-5), True),
        (Samples(np.full(16_000, 0.25, np.float32), SAMPLE_RATE), True),  # a constant offset
        (noise(60.0, level=0.0), True),
    ],
)
def test_where_nobody_speaks_there_are_no_pieces(source: Samples, silent: bool) -> None:
    (heard,) = listen([source], lengths)
    assert heard == StreamResult("samples", len(source.values) / SAMPLE_RATE, (), silent)


def test_ten_silent_minutes_between_two_words_costs_nothing(demo: dict[str, Tensor]) -> None:
    values = torch.cat([demo["happy"], torch.zeros(600 * SAMPLE_RATE), demo["happy"]])
    (heard,) = listen([Samples(values, SAMPLE_RATE)], lengths)
    assert isinstance(heard, StreamResult)
    assert len(heard.pieces) == 2
    assert not heard.silent
    distance_s = 600 + len(demo["happy"]) / SAMPLE_RATE
    assert heard.pieces[1].start_s - heard.pieces[0].start_s == pytest.approx(distance_s, abs=0.05)


def test_progress_counts_the_seconds_done(talk: Callable[[float], Samples]) -> None:
    seen: list[float] = []
    list(listen([talk(150), noise(150), talk(7)], lengths, seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(307)
