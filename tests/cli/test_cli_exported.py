"""``affetto recognise --model FOLDER`` with an exported model: every format, without torch; what it cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import affetto
from affetto.formats import FORMATS
from affetto.onnx import OnnxRecogniser
from affetto.recording import Recording

pytest.importorskip("onnxruntime")

Run = Callable[..., "tuple[int, str, str]"]

DEMO = Path(affetto.__file__).parent / "demo"
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it is now an error
from affetto.cli import main
main()
"""


def recognise(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", WITHOUT_TORCH, "recognise", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, check=False)


@pytest.fixture(scope="module")
def recordings(exported: Path) -> dict[str, Recording]:
    recogniser = OnnxRecogniser(exported)
    return {path.stem: recogniser.recognise(path) for path in DEMO.glob("*.flac")}


def test_a_folder_of_results_in_every_format(
    exported: Path, recordings: dict[str, Recording], tmp_path: Path, run: Run
) -> None:
    formats = [argument for name in FORMATS for argument in ("--format", name)]
    command = (DEMO, "--output-dir", tmp_path, "--threads", 2, *formats, "--model", exported)
    done = recognise(*command)
    assert done.returncode == 0, done.stderr
    for name, recording in recordings.items():
        for each in FORMATS.values():
            assert (tmp_path / f"{name}{each.suffix}").read_text(encoding="utf-8") == each.write(recording)
    code, _, said = run("recognise", *command)  # it goes on with what a process without torch has written
    assert (code, "0 written" in said) == (0, True)


def test_standard_input_and_the_table(exported: Path, recordings: dict[str, Recording]) -> None:
    sound = (DEMO / "happy.flac").read_bytes()
    table = recognise("-", "--model", exported, given=sound)
    assert table.returncode == 0, table.stderr
    assert "happiness" in table.stdout.decode()
    (found,) = json.loads(recognise("-", "--format", "json", "--model", exported, given=sound).stdout)
    assert found["segments"] == recordings["happy"].as_dict()["segments"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--words-only"], "words alone of an exported model; leave that out, or name another model"),
        (["--device", "cuda"], "device cuda of an exported model; leave that out, or name another model"),
        (["--precision", "float32"], "precision float32 of an exported model; leave that out, or name another model"),
        (["--language", "de"], "a language of an exported model; leave that out, or name another model"),
        (
            ["--engine", "ray", "--output-dir", "never"],
            "workers compute with torch; leave out --engine, or name another model",
        ),
    ],
)
def test_what_it_cannot_do_is_an_error(exported: Path, options: list[str], complaint: str, run: Run) -> None:
    code, out, said = run("recognise", DEMO / "happy.flac", "--model", exported, *options)
    assert (code, out, said) == (2, "", f"affetto: {exported}: {complaint}\n")


def test_without_torch_other_models_and_speakers_are_an_error(exported: Path) -> None:
    done = recognise(DEMO / "happy.flac", "--model", exported, "--speakers", 2)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"affetto: what tells speakers apart needs torch; pip install torch\n"
    done = recognise(DEMO / "happy.flac")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"affetto: torch is not installed; pip install torch, or recognise --model")
