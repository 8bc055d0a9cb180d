"""One recogniser for all clients: one thread recognises in batches what waits, and no more waits than may.

Nothing that happens to one recording changes or harms another, and short ones pass long ones. Live speech comes first,
in between batches, stretch by stretch, so that its results are those of `EmotionRecogniser.follow`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from affetto.audio import Channels
from affetto.errors import AffettoError
from affetto.models.voices import Speakers
from affetto.recognise import EmotionRecogniser
from affetto.recognition import SegmentPrediction
from affetto.recording import Recording, Segment
from affetto.server.answers import Progress
from affetto.server.problems import RequestError
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics, described, log
from affetto.server.uploads import Decoded, Upload, decode
from affetto.streaming import Deferred, Failure, StreamResult, listen
from affetto.streaming.segments import Spoken, join, neighbours
from affetto.timeline import Judgement

_GATHER_S = 0.005  # so long the first of a batch waits for others
_BATCH_RECORDINGS = 16
_BATCH_S = 120.0  # of sound: a short recording waits for no more than this in the batch before its own
_SHORT_S = 30.0  # so long a recording may be that is always recognised in between the batches of a longer one
_LONGER = 4.0  # times as long that one has to be at least
_PATIENCE = 20.0  # a recording is passed by those that are shorter by so many seconds for each that they came later
_FIRST_SPEED = 20.0  # times real time, until something was measured
_LONGEST_ADVICE_S = 60
_DECODERS = 4  # and as many for large bodies
_LARGE_BYTES = 4_000_000
_LAST_S = 1.0  # so long a batch is waited for at the end
_ALLOWED = 0.25  # of a recording's length it has beside the time that each has

T = TypeVar("T")
_Predict = Callable[[Sequence[Spoken]], list[SegmentPrediction]]


@dataclass(eq=False, slots=True)
class Job:
    """A recording; the thread that decodes or recognises it closes its files."""

    upload: Upload
    judgement: Judgement
    channels: Channels = "mix"
    speakers: Speakers | None = None
    answer: Future[Recording] = field(default_factory=Future)
    came: float = field(default_factory=time.monotonic)
    decoded: Decoded | None = None
    done_s: float | None = None  # of the recording; None until its turn has come
    found: list[Segment] | None = None  # those that are there before its result; None where nobody asks for them
    abandoned: bool = False

    @property
    def sound(self) -> Decoded:
        """Once it is there."""
        assert self.decoded is not None
        return self.decoded

    @property
    def turn(self) -> float:
        """The lowest is the next; none waits for ever."""
        return self.sound.duration_s + _PATIENCE * self.came

    def passes(self, other: Job) -> bool:
        """Whether it is recognised in between the batches of that one."""
        length_s = self.sound.duration_s
        return _LONGER * length_s <= other.sound.duration_s and (length_s <= _SHORT_S or self.turn < other.turn)


class Worker:
    """Recognises recordings and live speech for many clients; the recogniser is used by its thread alone."""

    def __init__(self, recogniser: EmotionRecogniser, settings: Settings, metrics: Metrics) -> None:
        self._recogniser = recogniser
        self._settings = settings
        self._metrics = metrics
        self._waiting: list[Job] = []
        self._live: deque[tuple[Spoken, Future[SegmentPrediction]]] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._places = 0
        self._live_places = 0
        self._speed = _FIRST_SPEED
        self._done_s = 0.0
        self._thread: threading.Thread | None = None
        self._decoders = [ThreadPoolExecutor(_DECODERS, name) for name in ("decoding", "decoding-large")]
        metrics.queue.set_function(lambda: len(self._waiting))
        metrics.live.set_function(lambda: self._live_places)

    def start(self) -> None:
        """Begins to work."""
        self._thread = threading.Thread(target=self._work, name="recognising", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the work; what still waits is answered with a problem, and a thread that goes on is not waited for."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        for each in self._decoders:
            each.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None:
            self._thread.join(_LAST_S)

    def check_well(self) -> None:
        """Raises RequestError where it does not work."""
        if self._thread is None or not self._thread.is_alive():
            raise RequestError("stopping")
        self._check_going_on()

    def check_room(self) -> None:
        """Raises RequestError where all places are taken."""
        if self._places >= self._settings.queue:  # asked and changed by the event loop's thread alone
            raise self.busy()

    def busy(self) -> RequestError:
        """The answer to a client that had better come back."""
        with self._change:
            waiting_s = sum(job.sound.duration_s for job in self._waiting)
        advice_s = min(_LONGEST_ADVICE_S, max(1, math.ceil(waiting_s / self._speed)))
        return RequestError("busy", headers={"Retry-After": str(advice_s)})

    @contextmanager
    def live_place(self) -> Iterator[None]:
        """Room for one live stream; raises RequestError where all is taken."""
        if self._live_places >= self._settings.live:
            raise RequestError("busy", "too many live streams at a time", "try again when one of them has ended")
        self._live_places += 1
        try:
            yield
        finally:
            self._live_places -= 1

    async def recognise(self, job: Job) -> Recording:
        """The result of a recording, which is closed; who stops waiting gives up its place in the queue.

        Raises AffettoError where it cannot be recognised, or not in time, or there is no room.
        """
        try:
            self.check_room()
            with self._change:
                self._check_going_on()
                is_large = job.upload.sound.seek(0, os.SEEK_END) > _LARGE_BYTES
                decoding = self._decoders[is_large].submit(self._decode, job)
        except BaseException:
            job.upload.sound.close()
            raise
        decoding.add_done_callback(lambda _: job.upload.sound.close())
        self._places += 1
        allowed_s = self._allowed_s(self._settings.max_duration_s)
        try:
            async with asyncio.timeout(allowed_s) as limit:
                await asyncio.wait([asyncio.wrap_future(decoding)])
                if job.decoded is not None:
                    allowed_s = self._allowed_s(job.decoded.duration_s)
                    limit.reschedule(job.came + allowed_s)
                return await asyncio.wrap_future(job.answer)
        except TimeoutError as error:
            raise _too_late(allowed_s) from error
        finally:
            self._places -= 1
            with self._change:
                job.abandoned = True
                if job in self._waiting:
                    self._waiting.remove(job)
                    job.sound.samples.close()

    def _allowed_s(self, length_s: float) -> float:
        return self._settings.timeout_s + _ALLOWED * length_s

    def progress(self, job: Job) -> Progress | None:
        """How far a recording is; None while it is being decoded."""
        if job.decoded is None:
            return None
        with self._change:
            before = sum(other.turn < job.turn for other in self._waiting)
        queue = before + 1 if job.done_s is None else 0
        return Progress(progress_s=round(job.done_s or 0.0, 4), duration_s=round(job.decoded.length_s, 4), queue=queue)

    async def recognise_live(self, spoken: Spoken) -> SegmentPrediction:
        """The prediction for a stretch of live speech; raises RequestError where there is none, or not in time."""
        answer: Future[SegmentPrediction] = Future()
        with self._change:
            self._check_going_on()
            self._live.append((spoken, answer))
            self._change.notify_all()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await asyncio.wrap_future(answer)
        except TimeoutError as error:
            raise _too_late(self._settings.timeout_s) from error

    def _check_going_on(self) -> None:
        if self._stopping:
            raise RequestError("stopping")

    def _decode(self, job: Job) -> None:
        """What comes first; the recording waits then."""
        try:
            watch = partial(self._watch, job)
            job.decoded = decode(job.upload, self._settings.max_duration_s, watch, job.channels)
        except AffettoError as error:
            _refuse(job.answer, error)
        except Exception as error:  # noqa: BLE001  # a full disk, or whatever decoders raise: the service goes on
            log("decoding failed", level=logging.ERROR, **described(error))
            _refuse(job.answer, RequestError("internal"))
        else:
            with self._change:
                if job.abandoned or self._stopping:
                    job.sound.samples.close()
                    _refuse(job.answer, RequestError("stopping"))
                else:
                    self._waiting.append(job)
                    self._change.notify_all()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self._predict_live()
            if batch:
                began, before_s = time.monotonic(), self._done_s
                self._finish(batch)
                speed = (self._done_s - before_s) / max(time.monotonic() - began, 1e-3)
                self._speed = 0.8 * self._speed + 0.2 * speed

    def _next(self) -> list[Job] | None:
        """The recordings that come next; None when the service stops."""
        with self._change:
            while not self._stopping:
                self._change.wait_for(lambda: self._waiting or self._live or self._stopping)
                self._change.wait_for(self._gathered, _GATHER_S)
                batch = self._take()
                if batch or self._live:  # while it gathered, all of them may have left
                    return batch
            for job in self._waiting:
                _refuse(job.answer, RequestError("stopping"))
                job.sound.samples.close()
            for _, answer in self._live:
                _refuse(answer, RequestError("stopping"))
            return None

    def _gathered(self) -> bool:
        return len(self._waiting) >= _BATCH_RECORDINGS or bool(self._live) or self._stopping

    def _take(self, running: Job | None = None) -> list[Job]:
        """Those whose turn it is, of the ones that pass the one that is being recognised."""
        batch: list[Job] = []
        sound_s = 0.0
        fitting = [job for job in self._waiting if running is None or job.passes(running)]
        for job in sorted(fitting, key=lambda job: job.turn):
            sound_s += job.sound.duration_s
            alike = not batch or (job.speakers is None) is (batch[0].speakers is None)
            if self._stopping or len(batch) == _BATCH_RECORDINGS or (batch and sound_s > _BATCH_S) or not alike:
                break
            job.done_s = 0.0
            batch.append(job)
        self._waiting = [job for job in self._waiting if job not in batch]
        return batch

    def _predict_live(self) -> None:
        """The live speech that waits now; what comes meanwhile shall keep no recording waiting for ever."""
        with self._change:
            stretches, self._live = self._live, deque()
        for spoken, answer in stretches:
            if answer.done():  # nobody waits any more
                continue
            try:
                _give(answer, self._recogniser.predict(join([spoken]))[0])
            except Exception as error:  # noqa: BLE001  # whatever goes wrong in the networks, the service goes on
                log("recognition failed", level=logging.ERROR, recordings=1, **described(error))
                _refuse(answer, RequestError("internal"))

    def _predict(self, running: Job, stretches: Sequence[Spoken]) -> list[SegmentPrediction]:
        """A batch of recordings' segments, after the recordings and live speech that came meanwhile and go before."""
        with self._change:
            passing = self._take(running)
        if passing:
            self._finish(passing)
        self._predict_live()
        return self._recogniser.predict(join(stretches))

    def _finish(self, batch: list[Job]) -> None:
        self._recognise(batch, partial(self._predict, max(batch, key=lambda job: job.sound.duration_s)))
        for job in batch:
            job.sound.samples.close()
            self._done_s += job.sound.duration_s

    def _recognise(self, batch: list[Job], predict: _Predict) -> None:
        self._metrics.batch.observe(len(batch))
        left = deque(sorted(batch, key=lambda job: job.sound.duration_s))  # results come in order: the shortest first
        sources = [Deferred(job.upload.name, partial(job.sound.blocks, partial(self._watch, job))) for job in left]
        try:
            part = partial(self._note, left)
            arrange = neighbours if batch[0].speakers is None else self._recogniser.turns  # parted into theirs
            for result in listen(sources, predict, partial(self._report, batch), part=part, arrange=arrange):
                if isinstance(result, Failure):
                    _refuse(left[0].answer, result.error)
                else:
                    self._metrics.sound_s.inc(result.duration_s)
                    _give(left[0].answer, self._recogniser.judge(result, left[0].judgement, left[0].speakers))
                left.popleft()
        except RequestError as error:  # nobody waits for any of them
            for job in left:
                _refuse(job.answer, error)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in the networks, the service goes on
            log("recognition failed", level=logging.ERROR, recordings=len(left), **described(error))
            if len(batch) == 1:
                _refuse(batch[0].answer, RequestError("internal"))
                return
            for job in left:  # one of them may be to blame, but not the others
                job.found = None  # it is begun anew
                self._recognise([job], predict)

    def _report(self, batch: list[Job], done_s: float) -> None:
        """Notes how far a batch is, which its recordings share; stops what nobody waits for."""
        self._watch(*batch)
        share = done_s / max(sum(job.sound.length_s for job in batch), 1e-9)
        for job in batch:
            job.done_s = max(job.done_s or 0.0, share * job.sound.length_s)

    def _note(self, left: Sequence[Job], part: StreamResult[SegmentPrediction]) -> None:
        """Keeps segments of the recording whose result comes next, where somebody asks for them."""
        if left[0].found is not None:
            left[0].found += self._recogniser.judge(part, left[0].judgement).segments

    def _watch(self, *jobs: Job) -> None:
        """Stops what nobody waits for."""
        if all(job.abandoned for job in jobs):
            raise RequestError("hung_up")
        self._check_going_on()


def _too_late(allowed_s: float) -> RequestError:
    return RequestError("timeout", f"no result after {allowed_s:g} s")


def _give(answer: Future[T], result: T) -> None:
    with suppress(InvalidStateError):  # nobody waits any more
        answer.set_result(result)


def _refuse(answer: Future[T], error: AffettoError) -> None:
    with suppress(InvalidStateError):
        answer.set_exception(error)
