"""A folder of results: a file a recording and format, each whole or absent, so that a stopped run can go on."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from affetto.errors import OutputError
from affetto.formats import FORMATS
from affetto.recording import Recording

SETTINGS = ".affetto.json"
"""Holds what the results in a folder were made with."""


def result_names(inputs: Sequence[PurePath]) -> list[PurePath]:
    """What the results of recordings are called, without the suffix of their format.

    Args:
        inputs: relative paths of recordings.

    Returns:
        Each without its suffix; with it, where only the suffix tells two apart.

    Raises:
        OutputError: two are called the same.

    >>> [str(name) for name in result_names([PurePath("a.wav"), PurePath("b.wav"), PurePath("b.mp3")])]
    ['a', 'b.wav', 'b.mp3']
    """
    twice = [name for name, count in Counter(inputs).items() if count > 1]
    if twice:
        raise OutputError("several recordings have this name", "write them into different folders", twice[0])
    bare = Counter(_bare(each) for each in inputs)
    names = [each if bare[_bare(each)] > 1 else _bare(each) for each in inputs]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise OutputError("several results would have this name", "rename one of the recordings", twice[0])
    return names


def _bare(path: PurePath) -> PurePath:
    return path.with_suffix("") if path.suffix else path


class ResultFolder:
    """Where results are kept.

    Args:
        path: the folder; it is made when needed.
        formats: names in `FORMATS`.
        settings: what results depend on beside the recording, plain values for JSON.
    """

    def __init__(self, path: Path, formats: Sequence[str], settings: Mapping[str, object]) -> None:
        self.path = path
        self.formats = tuple(dict.fromkeys(formats))
        self.settings = dict(settings)

    def open(self, *, again: bool = False) -> None:
        """Makes the folder, or checks that what is in it was made in the same way.

        Args:
            again: everything will be written anew.

        Raises:
            OutputError: its results were made with another model or other settings.
        """
        note = self.path / SETTINGS
        if not again and note.exists() and _read(note) != self.settings:
            raise OutputError(
                "holds results of another model or other settings", "choose another folder, or do all again", self.path
            )
        _write(note, json.dumps(self.settings, indent=2) + "\n")

    def is_done(self, name: PurePath, source: Path | None) -> bool:
        """Whether every format of a recording is there, and no older than the recording.

        Args:
            name: see `result_names`.
            source: the recording's file; None where it is no file, and so may be another each time.
        """
        try:
            made = [self._place(name, format_).stat().st_mtime_ns for format_ in self.formats]
            return source is not None and min(made) >= source.stat().st_mtime_ns
        except OSError:
            return False

    def write(self, name: PurePath, recording: Recording) -> None:
        """Writes a recording in every format."""
        for format_ in self.formats:
            _write(self._place(name, format_), FORMATS[format_].write(recording))

    def _place(self, name: PurePath, format_: str) -> Path:
        return self.path / name.parent / (name.name + FORMATS[format_].suffix)


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    """The whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        # A name that is not valid UTF-8 shall not keep the rest from being written.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
