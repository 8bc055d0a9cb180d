"""A folder of results holds whole files, goes on where it was stopped, and mixes no settings."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePath

import pytest

from affetto.errors import OutputError
from affetto.formats.folder import SETTINGS, SOURCES, Identity, ResultFolder, result_names
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
    return {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()} - {SETTINGS, SOURCES}


def test_it_holds_a_file_a_format(tmp_path: Path, recording: Recording, sound: Path) -> None:
    results = folder(tmp_path, "json", "vtt", "textgrid", "json")
    results.open()
    assert not results.is_done(PurePath("b/a"), Identity.of(sound))
    results.write(PurePath("b/a"), recording, Identity.of(sound))
    assert visible(results.path) == {"b/a.json", "b/a.vtt", "b/a.TextGrid"}
    assert json.loads((results.path / "b/a.json").read_text()) == recording.as_dict()
    assert results.is_done(PurePath("b/a"), Identity.of(sound))
    assert reopened(tmp_path, "json", "vtt").is_done(PurePath("b/a"), Identity.of(sound))


def reopened(path: Path, *formats: str) -> ResultFolder:
    results = folder(path, *formats)
    results.open()
    return results


def test_a_missing_format_is_not_done(tmp_path: Path, recording: Recording, sound: Path) -> None:
    reopened(tmp_path, "json").write(PurePath("a"), recording, Identity.of(sound))
    assert reopened(tmp_path, "json").is_done(PurePath("a"), Identity.of(sound))
    assert not reopened(tmp_path, "json", "srt").is_done(PurePath("a"), Identity.of(sound))


def changed(sound: Path, content: bytes, seconds: float) -> Identity:
    """The recording with this content, as if written so much later."""
    time_s = sound.stat().st_mtime + seconds
    sound.write_bytes(content)
    os.utime(sound, (time_s, time_s))
    return Identity.of(sound)


@pytest.mark.parametrize(("content", "seconds"), [(b"sound", 60), (b"older", -60), (b"other", 0), (b"longer", 0)])
def test_another_recording_in_its_place_is_not_done(
    tmp_path: Path, recording: Recording, sound: Path, content: bytes, seconds: float
) -> None:
    reopened(tmp_path).write(PurePath("a"), recording, Identity.of(sound))
    assert not reopened(tmp_path).is_done(PurePath("a"), changed(sound, content, seconds))


def test_the_name_of_another_recording_is_refused(tmp_path: Path, recording: Recording, sound: Path) -> None:
    reopened(tmp_path).write(PurePath("a"), recording, Identity.of(sound))
    other = tmp_path / "tuesday" / "a.wav"
    other.parent.mkdir()
    other.write_bytes(b"other")
    with pytest.raises(OutputError, match="is of another recording"):
        reopened(tmp_path).is_done(PurePath("a"), Identity.of(other))


def test_a_recording_that_moved_is_done(tmp_path: Path, recording: Recording, sound: Path) -> None:
    reopened(tmp_path).write(PurePath("a"), recording, Identity.of(sound))
    moved = sound.rename(tmp_path / "b.wav")
    assert reopened(tmp_path).is_done(PurePath("a"), Identity.of(moved))


def test_what_its_other_name_held_does_not_stay_behind(tmp_path: Path, recording: Recording, sound: Path) -> None:
    reopened(tmp_path, "json", "vtt").write(PurePath("a"), recording, Identity.of(sound))
    (tmp_path / "out" / "a.srt").write_text("mine")
    results = reopened(tmp_path, "json")
    assert not results.is_done(PurePath("a.wav"), Identity.of(sound))
    results.write(PurePath("a.wav"), recording, Identity.of(sound))
    assert visible(results.path) == {"a.wav.json", "a.srt"}


def test_what_is_of_older_sound_does_not_stay_behind(tmp_path: Path, recording: Recording, sound: Path) -> None:
    reopened(tmp_path, "json", "vtt").write(PurePath("a"), recording, Identity.of(sound))
    reopened(tmp_path, "srt").write(PurePath("a"), recording, Identity.of(sound))
    assert visible(tmp_path / "out") == {"a.json", "a.vtt", "a.srt"}
    reopened(tmp_path, "json").write(PurePath("a"), recording, changed(sound, b"new", 0))
    assert visible(tmp_path / "out") == {"a.json"}


def test_a_torn_line_loses_one_recording(tmp_path: Path, recording: Recording, sound: Path) -> None:
    reopened(tmp_path).write(PurePath("a"), recording, Identity.of(sound))
    with (tmp_path / "out" / SOURCES).open("a") as journal:
        journal.write('{"path": "/b.w')
    other = sound.with_name("c.wav")
    other.write_bytes(b"other")
    reopened(tmp_path).write(PurePath("c"), recording, Identity.of(other))
    assert reopened(tmp_path).is_done(PurePath("a"), Identity.of(sound))
    assert reopened(tmp_path).is_done(PurePath("c"), Identity.of(other))


def test_what_a_worker_did_is_known_to_the_next_run(tmp_path: Path, recording: Recording, sound: Path) -> None:
    reopened(tmp_path, "json", "vtt").write(PurePath("a"), recording, Identity.of(sound))
    before = (tmp_path / "out" / SOURCES).read_bytes()
    now = changed(sound, b"new", 0)
    reopened(tmp_path, "json").share([PurePath("a")], [sound]).write(PurePath("a"), recording, now)
    assert (tmp_path / "out" / SOURCES).read_bytes() == before  # where another worker may write
    assert visible(tmp_path / "out") == {"a.json", next((tmp_path / "out").glob(".affetto-sources-*")).name}
    assert reopened(tmp_path, "json").is_done(PurePath("a"), now)
    assert visible(tmp_path / "out") == {"a.json"}


@pytest.mark.parametrize("source", [None, Path("nowhere.wav")])
def test_what_is_no_file_is_never_done(tmp_path: Path, recording: Recording, source: Path | None) -> None:
    reopened(tmp_path).write(PurePath("a"), recording, Identity.of(source))
    assert not reopened(tmp_path).is_done(PurePath("a"), Identity.of(source))


@pytest.mark.parametrize("name", ["n" * 251, "file/a"])
def test_one_that_cannot_be_written_is_an_error_of_its_own(
    tmp_path: Path, recording: Recording, sound: Path, name: str
) -> None:
    results = reopened(tmp_path, "json")
    (results.path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        results.write(PurePath(name), recording, Identity.of(sound))
    results.write(PurePath("n" * 250), recording, Identity.of(sound))
    assert visible(results.path) == {"file", "n" * 250 + ".json"}


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
    results = reopened(tmp_path, "json")
    results.write(PurePath("a"), recording, Identity.of(None))
    before = (results.path / "a.json").read_text()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        results.write(PurePath("a"), join_segments("b.wav", 2.0, recording.segments), Identity.of(None))
    assert visible(results.path) == {"a.json"}
    assert (results.path / "a.json").read_text() == before


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["a.wav", "b/a.wav"], ["a", "b/a"]),
        (["a.wav", "a.mp3", "c.v2.flac"], ["a.wav", "a.mp3", "c.v2"]),
        (["a.flac", "a.wav", "a.flac.ogg"], ["a.flac", "a.wav", "a.flac.ogg"]),
        (["a.flac.ogg.mp3", "a.flac.ogg", "a.flac", "a.wav"], ["a.flac.ogg.mp3", "a.flac.ogg", "a.flac", "a.wav"]),
        (["a.flac", "a.flac.ogg"], ["a", "a.flac"]),
        (["a.wav", "b.wav", "a.wav"], ["a", "b", "a"]),
        (["standard-input"], ["standard-input"]),
        ([], []),
    ],
)
def test_names_are_short_where_they_can_be(inputs: list[str], names: list[str]) -> None:
    assert result_names([PurePath(each) for each in inputs]) == [PurePath(each) for each in names]
