"""Services and their clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.server.serving import DEMO, Halting, many, serving

from affetto.server.settings import Settings
from affetto.streaming import batches


@pytest.fixture
def recogniser(tiny_model: Path) -> Halting:
    return Halting.made(tiny_model)


@pytest.fixture
def stepping(recogniser: Halting, monkeypatch: pytest.MonkeyPatch) -> Halting:
    """One that has to be let go on after each batch, and small pools, of a batch each."""
    monkeypatch.setattr(batches, "_POOL_SEGMENTS", 12)
    monkeypatch.setattr(batches, "_BATCH_S", 120.0)
    recogniser.steps = True
    return recogniser


@pytest.fixture
def serve(recogniser: Halting, tiny_model: Path) -> Iterator[Callable[..., httpx.Client]]:
    """Starts a service with these settings, and gives a client of it."""
    with ExitStack() as stack:
        stack.callback(recogniser.go_on)
        yield lambda **values: stack.enter_context(serving(recogniser, tiny_model, Settings.parse(values)))
        recogniser.go_on()


@pytest.fixture(scope="module")
def client(tiny_model: Path) -> Iterator[httpx.Client]:
    """Of a service as it is by default, for all tests of a file."""
    with serving(Halting.made(tiny_model), tiny_model, Settings()) as client:
        yield client


@pytest.fixture(scope="session")
def angry() -> bytes:
    return (DEMO / "angry.flac").read_bytes()


@pytest.fixture(scope="session")
def talk(angry: bytes) -> bytes:
    """Five minutes of short statements, which are more than are heard at a time."""
    return many(angry, 65)
