"""Hears many recordings at once: their speech waits in a pool, is heard with other as long, and comes home again.

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
from affetto.frames import Waves
from affetto.streaming.segments import Spoken, cut, join, merge, neighbours
from affetto.streaming.sources import Source, blocks, label

SHORTEST_RECORDING_S = 0.1
"""Less than the shortest syllable: there is nothing to hear in it."""

SILENCE = 1e-4
"""-80 dB of full scale: a recording that never leaves this range is digital silence, if need be dithered."""

LOUDEST = 1e6
"""Times full scale: integers taken for floats stay below this; beyond it the spectrum would overflow."""

_BATCH_SEGMENTS = 32  # a GRU step costs little more for 32 than for 16: a quarter faster on two cores
_BATCH_S = 240.0  # of sound, its padding counted
_POOL_SEGMENTS = 64
_POOL_S = 480.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """What was heard in one segment.

    Attributes:
        start_s: where it begins, seconds.
        end_s: where it ends.
        since_s: where its wave begins, with some of the pause before it.
        content: what was heard in that wave.
        stretches: of speech in it, (start_s, end_s) each, if it may have several.
    """

    start_s: float
    end_s: float
    since_s: float
    content: T
    stretches: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class StreamResult(Generic[T]):
    """What was heard in one recording.

    Attributes:
        source: its name.
        duration_s: its length in seconds.
        pieces: its stretches of speech, in time; none where nobody speaks.
        silent: whether it is digital silence from beginning to end, as from a microphone that is switched off.
    """

    source: str
    duration_s: float
    pieces: tuple[Piece[T], ...]
    silent: bool


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
    silent: bool = True
    times: list[tuple[float, float, float]] = field(default_factory=list)
    stretches: list[tuple[tuple[float, float], ...]] = field(default_factory=list)
    contents: dict[int, T] = field(default_factory=dict)
    ended: bool = False
    error: AffettoError | None = None

    @property
    def finished(self) -> bool:
        return self.error is not None or (self.ended and len(self.contents) == len(self.times))

    def result(self) -> StreamResult[T] | Failure:
        if self.error is not None:
            return Failure(self.source, self.error)
        pieces = tuple(
            Piece(*times, self.contents[number], stretches)
            for number, (times, stretches) in enumerate(zip(self.times, self.stretches, strict=True))
        )
        return StreamResult(self.source, self.samples / SAMPLE_RATE, pieces, self.silent)


class _Waiting(NamedTuple, Generic[T]):
    """A segment in the pool: whose it is, the how manyeth, and its sound."""

    draft: _Draft[T]
    number: int
    spoken: Spoken

    @property
    def samples(self) -> int:
        return len(self.spoken.wave)


class _Pool(Generic[T]):
    """Segments that wait to be heard together."""

    def __init__(self, hear: Callable[[Waves], Sequence[T]], progress: Callable[[float], None] | None) -> None:
        self._hear = hear
        self._progress = progress
        self._waiting: list[_Waiting[T]] = []
        self._waiting_samples = 0
        self._samples_seen = 0
        self._told = 0  # it never goes back

    @property
    def full(self) -> bool:
        return len(self._waiting) >= _POOL_SEGMENTS or self._waiting_samples >= _POOL_S * SAMPLE_RATE

    def take(self, draft: _Draft[T], stretches: Sequence[Spoken]) -> None:
        """Lets stretches of speech wait that are heard as one."""
        whole = merge(stretches)
        self._waiting.append(_Waiting(draft, len(draft.times), whole))
        self._waiting_samples += len(whole.wave)
        draft.times.append((whole.start_s, whole.end_s, whole.since_s))
        draft.stretches.append(tuple((each.start_s, each.end_s) for each in stretches))

    def saw(self, samples: int) -> None:
        """Counts what was listened to, for the progress."""
        self._samples_seen += samples

    def drop(self, draft: _Draft[T]) -> None:
        """Forgets the segments of a recording that failed."""
        self._waiting = [waiting for waiting in self._waiting if waiting.draft is not draft]
        self._waiting_samples = sum(waiting.samples for waiting in self._waiting)

    def work_off(self) -> None:
        """Hears all that wait."""
        for batch in _batches(self._waiting):
            contents = self._hear(join([waiting.spoken for waiting in batch]))
            for waiting, content in zip(batch, contents, strict=True):
                waiting.draft.contents[waiting.number] = content
                self._waiting_samples -= waiting.samples
            self.report()
        self._waiting = []

    def report(self) -> None:
        """Tells how far it has come."""
        if self._progress is not None:
            self._told = max(self._told, self._samples_seen - self._waiting_samples)
            self._progress(self._told / SAMPLE_RATE)


def listen(
    sources: Iterable[Source],
    hear: Callable[[Waves], Sequence[T]],
    progress: Callable[[float], None] | None = None,
    *,
    together_s: float = 0.0,
) -> Iterator[StreamResult[T] | Failure]:
    """Hears recordings; one that fails never stops the others.

    Args:
        sources: any number of them, taken one by one.
        hear: gives one result for each stretch of speech in a batch, whatever else is in it.
        progress: called with the seconds of sound that are done with so far.
        together_s: stretches that follow each other are heard as one up to this length (see `neighbours`); 0: none are.

    Yields:
        One result a source, in their order, each as soon as it and those before it are there.
    """
    drafts: deque[_Draft[T]] = deque()
    pool = _Pool(hear, progress)
    for source in sources:
        draft: _Draft[T] = _Draft(label(source))
        drafts.append(draft)
        try:
            for stretches in neighbours(cut(_checked(_read(source), draft, pool)), together_s):
                pool.take(draft, stretches)
                if pool.full:
                    pool.work_off()
                    yield from _finished(drafts)
            _end(draft)
        except AffettoError as error:
            draft.error = error
            pool.drop(draft)
        yield from _finished(drafts)
    pool.work_off()
    pool.report()
    yield from _finished(drafts)


def _read(source: Source) -> Iterator[Tensor]:
    """The sound of a source; whatever its reading raises is the fault of this source alone."""
    try:
        yield from blocks(source)
    except AffettoError:
        raise
    except Exception as error:  # streams and tensors of strangers
        problem = f"cannot be read ({type(error).__name__}: {error})"
        raise AudioError(
            problem, "give a sound file, one opened for reading bytes, or Samples", label(source)
        ) from error


def _checked(sound: Iterable[Tensor], draft: _Draft[T], pool: _Pool[T]) -> Iterator[Tensor]:
    """Counts and looks at each block; raises AudioError if no one could bear it."""
    for block in sound:
        low, high = float(block.min()), float(block.max())
        if not max(-low, high) <= LOUDEST:
            peak = max(-low, high)
            raise AudioError(f"samples of {peak:.0e} times full scale", "scale them to between -1 and 1", draft.source)
        draft.silent = draft.silent and high - low < 2 * SILENCE  # about whatever zero line
        draft.samples += len(block)
        pool.saw(len(block))
        pool.report()
        yield block


def _end(draft: _Draft[T]) -> None:
    """Checks that there was anything to hear."""
    duration_s = draft.samples / SAMPLE_RATE
    if duration_s < SHORTEST_RECORDING_S:
        raise AudioError(
            f"only {1000 * duration_s:.0f} ms long", f"record at least {SHORTEST_RECORDING_S:g} s", draft.source
        )
    draft.ended = True


def _finished(drafts: deque[_Draft[T]]) -> Iterator[StreamResult[T] | Failure]:
    """The recordings that are finished with all before them."""
    while drafts and drafts[0].finished:
        yield drafts.popleft().result()


def _batches(pool: Iterable[_Waiting[T]]) -> Iterator[list[_Waiting[T]]]:
    """Segments of like length together, so that little is padding."""
    batch: list[_Waiting[T]] = []
    for waiting in sorted(pool, key=lambda each: each.samples):
        padded_s = (len(batch) + 1) * waiting.samples / SAMPLE_RATE
        if batch and (len(batch) == _BATCH_SEGMENTS or padded_s > _BATCH_S):
            yield batch
            batch = []
        batch.append(waiting)
    if batch:
        yield batch
