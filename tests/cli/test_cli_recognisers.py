"""``affetto experiment recognisers``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from affetto.data.utterance import Utterance
from affetto.evaluate import Prediction, Row, RunFolder

Run = Callable[..., "tuple[int, str, str]"]
CLASSES = ("anger", "sadness")


def _folder(root: Path, cer: float, wrong: int) -> Path:
    said = [
        Utterance(id=f"{speaker}{number}", audio=root / "a.wav", speaker=speaker, corpus="mine", emotion=emotion)
        for speaker in "stuvwx"
        for number, emotion in enumerate(CLASSES * 5)
    ]
    run = RunFolder(root)
    facts = {"classes": list(CLASSES), "counts": {"folds": 3}, "manifest_sha256": "a", "recogniser_cer": cer}
    run.begin({"seed": 1, "rows": [{"name": "MP-1", "repeats": 1}]}, facts, {}, said, [])
    card = Row(name="MP-1", model={"kind": "mean_pooling"}, training={})
    for fold in range(3):
        tested = [
            Prediction(
                0, fold, each.id, each.speaker, str(each.emotion),
                "anger" if number % 10 < wrong else str(each.emotion), {"anger": 0.5, "sadness": 0.5},
            )
            for number, each in enumerate(said)
            if "stuvwx".index(each.speaker) % 3 == fold
        ]  # fmt: skip
        run.write_cell(card, tested, tested, [])
    return root


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [_folder(tmp_path / "early", 0.9, 6), _folder(tmp_path / "late", 0.4, 2)]


def test_shows_a_table_on_a_narrow_terminal(run: Run, folders: list[Path]) -> None:
    code, out, err = run("experiment", "recognisers", *folders)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert ".900" in out
    assert ".400" in out
    assert "early" in out


def test_draws_the_figure_and_gives_markdown(run: Run, folders: list[Path], tmp_path: Path) -> None:
    done = run("experiment", "recognisers", *folders, "--figure", tmp_path / "drawn", "--format", "markdown")
    assert done[0] == 0
    assert "| row | .900 | .400 |" in done[1]
    assert sorted(each.name for each in (tmp_path / "drawn").iterdir()) == ["recognition.png", "recognition.svg"]


def test_json_has_every_point(run: Run, folders: list[Path]) -> None:
    values = json.loads(run("experiment", "recognisers", *folders, "--format", "json")[1])
    assert [each["cer"] for each in values["lines"][0]["points"]] == [0.9, 0.4]


def test_complains_in_one_line(run: Run, folders: list[Path]) -> None:
    code, out, err = run("experiment", "recognisers", folders[0])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "one run compares no recognisers" in err


def test_help_teaches_by_example(run: Run) -> None:
    assert "affetto experiment recognisers runs/recognition-*" in run("experiment", "recognisers", "--help")[1]
