"""``affetto recognise --words-only``, ``--language`` and ``affetto asr`` with recognisers that have no emotion head."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.models.tiny_encoders import save

import affetto
from affetto import metrics
from affetto.cli.recognise import Format

DEMO = Path(affetto.__file__).parent / "demo"
SAID = {
    "angry": "how could you do this to me i told you never to touch it",
    "happy": "we won the game what a wonderful surprise",
}

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture(scope="module", params=["whisper", "deepspeech2"])
def headless(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def real() -> Path:
    folder = Path(os.environ.get("AFFETTO_WHISPER", "")) / "whisper-tiny.en"
    if not (folder / "config.json").is_file():
        pytest.skip("no whisper-tiny.en in the folder that AFFETTO_WHISPER names")
    return folder


def test_without_a_head_one_line_tells_what_to_do(run: Run, headless: Path) -> None:
    code, out, err = run("recognise", DEMO / "sad.flac", "--model", headless)
    assert (code, out) == (2, "")
    assert err == (
        f"affetto: {headless}: has no emotion head; train one (affetto train), "
        "or ask for words alone (affetto recognise --words-only)\n"
    )


@pytest.mark.parametrize("format_", [each.value for each in Format])
def test_words_alone_come_in_every_format(run: Run, headless: Path, format_: str) -> None:
    code, out, err = run("recognise", DEMO / "sad.flac", "--model", headless, "--words-only", "--format", format_)
    assert (code, err) == (0, "")
    assert not {"anger", "emotion", "not", "sure"} & set(out.replace('"', " ").split())


def test_words_alone_have_no_emotion(run: Run, headless: Path) -> None:
    _, out, _ = run("recognise", DEMO, "--model", headless, "--words-only", "--format", "json")
    values = json.loads(out)
    assert [Path(each["file"]).stem for each in values] == ["angry", "happy", "neutral", "sad"]
    assert {"emotion", "probabilities", "judgement"}.isdisjoint(values[0])
    _, rows, _ = run("recognise", DEMO, "--model", headless, "--words-only", "--format", "csv")
    found = list(csv.DictReader(io.StringIO(rows)))
    assert [row["transcript"] for row in found] == [
        each["transcript"] for value in values for each in value["segments"]
    ]


def test_a_folder_of_words_does_not_mix_with_one_of_emotions(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    arguments = ["recognise", DEMO / "sad.flac", "--model", tiny_model, "--output-dir", tmp_path]
    assert run(*arguments, "--words-only")[0] == 0
    assert "emotion" not in json.loads((tmp_path / "sad.json").read_text())
    code, _, err = run(*arguments)
    assert code == 2
    assert "holds results of another model or other settings" in err


@pytest.mark.parametrize("verb", [("recognise", "--words-only"), ("asr", "transcribe")])
def test_a_language_is_for_those_who_know_several(run: Run, headless: Path, verb: tuple[str, ...]) -> None:
    code, out, err = run(*verb, DEMO / "sad.flac", "--model", headless, "--language", "xx")
    assert (code, out) == (2, "")
    assert "language" in err
    whisper = (headless / "config.json").exists()
    assert run(*verb, DEMO / "sad.flac", "--model", headless, "--language", "de")[0] == (0 if whisper else 2)


def test_a_model_of_the_hub_is_asked_for_by_its_name(
    run: Run, headless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(repository: object) -> tuple[Path, str]:
        asked.append(repository)
        return headless, "0" * 40

    monkeypatch.setattr("affetto.models.encoders.hub.fetch", fetch)
    monkeypatch.chdir(tmp_path)
    assert run("recognise", DEMO / "sad.flac", "--model", "openai/tiny@v1", "--words-only")[0] == 0
    assert run("asr", "transcribe", DEMO / "sad.flac", "--model", "openai/tiny")[0] == 0
    assert asked == [("openai/tiny", "v1"), ("openai/tiny", None)]


def test_the_published_model_writes_what_is_said(run: Run, real: Path) -> None:
    paths = [DEMO / f"{name}.flac" for name in SAID]
    _, out, _ = run("recognise", *paths, "--model", real, "--words-only", "--format", "jsonl")
    recordings = [json.loads(line) for line in out.splitlines()]
    assert metrics.wer(list(SAID.values()), [each["transcript"] for each in recordings]) < 0.2
    _, text, _ = run("asr", "transcribe", *paths, "--model", real)
    assert [line.split("\t")[1] for line in text.splitlines()] == [each["transcript"] for each in recordings]


def test_the_published_model_is_scored(run: Run, real: Path, tmp_path: Path) -> None:
    lines = [
        {"id": name, "audio": str(DEMO / f"{name}.flac"), "speaker": name, "text": said} for name, said in SAID.items()
    ]
    corpus = tmp_path / "manifest.jsonl"
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, _ = run("asr", "evaluate", corpus, "--model", real, "--format", "json")
    values = json.loads(out)
    assert (code, values["utterances"], values["decoder"]) == (0, 2, "Whisper's decoder")
    assert values["wer"] < 0.2
