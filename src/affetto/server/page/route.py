"""Where the page is found, and all of Gradio that can be reached: its files for the browser, by reading alone."""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affetto.errors import MissingExtraError
from affetto.server.page.site import DEMO, STATIC, Facts, build, index

_PAGE = "/"
_OURS = re.compile(r"/page/((?:demo/)?[a-z]+\.(?:css|flac|js|svg))")
_GRADIOS = re.compile(r"/theme\.css|/static/js/iframeResizer\.contentWindow\.min\.js|/assets/[\w-]+(?:\.[\w-]+)+")
_PASSED_ON = {b"accept-encoding", b"if-none-match", b"if-modified-since"}
_READING = {"GET", "HEAD"}
_FOR_EVER = "public, max-age=31536000, immutable"  # the names of Gradio's assets change with what is in them

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio makes functions of strings
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_GUARDED = {
    "Content-Security-Policy": _POLICY,  # whatever Gradio's scripts may want, the browser asks nobody else
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}


class PageRoute(BaseRoute):
    """The page at ``/`` and the files that it needs; everything else is as if the page were not there.

    Gradio is imported when the page is first asked for, so that a service starts as soon as without it, and who only
    calls the API pays nothing for the page. Of a request, Gradio sees the path and what files may be kept, no more.

    Args:
        facts: what the page is told.

    Raises:
        MissingExtraError: Gradio is not installed.
    """

    path = _PAGE
    """What the log calls the page and all of its files."""

    def __init__(self, facts: Facts) -> None:
        if find_spec("gradio") is None:
            raise MissingExtraError(
                "gradio is not installed", 'pip install "affetto[serve]", or leave out the page: --no-page'
            )
        self._facts = facts
        self._ours = StaticFiles(directory=STATIC)
        self._demo = StaticFiles(directory=DEMO)
        self._making = asyncio.Lock()
        self._made: tuple[ASGIApp, bytes] | None = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this is the page or one of its files."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path: str = scope["path"]
        if not (path == _PAGE or _OURS.fullmatch(path) or _GRADIOS.fullmatch(path)):
            return Match.NONE, {}
        return (Match.FULL if scope["method"] in _READING else Match.PARTIAL), {"route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that matches."""
        if scope["method"] not in _READING:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(_READING))})
        path: str = scope["path"]
        if ours := _OURS.fullmatch(path):
            await self._file(ours[1], scope, receive, send)
            return
        gradio, start = await self._ready()
        if path == _PAGE:
            await Response(start, media_type="text/html", headers=_GUARDED)(scope, receive, send)
        else:
            await gradio(_without_secrets(scope, path), receive, _kept(send, path))

    async def _ready(self) -> tuple[ASGIApp, bytes]:
        async with self._making:
            if self._made is None:
                app = await asyncio.to_thread(build, self._facts)
                self._made = app, await index(app)
        return self._made

    async def _file(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        folder, _, last = name.rpartition("/")
        response = await (self._demo if folder else self._ours).get_response(last, scope)
        response.headers["Cache-Control"] = "no-cache"  # kept, but asked about each time
        await response(scope, receive, send)


def _without_secrets(scope: Scope, path: str) -> Scope:
    """What Gradio sees of a request: no query, no cookies, no token, no name of a host."""
    headers = [(name, value) for name, value in Headers(scope=scope).raw if name in _PASSED_ON]
    kept = {key: scope[key] for key in ("type", "asgi", "http_version", "scheme", "server", "client") if key in scope}
    # Gradio knows GET alone; of an answer to HEAD, uvicorn leaves out the body.
    return {
        **kept,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }


def _kept(send: Send, path: str) -> Send:
    """Lets the browser keep what never changes."""

    async def passed(message: Message) -> None:
        if message["type"] == "http.response.start":
            lasting = path.startswith("/assets/") and message["status"] == 200
            MutableHeaders(scope=message)["Cache-Control"] = _FOR_EVER if lasting else "no-cache"
        await send(message)

    return passed
