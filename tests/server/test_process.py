"""`affetto serve` as a process: starting, stopping, being killed."""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import soundfile
from starlette.types import Message, Receive, Scope, Send
from tests.conftest import REPOSITORY
from tests.server.serving import DEMO, RECOGNISE, TOKEN, Halting, eventually, metric, running, started

from affetto.cli import main
from affetto.cli.serve import serve
from affetto.errors import ServiceError
from affetto.server.gate import Gate
from affetto.server.problems import KINDS
from affetto.server.settings import Settings, read_token
from affetto.server.telemetry import Metrics


def test_it_answers_and_stops_in_good_order(tiny_model: Path) -> None:
    with started(tiny_model) as (process, client):
        assert httpx.get(f"{client.base_url}/v1/models", trust_env=False).status_code == 401
        assert client.post(RECOGNISE, content=(DEMO / "sad.flac").read_bytes()).status_code == 200

        def slow_body() -> Iterator[bytes]:
            whole = (DEMO / "sad.flac").read_bytes()
            yield whole[:1000]
            process.send_signal(signal.SIGTERM)  # while the upload goes on
            yield whole[1000:]

        assert client.post(RECOGNISE, content=slow_body()).status_code == 200
        assert process.wait(120) == 0
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["outcome"] for line in log] == ["unauthorised", "ok", "ok"]


def test_what_libraries_write_is_not_in_the_log(tiny_model: Path, tmp_path: Path) -> None:
    """libmpg123 writes of damaged files to standard error, past Python."""
    sound, rate = soundfile.read(DEMO / "sad.flac")
    soundfile.write(tmp_path / "a.mp3", sound, rate)
    cut = (tmp_path / "a.mp3").read_bytes()[:-4000]
    with started(tiny_model) as (process, client):
        assert client.post(RECOGNISE, content=cut).status_code in {200, 422}
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["event"] for line in log] == ["request"]


def test_what_is_not_done_in_time_is_answered_so(tiny_model: Path) -> None:
    with started(tiny_model, "--shutdown-time", "2") as (process, client):
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
            head = f"POST {RECOGNISE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            connection.sendall(f"{head}Content-Length: 9000\r\n\r\nfLaC".encode())
            assert eventually(lambda: metric(client, "affetto_requests_taken") == 1)
            process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(partial(connection.recv, 65_536), b""))
        assert process.wait(120) == 0
        assert process.stderr is not None
        log = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "stopping"
    (told,) = [line for line in log if line["event"] == "request" and line["route"] == RECOGNISE]
    assert (told["status"], told["outcome"]) == (503, "stopping")


def test_what_is_recognised_and_what_waits_is_answered_so_too(tiny_model: Path) -> None:
    recogniser = Halting.made(tiny_model)
    sound = (DEMO / "sad.flac").read_bytes()
    with (
        running(recogniser, tiny_model, Settings(shutdown_s=1)) as (server, thread, client),
        ThreadPoolExecutor(2) as pool,
    ):
        recogniser.hold()
        first = pool.submit(client.post, RECOGNISE, content=sound)
        assert eventually(lambda: recogniser.heard == [1])
        second = pool.submit(client.post, RECOGNISE, content=sound)
        assert eventually(lambda: metric(client, "affetto_queue_length") == 1)
        server.should_exit = True
        assert [(each.result().status_code, each.result().json()["code"]) for each in (first, second)] == [
            (503, "stopping"),
            (503, "stopping"),
        ]
        thread.join(120)
        assert not thread.is_alive()  # though the recogniser is still held up
        recogniser.go_on()


HANGING = """
import sys, time
from affetto.server import run, worker
worker.Worker.stop = lambda self: time.sleep(600)
settings = run.Settings(port=0, shutdown_s=1)
run.run_service(sys.argv[1], "cpu", "auto", settings, lambda line: print(line, flush=True))
"""


def test_it_ends_in_time_whatever_hangs(tiny_model: Path) -> None:
    command = [sys.executable, "-c", HANGING, str(tiny_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "listening" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 1
        finally:
            process.kill()


def test_a_request_that_is_cancelled_is_counted_as_such() -> None:
    metrics = Metrics()
    sent: list[Message] = []

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = SimpleNamespace(path=RECOGNISE)
        await asyncio.get_running_loop().create_future()

    async def ask() -> None:
        scope = {"type": "http", "method": "POST", "path": RECOGNISE, "headers": [(b"host", b"localhost")]}
        task = asyncio.ensure_future(Gate(wait, Settings(), metrics)(scope, receive, send))
        await asyncio.sleep(0)
        task.cancel()
        await task

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(ask())
    assert sent[0]["status"] == 503
    assert b'affetto_requests_total{outcome="stopping"} 1.0' in metrics.text()


@pytest.mark.slow
def test_killed_and_started_again(tiny_model: Path) -> None:
    with started(tiny_model) as (process, client):
        port = str(client.base_url.port)
        process.kill()
        process.wait(120)
        with pytest.raises(httpx.TransportError):
            client.get("/healthz")
    with started(tiny_model, "--port", port) as (_, again):
        assert str(again.base_url.port) == port
        assert again.post(RECOGNISE, content=(DEMO / "sad.flac").read_bytes()).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--host", "203.0.113.1"], "cannot listen there"),
        (["--token-file", "missing"], "the token cannot be read"),
        (["--queue", "0"], "queue: Input should be greater"),
        (["--timeout", "nan"], "timeout_s"),
    ],
)
def test_what_cannot_start_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert ended.value.code == 2
    assert problem in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("token", ["short", "", "many letters, but ä"])
def test_bad_tokens(tmp_path: Path, token: str) -> None:
    path = tmp_path / "token"
    path.write_text(token, encoding="utf-8")
    with pytest.raises(ServiceError, match="not a token"):
        read_token(path, None)


def test_the_options_are_the_settings_and_problems_are_documented() -> None:
    options = {name: each.default for name, each in inspect.signature(serve).parameters.items()}
    settings = Settings().model_dump()
    shared = ("host", "port", "queue", "live")
    renamed = {"max_upload": "max_upload_mb", "max_duration": "max_duration_s", "upload_time": "upload_s"}
    renamed |= {"timeout": "timeout_s", "header_time": "header_s", "shutdown_time": "shutdown_s"}
    renamed |= {"live_time": "live_s", "idle_time": "idle_s", "room": "room_mb"}
    assert {name: options[name] for name in (*shared, *renamed)} == {
        name: settings[renamed.get(name, name)] for name in (*shared, *renamed)
    }
    text = (REPOSITORY / "docs" / "serve.md").read_text(encoding="utf-8")
    assert [code for code in KINDS if f"`{code}`" not in text] == []


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "prometheus_client", "websockets"])
def test_without_the_extra_it_says_so(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("affetto.server", "uvicorn.protocols.websockets"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
    assert 'pip install "affetto[serve]"' in capsys.readouterr().err
    with pytest.raises(SystemExit) as helped:
        main(["serve", "--help"])
    assert helped.value.code == 0
