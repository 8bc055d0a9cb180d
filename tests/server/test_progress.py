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
import jsonschema
import numpy as np
import pytest
import soundfile
from tests.server.serving import DEMO, RECOGNISE, Halting, eventually, metric, running

from affetto.frames import Waves
from affetto.recognise import SegmentPrediction
from affetto.server import app
from affetto.server.answers import Progress
from affetto.server.settings import Settings

Serve = Callable[..., httpx.Client]
Lines = Iterator[Any]
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "output.schema.json").read_text(encoding="utf-8"))


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


def parts(lines: Lines, recogniser: Halting) -> Lines:
    """The segments of each line, before the next pool is begun, and the result."""
    for line in lines:
        if "version" in line or "code" in line:
            yield line
        elif "segments" in line:
            Progress.parse(line)
            yield line["segments"]
            recogniser.go_on()


def test_segments_come_as_they_are_there(serve: Serve, talk: bytes, stepping: Halting) -> None:
    client = serve()
    with following(client, talk) as lines:
        *found, result = parts(lines, stepping)
    assert [len(each) for each in found] == [12] * 5
    assert result["segments"][:60] == [segment for each in found for segment in each]
    assert len(result["segments"]) == 65
    for each in result["segments"]:
        jsonschema.validate(
            each, {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/segment"}, cls=jsonschema.Draft202012Validator
        )
    assert stepping.heard == [*[12] * 5, 5]


def test_segments_of_each_channel_come(serve: Serve, call: Path, stepping: Halting) -> None:
    samples, rate = soundfile.read(call / "call.wav")
    content = io.BytesIO()
    soundfile.write(content, np.tile(samples, (15, 1)), rate, format="FLAC")
    with following(serve(), content.getvalue(), channels="separate") as lines:
        *found, result = parts(lines, stepping)
    assert found
    assert {segment["channel"] for each in found for segment in each} == {1, 2}
    assert all(segment in result["segments"] for each in found for segment in each)


def test_smoothing_is_provisional(serve: Serve, stepping: Halting) -> None:
    content = io.BytesIO()
    sounds = [soundfile.read(path)[0] for path in sorted(DEMO.glob("*.flac"))]
    samples = np.concatenate([part for sound in sounds for part in (sound, np.zeros(16_000))] * 8)
    soundfile.write(content, samples, 16_000, format="FLAC")
    with following(serve(), content.getvalue(), smooth=2) as lines:
        *found, result = parts(lines, stepping)
    pairs = list(zip([each for part in found for each in part], result["segments"], strict=False))
    same = [early == late for early, late in pairs]
    assert (same[5], same[11], same[12], same[17]) == (True, False, False, True)  # they differ at the ends of a line
    for early, late in pairs:
        assert {key for key in late if early[key] != late[key]} <= {"emotion", "sure", "probabilities"}


def test_a_recording_that_breaks_off_has_a_problem_after_its_segments(
    serve: Serve, talk: bytes, stepping: Halting, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Halting.predict

    def fails(self: Halting, waves: Waves) -> list[SegmentPrediction]:
        if len(self.heard) == 2:
            raise RuntimeError("out of something")
        return steps(self, waves)

    monkeypatch.setattr(Halting, "predict", fails)
    with following(serve(), talk) as lines:
        *found, last = parts(lines, stepping)
    assert ([len(each) for each in found], last["code"]) == ([12, 12], "internal")


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


def test_its_place_in_the_queue_is_reported(serve: Serve, talk: bytes, angry: bytes, recogniser: Halting) -> None:
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


def test_a_result_that_is_late_is_answered_so_in_the_last_line(serve: Serve, angry: bytes, recogniser: Halting) -> None:
    client = serve(timeout_s=2)
    recogniser.hold()
    with following(client, angry) as lines:
        *steps, last = lines
    assert steps
    assert (set(last), last["code"]) == ({"code", "problem", "remedy"}, "timeout")
    assert eventually(lambda: metric(client, 'affetto_requests_total{outcome="timeout"}') == 1)


def test_networks_that_break_are_reported_in_the_last_line(
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
