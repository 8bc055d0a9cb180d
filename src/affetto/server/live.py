"""Live sound over a WebSocket: samples come in while they are spoken, segments go out as soon as they have ended."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from pydantic import Field, ValidationError
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from affetto.audio import HIGHEST_RATE, LOWEST_RATE, SAMPLE_RATE
from affetto.config import Config
from affetto.errors import AffettoError, ConfigError
from affetto.recognition import live_segment
from affetto.server.answers import EXAMPLE, SureFrom
from affetto.server.problems import RequestError, documented
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics, described, log
from affetto.server.worker import Worker
from affetto.streaming.live import RawSamples
from affetto.streaming.segments import Segmenter, Spoken
from affetto.timeline import Judgement

LIVE_PATH = "/v1/listen"

LARGEST_MESSAGE = 1 << 20  # bytes; half a minute at 16 kHz and 16 bit
VERSION = 1  # of the messages; it changes when a key is renamed or removed
_CODES = ("bad_option", "bad_request", "unknown_host", "no_socket", "large_head")
_CLOSED = 1000
_RESTARTS, _LARGE = 1012, 1009  # what uvicorn closes with when it stops, and where a message is too long
_OWN_CODES = 4000  # a problem's close code is its status, more by this
_FORM = {"rate": SAMPLE_RATE, "encoding": "s16le"}

EXAMPLES: dict[str, dict[str, Any]] = {
    "ready": {"type": "ready", "version": VERSION, "emotions": list(EXAMPLE.probabilities), **_FORM},
    "segment": {"type": "segment", **EXAMPLE.segments[0].as_dict()},
    "end": {"type": "end", "duration_s": 3.2, "segments": 1},
    "problem": {"type": "problem", **RequestError("idle").body.model_dump()},
}
"""Each kind of message that is sent, made up."""


class ListenOptions(Config):
    """What comes in and how it is judged; as the options of ``affetto listen``."""

    rate: Annotated[int, Field(ge=LOWEST_RATE, le=HIGHEST_RATE, description="Of the samples, Hz.")] = SAMPLE_RATE
    encoding: Annotated[
        Literal["s16le", "s32le", "f32le"], Field(description="Of the samples, one channel, little-endian.")
    ] = "s16le"
    sure: SureFrom = 0.5


class Ask(Config):
    """A message of text from a client."""

    type: Literal["token", "end"]
    token: str | None = None


def add_live(app: FastAPI, stream: Callable[[WebSocket], Stream]) -> None:
    """Adds the route, and what the OpenAPI description, which knows no WebSockets, can say of it."""
    lines = "\n".join(f"    {json.dumps(example)}" for example in EXAMPLES.values())
    description = (
        f"Messages of JSON come back, by `type`:\n\n{lines}\n\nAfter a problem, the close code is 4000 and its status."
    )

    @app.websocket(LIVE_PATH)
    async def listen(socket: WebSocket) -> None:
        await stream(socket).run()

    @app.get(
        LIVE_PATH,
        summary="Recognise live sound, over a WebSocket",
        status_code=101,
        response_class=Response,
        responses={101: {"description": description}, **documented(*_CODES)},
    )
    async def upgrade(options: Annotated[ListenOptions, Query()]) -> Response:  # noqa: ARG001  # for the description
        """Connect with `ws://`; send samples as binary messages, then the text `{"type": "end"}`."""
        raise RequestError("no_socket", headers={"Upgrade": "websocket", "Connection": "Upgrade"})


class Stream:
    """One client's live sound, from a socket that is not accepted yet."""

    def __init__(
        self, socket: WebSocket, worker: Worker, settings: Settings, metrics: Metrics, emotions: Sequence[str]
    ) -> None:
        self._socket = socket
        self._worker = worker
        self._settings = settings
        self._metrics = metrics
        self._emotions = emotions
        self._size = 0
        self._samples = 0
        self._segments = 0

    async def run(self) -> None:
        """Recognises it to its end; whatever goes wrong is sent to the client and harms no other."""
        began = time.perf_counter()
        outcome = "hung_up"
        try:
            await self._socket.accept()
            outcome = await self._outcome()
        finally:
            sound_s = self._samples / SAMPLE_RATE
            self._metrics.streams.labels(outcome).inc()
            self._metrics.sound_s.inc(sound_s)
            facts: dict[str, Any] = {"id": secrets.token_hex(8), "route": LIVE_PATH, "outcome": outcome}
            facts |= {"bytes": self._size, "sound_s": round(sound_s, 2), "segments": self._segments}
            log("stream", **facts, seconds=round(time.perf_counter() - began, 4))

    async def _outcome(self) -> str:
        try:
            await self._admit()
            options = self._options()
            with self._worker.live_place():
                await self._follow(options)
        except WebSocketDisconnect as left:
            return {_RESTARTS: "stopping", _LARGE: "too_large"}.get(left.code, "hung_up")
        except AffettoError as error:
            return await self._refuse(RequestError.of(error))
        except Exception as error:  # noqa: BLE001  # a client is never shown a traceback
            log("unexpected", level=logging.ERROR, **described(error))
            return await self._refuse(RequestError("internal"))
        return "ok"

    async def _admit(self) -> None:
        """Lets in who shows the token: in a header, or, as browsers cannot, in the first message."""
        scheme, _, shown = self._socket.headers.get("authorization", "").partition(" ")
        if self._settings.admits(shown.strip() if scheme.lower() == "bearer" else None):
            return
        if not scheme:
            try:
                first = await self._receive(self._settings.header_s)
            except RequestError as error:
                raise RequestError("unauthorised") from error
            if isinstance(first, Ask) and self._settings.admits(first.token):
                return
        raise RequestError("unauthorised", remedy='send the header, or first: {"type": "token", "token": "TOKEN"}')

    def _options(self) -> ListenOptions:
        try:
            return ListenOptions.parse(dict(self._socket.query_params))
        except ConfigError as error:
            raise RequestError("bad_option", error.problem) from error

    async def _follow(self, options: ListenOptions) -> None:
        form = {"rate": options.rate, "encoding": options.encoding}
        await self._send({"type": "ready", "version": VERSION, "emotions": list(self._emotions), **form})
        samples, segmenter = RawSamples(options.encoding, options.rate), Segmenter(live=True)
        judgement, until = Judgement(sure=options.sure), time.monotonic() + self._settings.live_s
        data: bytes | None = b""
        while data is not None:
            if time.monotonic() > until:
                raise self._too_long()
            message = await self._receive(self._settings.idle_s)
            if isinstance(message, Ask) and message.type != "end":
                continue
            data = message if isinstance(message, bytes) else None
            # The detector's network takes a moment for half a minute of sound: other clients are not kept waiting.
            for spoken in await asyncio.to_thread(self._take, samples, segmenter, data):
                prediction = await self._worker.recognise_live(spoken)
                self._segments += 1
                await self._send({"type": "segment", **live_segment(spoken, prediction, judgement).as_dict()})
        duration_s = round(self._samples / SAMPLE_RATE, 4)
        await self._send({"type": "end", "duration_s": duration_s, "segments": self._segments})
        await self._in_time(self._socket.close(_CLOSED))

    def _take(self, samples: RawSamples, segmenter: Segmenter, data: bytes | None) -> list[Spoken]:
        """The stretches of speech that have ended in the next bytes; None ends the stream."""
        block = samples.finish() if data is None else samples.feed(data)
        self._samples += len(block)
        if self._samples > self._settings.live_s * SAMPLE_RATE:
            raise self._too_long()
        found = segmenter.feed(block)
        return found + segmenter.finish() if data is None else found

    def _too_long(self) -> RequestError:
        return RequestError("too_long", f"the stream is longer than {self._settings.live_s:g} s", "begin another")

    async def _receive(self, within_s: float) -> bytes | Ask:
        """The next message."""
        try:
            async with asyncio.timeout(within_s):
                message = await self._socket.receive()
        except TimeoutError as error:
            raise RequestError("idle", f"nothing came in for {within_s:g} s") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", _CLOSED))
        data, text = message.get("bytes"), message.get("text")
        if data is not None:
            self._size += len(data)
            return bytes(data)
        self._size += len(text or "")
        try:
            return Ask.model_validate_json(text or "")
        except ValidationError as error:
            raise RequestError("bad_message") from error

    async def _send(self, message: dict[str, Any]) -> None:
        await self._in_time(self._socket.send_text(json.dumps(message)))

    async def _in_time(self, sending: Awaitable[None]) -> None:
        """Who does not read what comes is not waited for."""
        try:
            async with asyncio.timeout(self._settings.idle_s):
                await sending
        except TimeoutError as error:
            raise RequestError("idle", f"nothing was read for {self._settings.idle_s:g} s") from error

    async def _refuse(self, problem: RequestError) -> str:
        """Sends what is wrong, if anyone is there, and ends the stream."""
        with suppress(WebSocketDisconnect, RequestError):  # it is gone, or does not read
            await self._send({"type": "problem", **problem.body.model_dump()})
            await self._in_time(self._socket.close(_OWN_CODES + problem.status, problem.code))
        return problem.code
