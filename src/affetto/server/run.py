"""Starts the service, and ends it in good order; HTTP and WebSockets on the wire are uvicorn's, with limits of ours."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

import h11
import uvicorn
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from affetto.devices import Precision
from affetto.errors import ServiceError
from affetto.recognise import EmotionRecogniser
from affetto.server.answers import model_answer
from affetto.server.app import create_app
from affetto.server.gate import LONGEST_HEAD
from affetto.server.live import LARGEST_MESSAGE
from affetto.server.problems import RequestError
from affetto.server.settings import LOOPBACK, Settings
from affetto.server.telemetry import LOG, JsonLines

_KEEP_ALIVE_S = 5
_ANSWERS_S = 1.0  # so long clients are waited for that are answered that it stops
_WAITING_CONNECTIONS = 128


class _PatientProtocol(H11Protocol):
    """One connection; it is closed when the head of a request does not come in within `header_s` seconds."""

    header_s: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        """While a head is coming in, the time runs; more of it does not start it anew."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.header_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words are for its log
        """What is not HTTP, or has too long a head, is answered in our shape."""
        body = json.dumps(RequestError("bad_request").body.model_dump()).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _SteadySocket(WebSocketsSansIOProtocol):
    """A WebSocket; who does not read what is written is cut off, before that fills the memory."""

    def handle_ping(self) -> None:
        super().handle_ping()
        self._check_reader()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # by refusing it; else uvicorn logs an error of the application

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self._check_reader()

    def _check_reader(self) -> None:
        if not self.writable.is_set():
            self.transport.abort()


class _Server(uvicorn.Server):
    """Answers all that are there before it ends."""

    ends_within_s: float | None = None  # of a signal, whatever its threads are at; None: as long as they take

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to end, at a signal."""
        super().handle_exit(sig, frame)
        if self.ends_within_s is not None:
            last = threading.Timer(self.ends_within_s, os._exit, [1])
            last.daemon = True
            last.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What takes too long is cancelled, and its client gets an answer."""
        await super().shutdown(sockets)
        if left := self.server_state.tasks:
            await asyncio.wait(left, timeout=_ANSWERS_S)


def make_server(recogniser: EmotionRecogniser, model: str, settings: Settings) -> _Server:
    """A server that is not started yet; `model` is the name or the folder of its recogniser."""
    config = uvicorn.Config(
        create_app(recogniser, model_answer(model, recogniser), settings),
        http=type("PatientProtocol", (_PatientProtocol,), {"header_s": settings.header_s}),
        ws=_SteadySocket,
        ws_max_size=LARGEST_MESSAGE,
        ws_ping_timeout=None,  # an answer may lie behind much sound; who sends nothing is idle
        ws_per_message_deflate=False,
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who asks
        h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(max(settings.shutdown_s - 2 * _ANSWERS_S, settings.shutdown_s / 2)),
    )
    return _Server(config)


def bind(settings: Settings) -> socket.socket:
    """Takes the port; raises ServiceError where it is taken already, or there is no such address."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_WAITING_CONNECTIONS)
    except OSError as error:
        problem = f"cannot listen there ({error.strerror or error})"
        raise ServiceError(problem, "choose another --port or --host", f"{settings.host}:{settings.port}") from error


def run_service(model: str, device: str, precision: Precision, settings: Settings, say: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C, then finishes what was begun.

    The model is an embedded one's name, or a folder; `say` is called with lines for the person who started it. Raises
    CheckpointError where there is no such model, ServiceError where the port is taken.
    """
    with bind(settings) as listening:
        # Each thread that computes keeps helpers for as long as it lives, and where there are more of them than cores,
        # OpenMP sends them to sleep after every step: beside the helpers of a thread that loaded the model and lives
        # on, a clip takes four times as long (benchmarks/serve.py).
        with ThreadPoolExecutor(1, "loading") as pool:
            load = partial(EmotionRecogniser.from_pretrained, model, device, precision=precision)
            recogniser = pool.submit(load).result()
        server = make_server(recogniser, model, settings)
        server.ends_within_s = settings.shutdown_s
        signal.signal(signal.SIGTERM, server.handle_exit)  # also before uvicorn does so
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        say(f"listening on http://{host}:{listening.getsockname()[1]} (Ctrl-C ends it)")
        if settings.host not in LOOPBACK and settings.token is None:
            say("other machines may reach it, and it asks for no token; see --token-file")
        _log_as_json()
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _log_as_json() -> None:
    """Lines of JSON, ours and of uvicorn what matters; what libraries write past Python, of damaged MP3s, is lost."""
    sys.stderr.flush()
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:  # there may be no standard error
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        os.dup2(nowhere.fileno(), 2)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for logger, level in ((LOG, logging.INFO), (logging.getLogger("uvicorn"), logging.ERROR)):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
