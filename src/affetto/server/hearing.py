"""One recogniser for all clients: what waits together is heard together, by one thread, and no more waits than may.

Nothing that happens to one recording changes or harms another. Live speech is heard first, in between the batches of
recordings, stretch by stretch, so that what is heard in it is what `EmotionRecogniser.follow` hears.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from affetto import audio
from affetto.errors import AffettoError
from affetto.frames import Waves
from affetto.recognise import EmotionRecogniser, SegmentPrediction
from affetto.recording import Recording
from affetto.server.problems import RequestError
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics, described, tell
from affetto.server.uploads import Upload
from affetto.streaming import Failure, StreamResult, Watched, listen
from affetto.streaming.segments import Spoken, join
from affetto.timeline import Judgement

GATHER_S = 0.005
"""So long the first of a batch waits for others."""

_BATCH_RECORDINGS = 16
_BATCH_S = 120.0  # of sound: a short recording waits for no more than this in the batch before its own
_FIRST_SPEED = 20.0  # times real time, until something was measured
_LONGEST_ADVICE_S = 60


@dataclass(eq=False, slots=True)
class _Job:
    """A recording that waits or is being heard; `taken` ones belong to the worker, which closes them."""

    upload: Upload
    duration_s: float
    judgement: Judgement
    answer: asyncio.Future[Recording]
    loop: asyncio.AbstractEventLoop
    taken: bool = False
    abandoned: bool = False


@dataclass(eq=False, slots=True)
class _Stretch:
    """Live speech that waits to be heard."""

    spoken: Spoken
    answer: asyncio.Future[SegmentPrediction]
    loop: asyncio.AbstractEventLoop


def look(upload: Upload, settings: Settings) -> float:
    """Measures a recording.

    Returns:
        The seconds of sound that it holds; what comes out is counted all the same.

    Raises:
        AudioError: it is no sound.
        RequestError: it is too long.
    """
    upload.sound.seek(0)
    duration_s = audio.duration(upload.sound, upload.name, enough_s=settings.max_duration_s)
    _check_duration(settings, duration_s)
    return duration_s


def _check_duration(settings: Settings, duration_s: float) -> None:
    if duration_s > settings.max_duration_s:
        raise RequestError("too_long", f"the recording is longer than {settings.max_duration_s:g} s")


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
        self._waiting: deque[_Job] = deque()
        self._live: deque[_Stretch] = deque()
        self._change = threading.Condition()
        self._stopping = False
        self._places = 0
        self._live_places = 0
        self._speed = _FIRST_SPEED
        self._worker: threading.Thread | None = None

    def start(self) -> None:
        """Begins to work."""
        self._worker = threading.Thread(target=self._work, name="hearing", daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """Ends the work; what still waits or is being heard is answered with a problem."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        if self._worker is not None:
            self._worker.join()

    @property
    def well(self) -> bool:
        """Whether it can hear."""
        return self._worker is not None and self._worker.is_alive() and not self._stopping

    @contextmanager
    def place(self) -> Iterator[None]:
        """Room for one request, from its head to its answer.

        Raises:
            RequestError: all are taken.
        """
        if self._places >= self._settings.queue:  # asked and changed by the event loop's thread alone
            raise RequestError("busy", headers={"Retry-After": str(self._advice_s())})
        self._places += 1
        self._metrics.taken.set(self._places)
        try:
            yield
        finally:
            self._places -= 1
            self._metrics.taken.set(self._places)

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

    def _advice_s(self) -> int:
        with self._change:
            waiting_s = sum(job.duration_s for job in self._waiting)
        return min(_LONGEST_ADVICE_S, max(1, math.ceil(waiting_s / self._speed)))

    async def hear(self, upload: Upload, duration_s: float, judgement: Judgement) -> Recording:
        """Waits until a recording was heard, and closes it; who stops waiting gives up its place in the queue.

        Raises:
            AffettoError: it cannot be heard, or not in time.
        """
        loop = asyncio.get_running_loop()
        job = _Job(upload, duration_s, judgement, loop.create_future(), loop)
        try:
            self._put(job)
            async with asyncio.timeout(self._settings.timeout_s):
                return await job.answer
        except TimeoutError as error:
            raise RequestError("timeout", f"no result after {self._settings.timeout_s:g} s") from error
        finally:
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

    def _put(self, job: _Job) -> None:
        with self._change:
            if self._stopping:
                raise RequestError("stopping")
            self._waiting.append(job)
            self._metrics.queue.set(len(self._waiting))
            self._change.notify_all()

    def _leave(self, job: _Job) -> None:
        with self._change:
            job.abandoned = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._metrics.queue.set(len(self._waiting))
            if not job.taken:
                job.upload.sound.close()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self._hear_live()
            if not batch:
                continue
            began = time.monotonic()
            self._hear(batch)
            for job in batch:
                job.upload.sound.close()
            took_s = time.monotonic() - began
            self._speed = 0.8 * self._speed + 0.2 * sum(job.duration_s for job in batch) / max(took_s, 1e-3)

    def _next(self) -> list[_Job] | None:
        """The recordings that are heard next, in the order in which they came; None when the service stops."""
        with self._change:
            while not self._stopping:
                self._change.wait_for(lambda: self._waiting or self._live or self._stopping)
                self._change.wait_for(self._gathered, GATHER_S)
                batch = self._take()
                if batch or self._live:  # while it gathered, all of them may have left
                    return batch
            for job in self._waiting:
                _settle(job, RequestError("stopping"))
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

    def _hear_waves(self, waves: Waves) -> list[SegmentPrediction]:
        """A batch of recordings' segments, after the live speech that came during the one before."""
        self._hear_live()
        return self._recogniser.predict(waves)

    def _take(self) -> list[_Job]:
        batch: list[_Job] = []
        sound_s = 0.0
        while self._waiting and len(batch) < _BATCH_RECORDINGS and not self._stopping:
            sound_s += self._waiting[0].duration_s
            if batch and sound_s > _BATCH_S:
                break
            batch.append(self._waiting.popleft())
            batch[-1].taken = True
        self._metrics.queue.set(len(self._waiting))
        return batch

    def _hear(self, batch: list[_Job]) -> None:
        self._metrics.batch.observe(len(batch))
        ordered = sorted(batch, key=lambda job: job.duration_s)  # results come in order: the shortest first
        left = deque(ordered)
        sources = [Watched(job.upload.sound, job.upload.name, partial(self._watch, job)) for job in ordered]
        try:
            for result in listen(sources, self._hear_waves):
                self._answer(left[0], result)
                left.popleft()
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in the networks, the service goes on
            tell("hearing failed", level=logging.ERROR, recordings=len(left), **described(error))
            if len(batch) == 1:
                _settle(batch[0], RequestError("internal"))
                return
            for job in left:  # one of them may be to blame, but not the others
                self._hear([job])

    def _answer(self, job: _Job, result: StreamResult[SegmentPrediction] | Failure) -> None:
        if isinstance(result, Failure):
            _settle(job, result.error)
            return
        self._metrics.sound_s.inc(result.duration_s)
        _settle(job, self._recogniser.judge(result, job.judgement))

    def _watch(self, job: _Job, heard_s: float) -> None:
        """Stops what is longer than it promised, and what nobody waits for."""
        _check_duration(self._settings, heard_s)
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
