"""``affetto corpus check`` and ``check-split``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from affetto.data.check import divide, report
from affetto.data.manifest import write_manifest
from affetto.data.protocols import GroupedKFold
from affetto.data.utterance import Utterance

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def corpus(make_sound: Callable[..., Path]) -> Path:
    """Six speakers in three sessions, each angry and neutral once, and one of them afraid."""
    sound = make_sound("corpus/a.wav", duration_s=0.05)
    said = [(speaker, emotion) for speaker in "abcdef" for emotion in ("anger", "neutral")]
    write_manifest(
        sound.parent / "manifest.jsonl",
        [
            Utterance(
                id=f"{speaker}-{emotion}",
                audio=sound,
                speaker=speaker,
                corpus="mine",
                emotion=emotion,
                group=str("abcdef".index(speaker) // 2),
            )
            for speaker, emotion in [*said, ("f", "fear")]
        ],
    )
    return sound.parent


@pytest.mark.parametrize("content", [None, b"", b"no sound"])
def test_faulty_sound_is_an_exit_code(run: Run, corpus: Path, content: bytes | None) -> None:
    assert run("corpus", "check", corpus)[0] == 0
    with (corpus / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"audio": "b.wav", "speaker": "g"}\n')
    if content is not None:
        (corpus / "b.wav").write_bytes(content)
    code, out, _ = run("corpus", "check", corpus)
    assert code == 1
    assert "unreadable audio 1" in out or "audio missing 1" in out


def test_labels_are_counted_and_what_has_none(run: Run, make_sound: Callable[..., Path]) -> None:
    sound = make_sound("corpus/a.wav")
    rows = [f"{number},a.wav,ann,{label}" for number, label in enumerate(["Angry", "anger", "Odd", ""])]
    (sound.parent / "manifest.csv").write_text("\n".join(["id,audio,speaker,emotion", *rows]))
    _, out, _ = run("corpus", "check", sound.parent)
    assert "anger 2, odd 1, without a label 1" in out


def test_parts_are_printed(run: Run, corpus: Path) -> None:
    code, out, err = run("corpus", "check-split", corpus, "--leave-out", "speaker")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[:4] == [
        ["fold", "part", "speakers", "utterances", "anger", "fear", "neutral"],
        ["0", "train", "4", "9", "4", "1", "4"],
        ["validation", "1", "2", "1", "0", "1"],
        ["test", "1", "2", "1", "0", "1"],
    ]
    assert len(lines) - 1 - 6 * 3 == len(out.split("fold 0: no fear in its validation part")[1].splitlines())
    assert out.endswith("every utterance is tested in exactly one fold\nno speaker in two parts of a fold\n")


@pytest.mark.parametrize(
    ("options", "folds"),
    [((), 3), (("--folds", 4), 4), (("--leave-out", "session"), 3), (("--leave-out", "speaker"), 6)],
)
def test_division_is_chosen(run: Run, corpus: Path, options: tuple[str, ...], folds: int) -> None:
    options = options or ("--folds", "3")
    code, out, _ = run("corpus", "check-split", corpus, *options, "--format", "json")
    values = json.loads(out)
    assert (code, values["version"], values["leaks"], len(values["parts"])) == (0, 1, False, folds * 3)


def test_json_holds_all_that_the_library_tells(run: Run, corpus: Path) -> None:
    _, out, _ = run("corpus", "check-split", corpus, "--folds", 3, "--format", "json")
    values = json.loads(out)
    found = report(divide(corpus, GroupedKFold(folds=3)))
    assert [part["speakers"] for part in values["parts"]] == [list(part.speakers) for part in found.parts]
    assert [part["emotions"] for part in values["parts"]] == [part.emotions for part in found.parts]
    assert [part["part"] for part in values["missing"]] == [missing.part for missing in found.missing]
    assert (values["never_tested"], values["tested_repeatedly"]) == (0, 0)


def test_leaks_are_refused(run: Run, corpus: Path) -> None:
    folds = corpus / "folds.csv"
    folds.write_text("fold,part,speaker\n0,train,a\n0,train,b\n0,validation,c\n0,test,d\n0,test,a\n")
    code, out, err = run("corpus", "check-split", corpus)
    assert (code, out) == (2, "")
    assert err == "affetto: fold 0: mine/a in both train and test; keep every speaker or group in one part\n"


def test_divisions_of_others_are_looked_at(run: Run, corpus: Path, tmp_path: Path) -> None:
    folds = tmp_path / "theirs.csv"
    folds.write_text("fold,part,speaker\n0,train,a\n0,train,b\n0,validation,c\n0,test,mine/d\n")
    code, out, _ = run("corpus", "check-split", corpus, "--by", folds)
    assert code == 0
    assert "6 utterances are tested in no fold, 0 in several\n" in out


def test_recipes_divide(run: Run, corpus: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("""
corpus = "corpus"
classes = ["anger", "neutral"]
protocol = {kind = "fixed", validation = ["c"], test = ["a", "b"]}
rows = [{name = "chance", model = {kind = "random"}}]
""")
    code, out, err = run("corpus", "check-split", corpus, "--by", recipe, "--format", "json")
    values = json.loads(out)
    assert (code, err) == (0, "")
    assert [part["speakers"] for part in values["parts"]][1:] == [["mine/c"], ["mine/a", "mine/b"]]
    assert values["parts"][0]["emotions"] == {"anger": 3, "neutral": 3}


def test_what_cannot_be_divided_is_refused(run: Run, corpus: Path) -> None:
    code, _, err = run("corpus", "check-split", corpus, "--folds", 7)
    assert (code, err) == (
        2,
        "affetto: 7 folds of 6 group(s); ask for at most as many folds as there are groups\n",
    )


def test_the_real_crowd_of_speakers_fits_a_terminal(run: Run, data_root: Path) -> None:
    code, out, _ = run("corpus", "check-split", data_root / "crema-d", "--folds", 10)
    lines = out.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + 10 * 3 + 2
