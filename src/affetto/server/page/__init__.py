"""The web page: plain files that the browser may only read, and a script that asks the same API as everyone else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response

import affetto
from affetto.models.voices import can_tell_apart
from affetto.palette import colours
from affetto.server.settings import Settings

STATIC = Path(__file__).parent / "static"
"""The page's files, served under ``/page``; index.html is the page itself, at ``/``."""

DEMO = Path(affetto.__file__).parent / "demo"  # recordings to try it on, served under ``/page/demo``
FORMATS = ("json", "csv", "vtt", "srt", "textgrid", "rttm")  # to download; a recording is computed once for all
_MEDIA_TYPES = {
    ".css": "text/css",
    ".flac": "audio/flac",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src blob:; "  # a recording that was chosen
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"  # no text becomes HTML or code
)
_HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked about each time
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
}


def add_page(app: FastAPI, settings: Settings, emotions: Sequence[str]) -> None:
    """Adds a route for each file of the page; they are read once, and nothing else of the disk can be reached."""
    static = (path for path in STATIC.iterdir() if path.suffix in _MEDIA_TYPES)
    demo = sorted(DEMO.glob("*.flac"))
    files = {f"/page/{path.name}": path for path in static} | {f"/page/demo/{path.name}": path for path in demo}
    files["/"] = files.pop("/page/index.html")
    for address, path in files.items():
        _add(app, address, path.read_bytes(), _MEDIA_TYPES[path.suffix])
    examples = [path.name for path in demo]
    _add(app, "/page/facts.js", facts(settings, emotions, examples).encode(), _MEDIA_TYPES[".js"])


def facts(settings: Settings, emotions: Sequence[str], examples: Sequence[str]) -> str:
    """What the page's script has to know, as a module of its own.

    >>> facts(Settings(), ["anger"], ["angry.flac"])[:52]
    'export default {"asksToken": false, "maxUploadBytes"'
    """
    values = {
        "asksToken": settings.token is not None,
        "maxUploadBytes": settings.max_upload_bytes,
        "maxDurationS": settings.max_duration_s,
        "formats": FORMATS,
        "tellsSpeakersApart": can_tell_apart(),
        "examples": examples,
        "colours": colours(emotions),
    }
    return f"export default {json.dumps(values)};\n"


def _add(app: FastAPI, address: str, content: bytes, media_type: str) -> None:
    """Answers with a file, or that the browser holds it already."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {**_HEADERS, "ETag": tag}

    @app.get(address, include_in_schema=False)
    async def answer(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)
