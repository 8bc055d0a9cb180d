"""A folder of results holds whole files, goes on where it was stopped, and mixes no settings."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePath

import pytest

from affetto.errors import OutputError
from affetto.formats.folder import SETTINGS, ResultFolder, result_names
from affetto.recording import Recording, Segment, join_segments


@pytest.fixture
def recording() -> Recording:
    return join_segments("a.wav", 1.0, [Segment(0.0, 1.0, "no", "anger", {"anger": 0.9, "sadness": 0.1})])


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    return path


def folder(path: Path, *formats: str, **settings: object) -> ResultFolder:
    return ResultFolder(path / "out", formats or ("json", "vtt"), settings)


def visible(path: Path) -> set[str]:
    return {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()} - {SETTINGS}


def test_it_holds_a_file_a_format(tmp_path: Path, recording: Recording, sound: Path) -> None:
    results = folder(tmp_path, "json", "vtt", "textgrid", "json")
    results.open()
    assert not results.is_done(PurePath("b/a"), sound)
    results.write(PurePath("b/a"), recording)
    assert visible(results.path) == {"b/a.json", "b/a.vtt", "b/a.TextGrid"}
    assert json.loads((results.path / "b/a.json").read_text()) == recording.as_dict()
    assert results.is_done(PurePath("b/a"), sound)


def test_a_missing_format_is_not_done(tmp_path: Path, recording: Recording, sound: Path) -> None:
    folder(tmp_path, "json").write(PurePath("a"), recording)
    assert folder(tmp_path, "json").is_done(PurePath("a"), sound)
    assert not folder(tmp_path, "json", "srt").is_done(PurePath("a"), sound)


def test_a_newer_recording_is_not_done(tmp_path: Path, recording: Recording, sound: Path) -> None:
    results = folder(tmp_path)
    results.write(PurePath("a"), recording)
    later_s = sound.stat().st_mtime + 60
    os.utime(sound, (later_s, later_s))
    assert not results.is_done(PurePath("a"), sound)


@pytest.mark.parametrize("source", [None, Path("nowhere.wav")])
def test_what_is_no_file_is_never_done(tmp_path: Path, recording: Recording, source: Path | None) -> None:
    results = folder(tmp_path)
    results.write(PurePath("a"), recording)
    assert not results.is_done(PurePath("a"), source)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, model="small", sure=0.5).open()
    folder(tmp_path, model="small", sure=0.5).open()
    with pytest.raises(OutputError, match="other settings"):
        folder(tmp_path, model="small", sure=0.6).open()
    folder(tmp_path, model="small", sure=0.6).open(again=True)
    folder(tmp_path, model="small", sure=0.6).open()


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_damaged_settings_are_refused(tmp_path: Path, text: str) -> None:
    folder(tmp_path).open()
    (tmp_path / "out" / SETTINGS).write_text(text)
    with pytest.raises(OutputError):
        folder(tmp_path).open()


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = folder(tmp_path, "json")
    results.write(PurePath("a"), recording)
    before = (results.path / "a.json").read_text()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        results.write(PurePath("a"), join_segments("b.wav", 2.0, recording.segments))
    assert visible(results.path) == {"a.json"}
    assert (results.path / "a.json").read_text() == before


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["a.wav", "b/a.wav"], ["a", "b/a"]),
        (["a.wav", "a.mp3", "c.v2.flac"], ["a.wav", "a.mp3", "c.v2"]),
        (["standard-input"], ["standard-input"]),
        ([], []),
    ],
)
def test_names_are_short_where_they_can_be(inputs: list[str], names: list[str]) -> None:
    assert result_names([PurePath(each) for each in inputs]) == [PurePath(each) for each in names]


@pytest.mark.parametrize("inputs", [["a.wav", "a.wav"], ["a.wav", "a.mp3", "a.wav.flac"]])
def test_names_that_clash_are_refused(inputs: list[str]) -> None:
    with pytest.raises(OutputError, match="name"):
        result_names([PurePath(each) for each in inputs])
