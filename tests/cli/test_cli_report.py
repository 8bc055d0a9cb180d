"""``affetto report``: says where the page is, and what the run lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from affetto.data.utterance import Utterance
from affetto.evaluate import Prediction, Row, RunFolder

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One cell of one row of two."""
    said = [
        Utterance(id=f"{speaker}{number}", audio=tmp_path / "a.wav", speaker=speaker, corpus="mine", emotion=emotion)
        for speaker in "abc"
        for number, emotion in enumerate(("anger", "sadness") * 3)
    ]
    run = RunFolder(tmp_path / "run")
    facts = {"classes": ["anger", "sadness"], "counts": {"folds": 2}}
    run.begin({"rows": [{"name": "MP-1"}, {"name": "MP-2"}]}, facts, {}, said, [])
    tested = [
        Prediction(0, 0, each.id, each.speaker, str(each.emotion), "anger", {"anger": 0.6, "sadness": 0.4})
        for each in said
        if each.speaker != "c"
    ]
    card = Row(name="MP-1", model={"kind": "mean_pooling"}, training={})
    run.write_cell(card, tested, tested, [])
    return run.root


def test_the_page_is_named_and_what_is_missing(run: Run, folder: Path) -> None:
    code, out, err = run("report", folder, "--output", folder.parent / "page", "--row", "MP-1")
    assert (code, out.strip()) == (0, str(folder.parent / "page" / "index.html"))
    assert err.splitlines() == ["MP-1: 1 of 2 cells are finished", "MP-2: nothing is finished"]
    assert "<h1>run</h1>" in Path(out.strip()).read_text(encoding="utf-8")
    assert not (folder / "report").exists()


def test_complains_in_one_line(run: Run, folder: Path) -> None:
    code, out, err = run("report", folder, "--row", "joy")
    assert (code, out) == (2, "")
    assert "no row with a finished cell is called 'joy'; choose among MP-1" in err
    assert err.count("\n") == 1


def test_help_teaches_by_example(run: Run) -> None:
    assert "affetto report runs/crema-d" in run("report", "--help")[1]
