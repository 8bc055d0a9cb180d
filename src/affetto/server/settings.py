"""What a service allows, and where it listens."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from affetto.config import Config
from affetto.errors import ServiceError

LOOPBACK = ("127.0.0.1", "localhost", "::1")  # the names of this machine for itself
_SHORTEST_TOKEN = 16  # characters; what is shorter can be guessed

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(Config):
    """A service's limits; each has an option of `affetto serve`."""

    host: str = "127.0.0.1"  # the address it binds to; this one is reached from this machine alone
    port: int = Field(default=8000, ge=0, le=65_535)  # 0 takes one that is free
    max_upload_mb: float = Field(default=512, gt=0, le=100_000)  # of the body of a request, 10^6 bytes
    max_duration_s: Seconds = 7200  # of a recording, however small its file; of many channels less (`uploads.decode`)
    room_mb: float = Field(default=4000, gt=0, le=10_000_000)  # for all bodies and what was decoded of them, together
    upload_s: Seconds = 30  # for a body to come in; a large one has longer (`uploads.Intake`)
    timeout_s: Seconds = 60  # to decode, wait and recognise, once a body is there; a long one has longer (`worker`)
    header_s: Seconds = 10  # for the head of a request to come in
    queue: int = Field(default=32, ge=1, le=10_000)  # recordings at a time; more are sent away
    live: int = Field(default=4, ge=0, le=1000)  # live streams at a time; more are sent away
    live_s: Seconds = 3600  # for one of them to last, by the clock and by its sound
    idle_s: Seconds = 30  # for a live stream to bring nothing
    shutdown_s: Seconds = 20  # to finish what was begun, once the service shall stop
    # The names it may be called by (the header Host), beside this machine's own; none given: any, where `host` is not
    # this machine's own. So no web page can reach a local service by a name of its own.
    hosts: tuple[str, ...] = ()
    page: bool = True  # whether there is a web page at /
    token: SecretStr | None = None  # what a client has to show; None lets everyone in

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
        """Whether a request for this host is ours.

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
    """The token, from a file that holds nothing else, or as the environment has it; never on a command line to be seen.

    Raises ServiceError where the file cannot be read, or holds no token.

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
    if len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        remedy = f"use {_SHORTEST_TOKEN} or more ASCII characters, for example of: openssl rand -hex 32"
        raise ServiceError("not a token", remedy, path)
    return SecretStr(token)
