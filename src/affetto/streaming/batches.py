"""Recognises many recordings at once: their speech waits in a pool, and batches are made of stretches of like length.

Memory is bounded: the pool and one block of sound are held, and the results of recordings that wait for an earlier one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from affetto.audio import SAMPLE_RATE, Channels
from affetto.errors import AffettoError, AudioError, ConfigError
from affetto.memory import return_freed_memory
from affetto.streaming.activity import Activity
from affetto.streaming.segments import Spoken, cut, merge, neighbours
from affetto.streaming.sources import Source, Wave, blocks, label

if TYPE_CHECKING:
    from torch import Tensor

_SHORTEST_RECORDING_S = 0.1  # less than the shortest syllable
_SILENCE = 1e-4  # -80 dB of full scale: a recording that never leaves this range is digital silence, perhaps dithered
_LOUDEST = 1e6  # times full scale: integers taken for floats stay below; beyond it the spectrum would overflow
_BATCH_SEGMENTS = 32  # a GRU step costs little more for 32 than for 16: a quarter faster on two cores
_BATCH_S = 60.0  # of sound, its padding counted; 120 s: 120 MB more, slower but for GRUs (docs/results/speed.md)
_POOL_SEGMENTS = 64
_POOL_S = 480.0

T = TypeVar("T")
Predict: TypeAlias = Callable[[Sequence[Spoken]], Sequence[T]]
"""What gives one result for each stretch of speech in a batch, whatever else is in it."""


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """What was predicted for one segment."""

    start_s: float  # where it begins, seconds
    end_s: float
    since_s: float  # where its wave begins, with some of the pause before it
    content: T  # the prediction
    stretches: tuple[tuple[float, float], ...] = ()  # of speech in it, (start_s, end_s) each, if it may have several
    channel: int | None = None  # in which it is, from 1 on; None where channels are mixed
    voice: Tensor | None = None  # a vector that tells whose it is, where that is asked
    speaker: int | None = None  # who speaks, from 1 on; None where speakers are not told apart


@dataclass(frozen=True, slots=True)
class StreamResult(Generic[T]):
    """What was predicted for one recording."""

    source: str  # its name
    duration_s: float
    pieces: tuple[Piece[T], ...]  # its stretches of speech, in time; none where nobody speaks
    silent: bool  # whether it is digital silence throughout, as from a microphone that is switched off
    channels: tuple[StreamResult[T], ...] = ()  # each by itself, where they are separate
    speakers: tuple[StreamResult[T], ...] | None = None  # each by itself, where they are told apart


@dataclass(frozen=True, slots=True)
class Failure:
    """A recording that could not be recognised, and why."""

    source: str
    error: AffettoError


@dataclass(eq=False, slots=True)
class _Draft(Generic[T]):
    """A recording some of whose segments are still to come or to be predicted."""

    source: str
    samples: int = 0
    silent: NDArray[Any] = field(default_factory=lambda: np.array(True))  # or (channels,)
    segments: int = 0
    pieces: list[Piece[T]] = field(default_factory=list)
    given: int = 0  # so many of them have been given away before the recording is finished
    ended: bool = False
    error: AffettoError | None = None

    @property
    def finished(self) -> bool:
        return self.error is not None or (self.ended and len(self.pieces) == self.segments)

    def result(self) -> StreamResult[T] | Failure:
        if self.error is not None:
            return Failure(self.source, self.error)
        pieces = _in_time(self.pieces)
        duration_s = self.samples / SAMPLE_RATE
        channels = tuple(
            StreamResult(self.source, duration_s, tuple(each for each in pieces if each.channel == number), silent)
            for number, silent in enumerate(self.silent.tolist() if self.silent.ndim else [], start=1)
        )
        return StreamResult(self.source, duration_s, pieces, bool(self.silent.all()), channels)

    def part(self) -> StreamResult[T]:
        """What has been predicted since the last time that this was asked for."""
        pieces, self.given = _in_time(self.pieces[self.given :]), len(self.pieces)
        return StreamResult(self.source, self.samples / SAMPLE_RATE, pieces, silent=False)


def _in_time(pieces: Iterable[Piece[T]]) -> tuple[Piece[T], ...]:
    return tuple(sorted(pieces, key=lambda each: (each.start_s, each.channel or 0)))


class _Waiting(NamedTuple, Generic[T]):
    """A segment in the pool: whose it is, its sound, and when somebody speaks in it."""

    draft: _Draft[T]
    whole: Spoken
    stretches: tuple[tuple[float, float], ...]

    @property
    def samples(self) -> int:
        return len(self.whole.wave)


class _Pool(Generic[T]):
    """Segments that wait for a batch."""

    def __init__(self, predict: Predict[T], progress: Callable[[float], None] | None) -> None:
        self._predict = predict
        self._progress = progress
        self._waiting: list[_Waiting[T]] = []
        self._samples_seen = 0
        self._samples_done = 0  # it never goes back

    @property
    def _waiting_samples(self) -> int:
        return sum(each.samples for each in self._waiting)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= _POOL_SEGMENTS or self._waiting_samples >= _POOL_S * SAMPLE_RATE

    def take(self, draft: _Draft[T], stretches: Sequence[Spoken]) -> None:
        """Lets stretches of speech wait that are one segment."""
        times = tuple((each.start_s, each.end_s) for each in stretches)
        self._waiting.append(_Waiting(draft, merge(stretches), times))
        draft.segments += 1

    def drop(self, draft: _Draft[T]) -> None:
        """Forgets the segments of a recording that failed."""
        self._waiting = [each for each in self._waiting if each.draft is not draft]

    def work_off(self) -> None:
        """Predicts all that wait, segments of like length together, so that little is padding."""
        self._waiting.sort(key=lambda each: each.samples)
        while self._waiting:
            padded = (number * each.samples for number, each in enumerate(self._waiting[:_BATCH_SEGMENTS], start=1))
            size = max(1, sum(samples <= _BATCH_S * SAMPLE_RATE for samples in padded))
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            for each, content in zip(batch, self._predict([each.whole for each in batch]), strict=True):
                at = each.whole
                piece = Piece(at.start_s, at.end_s, at.since_s, content, each.stretches, at.channel, at.voice)
                each.draft.pieces.append(piece)
            self.report()

    def report(self, samples: int = 0) -> None:
        """Says how far it has come, so many samples further than before."""
        self._samples_seen += samples
        if self._progress is not None:
            self._samples_done = max(self._samples_done, self._samples_seen - self._waiting_samples)
            self._progress(self._samples_done / SAMPLE_RATE)


def listen(  # noqa: PLR0913  # what finds speech is a part of its own where there is no torch
    sources: Iterable[Source],
    predict: Predict[T],
    progress: Callable[[float], None] | None = None,
    *,
    channels: Channels = "mix",
    part: Callable[[StreamResult[T]], None] | None = None,
    arrange: Callable[[Iterable[Spoken]], Iterable[Sequence[Spoken]]] = neighbours,
    activity: Callable[[], Activity] | None = None,
) -> Iterator[StreamResult[T] | Failure]:
    """Recognises recordings; one that fails never stops the others.

    There is one result a source, in their order, each as soon as it and those before it are there. Raises ConfigError
    where `channels` is no choice.

    Args:
        sources: any number of them, taken one by one.
        predict: see `Predict`.
        progress: called with the seconds of sound that are done with so far.
        channels: whether those of a recording are mixed, or each is a voice of its own.
        part: called with what has been predicted since the last time, while a recording goes on whose result comes
            next; what is predicted last comes with the result alone.
        arrange: makes segments of its stretches of speech, in time; each of several that are neighbours.
        activity: see `cut`.
    """
    if channels not in get_args(Channels):
        raise ConfigError(f"channels={channels!r}", f"choose one of {', '.join(get_args(Channels))}")
    drafts: deque[_Draft[T]] = deque()
    pool = _Pool(predict, progress)
    for source in sources:
        draft: _Draft[T] = _Draft(label(source))
        drafts.append(draft)
        try:
            sound = _checked(_read(source, channels), draft, pool)
            for stretches in arrange(cut(sound, activity=activity)):
                pool.take(draft, stretches)
                if pool.full:
                    pool.work_off()
                    return_freed_memory()
                    yield from _finished(drafts)
                    if part is not None:
                        part(draft.part())
            duration_s = draft.samples / SAMPLE_RATE
            if duration_s < _SHORTEST_RECORDING_S:
                remedy = f"record at least {_SHORTEST_RECORDING_S:g} s"
                raise AudioError(f"only {1000 * duration_s:.0f} ms long", remedy, draft.source)
            draft.ended = True
        except AffettoError as error:
            draft.error = error
            pool.drop(draft)
        yield from _finished(drafts)
    pool.work_off()
    pool.report()
    yield from _finished(drafts)


def _read(source: Source, channels: Channels) -> Iterator[Wave]:
    """The sound of a source; whatever its reading raises is the fault of this source alone."""
    try:
        yield from blocks(source, channels)
    except AffettoError:
        raise
    except Exception as error:  # streams and tensors of strangers
        problem = f"cannot be read ({type(error).__name__}: {error})"
        remedy = "give a sound file, one opened for reading bytes, or Samples"
        raise AudioError(problem, remedy, label(source)) from error


def _checked(sound: Iterable[Wave], draft: _Draft[T], pool: _Pool[T]) -> Iterator[Wave]:
    """Counts and looks at each block; raises AudioError if no one could bear it."""
    for block in sound:
        low, high = np.float64(block.min(axis=-1)), np.float64(block.max(axis=-1))  # of each channel
        peak = float(np.maximum(-low, high).max())
        if not peak <= _LOUDEST:
            raise AudioError(f"samples of {peak:.0e} times full scale", "scale them to between -1 and 1", draft.source)
        draft.silent = draft.silent & (high - low < 2 * _SILENCE)  # about whatever zero line
        draft.samples += block.shape[-1]
        pool.report(block.shape[-1])
        yield block


def _finished(drafts: deque[_Draft[T]]) -> Iterator[StreamResult[T] | Failure]:
    """The recordings that are finished with all before them."""
    while drafts and drafts[0].finished:
        yield drafts.popleft().result()
