"""What the README shows works as it stands there, on recordings that come with affetto."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from tests.cli.test_cli_word_model import ARPA

import affetto
from affetto.models.voices import can_tell_apart

Run = Callable[..., "tuple[int, str, str]"]
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = Path(affetto.__file__).parent / "demo"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for language, block in BLOCKS if language == "console" for line in block.splitlines()]
COMMANDS = [re.split(r"\s+# ", line)[0].removeprefix("$ ").rstrip() for line in LINES if line.startswith("$ ")]

MADE, HOURS = "makes an environment, which the tests run in", "trains on corpora that have to be fetched"
CANNOT = {
    "make demo": f"{MADE}; what it prints is compared below",
    "make serve": f"{MADE}, and answers until it is stopped; tests/server ask that service",
    "curl -F file=@call.wav http://127.0.0.1:8000/v1/recognise": "asks the service; tests/server do",
    "affetto recognise --model openai/whisper-tiny.en call.wav": "fetches a model; tests/models make small ones",
    'pip install -c constraints.txt ".[train]"': MADE,
    "affetto asr train recipes/asr-tiny.toml --data DATA --output runs/asr-tiny": HOURS,
    "affetto model pack runs/asr-tiny --into models/mine": HOURS,
    "affetto train recipes/emotion-tiny.toml --data DATA --output runs/emotion-tiny": HOURS,
    "affetto model pack runs/emotion-tiny --into models/mine": HOURS,
    "affetto recognise --model models/mine call.wav": HOURS,
    "affetto experiment run recipes/crema-d-quick.toml --data DATA": HOURS,
    "affetto experiment table runs/crema-d-quick": HOURS,
    "affetto report runs/crema-d-quick": HOURS,
    "affetto experiment run recipes/lakomkin2017.toml --data DATA": HOURS,
    "affetto recognise archive/ --output-dir results --engine ray": "starts a cluster; test_cli_cluster.py does",
}
"""Command of the README -> why it is not run here; all others are."""

NEEDS = {
    "affetto explain src/affetto/demo/angry.flac": ("captum", "matplotlib"),
    "affetto asr transcribe --word-model words.arpa call.wav": ("flashlight.lib.text.decoder.kenlm",),
}
"""Command -> what an extra brings for it."""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the README's commands name, where they run."""
    shutil.copytree(DEMO, tmp_path / "src" / "affetto" / "demo")
    for name in ("call.wav", "radio.mp3", "meeting.wav"):
        soundfile.write(tmp_path / name, *soundfile.read(DEMO / "angry.flac"))
    for emotion, recording in {"anger": "angry", "sadness": "sad"}.items():
        (tmp_path / "path" / "to" / "corpus" / emotion / "anna").mkdir(parents=True)
        shutil.copy(DEMO / f"{recording}.flac", tmp_path / "path" / "to" / "corpus" / emotion / "anna")
    (tmp_path / "words.arpa").write_text(ARPA)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in CANNOT])
def test_it_runs(command: str, desk: Path, run: Run) -> None:
    for module in NEEDS.get(command, ()):
        pytest.importorskip(module, exc_type=ImportError)
    if "--speakers" in command and not can_tell_apart():
        pytest.skip("Resemblyzer is not installed")
    before = set(desk.rglob("*"))
    if "|" in command:
        code, out = through_the_shell(command)
    else:
        program, *arguments = shlex.split(command)
        assert program == "affetto"
        code, out, _ = run(*arguments)
    assert code == 0
    assert out or set(desk.rglob("*")) - before


def through_the_shell(command: str) -> tuple[int, str]:
    """A pipe of programs, of which affetto is this one."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    piped = command.replace("| affetto", f"| {shlex.quote(sys.executable)} -m affetto")
    done = subprocess.run(piped, shell=True, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_what_cannot_run_is_in_the_readme() -> None:
    assert set(CANNOT) - set(COMMANDS) == set()
    assert set(NEEDS) - set(COMMANDS) == set()


def test_the_demo_prints_what_the_readme_shows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("AFFETTO_PRECISION", "float32")
    [shown] = [block.partition("\n")[2] for _, block in BLOCKS if block.startswith("$ make demo\n")]
    code, out, _ = run("recognise", *sorted(str(path.relative_to(ROOT)) for path in DEMO.glob("*.flac")))
    assert code == 0
    assert [line.rstrip() for line in out.splitlines()] == shown.splitlines()


def test_python_prints_what_the_readme_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = (block for language, block in BLOCKS if language == "python")
    (shown,) = (block for language, block in BLOCKS if language == "text")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    number = re.compile(r"\d+\.\d+")
    assert number.sub("x", done.stdout) == number.sub("x", shown)
    assert [float(each) for each in number.findall(done.stdout)] == pytest.approx(
        [float(each) for each in number.findall(shown)],
        abs=0.02,  # the processor's precision
    )
