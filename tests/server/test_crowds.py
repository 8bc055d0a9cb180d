"""Many clients at once, and many one after the other."""

from __future__ import annotations

import io
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import soundfile
from tests.server.serving import DEMO, RECOGNISE, Halting, eventually, metric
from tests.server.test_process import started

Serve = Callable[..., httpx.Client]
CROWD = 64
REQUESTS = 2000


def ask(client: httpx.Client, path: Path) -> httpx.Response:
    """On a connection of its own."""
    with httpx.Client(base_url=client.base_url, timeout=120, trust_env=False) as own:
        return own.post(RECOGNISE, files={"file": (path.name, path.read_bytes())})


@pytest.mark.heavy
def test_all_of_a_crowd_get_what_they_would_get_alone(serve: Serve) -> None:
    client = serve(queue=CROWD)
    paths = sorted(DEMO.glob("*.flac"))
    alone = {path: ask(client, path).json() for path in paths}
    with ThreadPoolExecutor(CROWD) as pool:
        crowd = [(path, pool.submit(ask, client, path)) for path in paths * (CROWD // len(paths))]
        answers = [(path, each.result()) for path, each in crowd]
    assert Counter(answer.status_code for _, answer in answers) == {200: CROWD}
    for path, answer in answers:
        got, expected = answer.json(), alone[path]
        assert (got["file"], got["transcript"], got["emotion"]) == (
            path.name,
            expected["transcript"],
            expected["emotion"],
        )
        assert got["probabilities"] == pytest.approx(expected["probabilities"], abs=2e-4)


@pytest.mark.heavy
def test_of_a_crowd_that_is_too_large_each_is_answered(serve: Serve, recogniser: Halting) -> None:
    client = serve()
    recogniser.hold()
    with ThreadPoolExecutor(CROWD) as pool:
        crowd = [pool.submit(ask, client, DEMO / "sad.flac") for _ in range(CROWD)]
        assert eventually(lambda: metric(client, 'affetto_requests_total{outcome="busy"}') == CROWD // 2)
        recogniser.go_on()
        answers = [each.result() for each in crowd]
    assert Counter(answer.status_code for answer in answers) == {200: CROWD // 2, 429: CROWD // 2}
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in answers if answer.status_code == 429)
    assert len({answer.json()["transcript"] for answer in answers if answer.is_success}) == 1
    assert ask(client, DEMO / "sad.flac").status_code == 200


def drip(address: tuple[str, int]) -> bool:
    """Sends a head that never ends, byte by byte; whether it is cut off."""
    with socket.create_connection(address, 20) as connection:
        connection.settimeout(0.1)
        try:
            connection.sendall(f"POST {RECOGNISE} HTTP/1.1\r\nHost: localhost\r\nX: ".encode())
            for _ in range(200):
                connection.sendall(b"a")
                try:
                    return connection.recv(1) == b""
                except TimeoutError:
                    continue
        except OSError:  # reset, or a broken pipe
            return True
    return False


def test_a_crowd_that_drips_keeps_nobody_else_waiting(serve: Serve, angry: bytes) -> None:
    client = serve(header_s=2.0)
    with ThreadPoolExecutor(30) as pool:
        drips = [pool.submit(drip, ("127.0.0.1", client.base_url.port or 80)) for _ in range(30)]
        assert client.post(RECOGNISE, content=angry).status_code == 200
        assert all(each.result() for each in drips)
    assert client.get("/healthz").is_success


@pytest.mark.heavy
def test_memory_does_not_grow(tiny_model: Path) -> None:
    samples, rate = soundfile.read(DEMO / "angry.flac", dtype="int16")
    content = io.BytesIO()
    soundfile.write(content, samples[:rate], rate, format="WAV")
    with started(tiny_model) as (process, client), ThreadPoolExecutor(9) as pool:
        assert process.stderr is not None
        pool.submit(process.stderr.read)  # or its log would fill the pipe

        def many(requests: int) -> int:
            """The bytes that the service holds after so many."""
            answers = list(pool.map(lambda _: client.post(RECOGNISE, content=content.getvalue()), range(requests)))
            assert {answer.status_code for answer in answers} == {200}
            return int(psutil.Process(process.pid).memory_info().rss)

        before = many(300)
        assert many(REQUESTS) - before < 15e6
        process.kill()
