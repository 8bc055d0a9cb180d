"""What a service allows, and where it listens."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from affetto.config import Config
from affetto.errors import ServiceError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""The names of this machine for itself."""

SHORTEST_TOKEN = 16
"""Characters; what is shorter can be guessed."""

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(Config):
    """A service's limits; each has an option of `affetto serve`.

    Attributes:
        host: the address it binds to; the default is reached from this machine alone.
        port: 0 takes one that is free.
        max_upload_mb: the longest body of a request, 10^6 bytes.
        max_duration_s: the longest recording, however small its file; see `decode` for many channels and high rates.
        upload_s: how long a body may take to come in.
        timeout_s: how long a recording may be decoded, wait and be heard, from the moment it is there.
        header_s: how long the head of a request may take to come in.
        queue: how many recordings wait or are heard at a time; more are sent away.
        live: how many live streams are heard at a time; more are sent away.
        live_s: how long one of them may last, by the clock and by its sound.
        idle_s: how long a live stream may bring nothing.
        shutdown_s: how long the service goes on when it is told to stop, so that what was begun can be finished.
        hosts: the names it may be called by (the header Host), beside this machine's own; none given: any name
            where `host` is not this machine's own. So no web page can reach a local service by a name of its own.
        page: whether there is a web page at ``/``.
        token: what a client has to show; None lets everyone in.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    max_upload_mb: float = Field(default=128, gt=0, le=100_000)
    max_duration_s: Seconds = 600
    upload_s: Seconds = 30
    timeout_s: Seconds = 60
    header_s: Seconds = 10
    queue: int = Field(default=32, ge=1, le=10_000)
    live: int = Field(default=4, ge=0, le=1000)
    live_s: Seconds = 3600
    idle_s: Seconds = 30
    shutdown_s: Seconds = 20
    hosts: tuple[str, ...] = ()
    page: bool = True
    token: SecretStr | None = None

    @property
    def max_upload_bytes(self) -> int:
        """The longest body."""
        return int(self.max_upload_mb * 1e6)

    def admits(self, token: str | None) -> bool:
        """Whether a client that shows this token may come in.

        >>> Settings().admits(None), Settings(token="correct horse battery").admits("correct horse")
        (True, False)
        """
        if self.token is None:
            return True
        # Takes as long however much of it is right.
        return token is not None and hmac.compare_digest(token.encode(), self.token.get_secret_value().encode())

    def may_be_called(self, name: str) -> bool:
        """Whether a request for this host is meant for us.

        >>> Settings().may_be_called("localhost"), Settings().may_be_called("rebound.example")
        (True, False)
        >>> Settings(host="0.0.0.0").may_be_called("anything.example")
        True
        >>> [Settings(hosts=("emotions.example",)).may_be_called(name) for name in ("emotions.example", "127.0.0.1")]
        [True, True]
        """
        anyhow = not self.hosts and self.host not in LOOPBACK
        return anyhow or name.lower() in (*self.hosts, *LOOPBACK)


def read_token(path: Path | None, given: str | None) -> SecretStr | None:
    """The token, from a file or else from the environment; it never stands on a command line for others to see.

    Args:
        path: a file that holds nothing else.
        given: what the environment holds.

    Raises:
        ServiceError: the file cannot be read, or the token is none.

    >>> read_token(None, "correct horse battery")
    SecretStr('**********')
    """
    if path is not None:
        try:
            given = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ServiceError(f"the token cannot be read ({reason})", "check the file", path) from error
    if given is None:
        return None
    token = given.strip()
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise ServiceError(
            "not a token", f"use {SHORTEST_TOKEN} or more ASCII characters, for example of: openssl rand -hex 32", path
        )
    return SecretStr(token)
