"""``affetto listen``: lines come while the stream goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from affetto.cli import main


def stream(sound: Tensor) -> bytes:
    return (sound.numpy() * 32767).astype("<i2").tobytes()


@pytest.fixture
def command(tiny_model: Path) -> list[str]:
    return [sys.executable, "-m", "affetto", "listen", "-", "--model", str(tiny_model)]


def test_speech_is_told_of_before_the_stream_ends(command: list[str], demo: dict[str, Tensor]) -> None:
    silence = bytes(2 * 16_000)
    with subprocess.Popen(
        [*command, "--format", "jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(silence + stream(demo["happy"]) + silence)
        process.stdin.flush()
        first = json.loads(process.stdout.readline())  # it is there, though the stream is still open
        process.stdin.write(stream(demo["neutral"]))
        rest, err = process.communicate()
    (second,) = map(json.loads, rest.splitlines())
    assert (process.returncode, err) == (0, b"")
    assert set(first) == {"start_s", "end_s", "emotion", "sure", "familiar", "probabilities", "transcript", "words"}
    end_s = 2 + len(demo["happy"]) / 16_000
    assert (first["start_s"], second["start_s"]) == pytest.approx((1.0, end_s), abs=0.05)


def test_lines_are_for_people(command: list[str], demo: dict[str, Tensor]) -> None:
    done = subprocess.run([*command, "--sure", "0"], input=stream(demo["happy"]), capture_output=True, check=True)
    (line,) = done.stdout.decode().splitlines()
    assert line.split()[0].startswith("0:00.0")
    assert line.split()[2].endswith("%")


def test_silence_says_nothing(command: list[str]) -> None:
    done = subprocess.run(command, input=bytes(64_000), capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_other_encodings_and_rates(command: list[str], demo: dict[str, Tensor]) -> None:
    telephone = demo["happy"].numpy()[::2].astype("<f4").tobytes()  # 8 kHz
    arguments = [*command, "--rate", "8000", "--encoding", "f32le", "--format", "jsonl"]
    done = subprocess.run(arguments, input=telephone, capture_output=True, check=True)
    assert json.loads(done.stdout)["end_s"] == pytest.approx(2.6, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "data", "problem"),
    [
        (["--encoding", "f32le"], np.full(100, np.nan, "<f4").tobytes(), b"no sound"),
        (["--rate", "7"], bytes(100), b"sampling rate of 7 Hz"),
    ],
    ids=["encoding", "rate"],
)
def test_what_is_no_sound_is_2(command: list[str], arguments: list[str], data: bytes, problem: bytes) -> None:
    done = subprocess.run([*command, *arguments], input=data, capture_output=True, check=False)
    assert done.returncode == 2
    assert problem in done.stderr
    assert b"Traceback" not in done.stderr


def test_files_are_sent_to_recognise(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["listen", "call.wav"])
    assert ended.value.code == 2
    assert "affetto recognise call.wav" in capsys.readouterr().err


def test_without_the_extra_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SystemExit) as ended:
        main(["listen", "--model", str(tiny_model)])
    assert ended.value.code == 2
    assert 'pip install "affetto[live]"' in capsys.readouterr().err
