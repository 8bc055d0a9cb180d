"""What the page is made of: Gradio's app around our own page.html, and the one HTML file that starts it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.alias_generators import to_camel
from starlette.types import ASGIApp, Message

import affetto
from affetto.config import Config
from affetto.palette import colours
from affetto.server.settings import Settings

if TYPE_CHECKING:
    import gradio

STATIC = Path(__file__).parent / "static"
"""Our own files for the browser, served under ``/page``."""

DEMO = Path(affetto.__file__).parent / "demo"
"""Recordings to try it on, served under ``/page/demo``."""

FORMATS = ("json", "csv", "vtt")
"""What can be downloaded; a recording is heard once for all of them."""

_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "DejaVu Sans", "sans-serif")
_FONTS_MONO = ("ui-monospace", "SFMono-Regular", "DejaVu Sans Mono", "monospace")

_ANY_HOST = "page.invalid"
_HERE = b'(location.origin + location.pathname.replace(/\\/[^/]*$/, ""))'
_HEAD = b"""<title>affetto: the emotion in speech</title>
<meta name="description" content="Hears the emotion in speech, how sure it is, when, and what was said.">
<link rel="icon" href="./page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="./page/page.css">
<link rel="modulepreload" href="./page/page.js">
</head>"""
_START = """
import(new URL("page/page.js", document.baseURI)).then(({ start }) =>
  start(element, FACTS, (card) => { element.dataset.card = card; trigger("submit"); }));
"""
_CARD = "() => document.querySelector('[data-card]').dataset.card"


class Facts(Config):
    """What the browser's script is told; in JSON its keys are in camel case.

    Attributes:
        asks_token: whether it has to show one.
        max_upload_bytes: the service refuses more, so the page does not send it.
        max_duration_s: when the page ends a recording from the microphone.
        formats: what it asks for and offers for download.
        examples: names of recordings under ``/page/demo``.
        emotions: those that the model tells apart.
    """

    asks_token: bool
    max_upload_bytes: int
    max_duration_s: float
    emotions: tuple[str, ...]
    formats: tuple[str, ...] = FORMATS
    examples: tuple[str, ...] = Field(default_factory=lambda: tuple(sorted(path.name for path in DEMO.glob("*.flac"))))

    @classmethod
    def of(cls, settings: Settings, emotions: Sequence[str]) -> Facts:
        """Those of a service.

        >>> Facts.of(Settings(), ["anger"]).max_upload_bytes
        128000000
        """
        return cls(
            asks_token=settings.token is not None,
            max_upload_bytes=settings.max_upload_bytes,
            max_duration_s=settings.max_duration_s,
            emotions=tuple(emotions),
        )

    def for_script(self) -> dict[str, Any]:
        """Plain values for JSON, with the colours that the emotions have in every figure of affetto's.

        >>> Facts.of(Settings(), ["anger"]).for_script()["colours"]
        {'anger': '#c8451b'}
        """
        values = {to_camel(name): value for name, value in self.model_dump(mode="json").items()}
        return {**values, "colours": colours(self.emotions)}


def build(facts: Facts) -> ASGIApp:
    """Gradio's app with the page in it; takes seconds the first time, for importing Gradio.

    No part of it calls Python: it has no functions, no queue and no uploads, and sends nothing to anyone.
    """
    import gradio
    from fastapi import FastAPI

    carrier = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    with _folder_for_gradio():
        app: ASGIApp = gradio.mount_gradio_app(
            carrier,
            _blocks(facts),
            path="/",
            theme=gradio.themes.Base(font=_FONTS, font_mono=_FONTS_MONO),
            footer_links=[],
            run_history=False,
            show_error=False,
            max_file_size=1,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
        )
    return app


@contextmanager
def _folder_for_gradio() -> Iterator[None]:
    """Where Gradio's app makes the folders of tools that the page does not have; nothing of them stays on disk.

    The folder that it would take is the same for all users of a machine: where another one owns it, it could not start.
    """
    from gradio import routes

    names = vars(routes)
    usual = names["DEFAULT_TEMP_DIR"]
    with TemporaryDirectory(prefix="affetto-page-") as folder:
        names["DEFAULT_TEMP_DIR"] = folder
        try:
            yield
        finally:
            names["DEFAULT_TEMP_DIR"] = usual


def _blocks(facts: Facts) -> gradio.Blocks:
    import gradio

    facts_json = json.dumps(facts.for_script())
    blocks: gradio.Blocks = gradio.Blocks(
        analytics_enabled=False, title="affetto: the emotion in speech", fill_width=True
    )
    with blocks:
        page = gradio.HTML(
            html_template=(STATIC / "page.html").read_text(encoding="utf-8"),
            js_on_load=_START.replace("FACTS", facts_json),
            apply_default_css=False,
        )
        with gradio.Accordion(
            "Model card: what it was trained on, and how often it is right", open=False, elem_id="af-card"
        ):
            card = gradio.Markdown()
        page.submit(fn=None, js=_CARD, outputs=card)  # runs in the browser alone
    return blocks


async def index(app: ASGIApp) -> bytes:
    """The HTML that starts the page, the same for everyone: made once, without anything that a client sends.

    Gradio writes the address by which it was called into it, which a proxy would falsify; here the browser fills it in.
    """
    html = await _get(app, "/")
    html = html.replace(f'"http://{_ANY_HOST}"'.encode(), _HERE)
    html = re.sub(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*', b"", html)  # they name pictures elsewhere
    html = re.sub(rb'<link rel="manifest"[^>]*>\s*', b"", html)
    return html.replace(b"</head>", _HEAD, 1)


async def _get(app: ASGIApp, path: str) -> bytes:
    """What an app answers to the simplest request."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "server": (_ANY_HOST, 80),
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", _ANY_HOST.encode())],
    }
    body = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        assert message.get("status", 200) == 200
        if message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, send)
    return bytes(body)
