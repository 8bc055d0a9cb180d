"""``affetto recognise --channels separate``: in every format, each channel as it is in a file of its own."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affetto.formats import FORMATS

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def recognise(run: Run, tiny_model: Path) -> Run:
    return lambda *arguments: run("recognise", *arguments, "--model", tiny_model)


def close(value: Any, *, to: Any) -> bool:
    """Whether they are the same, but for a number's fourth digit."""
    if isinstance(to, dict):
        return list(value) == list(to) and all(close(value[key], to=to[key]) for key in to)
    if isinstance(to, list):
        return len(value) == len(to) and all(map(lambda one, other: close(one, to=other), value, to))
    if isinstance(to, float):
        return bool(value == pytest.approx(to, abs=2e-4))
    return bool(value == to)


def rows(text: str) -> list[list[float | str]]:
    """Of a CSV, its numbers as such."""
    number = re.compile(r"-?\d+\.\d+")
    table = list(csv.reader(io.StringIO(text)))
    return [[float(cell) if number.fullmatch(cell) else cell for cell in row[1:]] for row in table]


def test_json(recognise: Run, call: Path) -> None:
    arguments = ("--format", "json", "--smooth", "4", "--sure", "0.4")
    (found,) = json.loads(recognise(call / "call.wav", "--channels", "separate", *arguments)[1])
    assert [each["start_s"] for each in found["segments"]] == sorted(each["start_s"] for each in found["segments"])
    for number, summary in enumerate(found["channels"], start=1):
        (alone,) = json.loads(recognise(call / f"{number}.wav", *arguments)[1])
        segments = [each for each in found["segments"] if each["channel"] == number]
        assert close(segments, to=[{"channel": number, **each} for each in alone["segments"]])
        expected = {key: value for key, value in alone.items() if key in summary}
        assert close(summary, to={"channel": number, **expected})


def test_csv(recognise: Run, call: Path) -> None:
    code, out, err = recognise(call / "call.wav", "--channels", "separate", "--format", "csv")
    assert (code, err) == (0, "")
    header, *found = rows(out)
    for number in (1, 2):
        alone_header, *alone = rows(recognise(call / f"{number}.wav", "--format", "csv")[1])
        assert header == ["channel", *alone_header]
        assert close([row[1:] for row in found if row[0] == str(number)], to=alone)


def test_rttm(recognise: Run, call: Path) -> None:
    found = recognise(call / "call.wav", "--channels", "separate", "--format", "rttm")[1].splitlines()
    for number in (1, 2):
        alone = recognise(call / f"{number}.wav", "--format", "rttm")[1].splitlines()
        expected = [
            f"SPEAKER call {number} {start} {length} <NA> <NA> channel_{number}_{name}"
            for _, _, _, start, length, _, _, name, *_ in map(str.split, alone)
        ]
        assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in found if f"channel_{number}" in line] == expected


@pytest.mark.parametrize("format_", ["srt", "vtt"])
def test_subtitles(recognise: Run, call: Path, format_: str) -> None:
    def cues(*arguments: object) -> list[tuple[str, str]]:
        text = recognise(*arguments, "--format", format_)[1]
        return [(when, " ".join(said.split())) for when, said in re.findall(r"(.* --> .*)\n((?:.+\n)+)", text)]

    found = cues(call / "call.wav", "--channels", "separate")
    assert found == sorted(found)
    for number in (1, 2):
        alone = cues(call / f"{number}.wav")
        # The longer tag may need one more cue for the same words.
        tag = f"[channel {number} "
        said = " ".join(re.sub(r"\[.*?\] ?", "", text) for _, text in found if text.startswith(tag))
        assert said.split() == " ".join(re.sub(r"\[.*?\] ?", "", text) for _, text in alone).split()
        assert {when[:12] for when, _ in alone[:1]} <= {when[:12] for when, text in found if text.startswith(tag)}


def test_textgrid(recognise: Run, call: Path) -> None:
    def tiers(*arguments: object) -> dict[str, list[str]]:
        text = recognise(*arguments, "--format", "textgrid")[1]
        parts = re.split(r"    item \[\d+\]:\n", text)[1:]
        names = [re.findall('name = "(.*)"', part)[0] for part in parts]
        return {name: re.findall("(?:xmin|xmax|text) = (.*)", part) for name, part in zip(names, parts, strict=True)}

    found = tiers(call / "call.wav", "--channels", "separate")
    for number in (1, 2):
        alone = tiers(call / f"{number}.wav")
        for kind in ("emotion", "words"):
            assert found.pop(f"{kind} {number}") == alone[kind]
    assert set(found) == {"probability 1", "probability 2"}


def test_table(recognise: Run, call: Path) -> None:
    code, out, err = recognise(call / "call.wav", "--channels", "separate")
    assert (code, err) == (0, "")
    assert re.findall(r"^  (channel \d)  \w", out, re.MULTILINE) == ["channel 1", "channel 2"]
    assert re.findall(r"^  (\d)  \d:\d\d", out, re.MULTILINE) == ["1", "2", "1", "2"]
    _, out, _ = recognise(call / "1.wav")
    assert "channel" not in out


@pytest.mark.parametrize("format_", ["table", *FORMATS])
def test_words_alone(recognise: Run, call: Path, format_: str) -> None:
    arguments = ("--words-only", "--channels", "separate", "--format", format_)
    code, out, err = recognise(call / "call.wav", *arguments)
    assert (code, err) == (0, "")
    assert not {"anger", "emotion", "sure"} & set(re.split(r"\W+", out))
    if format_ == "json":
        (found,) = json.loads(out)
        for number in (1, 2):
            (alone,) = json.loads(recognise(call / f"{number}.wav", "--words-only", "--format", "json")[1])
            segments = [each for each in found["segments"] if each["channel"] == number]
            assert close(segments, to=[{"channel": number, **each} for each in alone["segments"]])
            assert found["channels"][number - 1]["transcript"] == alone["transcript"]


def test_a_folder_of_calls_and_memos(recognise: Run, call: Path) -> None:
    code, out, err = recognise(call, "--channels", "separate", "--format", "jsonl")
    assert (code, err) == (0, "")
    found = {Path(each["file"]).name: each for each in map(json.loads, out.splitlines())}
    assert {name: len(each["channels"]) for name, each in found.items()} == {"1.wav": 1, "2.wav": 1, "call.wav": 2}
    for number in (1, 2):
        memo = found[f"{number}.wav"]["channels"][0]
        assert close({**found["call.wav"]["channels"][number - 1], "channel": 1}, to=memo)


def test_into_a_folder_they_are_a_setting(recognise: Run, call: Path, tmp_path: Path) -> None:
    separate, out = ("--channels", "separate"), ("--output-dir", tmp_path / "out")
    assert recognise(call / "call.wav", *separate, *out)[0] == 0
    for other in ((), ("--channels", "mix")):
        code, _, err = recognise(call / "1.wav", *other, *out)
        assert code == 2
        assert "holds results of another model or other settings" in err
    code, _, err = recognise(call / "call.wav", call / "1.wav", *separate, *out)
    assert (code, "1 of 2 are in" in err, "1 written" in err) == (0, True, True)
    shutil.rmtree(tmp_path / "out")
    recognise(call / "1.wav", *out)
    assert "channels" not in json.loads((tmp_path / "out" / ".affetto.json").read_text())  # as in older folders
    assert recognise(call / "call.wav", "--channels", "mix", *out)[0] == 0
    assert recognise(call / "call.wav", *separate, *out)[0] == 2


def test_what_channels_cannot_be(recognise: Run, call: Path) -> None:
    code, _, err = recognise(call / "call.wav", "--channels", "both")
    assert code == 2
    assert "separate" in err
