"""What the service answers, over a real socket: the shell's results, and a problem of one shape for everything else."""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
import webvtt
from prometheus_client.parser import text_string_to_metric_families
from tests.server.serving import DEMO, RECOGNISE, metric

from affetto.cli import main
from affetto.environment import environment
from affetto.models import voices
from affetto.models.voices import can_tell_apart
from affetto.server.answers import ModelsAnswer, Progress, RecordingAnswer
from affetto.server.problems import KINDS

NAMES = [path.name for path in sorted(DEMO.glob("*.flac"))]


def shell(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["recognise", "--format", "json", *map(str, arguments)])
    (result,) = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


def form(content: bytes, name: str = "a.flac") -> dict[str, tuple[str, bytes]]:
    return {"file": (name, content)}


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_the_shell_says(
    client: httpx.Client,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(DEMO)
    expected = shell(capsys, name, "--model", tiny_model, "--sure", "0.4", "--smooth", "2")
    got = client.post(RECOGNISE, files=form((DEMO / name).read_bytes(), name), params={"sure": 0.4, "smooth": 2})
    assert got.status_code == 200
    assert got.json() == expected
    assert list(got.json()) == list(expected)


def test_separate_channels_are_those_of_the_shell(
    client: httpx.Client,
    tiny_model: Path,
    call: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(call)
    options = ("--model", tiny_model, "--smooth", "2", "--channels")
    for way in ("separate", "mix"):
        expected = shell(capsys, "call.wav", *options, way)
        params = {"smooth": 2, "channels": way}
        answers = [client.post(RECOGNISE, files=form((call / "call.wav").read_bytes(), "call.wav"), params=params)]
        with ThreadPoolExecutor(3) as pool:  # in batches with recordings whose channels are mixed
            files = [form((call / f"{name}.wav").read_bytes(), "call.wav") for name in ("1", "call", "2")]
            ways = [{"smooth": 2, "channels": each} for each in ("mix", way, "mix")]
            results = pool.map(lambda each, how: client.post(RECOGNISE, files=each, params=how), files, ways)
            answers.append(list(results)[1])
        for answer in answers:
            assert answer.json() == expected
            assert RecordingAnswer.parse(answer.json()).model_dump(exclude_unset=True) == expected
    answer = client.post(
        RECOGNISE,
        files=form((call / "call.wav").read_bytes(), "call.wav"),
        params={"channels": "separate", "format": ["csv", "textgrid", "rttm"]},
    ).json()
    assert {row["channel"] for row in csv.DictReader(io.StringIO(answer["csv"]))} == {"1", "2"}
    assert 'name = "emotion 2"' in answer["textgrid"]
    assert "channel_2_" in answer["rttm"]


def test_speakers_are_those_of_the_shell(
    client: httpx.Client,
    tiny_model: Path,
    call: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not can_tell_apart():
        pytest.skip("Resemblyzer is not installed")
    monkeypatch.chdir(call)
    files = form((call / "call.wav").read_bytes(), "call.wav")
    for speakers in ("auto", 2, 1):
        expected = shell(capsys, "call.wav", "--model", tiny_model, "--speakers", speakers)
        with ThreadPoolExecutor(3) as pool:  # beside recordings whose speakers are not told apart
            ways = [{}, {"speakers": speakers}, {"channels": "separate"}]
            asked = [pool.submit(client.post, RECOGNISE, files=files, params=way) for way in ways]
            results = [each.result().json() for each in asked]
        assert results[1] == expected
        assert RecordingAnswer.parse(results[1]).model_dump(exclude_unset=True) == expected
        assert "speakers" not in results[0]
        assert "channels" in results[2]


def test_without_the_extra_it_says_so(client: httpx.Client, angry: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "find_spec", lambda _: None)
    answer = client.post(RECOGNISE, files=form(angry), params={"speakers": "auto"})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_option")
    assert answer.json()["remedy"] == 'pip install "affetto[speakers]"'


@pytest.mark.parametrize(
    "kind", ["audio/flac", "application/octet-stream", "Audio/X-FLAC; rate=16000", "video/mp4", None]
)
def test_the_body_may_be_the_file(client: httpx.Client, angry: bytes, kind: str | None) -> None:
    by_form = client.post(RECOGNISE, files=form(angry, "upload")).json()
    headers = {} if kind is None else {"Content-Type": kind}
    assert client.post(RECOGNISE, content=angry, headers=headers).json() == by_form
    chunks = (angry[first : first + 1000] for first in range(0, len(angry), 1000))
    assert client.post(RECOGNISE, content=chunks, headers=headers).json() == by_form


def test_all_of_joined_recordings_is_recognised(client: httpx.Client) -> None:
    wave, rate = soundfile.read(DEMO / "angry.flac", dtype="float32")
    content = io.BytesIO()
    soundfile.write(content, wave, rate, format="MP3")
    answer = client.post(RECOGNISE, files=form(content.getvalue() * 3, "three.mp3")).json()
    assert answer["duration_s"] == pytest.approx(3 * len(wave) / rate, abs=0.3)
    assert answer["segments"][-1]["end_s"] > 2.5 * len(wave) / rate


def test_its_answers_are_as_described(client: httpx.Client, angry: bytes) -> None:
    given = client.post(RECOGNISE, files=form(angry)).json()
    assert RecordingAnswer.parse(given).model_dump(exclude_unset=True) == given


def test_no_speech_is_a_result(client: httpx.Client) -> None:
    content = io.BytesIO()
    soundfile.write(content, np.zeros(16_000), 16_000, format="WAV")
    answer = client.post(RECOGNISE, content=content.getvalue())
    assert (answer.status_code, answer.json()["emotion"], answer.json()["silent"]) == (200, None, True)


def test_other_formats(client: httpx.Client, angry: bytes) -> None:
    answers = {
        name: client.post(RECOGNISE, files=form(angry), params={"format": name})
        for name in ("json", "csv", "vtt", "jsonl")
    }
    segments = answers["json"].json()["segments"]
    assert json.loads(answers["jsonl"].text) == answers["json"].json()
    assert [row["start_s"] for row in csv.DictReader(io.StringIO(answers["csv"].text))] == [
        str(each["start_s"]) for each in segments
    ]
    assert len(webvtt.from_buffer(io.StringIO(answers["vtt"].text)).captions) == len(segments)
    assert answers["vtt"].headers["content-type"].startswith("text/vtt")


@pytest.mark.parametrize(
    ("method", "path", "options", "code"),
    [
        ("GET", "/v2", {}, "not_found"),
        ("GET", "/healthz/", {}, "not_found"),
        ("DELETE", "/", {}, "wrong_method"),
        ("GET", "/v1/recognise/../../etc/passwd", {}, "not_found"),
        ("GET", RECOGNISE, {}, "wrong_method"),
        ("DELETE", "/healthz", {}, "wrong_method"),
        ("POST", RECOGNISE, {"content": b"x", "headers": {"Content-Type": "text/html"}}, "wrong_type"),
        ("POST", RECOGNISE, {"data": {"file": "/etc/passwd"}}, "wrong_type"),
        ("POST", RECOGNISE, {"files": {"file": (None, "/etc/passwd")}}, "bad_form"),
        ("POST", RECOGNISE, {"files": {"sound": ("a.wav", b"RIFF")}}, "bad_form"),
        ("POST", RECOGNISE, {"files": {"file": ("a.wav", b"RIFF")}, "data": {"model": "a"}}, "bad_form"),
        ("POST", RECOGNISE, {"files": [("file", ("a.wav", b"RIFF")), ("file", ("b.wav", b"RIFF"))]}, "bad_form"),
        ("POST", RECOGNISE, {"content": b"no parts", "headers": {"Content-Type": "multipart/form-data"}}, "bad_form"),
        (
            "POST",
            RECOGNISE,
            {"content": b"no parts", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            "bad_form",
        ),
        ("POST", RECOGNISE, {"content": b""}, "no_sound"),
        ("POST", RECOGNISE, {"files": {"file": ("a.wav", b"")}}, "no_sound"),
        ("POST", RECOGNISE, {"content": b"words, not sound"}, "no_sound"),
        ("POST", RECOGNISE, {"params": {"sure": "2"}}, "bad_option"),
        ("POST", RECOGNISE, {"params": {"smooth": "nan"}}, "bad_option"),
        ("POST", RECOGNISE, {"params": {"path": "/etc/passwd"}}, "bad_option"),
        ("POST", RECOGNISE, {"params": {"format": "table"}}, "bad_option"),
        ("POST", RECOGNISE, {"params": {"channels": "both"}}, "bad_option"),
        ("POST", RECOGNISE, {"params": {"format": ["json", "table"]}}, "bad_option"),
        ("POST", RECOGNISE, {"params": {"speakers": "many"}}, "bad_option"),
        ("POST", RECOGNISE, {"params": {"speakers": "2", "channels": "separate"}}, "bad_option"),
        ("GET", "/healthz", {"headers": {"Host": "rebound.example"}}, "unknown_host"),
    ],
)
def test_problems_have_one_shape(
    client: httpx.Client, method: str, path: str, options: dict[str, object], code: str
) -> None:
    answer = client.request(method, path, **options)  # type: ignore[arg-type]
    assert set(answer.json()) == {"code", "problem", "remedy"}
    assert (answer.json()["code"], answer.status_code) == (code, KINDS[code].status)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"format": "xml"}, "format: 'xml' is not 'json', 'jsonl', 'csv', 'vtt', 'srt', 'textgrid' or 'rttm'"),
        (
            {"format": ["json", "xml"], "smoth": "3"},
            "format: 'xml' is not 'json', 'jsonl', 'csv', 'vtt', 'srt', 'textgrid' or 'rttm'; "
            "smoth: there is no such option",
        ),
        ({"sure": "2"}, "sure: Input should be less than or equal to 1"),
        ({"speakers": "0"}, "speakers: Input should be greater than or equal to 1"),
        ({"speakers": "2", "channels": "separate"}, "speakers: of separate channels they are not told apart"),
    ],
)
def test_a_wrong_option_is_named_once(client: httpx.Client, options: dict[str, object], problem: str) -> None:
    answer = client.post(RECOGNISE, content=b"x", params=options)  # type: ignore[arg-type]
    assert answer.json()["problem"] == problem


@pytest.mark.parametrize(
    "path",
    ["/", "/page/page.js", "/healthz", "/metrics", "/v1/models", "/openapi.json", "/v2", "/v1/listen", RECOGNISE],
)
def test_a_head_is_that_of_the_answer(client: httpx.Client, path: str) -> None:
    answer, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (answer.status_code, b"")
    own = {"date", "x-request-id", *(["content-length"] if path == "/metrics" else [])}
    assert [each for each in head.headers.items() if each[0] not in own] == [
        each for each in answer.headers.items() if each[0] not in own
    ]


def test_every_answer_is_described_by_an_example(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    contents = [
        (path, status, kind, content)
        for path, methods in described["paths"].items()
        for method in methods.values()
        for status, answer in method["responses"].items()
        for kind, content in answer.get("content", {}).items()
    ]
    assert len({path for path, *_ in contents}) == 7
    assert [told for *told, content in contents if not {"example", "examples"} & set(content)] == []
    (_, _, _, result) = next(each for each in contents if each[:3] == (RECOGNISE, "200", "application/json"))
    (_, _, _, line) = next(each for each in contents if each[:3] == (RECOGNISE, "200", "application/x-ndjson"))
    parsed = RecordingAnswer.parse(result["example"]).model_dump(exclude_unset=True)
    lines = {name: example["value"].splitlines() for name, example in line["examples"].items()}
    assert parsed == json.loads(*lines["jsonl"]) == json.loads(lines["progress"][-1]) == result["example"]
    Progress.parse(json.loads(lines["progress"][0]))
    (_, _, _, models) = next(each for each in contents if each[:2] == ("/v1/models", "200"))
    ModelsAnswer.parse(models["example"])


def test_the_model_is_reported(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["emotions"] == ["anger", "happiness", "neutral", "sadness"]
    assert model["licence"] == {"recogniser": "none", "emotion": "not stated"}
    assert "/" not in model["name"]


def test_it_counts(client: httpx.Client, angry: bytes) -> None:
    client.post(RECOGNISE, files=form(angry))
    before = [metric(client, name) for name in ('affetto_requests_total{outcome="ok"}', "affetto_sound_seconds_total")]
    client.post(RECOGNISE, files=form(angry))
    after = [metric(client, name) for name in ('affetto_requests_total{outcome="ok"}', "affetto_sound_seconds_total")]
    assert np.subtract(after, before) == pytest.approx([1, soundfile.info(DEMO / "angry.flac").duration], abs=1e-3)
    assert (metric(client, "affetto_queue_length"), metric(client, "affetto_requests_taken")) == (0, 0)


def test_figures_are_named_as_prometheus_wants_it(client: httpx.Client, angry: bytes) -> None:
    client.post(RECOGNISE, files=form(angry))
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert all(family.documentation for family in families)
    names = {family.name for family in families}
    assert {"affetto_request_duration_seconds", "process_resident_memory_bytes", "process_start_time_seconds"} <= names
    (build,) = (family.samples[0] for family in families if family.name == "affetto_build_info")
    assert build.labels == {name: str(value) for name, value in environment().items() if value is not None}


def test_sixteen_at_once_are_all_answered(client: httpx.Client) -> None:
    files = [DEMO / name for name in NAMES] * 4
    alone = {path: client.post(RECOGNISE, files=form(path.read_bytes(), path.name)).json() for path in files[:4]}
    with ThreadPoolExecutor(len(files)) as pool:
        answers = list(pool.map(lambda path: client.post(RECOGNISE, files=form(path.read_bytes(), path.name)), files))
    assert [answer.status_code for answer in answers] == [200] * len(files)
    for path, answer in zip(files, answers, strict=True):
        got, expected = answer.json(), alone[path]
        assert got["probabilities"] == pytest.approx(expected["probabilities"], abs=2e-4)
        assert (got["file"], got["transcript"]) == (path.name, expected["transcript"])
