"""``affetto experiment table``, finished or not, on narrow and on wide terminals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from affetto.data.utterance import Utterance
from affetto.evaluate import Prediction, Row, RunFolder

Run = Callable[..., "tuple[int, str, str]"]
CLASSES = ("anger", "sadness")
ROWS = {
    "Baseline 64": {"kind": "baseline", "branch": {"units": 64, "depth": 2}},
    "Progressive net-2 of a long name": {"kind": "progressive", "layer": "gru2"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four folds of two repeats; the last cell of the second row is yet to come."""
    said = [
        Utterance(id=f"{speaker}{number}", audio=tmp_path / "a.wav", speaker=speaker, corpus="mine", emotion=emotion)
        for speaker in "stuvwx"
        for number, emotion in enumerate(CLASSES * 5)
    ]
    run = RunFolder(tmp_path / "run")
    rows = [{"name": name, "model": model, "repeats": 2} for name, model in ROWS.items()]
    facts = {"classes": list(CLASSES), "counts": {"folds": 4}}
    run.begin({"seed": 1, "rows": rows}, facts, {"affetto": "0.1.0"}, said, [])
    for place, (name, model) in enumerate(ROWS.items()):
        card = Row(name=name, model=model, training={}, parameters=100_000)
        for repeat, fold in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)][: 8 - place]:
            tested = [
                Prediction(
                    repeat, fold, each.id, each.speaker, str(each.emotion),
                    CLASSES[(number * (place + 1) + repeat + fold) % 3 % 2], {"anger": 0.5, "sadness": 0.5},
                )
                for number, each in enumerate(said)
                if each.speaker == "stuv"[fold]
            ]  # fmt: skip
            run.write_cell(card, tested, tested, [])
    return run.root


def test_a_narrow_terminal_shows_all_of_it(run: Run, folder: Path) -> None:
    code, out, err = run("experiment", "table", folder)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "Progressive net-2" in out
    assert "UAR less that of Baseline 64" in out
    assert "Progressive net-2 of a long name 7 of 8 cells" in " ".join(out.split())


def test_a_wide_terminal_shows_more(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    _, out, _ = run("experiment", "table", folder)
    assert "runs × folds" in out
    assert max(map(len, out.splitlines())) <= 140
    header = next(line for line in out.splitlines() if "runs × folds" in line)
    assert header.count("± folds") == 3


def test_other_formats(run: Run, folder: Path) -> None:
    assert json.loads(run("experiment", "table", folder, "--format", "json")[1])["unfinished"] is True
    records = list(csv.DictReader(io.StringIO(run("experiment", "table", folder, "--format", "csv")[1])))
    assert [record["name"] for record in records] == list(ROWS)
    assert run("experiment", "table", folder, "--format", "markdown")[1].startswith("**Scores**\n\n| row |")
    assert r"\bottomrule" in run("experiment", "table", folder, "--format", "latex")[1]


def test_best_first_and_another_baseline(run: Run, folder: Path) -> None:
    name = "Progressive net-2 of a long name"
    _, out, _ = run("experiment", "table", folder, "--format", "json", "--sort", "--baseline", name)
    values = json.loads(out)
    uars = [row["uar"]["mean"] for row in values["rows"]]
    assert uars == sorted(uars, reverse=True)
    assert values["baseline"] == name


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere: no run folder; name the output folder"),
        (["run", "--baseline", "joy"], "no row with a finished cell is called 'joy'; choose among Baseline 64"),
    ],
)
def test_complains_in_one_line(
    run: Run, folder: Path, arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    code, out, err = run("experiment", "table", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_help_teaches_by_example(run: Run) -> None:
    assert "affetto experiment table runs/table1" in run("experiment", "table", "--help")[1]
