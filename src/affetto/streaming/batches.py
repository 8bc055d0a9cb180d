"""Hears many recordings at once: their segments wait in a pool, are heard with others as long, and come home again.

Memory stays the same whether a recording lasts a second or ten hours and whether there are three or a million of them:
only the pool and one block of sound are held, and the results of recordings that wait for an earlier one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.errors import AffettoError, AudioError
from affetto.frames import Waves, pad_waves
from affetto.streaming.segments import cut
from affetto.streaming.sources import Source, blocks, label

SHORTEST_RECORDING_S = 0.1
"""Less than the shortest syllable: there is nothing to hear in it."""

SILENCE = 1e-4
"""-80 dB of full scale: a segment that never leaves this range is digital silence, if need be dithered."""

_BATCH_SEGMENTS = 16
_BATCH_S = 120.0  # of sound, its padding counted
_POOL_SEGMENTS = 64
_POOL_S = 240.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """What was heard in one segment, which begins and ends at these seconds."""

    start_s: float
    end_s: float
    content: T


@dataclass(frozen=True, slots=True)
class Heard(Generic[T]):
    """What was heard in one recording.

    Attributes:
        source: its name.
        duration_s: its length in seconds.
        pieces: its segments, in time; those of digital silence are not among them.
    """

    source: str
    duration_s: float
    pieces: tuple[Piece[T], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A recording that could not be heard, and why."""

    source: str
    error: AffettoError


@dataclass(eq=False, slots=True)
class _Draft(Generic[T]):
    """A recording some of whose segments are still to come or to be heard."""

    source: str
    samples: int = 0
    times: list[tuple[float, float]] = field(default_factory=list)
    contents: dict[int, T] = field(default_factory=dict)
    ended: bool = False
    error: AffettoError | None = None

    @property
    def finished(self) -> bool:
        return self.error is not None or (self.ended and len(self.contents) == len(self.times))

    def result(self) -> Heard[T] | Failure:
        if self.error is not None:
            return Failure(self.source, self.error)
        pieces = tuple(Piece(*times, self.contents[number]) for number, times in enumerate(self.times))
        return Heard(self.source, self.samples / SAMPLE_RATE, pieces)


class _Waiting(NamedTuple, Generic[T]):
    """A segment in the pool: whose it is, the how manyeth, and its sound."""

    draft: _Draft[T]
    number: int
    wave: Tensor


def listen(
    sources: Iterable[Source],
    hear: Callable[[Waves], Sequence[T]],
    progress: Callable[[float], None] | None = None,
) -> Iterator[Heard[T] | Failure]:
    """Hears recordings; one that fails never stops the others.

    Args:
        sources: any number of them, taken one by one.
        hear: gives one result for each recording in a batch, whatever else is in it.
        progress: called now and then with the seconds of sound heard so far.

    Yields:
        One result a source, in their order, each as soon as it and those before it are there.
    """
    drafts: deque[_Draft[T]] = deque()
    pool: list[_Waiting[T]] = []
    past_s = 0.0
    for source in sources:
        draft: _Draft[T] = _Draft(label(source))
        drafts.append(draft)
        try:
            for segment in cut(blocks(source)):
                pool += _take(draft, segment)
                past_s += len(segment) / SAMPLE_RATE
                if _full(pool):
                    yield from _work_off(pool, drafts, hear)
                    if progress is not None:
                        progress(past_s)
            _end(draft)
        except AffettoError as error:
            draft.error = error
            pool = [waiting for waiting in pool if waiting.draft is not draft]
        yield from _finished(drafts)
    yield from _work_off(pool, drafts, hear)
    if progress is not None:
        progress(past_s)


def _take(draft: _Draft[T], segment: Tensor) -> list[_Waiting[T]]:
    """Notes a segment; gives what has to be heard of it: nothing, if it is silent."""
    start, end = draft.samples, draft.samples + len(segment)
    draft.samples = end
    if float((segment - segment.mean()).abs().max()) < SILENCE:
        return []
    draft.times.append((start / SAMPLE_RATE, end / SAMPLE_RATE))
    return [_Waiting(draft, len(draft.times) - 1, segment)]


def _end(draft: _Draft[T]) -> None:
    duration_s = draft.samples / SAMPLE_RATE
    if duration_s < SHORTEST_RECORDING_S:
        raise AudioError(
            f"only {1000 * duration_s:.0f} ms long", f"record at least {SHORTEST_RECORDING_S:g} s", draft.source
        )
    if not draft.times:
        raise AudioError("holds only digital silence", "check the microphone or the export", draft.source)
    draft.ended = True


def _full(pool: Sequence[_Waiting[T]]) -> bool:
    seconds = sum(len(waiting.wave) for waiting in pool) / SAMPLE_RATE
    return len(pool) >= _POOL_SEGMENTS or seconds >= _POOL_S


def _work_off(
    pool: list[_Waiting[T]], drafts: deque[_Draft[T]], hear: Callable[[Waves], Sequence[T]]
) -> Iterator[Heard[T] | Failure]:
    """Empties the pool, and gives every recording that is finished with all before it."""
    for batch in _batches(pool):
        contents = hear(pad_waves([waiting.wave for waiting in batch]))
        for waiting, content in zip(batch, contents, strict=True):
            waiting.draft.contents[waiting.number] = content
    pool.clear()
    yield from _finished(drafts)


def _finished(drafts: deque[_Draft[T]]) -> Iterator[Heard[T] | Failure]:
    while drafts and drafts[0].finished:
        yield drafts.popleft().result()


def _batches(pool: Iterable[_Waiting[T]]) -> Iterator[list[_Waiting[T]]]:
    """Segments of like length together, so that little is padding."""
    batch: list[_Waiting[T]] = []
    for waiting in sorted(pool, key=lambda each: len(each.wave)):
        padded_s = (len(batch) + 1) * len(waiting.wave) / SAMPLE_RATE
        if batch and (len(batch) == _BATCH_SEGMENTS or padded_s > _BATCH_S):
            yield batch
            batch = []
        batch.append(waiting)
    if batch:
        yield batch
