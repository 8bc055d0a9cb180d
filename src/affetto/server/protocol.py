"""HTTP and WebSockets on the wire: uvicorn's, with a time limit on the head of a request, and our shape for what is not
HTTP.
"""

from __future__ import annotations

import asyncio
import json

import h11
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from affetto.server.problems import RequestError


class PatientProtocol(H11Protocol):
    """One connection; it is closed when the head of a request does not come in within `header_s` seconds."""

    header_s = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time for the first head runs."""
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Some of a head, or of a body."""
        super().data_received(data)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
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
        """What is not HTTP, or has too long a head."""
        body = json.dumps(RequestError("bad_request").body.model_dump()).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.write(self.conn.send(h11.Response(status_code=400, headers=headers)) or b"")
            self.transport.write(self.conn.send(h11.Data(data=body)) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self.transport.close()


class SteadySocket(WebSocketsSansIOProtocol):
    """A WebSocket; who does not read what is written is cut off, before that fills the memory."""

    def handle_ping(self) -> None:
        """A sign of life is asked for."""
        super().handle_ping()
        self._check_reader()

    async def send(self, message: ASGISendEvent) -> None:
        """The application has something for the client."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # by refusing it; else uvicorn logs an error of the application

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application is done with it."""
        super().on_task_complete(task)
        self._check_reader()

    def _check_reader(self) -> None:
        if not self.writable.is_set():
            self.transport.abort()


def patient(header_s: float) -> type[PatientProtocol]:
    """The protocol with this patience.

    >>> patient(3.0).header_s
    3.0
    """
    return type("PatientProtocol", (PatientProtocol,), {"header_s": header_s})
