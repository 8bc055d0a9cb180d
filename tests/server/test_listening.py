"""Live sound over a WebSocket: what the shell says of the same stream, and every way in which a stream goes wrong."""

from __future__ import annotations

import ast
import gc
import io
import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import REPOSITORY
from tests.server.serving import RECOGNISE, Halting, eventually, metric, serving
from torch import Tensor
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from affetto.cli import main
from affetto.server.live import EXAMPLES, LARGEST_MESSAGE
from affetto.server.problems import KINDS
from affetto.server.settings import Settings
from affetto.server.worker import Worker

Serve = Callable[..., httpx.Client]
TOKEN = "a token of many letters"
END = json.dumps({"type": "end"})


def live(client: httpx.Client, query: str = "", **options: Any) -> ClientConnection:
    address = f"{client.base_url}".replace("http://", "ws://").rstrip("/")
    return connect(f"{address}/v1/listen?{query}", proxy=None, open_timeout=120, **options)


def rest(connection: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """All messages that still come, and the code with which the connection is closed."""
    messages = []
    try:
        while True:
            messages.append(json.loads(connection.recv(120)))
    except ConnectionClosed as closed:
        return messages, 1006 if closed.rcvd is None else closed.rcvd.code


def speak(connection: ClientConnection, data: bytes, size: int = 4001) -> tuple[list[dict[str, Any]], int]:
    """Sends samples, torn anywhere, and their end."""
    for first in range(0, len(data), size):
        connection.send(data[first : first + size])
    connection.send(END)
    return rest(connection)


def handshake(client: httpx.Client, host: str | None = None, origin: str | None = None) -> bytes:
    """What a browser sends."""
    lines = [
        "GET /v1/listen HTTP/1.1",
        f"Host: {host or f'127.0.0.1:{client.base_url.port}'}",
        *([] if origin is None else [f"Origin: {origin}"]),
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.fixture(scope="module")
def said(demo: dict[str, Tensor]) -> np.ndarray:
    """Two stretches of speech between pauses, 16 kHz."""
    pause = np.zeros(12_000, np.float32)
    return np.concatenate([pause, demo["happy"].numpy(), pause, demo["neutral"].numpy(), pause])


@pytest.fixture(scope="module")
def samples(said: np.ndarray) -> bytes:
    return (said * 32767).astype("<i2").tobytes()


def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: bytes, *options: object
) -> list[dict[str, Any]]:
    """What `affetto listen` prints."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["listen", "-", "--format", "jsonl", *map(str, options)])
    assert ended.value.code == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("rate", "encoding", "size"), [(16_000, "s16le", 4001), (16_000, "s16le", 10**6), (48_000, "f32le", 30_001)]
)
def test_it_says_what_the_shell_says(  # noqa: PLR0917  # fixtures
    client: httpx.Client,
    tiny_model: Path,
    said: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rate: int,
    encoding: str,
    size: int,
) -> None:
    sound = np.repeat(said, rate // 16_000)
    data = (sound * 32767).astype("<i2").tobytes() if encoding == "s16le" else sound.astype("<f4").tobytes()
    options = ("--rate", rate, "--encoding", encoding, "--sure", 0.4, "--model", tiny_model)
    expected = shell(monkeypatch, capsys, data, *options)
    with live(client, f"rate={rate}&encoding={encoding}&sure=0.4") as connection:
        (ready, *segments, end), code = speak(connection, data, size)
    assert len(expected) >= 2
    assert segments == [{"type": "segment", **each} for each in expected]
    assert (code, ready["rate"], end["segments"]) == (1000, rate, len(expected))
    assert end["duration_s"] == pytest.approx(len(said) / 16_000, abs=0.01)
    for message in (ready, segments[0], end):
        assert list(message) == list(EXAMPLES[message["type"]])


def test_segments_come_while_the_stream_goes_on(client: httpx.Client, samples: bytes) -> None:
    with live(client) as connection:
        connection.send(samples[: len(samples) // 2])
        assert [json.loads(connection.recv(120))["type"] for _ in range(2)] == ["ready", "segment"]
        assert metric(client, "affetto_live_streams") == 1
        connection.send(END)
        assert rest(connection)[1] == 1000
    assert eventually(lambda: metric(client, "affetto_live_streams") == 0)


def test_streams_and_recordings_at_once_do_not_mix(
    client: httpx.Client, samples: bytes, demo: dict[str, Tensor], angry: bytes
) -> None:
    other = (demo["sad"].numpy() * 32767).astype("<i2").tobytes()

    def one(data: bytes) -> list[dict[str, Any]]:
        with live(client) as connection:
            return speak(connection, data)[0]

    alone = [one(samples), one(other)]
    recording = client.post(RECOGNISE, content=angry).json()
    with ThreadPoolExecutor(5) as pool:
        streams = [pool.submit(one, data) for data in (samples, other) * 2]
        posted = pool.submit(client.post, RECOGNISE, content=angry)
        assert [each.result() for each in streams] == alone * 2
        assert posted.result().json() == recording


def test_live_speech_goes_before_recordings_that_wait(
    serve: Serve, recogniser: Halting, samples: bytes, angry: bytes
) -> None:
    client = serve()
    recogniser.hold()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.post, RECOGNISE, content=angry)
        assert eventually(lambda: len(recogniser.heard) == 1)
        others = [pool.submit(client.post, RECOGNISE, content=angry) for _ in range(2)]
        assert eventually(lambda: metric(client, "affetto_queue_length") == 2)
        with live(client) as connection:
            connection.send(samples[: len(samples) // 2])
            assert json.loads(connection.recv(120))["type"] == "ready"
            workers = [each for each in gc.get_objects() if type(each) is Worker]
            assert eventually(lambda: any(each._live for each in workers))
            recogniser.go_on()
            assert json.loads(connection.recv(120))["type"] == "segment"
        assert {each.result().status_code for each in (first, *others)} == {200}
    assert recogniser.heard == [1, 1, 2]


def token_first(shown: str) -> str:
    return json.dumps({"type": "token", "token": shown})


def test_a_token_is_asked_for_in_a_header_or_in_the_first_message(serve: Serve, samples: bytes) -> None:
    client = serve(token=TOKEN, header_s=0.5)
    with live(client, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as connection:
        assert speak(connection, samples)[1] == 1000
    with live(client) as connection:
        connection.send(token_first(TOKEN))
        assert speak(connection, samples)[1] == 1000
    for headers, first in [
        ({"Authorization": "Bearer wrong"}, None),
        ({"Authorization": f"Basic {TOKEN}"}, None),
        ({}, token_first("wrong")),
        ({}, END),
        ({}, samples[:1000]),
        ({}, "no json"),
        ({}, None),
    ]:
        with live(client, additional_headers=headers) as connection:
            if first is not None:
                connection.send(first)
            (problem,), code = rest(connection)
        assert (problem["type"], problem["code"], code) == ("problem", "unauthorised", 4401)


@pytest.mark.parametrize(
    ("host", "origin", "code"),
    [
        (None, "https://elsewhere.example", "foreign_page"),
        (None, "http://127.0.0.1:1", "foreign_page"),
        (None, "null", "foreign_page"),
        ("rebound.example", "http://rebound.example", "unknown_host"),
        (None, None, "not_found"),
    ],
)
def test_refused_ones_get_a_reason_and_are_no_error_in_the_log(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, host: str | None, origin: str | None, code: str
) -> None:
    head = handshake(client, host, origin)
    with (
        caplog.at_level(logging.INFO),
        socket.create_connection(("127.0.0.1", client.base_url.port or 80), 20) as raw,
    ):
        raw.sendall(head.replace(b"/v1/listen", b"/v1/nothing") if code == "not_found" else head)
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
        client.get("/healthz")  # by then the task of the refused one has ended
    assert answer.split(b" ", 2)[1] == str(KINDS[code].status).encode()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == code
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert code in [record.facts["outcome"] for record in caplog.records if hasattr(record, "facts")]


def test_its_own_pages_may_listen(client: httpx.Client, samples: bytes) -> None:
    with live(client, origin=f"http://127.0.0.1:{client.base_url.port}") as connection:
        assert speak(connection, samples)[1] == 1000
    with pytest.raises(InvalidStatus):
        live(client, origin="http://elsewhere.example")


@pytest.mark.parametrize(
    ("query", "message", "problem", "code"),
    [
        ("rate=7", None, "bad_option", 4422),
        ("sure=nan", None, "bad_option", 4422),
        ("encoding=mp3", None, "bad_option", 4422),
        ("path=/etc/passwd", None, "bad_option", 4422),
        ("", "words", "bad_message", 4400),
        ("", '{"type": "other"}', "bad_message", 4400),
        ("", "[" * 100_000, "bad_message", 4400),
        ("encoding=f32le", np.full(9, np.nan, "<f4").tobytes(), "no_sound", 4422),
        ("", bytes(LARGEST_MESSAGE + 1), None, 1009),
    ],
)
def test_what_is_wrong_is_reported(
    client: httpx.Client, query: str, message: str | bytes | None, problem: str | None, code: int
) -> None:
    with live(client, query) as connection:
        if message is not None:
            connection.send(message)
        messages, closed = rest(connection)
    assert closed == code
    assert [each["code"] for each in messages if each["type"] == "problem"] == ([] if problem is None else [problem])
    assert client.get("/healthz").is_success


def test_limits(serve: Serve, samples: bytes) -> None:
    client = serve(live=1, idle_s=0.5, live_s=2)
    with live(client) as first:
        assert json.loads(first.recv(120))["type"] == "ready"
        with live(client) as second:
            (problem,), code = rest(second)
        assert (problem["code"], code) == ("busy", 4429)
        (problem,), code = rest(first)  # it sends nothing
        assert (problem["code"], code) == ("idle", 4408)
    with live(client) as third:
        third.send(samples[: 2 * 2 * 16_000 + 2])
        assert (rest(third)[0][-1]["code"]) == "too_long"
    with live(client) as fourth:
        began = time.monotonic()
        try:
            while time.monotonic() < began + 120:  # little sound, but for ever
                fourth.send(bytes(2))
                time.sleep(0.1)
        except ConnectionClosed:
            pass
        assert rest(fourth)[1] == 4413


def test_who_hangs_up_frees_the_place(serve: Serve, recogniser: Halting, samples: bytes) -> None:
    client = serve(live=1)
    recogniser.hold()
    with live(client) as connection:
        connection.send(samples)
        assert eventually(lambda: len(recogniser.heard) == 1)
        connection.socket.shutdown(socket.SHUT_RDWR)  # without a word, while its speech is being heard
    recogniser.go_on()
    assert eventually(lambda: metric(client, "affetto_live_streams") == 0)
    assert metric(client, 'affetto_live_streams_ended_total{outcome="hung_up"}') == 1
    with live(client) as connection:
        assert speak(connection, samples)[1] == 1000


def test_one_that_breaks_the_networks_harms_no_other(
    serve: Serve, samples: bytes, angry: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    with monkeypatch.context() as patch:
        patch.setattr(Halting, "predict", lambda *_: 1 / 0)
        with live(client) as connection:
            (_, problem), code = speak(connection, samples)
    assert (problem["code"], code) == ("internal", 4500)
    assert client.post(RECOGNISE, content=angry).status_code == 200
    with live(client) as connection:
        assert speak(connection, samples)[1] == 1000


def test_who_reads_nothing_is_cut_off(serve: Serve) -> None:
    client = serve()
    ping = b"\x89\xfd" + bytes(4) + bytes(125)  # of the greatest length, masked by zeros
    with socket.create_connection(("127.0.0.1", client.base_url.port or 80), 20) as raw:
        raw.sendall(handshake(client))
        with pytest.raises(OSError, match=r"reset|pipe"):
            raw.sendall(ping * 800_000)  # 100 MB
    assert client.get("/healthz").is_success


def test_when_the_service_stops_it_says_so(tiny_model: Path, samples: bytes) -> None:
    with ExitStack() as clients:
        with serving(Halting.made(tiny_model), tiny_model, Settings()) as client:
            connection = clients.enter_context(live(client))
            connection.send(samples[:1000])
            assert json.loads(connection.recv(120))["type"] == "ready"
        assert rest(connection)[1] == 1012


def test_the_example_in_the_documentation(client: httpx.Client, samples: bytes) -> None:
    text = (REPOSITORY / "docs" / "serve.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "/v1/listen" in block]
    code = code.replace("127.0.0.1:8000", f"127.0.0.1:{client.base_url.port}")
    done = subprocess.run([sys.executable, "-c", code], input=samples, capture_output=True, check=True, timeout=300)
    kinds = [ast.literal_eval(line)["type"] for line in done.stdout.decode().splitlines()]
    assert kinds == ["ready", "segment", "segment", "end"]


def test_without_a_websocket_it_says_how(client: httpx.Client) -> None:
    answer = client.get("/v1/listen")
    assert (answer.status_code, answer.json()["code"], answer.headers["upgrade"]) == (426, "no_socket", "websocket")
    told = client.get("/openapi.json").json()["paths"]["/v1/listen"]["get"]
    assert {each["name"] for each in told["parameters"]} == {"rate", "encoding", "sure"}
    assert all(json.dumps(example) in told["responses"]["101"]["description"] for example in EXAMPLES.values())
