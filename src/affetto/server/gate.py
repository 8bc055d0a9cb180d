"""What every request passes on its way in and out: is it meant for us, how did it end, is there more of it to read."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affetto.server.listening import LISTENS_AT
from affetto.server.problems import RequestError
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics, described, tell

HEARD_AT = "/v1/recognise"
"""The path whose requests are counted."""

LONGEST_HEAD = 32_768
"""Bytes; more of it than this is not waited for, and not accepted where it came at once."""

_READING = {"GET", "OPTIONS"}
_OUR_SITES = {"same-origin", "none"}  # none: a person's own doing, such as an address that is typed in
_LINGER_S = 0.5
_LINGER_BYTES = 16_000_000


@dataclass(slots=True)
class _Course:
    """How far a request has come."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.perf_counter)
    size: int = 0
    all_read: bool = False
    status: int = 0
    problem: str | None = None


class _Passage:
    """What goes in and out for one request."""

    def __init__(self, headers: Headers, course: _Course, receive: Receive, send: Send) -> None:
        self.headers = headers
        self.course = course
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.course.size += len(message.get("body", b""))
            self.course.all_read = not message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self.course.all_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.course.status = message["status"]
            out = MutableHeaders(scope=message)
            out["X-Request-Id"] = self.course.id
            out["X-Content-Type-Options"] = "nosniff"
            out.setdefault("Cache-Control", "no-store")
            if _has_body(self.headers) and not self.course.all_read:
                out["Connection"] = "close"  # else what is still coming would be taken for the next request
                await self._linger()
        await self._send(message)

    async def _linger(self) -> None:
        """Reads on for a moment: to a client that is still sending, a closed connection would swallow the answer."""
        if "expect" in self.headers and not self.course.size:  # it waits for our consent, and gets the answer instead
            return
        until = self.course.size + _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self.course.all_read and self.course.size < until:
                    await self.receive()
        except TimeoutError:
            return


class Gate:
    """Wraps the application.

    Args:
        app: what it wraps.
        settings: the names that the service goes by.
        metrics: what is counted.
    """

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
        passage = _Passage(Headers(scope=scope), _Course(), receive, send)
        course = scope.setdefault("state", {})["course"] = passage.course
        try:
            if code := self._refuse(passage.headers, reads=scope["method"] in _READING):
                course.problem = code
                await RequestError(code).response()(scope, passage.receive, passage.send)
            else:
                await self._app(scope, passage.receive, passage.send)
        except asyncio.CancelledError:  # nothing but the end of the service's time cancels a request
            course.problem = "stopping"
            if not course.status:
                await RequestError("stopping").response()(scope, passage.receive, passage.send)
        except Exception as error:  # noqa: BLE001  # a client is never shown a traceback
            course.problem = "internal"
            tell("unexpected", level=logging.ERROR, id=course.id, **described(error))
            if not course.status:
                await RequestError("internal").response()(scope, passage.receive, passage.send)
        finally:
            self._tell(scope, course)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket."""
        code = self._refuse(Headers(scope=scope), reads=False)
        if code is None and scope["path"] != LISTENS_AT:
            code = "not_found"
        if code is None:
            await self._app(scope, receive, send)
            return
        problem = RequestError(code)
        tell("request", id=secrets.token_hex(8), route=None, status=problem.status, outcome=code)
        await problem.response()(scope, receive, send)

    def _refuse(self, headers: Headers, *, reads: bool) -> str | None:
        """What is wrong with the head of a request, if anything.

        A page from elsewhere may have a browser ask that can reach what the page's own server cannot. What it only
        reads, the browser keeps from it; all else is refused.
        """
        if sum(len(name) + len(value) for name, value in headers.raw) > LONGEST_HEAD:
            return "large_head"
        if not self._settings.may_be_called(_host(headers)):
            return "unknown_host"
        return "foreign_page" if not reads and _foreign(headers, self._settings) else None

    def _tell(self, scope: Scope, course: _Course) -> None:
        took_s = time.perf_counter() - course.began
        outcome = course.problem or "ok"
        route = getattr(scope.get("route"), "path", None)  # the path itself could hold anything
        if route == HEARD_AT:
            self._metrics.requests.labels(outcome).inc()
            if outcome == "ok":
                self._metrics.latency_s.observe(took_s)
        facts: dict[str, Any] = {"route": route, "status": course.status, "outcome": outcome, "bytes": course.size}
        tell("request", id=course.id, seconds=round(took_s, 4), **facts)


def _host(headers: Headers) -> str:
    """The name in the header Host, without the port."""
    return _name(headers.get("host", ""))


def _name(given: str) -> str:
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


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
