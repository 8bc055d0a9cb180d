"""How far a recording is, line by line, and how that ends."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from tests.server.serving import RECOGNISE, Halting, eventually, metric, running

from affetto.frames import Waves
from affetto.server import app
from affetto.server.answers import Progress
from affetto.server.settings import Settings

Serve = Callable[..., httpx.Client]
Lines = Iterator[dict[str, Any]]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_PROGRESS_S", 0.01)


@contextmanager
def following(client: httpx.Client, sound: bytes, **params: Any) -> Iterator[Lines]:
    """The lines of a request, as they come."""
    files, params = {"file": ("a.flac", sound)}, {"progress": "true", **params}
    with client.stream("POST", RECOGNISE, files=files, params=params) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
        yield (json.loads(line) for line in answer.iter_lines())


def test_it_goes_on_and_ends_with_the_result(serve: Serve, talk: bytes, recogniser: Halting) -> None:
    client = serve()
    recogniser.hold()
    with following(client, talk) as lines:
        first = next(lines)
        recogniser.go_on()
        *more, result = lines
    steps = [Progress.parse(step) for step in (first, *more)]
    done = [step.progress_s for step in steps]
    assert result == client.post(RECOGNISE, files={"file": ("a.flac", talk)}).json()
    assert done == sorted(done)
    assert done[0] < done[-1] <= steps[0].duration_s
    assert {step.duration_s for step in steps} == {round(soundfile.info(io.BytesIO(talk)).duration, 4)}
    assert {step.queue for step in steps if step.progress_s} == {0}


@pytest.mark.parametrize("formats", [["json", "csv"], ["vtt", "jsonl"]])
def test_formats_come_by_name_as_ever(serve: Serve, angry: bytes, formats: list[str]) -> None:
    client = serve()
    plain = client.post(RECOGNISE, files={"file": ("a.flac", angry)}, params={"format": formats})
    with following(client, angry, format=formats) as lines:
        assert list(lines)[-1] == plain.json()


def test_one_format_comes_by_its_name(serve: Serve, angry: bytes) -> None:
    client = serve()
    plain = client.post(RECOGNISE, files={"file": ("a.flac", angry)}, params={"format": "srt"})
    with following(client, angry, format="srt") as lines:
        assert list(lines)[-1] == {"srt": plain.text}


def test_its_place_in_the_queue_is_told(serve: Serve, talk: bytes, angry: bytes, recogniser: Halting) -> None:
    client = serve()
    recogniser.hold()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(client.post, RECOGNISE, content=talk)
        assert eventually(lambda: len(recogniser.heard) == 1)
        with following(client, talk) as lines:
            assert next(lines)["queue"] == 1
            passing = pool.submit(client.post, RECOGNISE, content=angry)
            assert next(line for line in lines if line["queue"] != 1)["queue"] == 2
            recogniser.go_on()
            queue = [line["queue"] for line in lines if "queue" in line]
            assert sorted(queue, reverse=True) == queue
        assert [each.result().status_code for each in (running, passing)] == [200, 200]


def test_who_hangs_up_is_no_longer_worked_for(serve: Serve, talk: bytes, angry: bytes, recogniser: Halting) -> None:
    client = serve()
    recogniser.hold()
    with following(client, talk) as lines:
        assert next(line for line in lines if line["progress_s"])["queue"] == 0
        assert eventually(lambda: len(recogniser.heard) == 1)
    assert eventually(lambda: metric(client, "affetto_requests_taken") == 0)
    recogniser.go_on()
    assert client.post(RECOGNISE, content=angry).status_code == 200
    assert len(recogniser.heard) == 2  # the batch that was held up, and the other recording
    assert metric(client, 'affetto_requests_total{outcome="hung_up"}') == 1


def test_what_is_wrong_before_the_first_line_has_its_status(serve: Serve, angry: bytes) -> None:
    client = serve(max_duration_s=2)
    for sound, expected in ((b"words", "no_sound"), (angry, "too_long")):
        answer = client.post(RECOGNISE, content=sound, params={"progress": "true"})
        plain = client.post(RECOGNISE, content=sound)
        assert (answer.status_code, answer.json()) == (plain.status_code, plain.json())
        assert answer.json()["code"] == expected


def test_a_result_that_is_late_is_told_so_in_the_last_line(serve: Serve, angry: bytes, recogniser: Halting) -> None:
    client = serve(timeout_s=2)
    recogniser.hold()
    with following(client, angry) as lines:
        *steps, last = lines
    assert steps
    assert (set(last), last["code"]) == ({"code", "problem", "remedy"}, "timeout")
    assert eventually(lambda: metric(client, 'affetto_requests_total{outcome="timeout"}') == 1)


def test_networks_that_break_are_told_of_in_the_last_line(
    serve: Serve, angry: bytes, recogniser: Halting, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Halting.predict

    def fails(self: Halting, waves: Waves) -> None:
        predict(self, waves)
        raise RuntimeError("out of something")

    monkeypatch.setattr(Halting, "predict", fails)
    client = serve()
    recogniser.hold()
    with following(client, angry) as lines:
        next(lines)
        recogniser.go_on()
        assert list(lines)[-1]["code"] == "internal"
    assert eventually(lambda: metric(client, 'affetto_requests_total{outcome="internal"}') == 1)


def test_a_service_that_stops_says_so_in_the_last_line(tiny_model: Path, talk: bytes) -> None:
    recogniser = Halting.made(tiny_model)
    with running(recogniser, tiny_model, Settings(shutdown_s=1)) as (server, thread, client):
        recogniser.hold()
        with following(client, talk) as lines:
            next(lines)
            server.should_exit = True
            assert list(lines)[-1]["code"] == "stopping"
        thread.join(120)
        assert not thread.is_alive()
        recogniser.go_on()
