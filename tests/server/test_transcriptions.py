"""The route of OpenAI's API: its formats and errors, with the results and under the limits of /v1/recognise."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import srt
import webvtt
from tests.server.serving import RECOGNISE, Halting, eventually, metric

from affetto.server.problems import KINDS
from affetto.server.telemetry import JsonLines
from affetto.server.transcriptions import Transcription, VerboseTranscription

TRANSCRIBE = "/v1/audio/transcriptions"
TOKEN = "a token of many letters"
JUDGED = ("emotion", "sure", "familiar", "probabilities")


def ask(client: httpx.Client, sound: bytes, **fields: str | list[str]) -> httpx.Response:
    return client.post(TRANSCRIBE, files={"file": ("a.flac", sound)}, data={"model": "whisper-1", **fields})


@pytest.fixture
def recognised(client: httpx.Client, angry: bytes) -> dict[str, Any]:
    result = client.post(RECOGNISE, files={"file": ("a.flac", angry)}).json()
    assert isinstance(result, dict)
    assert result["segments"]
    return result


def test_json(client: httpx.Client, angry: bytes, recognised: dict[str, Any]) -> None:
    answer = ask(client, angry).json()
    assert Transcription.parse(answer).model_dump(exclude_none=True) == answer
    assert answer == {"text": recognised["transcript"], **{name: recognised[name] for name in JUDGED}}
    assert client.post(TRANSCRIBE, content=angry).json() == answer  # the file itself


def test_verbose_json(client: httpx.Client, angry: bytes, recognised: dict[str, Any]) -> None:
    answer = ask(client, angry, response_format="verbose_json", language="de").json()
    assert VerboseTranscription.parse(answer).model_dump(exclude_none=True) == answer
    assert (answer["language"], answer["duration"], answer["text"]) == (
        *("de", recognised["duration_s"]),
        recognised["transcript"],
    )
    (segment, *_), (expected, *_) = answer["segments"], recognised["segments"]
    assert [each["id"] for each in answer["segments"]] == list(range(len(recognised["segments"])))
    assert (segment["start"], segment["end"], segment["text"]) == (
        *(expected["start_s"], expected["end_s"]),
        expected["transcript"],
    )
    assert [segment[name] for name in JUDGED] == [expected[name] for name in JUDGED]


def test_words(client: httpx.Client, angry: bytes, recognised: dict[str, Any]) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    words = ask(client, angry, **fields).json()["words"]  # type: ignore[arg-type]
    expected = [word for segment in recognised["segments"] for word in segment["words"]]
    assert words
    assert [list(word.values()) for word in words] == [list(word.values()) for word in expected]
    assert list(words[0]) == ["word", "start", "end", "confidence"]


def test_texts(client: httpx.Client, angry: bytes, recognised: dict[str, Any]) -> None:
    answers = {name: ask(client, angry, response_format=name) for name in ("text", "srt", "vtt")}
    assert answers["text"].text == recognised["transcript"] + "\n"
    assert answers["text"].headers["content-type"].startswith("text/plain")
    assert next(srt.parse(answers["srt"].text)).content.startswith("[")
    assert len(webvtt.from_buffer(io.StringIO(answers["vtt"].text)).captions) == len(recognised["segments"])
    for name in ("srt", "vtt"):
        assert answers[name].text == client.post(RECOGNISE, content=angry, params={"format": name}).text


def test_what_has_no_effect_is_accepted(client: httpx.Client, angry: bytes, recognised: dict[str, Any]) -> None:
    answer = ask(client, angry, prompt="Hello.", temperature="0.2", language="en", stream="false").json()
    assert answer["text"] == recognised["transcript"]


def test_the_served_model_has_its_name(client: httpx.Client, angry: bytes) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert ask(client, angry, model=model["name"]).status_code == 200


@pytest.mark.parametrize(
    ("fields", "code", "name"),
    [
        ({"model": "gpt-4o-transcribe"}, "not_found", "model"),
        ({"response_format": "xml"}, "bad_option", "response_format"),
        ({"response_format": "json", "timestamp_granularities[]": "line"}, "bad_option", "timestamp_granularities[]"),
        ({"temperature": "warm"}, "bad_option", "temperature"),
        ({"temperature": "nan"}, "bad_option", "temperature"),
        ({"stream": "true"}, "bad_option", "stream"),
        ({"include[]": "logprobs"}, "bad_option", "include[]"),
        ({"file": "/etc/passwd"}, "bad_form", "file"),
        ({"prompt": "a" * 5_000}, "bad_form", ""),
        ({"include[]": ["logprobs"] * 17}, "bad_form", ""),
    ],
)
def test_a_wrong_field_is_named(
    client: httpx.Client, angry: bytes, fields: dict[str, Any], code: str, name: str
) -> None:
    answer = ask(client, angry, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (KINDS[code].status, code)
    assert name in error["message"]
    assert (error["type"], list(answer.json())) == ("invalid_request_error", ["error"])
    assert "a" * 70 not in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "options", "code"),
    [
        ("POST", TRANSCRIBE, {"files": {"sound": ("a.wav", b"RIFF")}}, "bad_form"),
        ("POST", TRANSCRIBE, {"files": {"file": ("a.wav", b"words, not sound")}}, "no_sound"),
        ("POST", TRANSCRIBE, {"files": {"file": ("a.wav", b"")}}, "no_sound"),
        ("POST", TRANSCRIBE, {"data": {"model": "whisper-1"}}, "wrong_type"),
        ("POST", TRANSCRIBE, {"headers": {"Sec-Fetch-Site": "cross-site"}}, "foreign_page"),
        ("POST", TRANSCRIBE, {"headers": {"Host": "rebound.example"}}, "unknown_host"),
        ("GET", TRANSCRIBE, {}, "wrong_method"),
        ("POST", "/v1/audio/speech", {}, "not_found"),
    ],
)
def test_problems_have_the_shape_of_openai(
    client: httpx.Client, method: str, path: str, options: dict[str, Any], code: str
) -> None:
    answer = client.request(method, path, **options)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert (answer.json()["error"]["code"], answer.status_code) == (code, KINDS[code].status)


def test_a_token_is_asked_for_and_nothing_is_logged(
    serve: Callable[..., httpx.Client], angry: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "affetto.server"):
        client = serve(token=TOKEN)
        assert (ask(client, angry).status_code, ask(client, angry).json()["error"]["code"]) == (401, "unauthorised")
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        words = ask(client, angry, prompt="secret", model="whisper-1").json()["text"]
        assert ask(client, angry, model="secret").status_code == 404
        assert eventually(lambda: len(caplog.records) >= 4)
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "affetto.server"]
    assert {json.loads(line)["route"] for line in lines} == {TRANSCRIBE}
    assert not any("secret" in line or words in line for line in lines)


def test_the_queue_is_that_of_all_recordings(
    serve: Callable[..., httpx.Client], angry: bytes, recogniser: Halting
) -> None:
    client = serve(queue=1)
    recogniser.hold()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, RECOGNISE, content=angry)
        assert eventually(lambda: recogniser.heard == [1])
        busy = ask(client, angry)
        recogniser.go_on()
        assert first.result().status_code == 200
    assert (busy.status_code, busy.json()["error"]["code"]) == (429, "busy")
    assert int(busy.headers["Retry-After"]) >= 1
    assert ask(client, angry).status_code == 200
    counts = {name: metric(client, f'affetto_requests_total{{outcome="{name}"}}') for name in ("ok", "busy")}
    assert counts == {"ok": 2, "busy": 1}


def test_openais_own_client(serve: Callable[..., httpx.Client], angry: bytes) -> None:
    openai = pytest.importorskip("openai")
    service = serve(token=TOKEN)
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key=TOKEN, max_retries=0) as client:
        (model,) = client.models.list()
        assert (model.object, model.owned_by) == ("model", "affetto")
        create = client.audio.transcriptions.create
        short = create(model=model.id, file=("a.flac", angry))
        full = create(
            model="whisper-1",
            file=("a.flac", angry),
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            temperature=0,
        )
        subtitles = create(model="whisper-1", file=("a.flac", angry), response_format="srt")
        with pytest.raises(openai.NotFoundError) as missing:
            create(model="gpt-4o-transcribe", file=("a.flac", angry))
        with pytest.raises(openai.UnprocessableEntityError) as streamed:
            create(model="whisper-1", file=("a.flac", angry), stream=True)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").audio.transcriptions.create(model="whisper-1", file=("a.flac", angry))
    assert (short.text, short.emotion) == (full.text, full.emotion)
    assert full.segments[0].emotion in full.probabilities
    assert full.words[0].start >= full.segments[0].start
    assert "-->" in subtitles
    assert missing.value.code == "not_found"
    assert "stream: " in streamed.value.message
