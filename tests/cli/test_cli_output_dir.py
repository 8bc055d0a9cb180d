"""``affetto recognise --output-dir``: whole files, nothing done twice, and what was finished outlives Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import affetto
from affetto.formats.folder import SOURCES

DEMO = Path(affetto.__file__).parent / "demo"
Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def recognise(run: Run, tiny_model: Path, tmp_path: Path) -> Run:
    return lambda *arguments: run("recognise", *arguments, "--output-dir", tmp_path / "out", "--model", tiny_model)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def written(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} - {
        ".affetto.json",
        SOURCES,
    }


def test_a_folder_of_recordings_becomes_a_folder_of_results(recognise: Run, tmp_path: Path, out: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "calls" / "monday")
    shutil.copy(DEMO / "sad.flac", tmp_path / "calls")
    code, printed, err = recognise(tmp_path / "calls", "--format", "json", "--format", "textgrid")
    names = ["monday/angry", "monday/happy", "monday/neutral", "monday/sad", "sad"]
    assert (code, printed) == (0, "")
    assert written(out) == {name + suffix for name in names for suffix in (".json", ".TextGrid")}
    assert "5 written to" in err
    values = json.loads((out / "monday/sad.json").read_text())
    assert values["file"] == str(tmp_path / "calls/monday/sad.flac")


def test_what_is_done_is_not_done_again(recognise: Run, out: Path) -> None:
    recognise(DEMO / "sad.flac")
    before = (out / "sad.json").stat().st_mtime_ns
    code, _, err = recognise(DEMO)
    assert code == 0
    assert "1 of 4 are in" in err
    assert "--force does them again" in err
    assert "3 written" in err
    assert (out / "sad.json").stat().st_mtime_ns == before
    _, _, err = recognise(DEMO, "--force")
    assert "4 written" in err
    assert (out / "sad.json").stat().st_mtime_ns > before


def test_failures_come_at_the_end_and_stop_nothing(recognise: Run, tmp_path: Path, out: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    code, _, err = recognise("missing.wav", DEMO / "happy.flac", broken, DEMO / "sad.flac")
    assert code == 1
    assert written(out) == {"happy.json", "sad.json"}
    lines = err.splitlines()
    assert "2 written" in lines[0]
    assert "missing.wav: no such file" in lines[1]
    assert "broken.wav: cannot be read as sound" in lines[2]
    _, _, err = recognise(broken, DEMO)
    assert "2 of 5 are in" in err


def test_other_settings_do_not_mix(recognise: Run) -> None:
    assert recognise(DEMO / "sad.flac")[0] == 0
    code, _, err = recognise(DEMO / "happy.flac", "--sure", "0.9")
    assert code == 2
    assert "holds results of another model or other settings" in err
    assert recognise(DEMO / "happy.flac", "--sure", "0.9", "--force")[0] == 0


def test_a_name_that_another_recording_has_is_not_taken_for_it(recognise: Run, tmp_path: Path, out: Path) -> None:
    calls = [tmp_path / day / "call.flac" for day in ("monday", "tuesday")]
    for call, voice in zip(calls, ("sad", "angry"), strict=True):
        call.parent.mkdir()
        shutil.copy(DEMO / f"{voice}.flac", call)
    assert recognise(calls[0])[0] == 0
    code, _, err = recognise(calls[1], DEMO / "happy.flac")
    assert code == 1
    assert f"call.json is of another recording, {calls[0]}" in err
    assert written(out) == {"call.json", "happy.json"}
    assert recognise(calls[1], "--force")[0] == 0
    assert json.loads((out / "call.json").read_text())["file"] == str(calls[1])


def test_one_that_cannot_be_written_stops_no_other(recognise: Run, tmp_path: Path, out: Path) -> None:
    (out / "happy.json").mkdir(parents=True)
    shutil.copy(DEMO / "sad.flac", tmp_path / f"{'n' * 250}.flac")
    for _ in range(2):
        code, _, err = recognise(DEMO / "happy.flac", tmp_path / f"{'n' * 250}.flac", DEMO / "sad.flac")
        assert code == 1
        assert "happy.json: cannot be written (Is a directory)" in err
        assert written(out) == {"sad.json", "n" * 250 + ".json"}


def test_the_same_name_twice_is_an_error_of_the_second_alone(recognise: Run, tmp_path: Path, out: Path) -> None:
    for day, voice in (("monday", "sad"), ("tuesday", "angry")):
        shutil.copytree(DEMO, tmp_path / day, ignore=lambda _, names: [name for name in names if name != "happy.flac"])
        shutil.copy(DEMO / f"{voice}.flac", tmp_path / day / "x.flac")
    (tmp_path / "tuesday/happy.flac").rename(tmp_path / "tuesday/other.flac")
    first, second = tmp_path / "monday", tmp_path / "tuesday"
    refused = f"{second / 'x.flac'}: its result would have the name of that of {first / 'x.flac'}"
    for said in ("3 written", "3 of 4 are in"):
        code, _, err = recognise(first, second)
        assert code == 1
        assert said in err
        assert refused in err
        assert written(out) == {"happy.json", "other.json", "x.json"}
    code, _, err = recognise(second, first)
    assert (code, "3 of 4 are in" in err, "would have the name" in err) == (1, True, False)
    assert f"x.json is of another recording, {first / 'x.flac'}" in err


def test_what_is_finished_outlives_an_interruption(tiny_model: Path, tmp_path: Path, out: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    for number in range(150):
        os.link(shutil.copy(DEMO / "happy.flac", tmp_path), calls / f"{number:03}.flac")
    interruptible = (
        "import os, signal, sys; signal.signal(2, signal.default_int_handler); from affetto.cli import main; main()"
    )
    command = [sys.executable, "-c", interruptible, "recognise", calls, "--output-dir", out, "--model", tiny_model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (out / SOURCES).exists() and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    done = written(out)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "the same command goes on from there" in err
    assert 0 < len(done) < 150
    for name in done:
        json.loads((out / name).read_text())
    lines = (out / SOURCES).read_text().splitlines()
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    noted = {file for line in lines if line for file in json.loads(line)["files"]}
    assert noted <= done
    assert len(done - noted) <= 1  # interrupted between the two, it is done again
    assert f"{len(noted)} of 150 are in" in finished.stderr
    assert len(written(out)) == 150
