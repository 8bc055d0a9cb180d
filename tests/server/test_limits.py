"""Every limit, each on a service of its own with that limit low, and what becomes of the others meanwhile."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from tests.server.serving import RECOGNISE, Halting, eventually, many, metric

from affetto.server import worker
from affetto.server.telemetry import JsonLines
from affetto.server.uploads import Decoded, Upload

Serve = Callable[..., httpx.Client]
TOKEN = "a token of many letters"


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """An hour of silence in a few kilobytes."""
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", 8000, 1, "PCM_16", format="FLAC") as sound:
        for _ in range(60):
            sound.write(np.zeros(60 * 8000, np.int16))
    return content.getvalue()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def raw(client: httpx.Client, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Sends bytes as they are, and gives all that comes back until the connection is closed."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), 20) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # it was closed already
                break
            time.sleep(pause_s)
        answer = b""
        try:
            while chunk := connection.recv(65_536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


def head(length: str, path: str = RECOGNISE) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode()


def test_size_promised_and_not_promised(serve: Serve, angry: bytes) -> None:
    client = serve(max_upload_mb=0.01)
    chunks = (bytes(1000) for _ in range(100))
    assert code(client.post(RECOGNISE, content=angry)) == (413, "too_large")
    assert code(client.post(RECOGNISE, content=chunks)) == (413, "too_large")
    assert code(client.post(RECOGNISE, files={"file": ("a.flac", angry)})) == (413, "too_large")
    assert client.get("/healthz").json() == {"status": "ok"}


def test_an_answer_reaches_a_client_that_is_still_sending(serve: Serve) -> None:
    client = serve(max_upload_mb=0.01)
    for _ in range(5):
        chunks = (bytes(100_000) for _ in range(50))
        assert code(client.post(RECOGNISE, content=chunks, headers={"Expect": "100-continue"})) == (413, "too_large")


def test_a_large_promise_is_refused_before_anything_is_sent(serve: Serve) -> None:
    answer = raw(serve(), head("Content-Length: 99999999999999999999999"))
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"Connection: close" in answer or b"connection: close" in answer


def test_a_short_promise_cuts_the_body(serve: Serve, angry: bytes) -> None:
    answer = raw(serve(), head("Content-Length: 100\r\nConnection: close") + angry)
    assert answer.startswith(b"HTTP/1.1 422")


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Transfer-Encoding: gzip, chunked\r\nContent-Length: 5",
        "Bad Header: 1",
        "Connection: close\r\nX: " + "a" * 100_000,
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_hostile_heads_are_refused(serve: Serve, lines: str) -> None:
    client = serve()
    answer = raw(client, head(lines))
    assert answer.split(b" ", 2)[1] in {b"400", b"431", b"501"}
    assert b"Traceback" not in answer
    assert client.get("/healthz").is_success


def flac(rate: int, channels: int, seconds: int) -> bytes:
    """Silence."""
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", rate, channels, "PCM_16", format="FLAC") as sound:
        for _ in range(seconds):
            sound.write(np.zeros((rate, channels), np.int16))
    return content.getvalue()


def unpromised(sound: bytes) -> bytes:
    """A FLAC as a pipe leaves it: its header does not tell how many samples follow."""
    assert sound[:4] == b"fLaC"
    return sound[:21] + bytes([sound[21] & 0xF0]) + bytes(4) + sound[26:]


@pytest.fixture(scope="module")
def wide() -> bytes:
    """A minute of eight channels at 192 kHz: as much to decode as eight minutes of two at 96 kHz."""
    return flac(192_000, 8, 60)


def test_what_is_decoded_is_bounded_in_channels_and_rate(serve: Serve, wide: bytes, recogniser: Halting) -> None:
    client = serve(max_duration_s=400)
    for sound in (wide, unpromised(wide)):
        answer = client.post(RECOGNISE, content=sound)
        assert code(answer) == (413, "too_long")
        assert answer.json()["problem"] == "the recording is longer than 50 s with 8 channels at 192000 Hz"
    assert client.post(RECOGNISE, content=flac(192_000, 8, 1)).json()["duration_s"] == 1
    assert recogniser.heard == []


def test_separate_channels_share_the_time(serve: Serve) -> None:
    client = serve(max_duration_s=40)
    sound = flac(8_000, 8, 20)
    assert client.post(RECOGNISE, content=sound).json()["duration_s"] == 20
    answer = client.post(f"{RECOGNISE}?channels=separate", content=sound)
    assert code(answer) == (413, "too_long")
    assert answer.json()["problem"] == "the recording is longer than 10 s with 8 channels at 8000 Hz"


def test_decompression_bombs(serve: Serve, bomb: bytes) -> None:
    client = serve(max_duration_s=100)
    before = psutil.Process().memory_info().rss
    assert len(bomb) < 200_000
    assert code(client.post(RECOGNISE, content=bomb)) == (413, "too_long")
    assert psutil.Process().memory_info().rss - before < 100e6


def test_a_header_that_does_not_tell_the_length(serve: Serve, bomb: bytes, recogniser: Halting) -> None:
    client = serve(max_duration_s=100)
    assert code(client.post(RECOGNISE, content=unpromised(bomb))) == (413, "too_long")
    assert recogniser.heard == []


def test_a_token_is_asked_for(serve: Serve, angry: bytes) -> None:
    client = serve(token=TOKEN)
    for shown in (None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xe9"):
        headers = {} if shown is None else {"Authorization": shown.encode("latin-1")}
        answer = client.post(RECOGNISE, content=angry, headers=headers)
        assert code(answer) == (401, "unauthorised")
        assert answer.headers["www-authenticate"] == "Bearer"
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post(RECOGNISE, content=angry, headers=right).status_code == 200
    assert [client.get(path).status_code for path in ("/v1/models", "/metrics", "/healthz", "/readyz")] == [
        *(401, 401),
        *(200, 200),
    ]
    assert client.get("/metrics", headers=right).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{here}"}, 200),
        ({"Origin": "https://proxied.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "{here}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_pages_from_elsewhere_are_refused(
    serve: Serve, angry: bytes, recogniser: Halting, headers: dict[str, str], status: int
) -> None:
    client = serve()
    sent = {name: value.format(here=str(client.base_url).rstrip("/")) for name, value in headers.items()}
    answer = client.post(RECOGNISE, content=angry, headers=sent)
    assert answer.status_code == status
    if status == 403:
        assert (answer.json()["code"], recogniser.heard) == ("foreign_page", [])
    assert client.get("/healthz", headers=sent).status_code == 200  # the browser keeps the answer from the page


def test_a_page_may_have_another_name_of_the_service(serve: Serve, angry: bytes) -> None:
    client = serve(hosts=["emotions.example"])
    sent = {"Origin": "https://emotions.example", "Sec-Fetch-Site": "cross-site"}
    assert client.post(RECOGNISE, content=angry, headers=sent).status_code == 200
    assert code(client.post(RECOGNISE, content=angry, headers={"Origin": "https://x.example"})) == (403, "foreign_page")


def begin(client: httpx.Client, pool: ThreadPoolExecutor, sound: bytes, many: int) -> list[Future[httpx.Response]]:
    """Requests that are all taken, beside those that were."""
    before = metric(client, "affetto_requests_taken")
    futures = [pool.submit(client.post, RECOGNISE, content=sound) for _ in range(many)]
    assert eventually(lambda: metric(client, "affetto_requests_taken") == before + many)
    return futures


def test_what_is_too_much_is_sent_away_and_the_rest_is_answered(
    serve: Serve, angry: bytes, recogniser: Halting
) -> None:
    client = serve(queue=3)
    recogniser.hold()
    with ThreadPoolExecutor(3) as pool:
        taken = begin(client, pool, angry, 3)
        assert eventually(lambda: client.get("/readyz").status_code == 429)
        refused = client.post(RECOGNISE, content=angry)
        ready, alive = client.get("/readyz"), client.get("/healthz")
        recogniser.go_on()
        assert code(refused) == code(ready) == (429, "busy")
        assert alive.status_code == 200
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert [each.result().status_code for each in taken] == [200] * 3
    assert client.post(RECOGNISE, content=angry).status_code == 200
    assert client.get("/readyz").json() == {"status": "ok"}


@contextmanager
def dripping(client: httpx.Client, many: int, body: bytes = b"fLaC") -> Iterator[None]:
    """Uploads that have begun and never end."""
    with ExitStack() as stack:
        for _ in range(many):
            connection = socket.create_connection((client.base_url.host, client.base_url.port or 80))
            stack.enter_context(connection).sendall(head("Content-Length: 9000") + body)
        assert eventually(lambda: metric(client, "affetto_requests_taken") == many)
        yield


def test_uploads_that_drip_take_no_place(serve: Serve, angry: bytes) -> None:
    client = serve(queue=2)
    with dripping(client, 6):
        assert client.get("/readyz").status_code == 200
        assert client.post(RECOGNISE, content=angry).status_code == 200


def test_uploads_together_take_no_more_than_the_room(serve: Serve) -> None:
    client = serve(queue=2, room_mb=0.02)
    with dripping(client, 2, bytes(8_000)):
        sent = bytes(8_000)
        assert eventually(lambda: code(client.post(RECOGNISE, content=sent)) == (429, "busy"))
    assert eventually(lambda: code(client.post(RECOGNISE, content=sent)) == (422, "no_sound"))


def test_decoded_sound_takes_room_too(serve: Serve, angry: bytes) -> None:
    client = serve(room_mb=1)
    assert code(client.post(RECOGNISE, content=flac(8_000, 1, 20))) == (429, "busy")
    assert client.post(RECOGNISE, content=angry).status_code == 200


@pytest.mark.parametrize("statements", [1, 9])  # 3 and 40 s
def test_a_short_recording_passes_a_long_one(
    serve: Serve, angry: bytes, talk: bytes, recogniser: Halting, monkeypatch: pytest.MonkeyPatch, statements: int
) -> None:
    monkeypatch.setattr(worker, "_PATIENCE", 0.0)  # however slow this machine is
    client, angry = serve(), many(angry, statements)
    recogniser.hold()
    with ThreadPoolExecutor(3) as pool:
        (first,) = begin(client, pool, talk, 1)
        assert eventually(lambda: len(recogniser.heard) == 1)
        (waits,) = begin(client, pool, talk, 1)
        assert eventually(lambda: metric(client, "affetto_queue_length") == 1)
        (short,) = begin(client, pool, angry, 1)
        assert eventually(lambda: metric(client, "affetto_queue_length") == 2)
        recogniser.go_on()
        assert [each.result().status_code for each in (short, first, waits)] == [200, 200, 200]
    assert recogniser.heard[0] < 65
    assert recogniser.heard[1] == statements
    assert sum(recogniser.heard) == 2 * 65 + statements


def test_one_that_takes_long_to_decode_keeps_no_other_waiting(
    serve: Serve, angry: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, going = worker.decode, threading.Event()

    def slow(upload: Upload, *others: Any) -> Decoded:
        assert upload.sound.seek(0, 2) == len(angry) or going.wait(120)
        return decoded(upload, *others)

    monkeypatch.setattr(worker, "decode", slow)
    client = serve()
    with ThreadPoolExecutor(1) as pool:
        (large,) = begin(client, pool, angry + b"\0", 1)
        assert client.post(RECOGNISE, content=angry).status_code == 200
        going.set()
        assert large.result().status_code == 200


def test_what_waits_together_is_recognised_together(serve: Serve, angry: bytes, recogniser: Halting) -> None:
    client = serve()
    recogniser.hold()
    with ThreadPoolExecutor(9) as pool:
        first = begin(client, pool, angry, 1)
        assert eventually(lambda: recogniser.heard == [1])
        pool.submit(client.post, RECOGNISE, content=b"broken")
        others = [pool.submit(client.post, RECOGNISE, content=angry) for _ in range(7)]
        assert eventually(lambda: metric(client, "affetto_queue_length") == 7)
        recogniser.go_on()
        results = [each.result().json() for each in (*first, *others)]
    assert recogniser.heard == [1, 7]
    assert all(each["transcript"] == results[0]["transcript"] for each in results)


def test_one_that_breaks_the_networks_harms_no_other(
    serve: Serve, angry: bytes, recogniser: Halting, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    hear, short = Halting.predict, soundfile.read(io.BytesIO(angry))[0][:24_000]
    content = io.BytesIO()
    soundfile.write(content, short, 16_000, format="WAV")

    def fails_on_the_short_one(self: Halting, waves: object) -> object:
        if min(waves.lengths.tolist()) < 30_000:  # type: ignore[attr-defined]
            raise RuntimeError("out of something")
        return hear(self, waves)  # type: ignore[arg-type]

    monkeypatch.setattr(Halting, "predict", fails_on_the_short_one)
    recogniser.hold()
    with ThreadPoolExecutor(3) as pool:
        first = begin(client, pool, angry, 1)
        eventually(lambda: recogniser.heard == [1])
        broken = pool.submit(client.post, RECOGNISE, content=content.getvalue())
        mate = pool.submit(client.post, RECOGNISE, content=angry)
        assert eventually(lambda: metric(client, "affetto_queue_length") == 2)
        recogniser.go_on()
        assert code(broken.result()) == (500, "internal")
        assert (first[0].result().status_code, mate.result().status_code) == (200, 200)


def test_the_time_limit(serve: Serve, angry: bytes, recogniser: Halting) -> None:
    client = serve(timeout_s=1.5)
    recogniser.hold()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(client.post, RECOGNISE, content=angry) for _ in range(2)]  # one is heard, one waits
        assert [code(each.result()) for each in both] == [(504, "timeout")] * 2
    recogniser.go_on()
    assert eventually(lambda: client.post(RECOGNISE, content=angry).status_code == 200)


def test_a_long_recording_has_longer(serve: Serve, talk: bytes) -> None:
    assert serve(timeout_s=0.1).post(RECOGNISE, content=talk).status_code == 200


@pytest.mark.parametrize("when", ["uploading", "waiting"])
def test_who_hangs_up_frees_the_place(serve: Serve, angry: bytes, recogniser: Halting, when: str) -> None:
    client = serve(queue=2)
    recogniser.hold()
    with ThreadPoolExecutor(1) as pool:
        first = begin(client, pool, angry, 1)
        assert eventually(lambda: recogniser.heard == [1])
        sent = angry if when == "waiting" else angry[:10_000]
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as connection:
            connection.sendall(head(f"Content-Length: {len(angry)}") + sent)
            assert eventually(lambda: metric(client, "affetto_requests_taken") == 2)
            if when == "waiting":
                assert eventually(lambda: metric(client, "affetto_queue_length") == 1)
        assert eventually(lambda: metric(client, "affetto_requests_taken") == 1)
        assert metric(client, "affetto_queue_length") == 0
        recogniser.go_on()
        assert first[0].result().status_code == 200
    assert metric(client, 'affetto_requests_total{outcome="hung_up"}') == 1


def test_slow_bodies_and_slow_heads_are_given_up(serve: Serve, angry: bytes) -> None:
    client = serve(upload_s=0.5, header_s=0.5)
    drops = [angry[place : place + 1] for place in range(100)]
    body = raw(client, head(f"Content-Length: {len(angry)}"), *drops, pause_s=0.05)
    assert b" 408 " in body
    assert b"slow_upload" in body
    assert raw(client, *[head("X: 1")[place : place + 1] for place in range(40)], pause_s=0.05) == b""
    assert eventually(lambda: metric(client, "affetto_requests_taken") == 0)


def test_a_large_body_has_longer(serve: Serve) -> None:
    client = serve(upload_s=0.5)
    parts = [bytes(50_000)] * 20
    body = raw(client, head("Connection: close\r\nContent-Length: 1000000"), *parts, pause_s=0.05)
    assert b" 422 " in body


def opened_in(folder: Path) -> list[str]:
    """What this process holds open there, also under no name."""
    links = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
    return [target for target in links if target.startswith(str(folder))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells what is open")
def test_nothing_is_left_on_disk(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recogniser: Halting, angry: bytes
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client = serve()
    large = io.BytesIO()
    soundfile.write(large, np.tile(soundfile.read(io.BytesIO(angry))[0], 20), 16_000, format="WAV")
    assert len(large.getvalue()) > 2_000_000
    recogniser.hold()
    with ThreadPoolExecutor(1) as pool:
        (future,) = begin(client, pool, large.getvalue(), 1)
        assert eventually(lambda: len(recogniser.heard) == 1)
        assert opened_in(tmp_path)
        assert list(tmp_path.iterdir()) == []  # it has no name even while it is used
        recogniser.go_on()
        assert future.result().status_code == 200
    assert client.post(RECOGNISE, files={"file": ("a.wav", large.getvalue()[:1_500_000])}).status_code == 200
    assert client.post(RECOGNISE, files={"file": ("a.wav", bytes(1_500_000))}).status_code == 422
    assert eventually(lambda: opened_in(tmp_path) == [])


def test_the_log_tells_no_secrets(serve: Serve, angry: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "affetto.server"):
        client = serve(token=TOKEN)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        words = client.post(RECOGNISE, files={"file": ("secret.flac", angry)}, headers=headers).json()["transcript"]
        client.get("/secret/path")
        assert eventually(lambda: len(caplog.records) >= 2)
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "affetto.server"]
    assert {json.loads(line)["outcome"] for line in lines} == {"ok", "not_found"}
    assert not any("secret" in line or TOKEN in line or words in line for line in lines)
