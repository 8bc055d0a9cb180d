"""``affetto recognise``: its formats, its exit codes, and that no input, however bad, makes it fall over."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import affetto
from affetto.cli.recognise import Format

DEMO = Path(affetto.__file__).parent / "demo"
EMOTIONS = ["anger", "happiness", "neutral", "sadness"]
COMMAND = [sys.executable, "-m", "affetto", "recognise"]

Run = Callable[..., "tuple[int, str, str]"]
Make = Callable[..., Path]


@pytest.fixture
def long_talk(tmp_path: Path, demo: dict[str, torch.Tensor]) -> Path:
    """Four statements with pauses of a second before and after each."""
    path = tmp_path / "talk.wav"
    parts = [np.pad(demo[name].numpy(), 16_000) for name in ("angry", "happy", "neutral", "happy")]
    soundfile.write(path, np.concatenate(parts), 16_000)
    return path


@pytest.fixture
def recognise(run: Run, tiny_model: Path) -> Run:
    return lambda *arguments: run("recognise", *arguments, "--model", tiny_model)


def empty(folder: Path, make: Make) -> Path:
    path = folder / "empty.wav"
    path.touch()
    return path


def missing(folder: Path, make: Make) -> Path:
    return folder / "missing.wav"


def folder_without_audio(folder: Path, make: Make) -> Path:
    path = folder / "silent folder"
    path.mkdir()
    (path / "notes.txt").write_text("nothing to hear")
    return path


def truncated_flac(folder: Path, make: Make) -> Path:
    path = make("truncated.flac", duration_s=3.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def headless_opus(folder: Path, make: Make) -> Path:
    path = make("headless.opus", duration_s=3.0, sample_rate=48_000)
    path.write_bytes(path.read_bytes()[:60])
    return path


def text_named_wav(folder: Path, make: Make) -> Path:
    path = folder / "letter.wav"
    path.write_text("Dear all,\n" * 100)
    return path


def without_samples(folder: Path, make: Make) -> Path:
    return make("without.wav", duration_s=0.0)


def digital_silence(folder: Path, make: Make) -> Path:
    path = folder / "silence.wav"
    soundfile.write(path, np.zeros(32_000), 16_000)
    return path


def a_millisecond(folder: Path, make: Make) -> Path:
    return make("click.wav", duration_s=0.001)


def not_a_number(folder: Path, make: Make) -> Path:
    path = folder / "nan.wav"
    soundfile.write(path, np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    return path


BAD = {
    empty: "the file is empty",
    missing: "no such file",
    folder_without_audio: "no sound file in this folder",
    truncated_flac: "breaks off",
    headless_opus: "cannot be read as sound",
    text_named_wav: "cannot be read as sound",
    without_samples: "no samples",
    a_millisecond: "only 1 ms long",
    not_a_number: "not finite numbers",
}


def low_rate(folder: Path, make: Make) -> Path:
    return make("telephone.wav", sample_rate=8_000)


def high_rate(folder: Path, make: Make) -> Path:
    return make("bats.wav", sample_rate=192_000)


def many_channels(folder: Path, make: Make) -> Path:
    return make("array.wav", channels=8)


def truncated_opus(folder: Path, make: Make) -> Path:
    path = make("truncated.opus", duration_s=3.0, sample_rate=48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # ogg does not tell what is missing
    return path


def ten_hours_promised(folder: Path, make: Make) -> Path:
    path = make("promise.wav", duration_s=2.0)
    header = bytearray(path.read_bytes())
    place = header.index(b"data") + 4
    header[place : place + 4] = (36_000 * 32_000).to_bytes(4, "little")  # wav is as long as there is sound in it
    path.write_bytes(header)
    return path


GOOD = [ten_hours_promised, digital_silence, low_rate, high_rate, many_channels, truncated_opus]


@pytest.mark.parametrize(("spoil", "problem"), BAD.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_bad_input_is_one_line(
    recognise: Run, make_sound: Make, tmp_path: Path, spoil: Callable[[Path, Make], Path], problem: str
) -> None:
    path = spoil(tmp_path, make_sound)
    code, out, err = recognise(path)
    assert (code, out) == (1, "")
    assert err.startswith(f"affetto: {path}: ")
    assert problem in err
    assert err.count("\n") == 1
    assert "; " in err


@pytest.mark.parametrize("make", GOOD)
def test_unusual_sound_is_recognised(
    recognise: Run, make_sound: Make, tmp_path: Path, make: Callable[[Path, Make], Path]
) -> None:
    code, out, err = recognise(make(tmp_path, make_sound), "--format", "json")
    assert (code, err) == (0, "")
    (values,) = json.loads(out)
    assert values["emotion"] in {*EMOTIONS, None}
    assert values["duration_s"] < 4


def test_silence_is_no_speech_and_no_failure(recognise: Run, tmp_path: Path, make_sound: Make) -> None:
    code, out, err = recognise(digital_silence(tmp_path, make_sound))
    assert (code, err) == (0, "")
    assert "no speech, and no sound at all: check the microphone or the export" in " ".join(out.split())


def test_noise_is_no_speech(recognise: Run, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "rain.wav"
    soundfile.write(path, 0.1 * rng.standard_normal(48_000), 16_000)
    _, table, _ = recognise(path)
    assert table.split()[-2:] == ["no", "speech"]
    _, rows, _ = recognise(path, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(rows))
    assert (row["start_s"], row["end_s"], row["emotion"], row["anger"]) == ("0.0", "3.0", "no speech", "")


def test_good_and_bad_in_one_batch(recognise: Run, make_sound: Make, tmp_path: Path) -> None:
    bad = [spoil(tmp_path, make_sound) for spoil in BAD]
    good = [make(tmp_path, make_sound) for make in GOOD]
    mixed = [path for pair in zip(bad, [*good, DEMO, *bad[7:]], strict=True) for path in pair]
    code, out, err = recognise(*mixed, "--format", "jsonl")
    files = [json.loads(line)["file"] for line in out.splitlines()]
    assert code == 1
    assert files == [*map(str, good), *sorted(map(str, DEMO.glob("*.flac")))]
    assert err.count("\n") == 9 + 2 + 1


def test_json_is_an_array(recognise: Run) -> None:
    _, out, _ = recognise(DEMO, "--format", "json")
    values = json.loads(out)
    assert [Path(each["file"]).stem for each in values] == ["angry", "happy", "neutral", "sad"]
    assert {each["version"] for each in values} == {1}
    assert list(values[0]["probabilities"]) == EMOTIONS


def test_json_of_nothing_is_an_empty_array(recognise: Run) -> None:
    code, out, _ = recognise("missing.wav", "--format", "json")
    assert (code, json.loads(out)) == (1, [])


def test_csv_has_a_row_a_segment(recognise: Run, long_talk: Path) -> None:
    path = long_talk
    _, out, _ = recognise(path, DEMO / "sad.flac", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["file", "start_s", "end_s", "emotion", *EMOTIONS, "transcript", "sure", "familiar"]
    assert [row["file"] for row in rows] == [str(path)] * 4 + [str(DEMO / "sad.flac")]
    starts, ends = ([float(row[key]) for row in rows[:-1]] for key in ("start_s", "end_s"))
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False))
    np.testing.assert_allclose([sum(float(row[emotion]) for emotion in EMOTIONS) for row in rows], 1, atol=3e-4)


def test_the_table_is_for_people(recognise: Run) -> None:
    code, out, err = recognise(DEMO / "happy.flac", "--sure", "0")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split()[-1] == "0:03.2"
    assert {line.split()[0] for line in lines[1:5]} == set(EMOTIONS)
    shares = [int(line.split()[1].rstrip("%")) for line in lines[1:5]]
    assert shares == sorted(shares, reverse=True)
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out


def test_the_table_tells_times_of_segments(recognise: Run, long_talk: Path) -> None:
    _, out, _ = recognise(long_talk, "--sure", "0")
    lines = [line.strip() for line in out.splitlines()]
    picture = next(line for line in lines if len(line) == 72)
    assert set(picture) <= set("AHNS.")
    assert picture.count(".") >= 3
    starts = [line[:4] for line in lines if "–" in line]
    assert starts == ["0:01", "0:07", "0:12", "0:17"]
    legend = next(line for line in lines if line.startswith("of 0:11.5 of speech: "))
    assert sum(int(share) for share in re.findall(r"(\d+)%", legend)) == pytest.approx(100, abs=2)
    assert max(map(len, out.splitlines())) <= 80


def test_a_narrow_terminal_is_enough(recognise: Run, long_talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    _, out, _ = recognise(long_talk, "--sure", "0")
    lines = [line.strip() for line in out.splitlines()]
    pictures = [line for line in lines if line and set(line) <= set("AHNS.")]
    assert [len(line) for line in pictures] == [42]
    axis = lines[lines.index(pictures[0]) + 1]
    assert (axis[:6], len(axis)) == ("0:00.0", 42)
    assert max(map(len, out.splitlines())) <= 44
    times = next(place for place, line in enumerate(lines) if "–" in line)
    assert re.match(r" {4}\S", out.splitlines()[times + 1])  # the words are below


def test_what_is_not_sure_says_so(recognise: Run, long_talk: Path) -> None:
    _, out, _ = recognise(long_talk, "--sure", "1")
    assert "? not sure 100%" in out
    picture = next(line.strip() for line in out.splitlines() if len(line.strip()) == 72)
    assert set(picture) == {"?", "."}


def test_smoothing_is_an_option(recognise: Run, long_talk: Path) -> None:
    spreads = []
    for seconds in ("0", "60"):
        _, out, _ = recognise(long_talk, "--smooth", seconds, "--format", "json")
        (values,) = json.loads(out)
        assert values["judgement"]["smooth_s"] == float(seconds)
        spreads.append(np.ptp([each["probabilities"]["anger"] for each in values["segments"]]))
    assert spreads[1] < spreads[0] / 2


def test_names_are_not_markup(recognise: Run, make_sound: Make) -> None:
    path = make_sound("[bold]x[/].wav")
    _, out, _ = recognise(path)
    assert "[bold]x[/].wav" in out.replace("\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
@pytest.mark.parametrize("format_", [each.value for each in Format])
def test_names_need_not_be_utf8(recognise: Run, make_sound: Make, tmp_path: Path, format_: str) -> None:
    path = make_sound().rename(os.fsdecode(os.fsencode(tmp_path) + b"/na\xefve.wav"))
    code, out, _ = recognise(path, "--format", format_)
    assert code == 0
    if format_ in {"table", "json", "jsonl", "csv"}:  # the others do not tell the whole name
        assert "ve.wav" in out.replace("\n", "")


def test_files_of_one_name_are_told_apart_in_rttm(recognise: Run, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "x.flac" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes((DEMO / "sad.flac").read_bytes())
    code, out, _ = recognise(*paths, "--format", "rttm")
    lines = [line.split(" ") for line in out.splitlines()]
    assert code == 0
    assert list(dict.fromkeys(line[1] for line in lines)) == [str(path.with_suffix("")) for path in paths]


def test_standard_input_is_recognised(tiny_model: Path) -> None:
    with subprocess.Popen(["cat", DEMO / "sad.flac"], stdout=subprocess.PIPE) as cat:  # a pipe, which cannot seek
        arguments = [*COMMAND, "-", "--format", "json", "--model", str(tiny_model)]
        done = subprocess.run(arguments, stdin=cat.stdout, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)[0]["duration_s"] == 4.1399


def test_interruption_is_130(tiny_model: Path) -> None:
    interruptible = "import os, signal, sys; signal.signal(2, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    arguments = [sys.executable, "-c", interruptible, *COMMAND, "-", "--model", str(tiny_model)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(bytes(10**6))  # more than a pipe holds: once this is through, it is listening
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_closed_pipe_is_quiet(tiny_model: Path, make_sound: Make) -> None:
    paths = [str(make_sound(f"{number}.wav")) for number in range(3)]
    arguments = [*COMMAND, *paths * 300, "--format", "jsonl", "--model", str(tiny_model)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--model", "huge"], "huge: no such model"),
        (["--model", __file__], "a file, not a model"),
        (["--device", "tpu"], "tpu: no such device"),
        (["--format", "xml"], "xml"),
        (["--format", "json", "--format", "csv"], "several formats at once"),
        (["--format", "srt", DEMO / "happy.flac"], "several recordings cannot be one srt file"),
        (["--sure", "1.5"], "--sure"),
        (["--smooth", "-1"], "--smooth"),
        (["--force"], "nothing is there already"),
        (["--output-dir", "x", "--format", "table"], "a table is for the terminal"),
        (["--loud"], "--loud"),
    ],
)
def test_what_cannot_start_is_2(run: Run, arguments: list[object], problem: str) -> None:
    code, out, err = run("recognise", DEMO / "sad.flac", *arguments)
    assert (code, out) == (2, "")
    assert problem in err
    assert "Traceback" not in err
