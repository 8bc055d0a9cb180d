"""What every request passes on its way in and out: is it ours, how did it end, is there more of it to read."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affetto.server.live import LIVE_PATH
from affetto.server.problems import RequestError
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics, described, log

RECOGNISE_PATH, TRANSCRIBE_PATH = "/v1/recognise", "/v1/audio/transcriptions"  # their requests are counted
LONGEST_HEAD = 32_768  # bytes; more of it than this is not waited for, and not accepted where it came at once
_READING = {"GET", "OPTIONS"}
_OUR_SITES = {"same-origin", "none"}  # none: a person's own doing, such as an address that is typed in
_LINGER_S = 0.5
_LINGER_BYTES = 16_000_000


class _Course:
    """How far a request has come, and what goes in and out for it."""

    def __init__(self, headers: Headers, receive: Receive, send: Send) -> None:
        self.id = secrets.token_hex(8)
        self.began = time.perf_counter()
        self.size = 0
        self.all_read = False
        self.status = 0
        self.problem: str | None = None
        self.headers = headers
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
            self.all_read = not message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self.all_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            out = MutableHeaders(scope=message)
            out["X-Request-Id"] = self.id
            out["X-Content-Type-Options"] = "nosniff"
            out.setdefault("Cache-Control", "no-store")
            has_body = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers
            if has_body and not self.all_read:
                out["Connection"] = "close"  # else what is still coming would be taken for the next request
                await self._linger()
        await self._send(message)

    async def _linger(self) -> None:
        """Reads on for a moment: to a client that is still sending, a closed connection would swallow the answer."""
        if "expect" in self.headers and not self.size:  # it waits for our consent, and gets the answer instead
            return
        until = self.size + _LINGER_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while not self.all_read and self.size < until:
                    await self.receive()


class Gate:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":
            await self._connect(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # as GET; the body is left out on the wire
            scope = {**scope, "method": "GET"}
        course = _Course(Headers(scope=scope), receive, send)
        scope.setdefault("state", {})["course"] = course

        async def refuse(code: str) -> None:
            course.problem = code
            if not course.status:
                await RequestError(code).response(scope["path"])(scope, course.receive, course.send)

        try:
            if code := self._fault(course.headers, reads=scope["method"] in _READING):
                await refuse(code)
            else:
                await self._app(scope, course.receive, course.send)
        except asyncio.CancelledError:  # nothing but the end of the service's time cancels a request
            await refuse("stopping")
        except Exception as error:  # noqa: BLE001  # a client is never shown a traceback
            log("unexpected", level=logging.ERROR, id=course.id, **described(error))
            await refuse("internal")
        finally:
            self._count(scope.get("route"), course)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket."""
        code = self._fault(Headers(scope=scope), reads=False)
        if code is None and scope["path"] == LIVE_PATH:
            await self._app(scope, receive, send)
            return
        problem = RequestError(code or "not_found")
        log("request", id=secrets.token_hex(8), route=None, status=problem.status, outcome=problem.code)
        await problem.response(scope["path"])(scope, receive, send)

    def _fault(self, headers: Headers, *, reads: bool) -> str | None:
        """What is wrong with the head of a request, if anything.

        A page from elsewhere may have a browser ask that can reach what the page's own server cannot. What it only
        reads, the browser keeps from it; all else is refused.
        """
        if sum(len(name) + len(value) for name, value in headers.raw) > LONGEST_HEAD:
            return "large_head"
        if not self._settings.may_be_called(_name(headers.get("host", ""))):
            return "unknown_host"
        return "foreign_page" if not reads and _foreign(headers, self._settings) else None

    def _count(self, route: object, course: _Course) -> None:
        took_s = time.perf_counter() - course.began
        outcome = course.problem or "ok"
        path = getattr(route, "path", None)  # the address itself could hold anything
        if path in {RECOGNISE_PATH, TRANSCRIBE_PATH}:
            self._metrics.requests.labels(outcome).inc()
            if outcome == "ok":
                self._metrics.latency_s.observe(took_s)
        facts: dict[str, Any] = {"id": course.id, "route": path, "status": course.status, "outcome": outcome}
        log("request", **facts, bytes=course.size, seconds=round(took_s, 4))


def _name(given: str) -> str:
    """A host without its port."""
    return given.partition("]")[0].lstrip("[") if given.startswith("[") else given.partition(":")[0]


def _foreign(headers: Headers, settings: Settings) -> bool:
    """Whether a web page of another origin asks, by what its browser says of it, or else by the header Origin.

    Behind a proxy that changes the header Host, a page is known by a name that the service was given.

    >>> [
    ...     _foreign(Headers({"host": "localhost:8000", "origin": origin}), Settings(hosts=("emotions.example",)))
    ...     for origin in ("http://localhost:8000", "http://localhost:3000", "https://emotions.example", "null")
    ... ]
    [False, True, False, True]
    >>> [_foreign(Headers({"sec-fetch-site": site}), Settings()) for site in ("same-origin", "same-site", "cross-site")]
    [False, True, True]
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    place = (origin or "").partition("://")[2].lower()
    if _name(place) in settings.hosts:
        return False
    if site is not None:
        return site not in _OUR_SITES
    return origin is not None and place != headers.get("host", "").lower()
