"""``affetto experiment``: what it prints, where it writes, how it fails and stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text

from affetto import experiment
from affetto.cli import terminal
from affetto.cli.experiment import Shown
from affetto.errors import RunError
from affetto.experiment import Engine
from affetto.experiment.plan import Computing, Event, Read, Representing, RowDone, RowSkipped
from affetto.experiment.run import ExperimentRun, RowScores

Run = Callable[..., "tuple[int, str, str]"]
EVENTS: tuple[Event, ...] = (
    RowSkipped("SVM", "opensmile is not installed"),
    Read(5531, 10, {"anger": 1103, "sadness": 1084}, 10, 1300, 20),
    Representing(5531, 5531),
    Computing(20, 1300, 0.0, 9960.0),
    RowDone("MP-[2]", {"uar": 0.5123, "accuracy": 0.6}),
    Computing(1300, 1300, 9960.0, 9960.0),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the library is asked for, which answers without any work."""
    found: dict[str, object] = {}

    def answer(recipe: Path, data: Path, folder: Path, **options: object) -> ExperimentRun:
        found.update(recipe=recipe, data=data, folder=folder, **options)
        tell = options["progress"]
        assert callable(tell)
        for event in EVENTS:
            tell(event)
        return ExperimentRun(
            folder,
            (RowScores("MP-[2]", {"uar": 0.5123, "accuracy": 0.6}, 10),),
            {"SVM": "opensmile is not installed"},
            3,
        )

    monkeypatch.setattr(experiment, "run_experiment", answer)
    return found


def test_the_options_reach_the_library(run: Run, asked: dict[str, object]) -> None:
    code, *_ = run(
        *("experiment", "run", "a/table1.toml", "--data", "d", "--engine", "ray", "--jobs", 3),
        *("--device", "cpu", "--only", "MP-1", "--only", "MP-2"),
    )
    assert code == 0
    assert (asked["recipe"], asked["data"], asked["folder"]) == (Path("a/table1.toml"), Path("d"), Path("runs/table1"))
    assert asked["engine"] == Engine(kind="ray", jobs=3, device="cpu")
    assert asked["only"] == ["MP-1", "MP-2"]


@pytest.mark.usefixtures("asked")
def test_what_people_see(run: Run) -> None:
    code, out, err = run("experiment", "run", "r.toml", "--data", "d", "--output", "here")
    assert code == 0
    assert [line.split() for line in out.splitlines() if line.split()[:1] == ["MP-[2]"]] == [
        ["MP-[2]", "51.2%", "60.0%", "10"]
    ]
    assert "SVM was skipped: opensmile is not installed" in out
    assert "3 utterances were left out" in out
    assert "affetto experiment table here" in out
    assert err.splitlines() == [
        "SVM: skipped, opensmile is not installed",
        "5,531 utterances of 10 speakers (anger 1,103, sadness 1,084); 10 folds, 1,300 trainings over all rows and "
        "repeats, 20 of them finished before",
        "MP-[2]: UAR 51.2%",
    ]


@pytest.mark.usefixtures("asked")
def test_what_programs_see(run: Run) -> None:
    _, out, _ = run("experiment", "run", "r.toml", "--data", "d", "--format", "json")
    assert json.loads(out) == {
        "version": 1,
        "folder": "runs/r",
        "rows": [{"name": "MP-[2]", "uar": 0.5123, "accuracy": 0.6, "repeats": 10}],
        "skipped": {"SVM": "opensmile is not installed"},
        "unreadable": 3,
    }


def test_on_a_terminal_there_is_a_bar_and_a_line_for_each_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Shown() as shown:
        shown._training._since = -terminal.QUIET_S
        for event in (*EVENTS[:5], Computing(650, 1300, 4980.0, 9960.0)):
            shown(event)
    text = Text.from_ansi(capsys.readouterr().err).plain
    assert "MP-[2]: UAR 51.2%" in text
    assert "50%" in text


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (RunError("belongs to another experiment", "give another --output", "here"), 2, "affetto: here: belongs to"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on from here\n"),
        (OSError(28, "No space left on device", "cache/x"), 2, "affetto: cache/x: No space left on device"),
    ],
    ids=["refused", "interrupted", "full"],
)
def test_what_stops_it_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(experiment, "run_experiment", fail)
    found, out, err = run("experiment", "run", "r.toml", "--data", "d")
    assert found == code
    assert err.startswith(message)
    assert err.strip().count("\n") == 0
    assert out.strip() == ""


def test_a_recipe_that_is_missing(run: Run, tmp_path: Path) -> None:
    code, _, err = run("experiment", "run", tmp_path / "r.toml", "--data", tmp_path, "--output", tmp_path / "run")
    assert code == 2
    assert "r.toml: No such file or directory; check the recipe's path" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "table"])
def test_help_teaches_by_example(run: Run, verb: str) -> None:
    _, out, _ = run("experiment", verb, "--help")
    assert f"affetto experiment {verb} " in out
