"""``affetto listen``: lines come while the stream goes on."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from torch import Tensor

from affetto.cli import main
from affetto.cli.listen import _Printer
from affetto.recognise import EmotionRecogniser
from affetto.recording import Segment


def stream(sound: Tensor) -> bytes:
    return (sound.numpy() * 32767).astype("<i2").tobytes()


@pytest.fixture
def command(tiny_model: Path) -> list[str]:
    return [sys.executable, "-m", "affetto", "listen", "-", "--model", str(tiny_model)]


def test_speech_is_reported_before_the_stream_ends(command: list[str], demo: dict[str, Tensor]) -> None:
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


def test_what_is_being_said_comes_before_it_is_final(command: list[str], demo: dict[str, Tensor]) -> None:
    sound = stream(demo["sad"])
    arguments = [*command, "--format", "jsonl"]
    lines: list[dict[str, object]] = []
    with subprocess.Popen([*arguments, "--partial"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for start in range(0, 96_000, 32_000):  # a second at a time, each of which is answered while all is being said
            process.stdin.write(sound[start : start + 32_000])
            process.stdin.flush()
            lines.append(json.loads(process.stdout.readline()))
        rest, _ = process.communicate(sound[96_000:])
    lines += [json.loads(line) for line in rest.splitlines()]
    plain = subprocess.run(arguments, input=sound, capture_output=True, check=True).stdout.splitlines()
    assert [line for line in lines if "final" not in line] == [json.loads(line) for line in plain]
    partial = [line for line in lines if "final" in line]
    assert len(partial) >= 3
    assert not any(line["final"] for line in partial)
    ends = [float(str(line["end_s"])) for line in partial]
    assert ends == sorted(ends)


def test_a_terminal_shows_what_is_being_said_in_place(tiny_model: Path, demo: dict[str, Tensor]) -> None:
    out = io.StringIO()
    printer = _Printer(Console(file=out, force_terminal=True, width=80), "text", partial=None)
    assert printer.live is not None
    recogniser = EmotionRecogniser.from_pretrained(tiny_model)
    with printer.live:
        for segment in recogniser.follow(demo["sad"].split(8000), partial=printer.partial):
            printer.final(segment)
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).splitlines() if line.strip()]
    assert len(lines) > 2
    assert lines[-1].startswith("0:00")


@pytest.mark.parametrize(("width", "rows", "column"), [(80, 1, 39), (50, 2, 2)])
def test_words_stand_in_one_place_or_below(width: int, rows: int, column: int) -> None:
    out = io.StringIO()
    printer = _Printer(Console(file=out, width=width), "text", partial=None)
    for statement in ({"familiar": False}, {"familiar": True}):
        printer.final(Segment(1.0, 2.0, "no more", "anger", {"anger": 0.99}, **statement))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 * rows
    assert [line.index("no more") for line in lines[rows - 1 :: rows]] == [column] * 2


@pytest.mark.parametrize(("format_", "partial"), [("text", False), ("jsonl", None)])
def test_what_is_being_said_is_left_out_where_it_is_not_wanted(format_: str, partial: bool | None) -> None:
    printer = _Printer(Console(file=io.StringIO(), force_terminal=True), format_, partial=partial)
    assert (printer.live, printer.partial) == (None, None)


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
