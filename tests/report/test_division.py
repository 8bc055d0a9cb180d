"""Predictions that are not those of the folds: a table or report of them would be wrong without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from affetto.data.folds import short_names
from affetto.data.splits import Split
from affetto.data.utterance import Utterance
from affetto.errors import RunError
from affetto.evaluate import Prediction, Row, RunFolder
from affetto.report import build_table
from affetto.report.build import ReadOnce

Make = Callable[..., RunFolder]


class Small(NamedTuple):
    repeats: int = 1
    folds: int = 2
    speakers: int = 4
    each: int = 8


@pytest.fixture
def run(make_run: Make, two_models: Callable[..., object]) -> RunFolder:
    return make_run(two_models(0.7, 0.5), design=Small())


def _lines(run: RunFolder, fold: int, name: str = "predictions.csv") -> tuple[Path, list[str]]:
    path = run.cell("Gains", (0, fold)) / name
    return path, path.read_text(encoding="utf-8").splitlines()


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_whole_predictions_are_taken(run: RunFolder) -> None:
    assert [row.name for row in build_table(run).rows] == ["Gains", "Stays"]


def test_a_file_cut_at_the_end_of_a_line(run: RunFolder) -> None:
    path, lines = _lines(run, 1)
    _write(path, lines[:-3])
    with pytest.raises(RunError, match=r"predictions\.csv: damaged \(3 of the fold's 16 utterances are missing, s3-5"):
        build_table(run)


def test_an_utterance_that_is_there_twice(run: RunFolder) -> None:
    path, lines = _lines(run, 1)
    _write(path, [*lines, lines[-1]])
    with pytest.raises(RunError, match=r"damaged \(utterance s3-7 is in it 2 times\)"):
        build_table(run)


@pytest.mark.parametrize(("old", "new"), [("s1-0,", "nobody,"), ("s1-0,s1,anger", "s1-0,s1,neutral")])
def test_what_the_manifest_does_not_know(run: RunFolder, old: str, new: str) -> None:
    path, lines = _lines(run, 1)
    _write(path, [line.replace(old, new) for line in lines])
    with pytest.raises(RunError, match=r"damaged \(the manifest has no utterance (nobody|s1-0) that counts as"):
        build_table(run)


def test_the_predictions_of_another_fold(run: RunFolder) -> None:
    path, _ = _lines(run, 1)
    _write(path, [line.replace("0,0,", "0,1,", 1) for line in _lines(run, 0)[1]])
    with pytest.raises(RunError, match=r"damaged \(s0-0 is no utterance of this fold\)"):
        build_table(run)


def test_validation_that_lost_lines(run: RunFolder) -> None:
    folds = run.root / "folds.csv"
    folds.write_text(folds.read_text(encoding="utf-8") + "0,validation,s1\n0,validation,s3\n", encoding="utf-8")
    path, lines = _lines(run, 0, "validation.csv")
    _write(path, lines[:-1])
    with pytest.raises(RunError, match=r"validation\.csv: damaged \(1 of the fold's 16 utterances are missing"):
        ReadOnce(run.root).validation_answers("Gains")


@pytest.fixture
def shared(tmp_path: Path) -> RunFolder:
    """Two corpora that share speakers' names and ids; the models of fold 0 are tested on one of each."""
    utterances = [
        Utterance(id=f"{number}", audio=tmp_path / "a.wav", speaker=speaker, corpus=corpus, emotion="anger")
        for corpus in ("mine", "yours")
        for number, speaker in enumerate(("ann", "bob", "ann", "bob"))
    ]
    tested = [(utterances[0], utterances[2], utterances[5], utterances[7])]
    tested.append(tuple(each for each in utterances if each not in tested[0]))
    folds = [Split(train=(), validation=(), test=part) for part in tested]
    run = RunFolder(tmp_path / "run")
    rows = [{"name": "MP-1"}]
    run.begin({"rows": rows}, {"classes": ["anger"], "counts": {"folds": 2}, "unreadable": []}, {}, utterances, folds)
    names = {id(each): name for name, each in zip(short_names(utterances, "id"), utterances, strict=True)}
    for fold, part in enumerate(tested):
        said = [
            Prediction(0, fold, names[id(each)], f"{each.corpus}/{each.speaker}", "anger", "anger", {"anger": 1.0})
            for each in part
        ]
        run.write_cell(Row(name="MP-1", model={"kind": "random"}, training={}), said, said, [])
    return run


def test_speakers_of_one_name_are_two(shared: RunFolder) -> None:
    table = build_table(shared)
    assert "4 speakers" in " ".join(table.notes)
    path = shared.cell("MP-1", (0, 1)) / "predictions.csv"
    path.write_text(path.read_text().replace("mine/1,mine/bob", "mine/0,mine/ann"))
    with pytest.raises(RunError, match=r"damaged \(mine/0 is no utterance of this fold\)"):
        build_table(shared)


def test_older_folds_without_corpora_are_reported_as_unchecked(
    shared: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    path = shared.root / "folds.csv"
    path.write_text(path.read_text().replace("mine/", "").replace("yours/", ""))
    assert build_table(shared).rows
    assert "the speaker ann is in several corpora" in caplog.text
    assert "is not checked" in caplog.text


@pytest.mark.parametrize("content", [None, "fold,part\n0,test\n", "fold,part,speaker\nnull,test,s1\n"])
def test_folds_that_cannot_be_read(run: RunFolder, content: str | None) -> None:
    path = run.root / "folds.csv"
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"folds\.csv(:2)?: cannot be read"):
        build_table(run)


@pytest.mark.parametrize(("name", "value"), [("classes", None), ("counts", 5), ("unreadable", "s1-0")])
def test_facts_that_are_something_else(run: RunFolder, name: str, value: object) -> None:
    path = run.root / "run.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**facts, name: value}), encoding="utf-8")
    with pytest.raises(RunError, match=rf"run\.json: damaged \({name} is "):
        build_table(run)
