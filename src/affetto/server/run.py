"""Starts the service, and ends it in good order."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

import uvicorn

from affetto.errors import ServiceError
from affetto.recognise import EmotionRecogniser
from affetto.server.answers import model_answer
from affetto.server.app import create_app
from affetto.server.gate import LONGEST_HEAD
from affetto.server.listening import LARGEST_MESSAGE
from affetto.server.protocol import SteadySocket, patient
from affetto.server.settings import LOOPBACK, Settings
from affetto.server.telemetry import LOG, JsonLines

_KEEP_ALIVE_S = 5
_ANSWERS_S = 1.0  # so long those are waited for that are told that it stops
_WAITING_CONNECTIONS = 128


class _Server(uvicorn.Server):
    """Answers all that are there before it ends."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What takes too long is cancelled, and its client told so."""
        await super().shutdown(sockets)
        if left := self.server_state.tasks:
            await asyncio.wait(left, timeout=_ANSWERS_S)


def make_server(recogniser: EmotionRecogniser, model: str, settings: Settings) -> uvicorn.Server:
    """A server that is not started yet.

    Args:
        recogniser: hears everything.
        model: its name or folder, for what is told of it.
        settings: the limits.
    """
    config = uvicorn.Config(
        create_app(recogniser, model_answer(model, recogniser), settings),
        http=patient(settings.header_s),
        ws=SteadySocket,
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
    """Takes the port.

    Raises:
        ServiceError: it is taken already, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_WAITING_CONNECTIONS)
    except OSError as error:
        raise ServiceError(
            f"cannot listen there ({error.strerror or error})",
            "choose another --port or --host",
            f"{settings.host}:{settings.port}",
        ) from error


def run_service(model: str, device: str, settings: Settings, tell: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C, then finishes what was begun.

    Args:
        model: an embedded model's name, or a folder.
        device: see `choose_device`.
        settings: the limits.
        tell: called with a line for the person who started it.

    Raises:
        CheckpointError: there is no such model.
        ServiceError: the port is taken.
    """
    with bind(settings) as listening:
        server = make_server(_load(model, device), model, settings)
        _log_to(sys.stderr)
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when all is done
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        tell(f"listening on http://{host}:{listening.getsockname()[1]} (Ctrl-C ends it)")
        if settings.host not in LOOPBACK and settings.token is None:
            tell("other machines may reach it, and it asks for no token; see --token-file")
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            return


def _load(model: str, device: str) -> EmotionRecogniser:
    """A recogniser, loaded by a thread that ends.

    Each thread that computes keeps helpers for as long as it lives, and where there are more of them than cores, OpenMP
    sends them to sleep after every step: heard beside the helpers of the thread that loaded it, a clip takes four times
    as long (``benchmarks/serve.py``).
    """
    with ThreadPoolExecutor(1, "loading") as pool:
        return pool.submit(EmotionRecogniser.from_pretrained, model, device).result()


def _log_to(stream: TextIO) -> None:
    """Lines of JSON, ours and of uvicorn what matters."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for logger, level in ((LOG, logging.INFO), (logging.getLogger("uvicorn"), logging.ERROR)):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
