"""``affetto corpus prepare``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.speech_trees import pack, write_submission, write_talk

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def talks(tmp_path: Path, make_sound: Callable[..., Path]) -> Path:
    """Two segments of a talk, the second of them long."""
    lines = ["Ann_2001 1 Ann_2001 0 1 <o,f0,female> it 's one", "Ann_2001 1 Ann_2001 1 4 <o,f0,female> the other"]
    write_talk(tmp_path / "ted" / "train", "Ann_2001", lines, lambda name: make_sound(f"ted/{name}", duration_s=4.0))
    return tmp_path / "ted"


def test_help_teaches_by_example(run: Run) -> None:
    code, out, _ = run("corpus", "prepare", "--help")
    assert code == 0
    assert "affetto corpus prepare data/VoxForge --output prepared/voxforge" in " ".join(out.split())


def test_a_summary_is_printed(run: Run, talks: Path, tmp_path: Path) -> None:
    code, out, err = run("corpus", "prepare", talks, "--output", tmp_path / "out", "--max-duration", 2)
    facts = {line[:10].strip(): line[10:].strip() for line in out.splitlines()}
    assert (code, err) == (0, "")
    assert facts["corpus"] == "TED-LIUM (tedlium)"
    assert facts["utterances"] == "1, 1 of them transcribed"
    assert facts["files"] == "1 made"
    assert facts["left out"] == "over 2 s 1"
    assert run("corpus", "prepare", talks, "--output", tmp_path / "out").out.count("1 made, 1 were there") == 1


def test_json_tells_the_same(run: Run, talks: Path, tmp_path: Path) -> None:
    code, out, _ = run("corpus", "prepare", talks, "--output", tmp_path / "out", "--format", "json", "--jobs", 1)
    values = json.loads(out)
    assert (code, values["version"], values["corpus"], values["utterances"], values["made"]) == (0, 1, "tedlium", 2, 2)
    assert values["hours"] * 3600 == pytest.approx(4.0)
    assert Path(values["manifest"]).is_file()


def test_all_that_is_left_out_is_named_when_asked(run: Run, talks: Path, tmp_path: Path) -> None:
    arguments = ("corpus", "prepare", talks, "--output", tmp_path / "out", "--max-duration", 2)
    assert run(*arguments, "--verbose").err == "left out: Ann_2001-00001000-00004000: over 2 s (3.00 s)\n"
    with (tmp_path / "out" / "left-out.csv").open(newline="") as file:
        assert [row["what"] for row in csv.DictReader(file)] == ["Ann_2001-00001000-00004000"]


def test_files_that_cannot_be_read_tell_in_the_exit_code(run: Run, talks: Path, tmp_path: Path) -> None:
    (talks / "train" / "sph" / "Bob_2002.sph").write_bytes(b"not sound")
    (talks / "train" / "stm" / "Bob_2002.stm").write_text("Bob_2002 1 Bob_2002 0 1 <o,f0,male> lost\n")
    code, out, _ = run("corpus", "prepare", talks, "--output", tmp_path / "out")
    assert code == 1
    assert "unreadable audio 1" in out
    assert (tmp_path / "out" / "manifest.jsonl").read_text().count("\n") == 2


def test_what_was_unpacked_may_be_deleted(run: Run, tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    root = tmp_path / "vox"
    pack(write_submission(root, "ann-20080101-abc", {"a1": "ONE"}, lambda name: make_sound(f"vox/{name}")), root)
    code, out, _ = run("corpus", "prepare", root, "--output", tmp_path / "out")
    assert code == 0
    assert "(no longer needed)" in " ".join(out.split())


def test_what_cannot_start_is_refused(run: Run, talks: Path) -> None:
    code, out, err = run("corpus", "prepare", talks, "--output", talks / "out")
    assert (code, out) == (2, "")
    assert err == f"affetto: {talks / 'out'}: lies within the corpus; give a folder outside of it\n"


def test_stopped_it_says_how_to_go_on(run: Run, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("affetto.data.prepare.write_left_out", interrupt)
    code, _, err = run("corpus", "prepare", talks, "--output", tmp_path / "out")
    assert code == 130
    assert "stopped; the same command goes on from here" in err
    monkeypatch.undo()
    assert "0 made, 2 were there" in run("corpus", "prepare", talks, "--output", tmp_path / "out").out
