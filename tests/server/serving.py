"""Services on a real socket, each in a thread of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import soundfile
import uvicorn

import affetto
from affetto.frames import Waves
from affetto.recognise import EmotionRecogniser
from affetto.recognition import SegmentPrediction
from affetto.server.run import bind, make_server
from affetto.server.settings import Settings

DEMO = Path(affetto.__file__).parent / "demo"
RECOGNISE = "/v1/recognise"
TOKEN = "a token of many letters"


class Halting(EmotionRecogniser):
    """The real one, which can be held up, and which notes how many segments it heard at a time."""

    steps = False  # whether it is held up after each batch

    def hold(self) -> None:
        self._going.clear()

    def go_on(self) -> None:
        self._going.set()

    def predict(self, waves: Waves) -> list[SegmentPrediction]:
        self.heard.append(len(waves.lengths))
        assert self._going.wait(120)
        found = super().predict(waves)
        if self.steps:
            self.hold()
        return found

    @classmethod
    def made(cls, model: Path) -> Halting:
        made = cls.from_pretrained(model, "cpu")
        assert isinstance(made, cls)
        made._going = threading.Event()
        made.heard = []
        made.go_on()
        return made

    _going: threading.Event
    heard: list[int]


@contextmanager
def running(
    recogniser: EmotionRecogniser, model: Path, settings: Settings
) -> Iterator[tuple[uvicorn.Server, threading.Thread, httpx.Client]]:
    """A server, the thread that it runs in, and a client of it."""
    with bind(settings.model_copy(update={"port": 0})) as listening:
        server = make_server(recogniser, str(model), settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        port = listening.getsockname()[1]
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
                yield server, thread, client
        finally:
            server.should_exit = True
            thread.join(120)
            assert not thread.is_alive()


@contextmanager
def serving(recogniser: EmotionRecogniser, model: Path, settings: Settings) -> Iterator[httpx.Client]:
    with running(recogniser, model, settings) as (_, _, client):
        yield client


@contextmanager
def started(model: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A service in a process of its own, and a client that knows its token."""
    command = [sys.executable, "-m", "affetto", "serve", "--port", "0", "--model", str(model), *options]
    environment = {**os.environ, "AFFETTO_TOKEN": TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            assert "listening on http://127.0.0.1:" in first
            address = first.split()[3]
            headers = {"Authorization": f"Bearer {TOKEN}"}
            with httpx.Client(base_url=address, headers=headers, timeout=120, trust_env=False) as client:
                yield process, client
        finally:
            process.kill()


def metric(client: httpx.Client, name: str) -> float:
    """A figure of the service."""
    lines = client.get("/metrics").text.splitlines()
    (value,) = (line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name)
    return float(value)


def many(sound: bytes, times: int) -> bytes:
    """A recording so many times, with pauses of a second."""
    samples, rate = soundfile.read(io.BytesIO(sound))
    content = io.BytesIO()
    soundfile.write(content, np.tile(np.concatenate([samples, np.zeros(rate)]), times), rate, format="FLAC")
    return content.getvalue()


def eventually(is_so: Callable[[], bool], within_s: float = 120.0) -> bool:
    """Whether something comes true."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.02)
    return False
