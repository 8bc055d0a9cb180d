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

LOUDEST = 1e6
"""Times full scale: integers taken for floats stay below this; beyond it the spectrum would overflow."""

_BATCH_SEGMENTS = 32  # a GRU step costs little more for 32 than for 16: a quarter faster on two cores
_BATCH_S = 240.0  # of sound, its padding counted
_POOL_SEGMENTS = 64
_POOL_S = 480.0

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


class _Pool(Generic[T]):
    """Segments that wait to be heard together."""

    def __init__(self, hear: Callable[[Waves], Sequence[T]], progress: Callable[[float], None] | None) -> None:
        self._hear = hear
        self._progress = progress
        self._waiting: list[_Waiting[T]] = []
        self._waiting_samples = 0
        self._samples_seen = 0

    @property
    def full(self) -> bool:
        return len(self._waiting) >= _POOL_SEGMENTS or self._waiting_samples >= _POOL_S * SAMPLE_RATE

    def take(self, draft: _Draft[T], segment: Tensor) -> None:
        """Lets a segment wait, unless it is silent; raises AudioError if no one could bear it."""
        start, end = draft.samples, draft.samples + len(segment)
        draft.samples = end
        self._samples_seen += len(segment)
        peak = float((segment - segment.mean()).abs().max())
        if not peak <= LOUDEST:
            raise AudioError(f"samples of {peak:.0e} times full scale", "scale them to between -1 and 1", draft.source)
        if peak >= SILENCE:
            self._waiting.append(_Waiting(draft, len(draft.times), segment))
            self._waiting_samples += len(segment)
            draft.times.append((start / SAMPLE_RATE, end / SAMPLE_RATE))

    def drop(self, draft: _Draft[T]) -> None:
        """Forgets the segments of a recording that failed."""
        self._waiting = [waiting for waiting in self._waiting if waiting.draft is not draft]
        self._waiting_samples = sum(len(waiting.wave) for waiting in self._waiting)

    def work_off(self) -> None:
        """Hears all that wait."""
        for batch in _batches(self._waiting):
            contents = self._hear(pad_waves([waiting.wave for waiting in batch]))
            for waiting, content in zip(batch, contents, strict=True):
                waiting.draft.contents[waiting.number] = content
                self._waiting_samples -= len(waiting.wave)
            if self._progress is not None:
                self._progress((self._samples_seen - self._waiting_samples) / SAMPLE_RATE)
        self._waiting = []


def listen(
    sources: Iterable[Source],
    hear: Callable[[Waves], Sequence[T]],
    progress: Callable[[float], None] | None = None,
) -> Iterator[Heard[T] | Failure]:
    """Hears recordings; one that fails never stops the others.

    Args:
        sources: any number of them, taken one by one.
        hear: gives one result for each recording in a batch, whatever else is in it.
        progress: called after each batch with the seconds of sound heard so far.

    Yields:
        One result a source, in their order, each as soon as it and those before it are there.
    """
    drafts: deque[_Draft[T]] = deque()
    pool = _Pool(hear, progress)
    for source in sources:
        draft: _Draft[T] = _Draft(label(source))
        drafts.append(draft)
        try:
            for segment in cut(blocks(source)):
                pool.take(draft, segment)
                if pool.full:
                    pool.work_off()
                    yield from _finished(drafts)
            _end(draft)
        except AffettoError as error:
            draft.error = error
            pool.drop(draft)
        yield from _finished(drafts)
    pool.work_off()
    yield from _finished(drafts)


def _end(draft: _Draft[T]) -> None:
    """Checks that there was something to hear."""
    duration_s = draft.samples / SAMPLE_RATE
    if duration_s < SHORTEST_RECORDING_S:
        raise AudioError(
            f"only {1000 * duration_s:.0f} ms long", f"record at least {SHORTEST_RECORDING_S:g} s", draft.source
        )
    if not draft.times:
        raise AudioError("holds only digital silence", "check the microphone or the export", draft.source)
    draft.ended = True


def _finished(drafts: deque[_Draft[T]]) -> Iterator[Heard[T] | Failure]:
    """The recordings that are finished with all before them."""
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
