"""One recogniser for all clients: what waits together is heard together, by one thread, and no more waits than may.

Nothing that happens to one recording changes or harms another. Other threads decode than the one that computes, and
short recordings pass long ones. Live speech is heard first, in between the batches of recordings, stretch by stretch,
so that what is heard in it is what `EmotionRecogniser.follow` hears.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from affetto.errors import AffettoError
from affetto.frames import Waves
from affetto.recognise import EmotionRecogniser, SegmentPrediction
from affetto.recording import Recording
from affetto.server.problems import RequestError
from affetto.server.settings import Settings
from affetto.server.sound import Decoded, decode
from affetto.server.telemetry import Metrics, described, tell
from affetto.server.uploads import Upload
from affetto.streaming import Deferred, Failure, StreamResult, listen
from affetto.streaming.segments import Spoken, join
from affetto.timeline import Judgement

GATHER_S = 0.005
"""So long the first of a batch waits for others."""

_BATCH_RECORDINGS = 16
_BATCH_S = 120.0  # of sound: a short recording waits for no more than this in the batch before its own
_SHORT_S = 30.0  # so long a recording may be that is heard in between the batches of a longer one
_PATIENCE = 20.0  # a recording is passed by those that are shorter by so many seconds for each that they came later
_FIRST_SPEED = 20.0  # times real time, until something was measured
_LONGEST_ADVICE_S = 60
_DECODERS = 4
_LAST_S = 1.0  # so long a batch that is being heard is waited for at the end

_Hear = Callable[[Waves], list[SegmentPrediction]]


@dataclass(eq=False, slots=True)
class _Job:
    """A recording that is decoded, waits or is being heard; the thread that decodes or hears it closes its files."""

    upload: Upload
    judgement: Judgement
    answer: asyncio.Future[Recording]
    loop: asyncio.AbstractEventLoop
    came: float = field(default_factory=time.monotonic)
    decoded: Decoded | None = None
    abandoned: bool = False

    @property
    def sound(self) -> Decoded:
        """What is heard, once it is there."""
        assert self.decoded is not None
        return self.decoded

    @property
    def turn(self) -> float:
        """The lowest is the next; none waits for ever."""
        return self.sound.duration_s + _PATIENCE * self.came


@dataclass(eq=False, slots=True)
class _Stretch:
    """Live speech that waits to be heard."""

    spoken: Spoken
    answer: asyncio.Future[SegmentPrediction]
    loop: asyncio.AbstractEventLoop


class Hearing:
    """Hears recordings for many clients with one recogniser.

    Args:
        recogniser: is used by the worker's thread alone.
        settings: how many, how long.
        metrics: what is counted.
    """

    def __init__(self, recogniser: EmotionRecogniser, settings: Settings, metrics: Metrics) -> None:
        self._recogniser = recogniser
        self._settings = settings
        self._metrics = metrics
        self._waiting: list[_Job] = []
        self._live: deque[_Stretch] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._places = 0
        self._live_places = 0
        self._speed = _FIRST_SPEED
        self._heard_s = 0.0
        self._worker: threading.Thread | None = None
        self._decoders = ThreadPoolExecutor(_DECODERS, "decoding")

    def start(self) -> None:
        """Begins to work."""
        self._worker = threading.Thread(target=self._work, name="hearing", daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """Ends the work; what still waits is answered with a problem, and a thread that goes on is not waited for."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        if self._worker is not None:
            self._worker.join(_LAST_S)

    @property
    def well(self) -> bool:
        """Whether it can hear."""
        return self._worker is not None and self._worker.is_alive() and not self._stopping

    def check_room(self) -> None:
        """Whether there is room for another recording.

        Raises:
            RequestError: all places are taken.
        """
        if self._places >= self._settings.queue:  # asked and changed by the event loop's thread alone
            raise self.busy()

    def busy(self) -> RequestError:
        """What a client is told that had better come back."""
        with self._change:
            waiting_s = sum(job.sound.duration_s for job in self._waiting)
        advice_s = min(_LONGEST_ADVICE_S, max(1, math.ceil(waiting_s / self._speed)))
        return RequestError("busy", headers={"Retry-After": str(advice_s)})

    @contextmanager
    def live_place(self) -> Iterator[None]:
        """Room for one live stream.

        Raises:
            RequestError: all are taken.
        """
        if self._live_places >= self._settings.live:
            raise RequestError("busy", "too many live streams at a time", "try again when one of them has ended")
        self._live_places += 1
        self._metrics.live.set(self._live_places)
        try:
            yield
        finally:
            self._live_places -= 1
            self._metrics.live.set(self._live_places)

    async def hear(self, upload: Upload, judgement: Judgement) -> Recording:
        """Waits until a recording was heard, and closes it; who stops waiting gives up its place in the queue.

        Raises:
            AffettoError: it cannot be heard, or not in time, or there is no room.
        """
        loop = asyncio.get_running_loop()
        job = _Job(upload, judgement, loop.create_future(), loop)
        try:
            self.check_room()
            with self._change:
                if self._stopping:
                    raise RequestError("stopping")
                decoding = self._decoders.submit(self._decode, job)
        except BaseException:
            upload.sound.close()
            raise
        decoding.add_done_callback(lambda _: upload.sound.close())
        self._places += 1
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await job.answer
        except TimeoutError as error:
            raise RequestError("timeout", f"no result after {self._settings.timeout_s:g} s") from error
        finally:
            self._places -= 1
            self._leave(job)

    async def hear_live(self, spoken: Spoken) -> SegmentPrediction:
        """Waits until a stretch of live speech was recognised.

        Raises:
            RequestError: it cannot be heard, or not in time.
        """
        loop = asyncio.get_running_loop()
        stretch = _Stretch(spoken, loop.create_future(), loop)
        with self._change:
            if self._stopping:
                raise RequestError("stopping")
            self._live.append(stretch)
            self._change.notify_all()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await stretch.answer
        except TimeoutError as error:
            raise RequestError("timeout", f"no result after {self._settings.timeout_s:g} s") from error

    def _decode(self, job: _Job) -> None:
        """What comes first; the recording waits then."""
        try:
            job.decoded = decode(job.upload, self._settings.max_duration_s, partial(self._watch, job))
        except AffettoError as error:
            _settle(job, error)
        except Exception as error:  # noqa: BLE001  # a full disk, or whatever decoders raise: the service goes on
            tell("decoding failed", level=logging.ERROR, **described(error))
            _settle(job, RequestError("internal"))
        else:
            self._put(job)

    def _put(self, job: _Job) -> None:
        with self._change:
            if job.abandoned or self._stopping:
                job.sound.samples.close()
                _settle(job, RequestError("stopping"))
                return
            self._waiting.append(job)
            self._metrics.queue.set(len(self._waiting))
            self._change.notify_all()

    def _leave(self, job: _Job) -> None:
        with self._change:
            job.abandoned = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._metrics.queue.set(len(self._waiting))
                job.sound.samples.close()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self._hear_live()
            if batch:
                began, before_s = time.monotonic(), self._heard_s
                self._hear_all(batch, self._predict_in_between)
                speed = (self._heard_s - before_s) / max(time.monotonic() - began, 1e-3)
                self._speed = 0.8 * self._speed + 0.2 * speed

    def _hear_all(self, batch: list[_Job], hear: _Hear) -> None:
        self._hear(batch, hear)
        for job in batch:
            job.sound.samples.close()
            self._heard_s += job.sound.duration_s

    def _next(self) -> list[_Job] | None:
        """The recordings that are heard next; None when the service stops."""
        with self._change:
            while not self._stopping:
                self._change.wait_for(lambda: self._waiting or self._live or self._stopping)
                self._change.wait_for(self._gathered, GATHER_S)
                batch = self._take()
                if batch or self._live:  # while it gathered, all of them may have left
                    return batch
            for job in self._waiting:
                _settle(job, RequestError("stopping"))
                job.sound.samples.close()
            for stretch in self._live:
                _settle(stretch, RequestError("stopping"))
            return None

    def _gathered(self) -> bool:
        return len(self._waiting) >= _BATCH_RECORDINGS or bool(self._live) or self._stopping

    def _hear_live(self) -> None:
        """Hears the live speech that waits now, so that what comes meanwhile keeps no recording waiting for ever."""
        with self._change:
            stretches, self._live = self._live, deque()
        for each in stretches:
            if each.answer.done():  # nobody waits any more
                continue
            try:
                (opinion,) = self._recogniser.predict(join([each.spoken]))
            except Exception as error:  # noqa: BLE001  # whatever goes wrong in the networks, the service goes on
                tell("hearing failed", level=logging.ERROR, recordings=1, **described(error))
                _settle(each, RequestError("internal"))
            else:
                _settle(each, opinion)

    def _predict(self, waves: Waves) -> list[SegmentPrediction]:
        """A batch of recordings' segments, after the live speech that came during the one before."""
        self._hear_live()
        return self._recogniser.predict(waves)

    def _predict_in_between(self, waves: Waves) -> list[SegmentPrediction]:
        """The same, after the short recordings that came, too."""
        with self._change:
            short = self._take(_SHORT_S)
        if short:
            self._hear_all(short, self._predict)
        return self._predict(waves)

    def _take(self, most_s: float = math.inf) -> list[_Job]:
        """Those whose turn it is, of the ones that are no longer than that."""
        batch: list[_Job] = []
        sound_s = 0.0
        fitting = [job for job in self._waiting if job.sound.duration_s <= most_s]
        for job in sorted(fitting, key=lambda job: job.turn):
            sound_s += job.sound.duration_s
            if self._stopping or len(batch) == _BATCH_RECORDINGS or (batch and sound_s > _BATCH_S):
                break
            batch.append(job)
        self._waiting = [job for job in self._waiting if job not in batch]
        self._metrics.queue.set(len(self._waiting))
        return batch

    def _hear(self, batch: list[_Job], hear: _Hear) -> None:
        self._metrics.batch.observe(len(batch))
        ordered = sorted(batch, key=lambda job: job.sound.duration_s)  # results come in order: the shortest first
        left = deque(ordered)
        sources = [Deferred(job.sound.name, partial(job.sound.blocks, partial(self._watch, job))) for job in ordered]
        try:
            for result in listen(sources, hear):
                self._answer(left[0], result)
                left.popleft()
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in the networks, the service goes on
            tell("hearing failed", level=logging.ERROR, recordings=len(left), **described(error))
            if len(batch) == 1:
                _settle(batch[0], RequestError("internal"))
                return
            for job in left:  # one of them may be to blame, but not the others
                self._hear([job], hear)

    def _answer(self, job: _Job, result: StreamResult[SegmentPrediction] | Failure) -> None:
        if isinstance(result, Failure):
            _settle(job, result.error)
            return
        self._metrics.sound_s.inc(result.duration_s)
        _settle(job, self._recogniser.judge(result, job.judgement))

    def _watch(self, job: _Job) -> None:
        """Stops what nobody waits for."""
        if job.abandoned:
            raise RequestError("hung_up")
        if self._stopping:
            raise RequestError("stopping")


def _settle(job: _Job | _Stretch, result: Recording | SegmentPrediction | AffettoError) -> None:
    """Gives the answer to the one who waits, if anyone does."""
    answer: asyncio.Future[Any] = job.answer

    def give() -> None:
        if answer.done():
            return
        if isinstance(result, AffettoError):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    try:
        job.loop.call_soon_threadsafe(give)
    except RuntimeError:  # the loop is closed, and nobody waits any more
        return
