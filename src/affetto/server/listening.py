"""Live sound over a WebSocket: samples come in while they are spoken, segments go out as soon as they have ended."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import FastAPI, Query
from pydantic import Field, ValidationError
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from affetto.audio import HIGHEST_RATE, LOWEST_RATE, SAMPLE_RATE
from affetto.config import Config
from affetto.errors import AffettoError, ConfigError
from affetto.recognise import live_segment
from affetto.server.answers import EXAMPLE, SureFrom
from affetto.server.hearing import Hearing
from affetto.server.problems import RequestError, documented
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics, described, tell
from affetto.streaming.live import RawSamples
from affetto.streaming.segments import Segmenter, Spoken
from affetto.timeline import Judgement

LISTENS_AT = "/v1/listen"

LARGEST_MESSAGE = 1 << 20
"""Bytes; half a minute at 16 kHz and 16 bit."""

VERSION = 1
"""Of the messages; it changes when a key is renamed or removed."""

_CODES = ("bad_option", "bad_request", "unknown_host", "no_socket", "large_head")
_CLOSED = 1000
_RESTARTS, _LARGE = 1012, 1009  # what uvicorn closes with when it stops, and where a message is too long
_OWN_CODES = 4000  # a problem's close code is its status, more by this

EXAMPLES: dict[str, dict[str, Any]] = {
    "ready": {
        "type": "ready",
        "version": VERSION,
        "emotions": ["anger", "happiness", "neutral", "sadness"],
        "rate": SAMPLE_RATE,
        "encoding": "s16le",
    },
    "segment": {"type": "segment", **EXAMPLE["segments"][0]},
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


class LiveSession(NamedTuple):
    """What a live stream is heard with.

    Attributes:
        hearing: hears each stretch of speech.
        settings: the limits.
        metrics: what is counted.
        emotions: those that are told apart.
    """

    hearing: Hearing
    settings: Settings
    metrics: Metrics
    emotions: tuple[str, ...]


def add_listening(app: FastAPI, ear: LiveSession) -> None:
    """Adds the route, and what the OpenAPI description, which knows no WebSockets, can tell of it."""

    @app.websocket(LISTENS_AT)
    async def listen(socket: WebSocket) -> None:
        await Stream(socket, ear).run()

    @app.get(
        LISTENS_AT,
        summary="Hear live sound, over a WebSocket",
        status_code=101,
        response_class=Response,
        responses={101: {"description": _told()}, **documented(*_CODES)},
    )
    async def upgrade(options: Annotated[ListenOptions, Query()]) -> Response:  # noqa: ARG001  # for the description
        """Connect with `ws://`; send samples as binary messages, then the text `{"type": "end"}`."""
        raise RequestError("no_socket", headers={"Upgrade": "websocket", "Connection": "Upgrade"})


def _told() -> str:
    lines = "\n".join(f"    {json.dumps(example)}" for example in EXAMPLES.values())
    return (
        f"Messages of JSON come back, by `type`:\n\n{lines}\n\nAfter a problem, the close code is 4000 and its status."
    )


class Stream:
    """One client's live sound.

    Args:
        socket: not accepted yet.
        ear: what it is heard with.
    """

    def __init__(self, socket: WebSocket, ear: LiveSession) -> None:
        self._socket = socket
        self._ear = ear
        self._settings = ear.settings
        self._size = 0
        self._samples = 0
        self._segments = 0

    async def run(self) -> None:
        """Hears it to its end; whatever goes wrong is told to the client and harms no other."""
        began = time.perf_counter()
        outcome = "hung_up"
        try:
            await self._socket.accept()
            outcome = await self._outcome()
        finally:
            sound_s = self._samples / SAMPLE_RATE
            self._ear.metrics.streams.labels(outcome).inc()
            self._ear.metrics.sound_s.inc(sound_s)
            took_s = round(time.perf_counter() - began, 4)
            facts: dict[str, Any] = {
                "bytes": self._size,
                "sound_s": round(sound_s, 2),
                "segments": self._segments,
                "seconds": took_s,
            }
            tell("stream", id=secrets.token_hex(8), route=LISTENS_AT, outcome=outcome, **facts)

    async def _outcome(self) -> str:
        try:
            await self._admit()
            options = self._options()
            with self._ear.hearing.live_place():
                await self._listen(options)
        except WebSocketDisconnect as left:
            return {_RESTARTS: "stopping", _LARGE: "too_large"}.get(left.code, "hung_up")
        except AffettoError as error:
            return await self._refuse(RequestError.of(error))
        except Exception as error:  # noqa: BLE001  # a client is never shown a traceback
            tell("unexpected", level=logging.ERROR, **described(error))
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

    async def _listen(self, options: ListenOptions) -> None:
        told = {"emotions": list(self._ear.emotions), "rate": options.rate, "encoding": options.encoding}
        await self._send({"type": "ready", "version": VERSION, **told})
        samples, segmenter = RawSamples(options.encoding, options.rate), Segmenter(live=True)
        judgement = Judgement(sure=options.sure)
        async for data in self._sound():
            # The detector's network takes a moment for half a minute of sound: other clients are not kept waiting.
            for spoken in await asyncio.to_thread(self._take, samples, segmenter, data):
                opinion = await self._ear.hearing.hear_live(spoken)
                self._segments += 1
                await self._send({"type": "segment", **live_segment(spoken, opinion, judgement).as_dict()})
        duration_s = round(self._samples / SAMPLE_RATE, 4)
        await self._send({"type": "end", "duration_s": duration_s, "segments": self._segments})
        await self._close(_CLOSED)

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

    async def _sound(self) -> AsyncIterator[bytes | None]:
        """The messages with samples, and None at their end."""
        until = time.monotonic() + self._settings.live_s
        while True:
            if time.monotonic() > until:
                raise self._too_long()
            message = await self._receive(self._settings.idle_s)
            if isinstance(message, bytes):
                yield message
            elif message.type == "end":
                yield None
                return

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
        await self._read(self._socket.send_text(json.dumps(message)))

    async def _close(self, code: int, reason: str = "") -> None:
        await self._read(self._socket.close(code, reason))

    async def _read(self, sending: Awaitable[None]) -> None:
        """Who does not read what comes is not waited for."""
        try:
            async with asyncio.timeout(self._settings.idle_s):
                await sending
        except TimeoutError as error:
            raise RequestError("idle", f"nothing was read for {self._settings.idle_s:g} s") from error

    async def _refuse(self, problem: RequestError) -> str:
        """Tells what is wrong, if anyone is there, and ends the stream."""
        try:
            await self._send({"type": "problem", **problem.body.model_dump()})
            await self._close(_OWN_CODES + problem.status, problem.code)
        except (WebSocketDisconnect, RequestError):  # it is gone, or does not read
            pass
        return problem.code
