"""What is logged of the service: figures for Prometheus, and a line of JSON a request; never sound, words or names."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

from affetto.environment import environment
from affetto.server.problems import KINDS

LOG = logging.getLogger("affetto.server")

_LATENCIES_S = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_BATCHES = (1, 2, 4, 8, 16)


class Metrics:
    """The figures of one service."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self.requests = Counter(
            "affetto_requests", "Requests to recognise a recording, by outcome.", ["outcome"], registry=own
        )
        self.sound_s = Counter("affetto_sound_seconds", "Sound that was recognised, seconds.", registry=own)
        self.latency_s = Histogram(
            "affetto_request_duration_seconds",
            "From the head of a request to its result, seconds.",
            buckets=_LATENCIES_S,
            registry=own,
        )
        self.taken = Gauge("affetto_requests_taken", "Requests that come in, wait or are recognised.", registry=own)
        self.queue = Gauge("affetto_queue_length", "Recordings that wait to be recognised.", registry=own)
        self.live = Gauge("affetto_live_streams", "Live streams that are recognised.", registry=own)
        self.streams = Counter(
            "affetto_live_streams_ended", "Live streams that have ended, by outcome.", ["outcome"], registry=own
        )
        self.batch = Histogram(
            "affetto_batch_recordings", "Recordings recognised together.", buckets=_BATCHES, registry=own
        )
        for outcome in ("ok", *KINDS):  # a rate or an alarm needs the zeros from the start
            self.requests.labels(outcome)
            self.streams.labels(outcome)
        ProcessCollector(registry=own)
        build = {name: str(value) for name, value in environment().items() if value is not None}
        Info("affetto_build", "Versions, the commit if there is one, the kind of machine.", registry=own).info(build)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class JsonLines(logging.Formatter):
    """A line of JSON a record; of an exception, its kind and place, but not its message, which may quote anything."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        values: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            values |= described(record.exc_info[1])
        return json.dumps(values)


def described(error: BaseException) -> dict[str, str]:
    """What a log may say of an exception.

    >>> described(ValueError("the caller's words"))
    {'exception': 'ValueError', 'at': 'nowhere'}
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].name}:{frames[-1].lineno}" if frames else "nowhere"
    return {"exception": type(error).__name__, "at": place}


def log(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Logs an event."""
    LOG.log(level, event, extra={"facts": facts})
