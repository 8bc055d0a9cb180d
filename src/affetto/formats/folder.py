"""A folder of results: a file a recording and format, each whole or absent, so that a stopped run can go on.

Beside them it is written down which recording each is of, so that none is taken for that of another.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from affetto.errors import OutputError
from affetto.files import write_text
from affetto.formats import FORMATS
from affetto.recording import Recording

SETTINGS = ".affetto.json"  # holds what the results in a folder were made with
SOURCES = ".affetto-sources.jsonl"  # holds which recording each result is of: a line whenever one is written
_OF_A_WORKER = ".affetto-sources-{}.jsonl"  # the same of one worker of several: not all file systems append in turn
_EDGE = 1 << 16  # bytes at either end of a recording that distinguish it from others of its size and time
_NOTHING_CAN = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Identity(NamedTuple):
    """Which recording a result is of."""

    path: str | None  # of its file, absolute; None where it is no file, and so may be another each time
    content: str  # stands for its size, its time and what is at both its ends; empty where it cannot be read

    @classmethod
    def of(cls, source: Path | None) -> Identity:
        """A recording as it is now."""
        if source is None:
            return cls(None, "")
        try:
            with source.open("rb") as file:
                found = os.fstat(file.fileno())
                ends = file.read(_EDGE)
                file.seek(max(0, found.st_size - _EDGE))
                ends += file.read(_EDGE)
        except OSError:
            return cls(str(source.absolute()), "")
        digest = hashlib.sha256(ends).hexdigest()[:16]
        return cls(str(source.absolute()), f"{found.st_size}-{found.st_mtime_ns}-{digest}")


def result_names(inputs: Sequence[PurePath]) -> list[PurePath]:
    """What the results of recordings are called: each without its suffix; with it, where only that tells two apart.

    Only recordings that are called the same have results that are.

    >>> [str(name) for name in result_names([PurePath("a.wav"), PurePath("b.wav"), PurePath("b.mp3")])]
    ['a', 'b.wav', 'b.mp3']
    """
    names = {each: each.with_suffix("") if each.suffix else each for each in inputs}
    while shared := {name for name, count in Counter(names.values()).items() if count > 1}:
        names |= {each: each for each, name in names.items() if name in shared}
    return [names[each] for each in inputs]


class ResultFolder:
    """Where results are kept, in some of `FORMATS`; the settings are what they depend on beside the recording."""

    def __init__(self, path: Path, formats: Sequence[str], settings: Mapping[str, object]) -> None:
        self.path = path
        self.formats = tuple(dict.fromkeys(formats))
        self.settings = dict(settings)
        self._shared = False  # among workers, of whom this is one
        self._made: dict[str, Identity] = {}
        self._from: dict[str | None, set[str]] = {}  # path of a recording -> what was once made of it

    def open(self, *, again: bool = False) -> None:
        """Makes the folder; OutputError if what is in it was made otherwise, unless all will be written again."""
        note = self.path / SETTINGS
        if not again and note.exists() and not self._made_alike(note):
            problem = "holds results of another model or other settings"
            raise OutputError(problem, "choose another folder, or do all again", self.path)
        _write(note, json.dumps(self.settings, indent=2) + "\n")
        self.gather()
        self._know(_read_sources(self._journal))

    def gather(self) -> None:
        """Takes what workers have written down into the one journal; when none is at work."""
        for each in sorted(self.path.glob(_OF_A_WORKER.format("*"))):
            with self._journal.open("ab") as journal:
                journal.write(each.read_bytes())  # each line begins with its break
            each.unlink()

    def share(self, names: Iterable[PurePath], sources: Iterable[Path]) -> ResultFolder:
        """The same folder for a worker, which knows of these recordings alone, and keeps a journal of its own."""
        shared = ResultFolder(self.path.absolute(), self.formats, self.settings)
        files = {file for name in names for file in self._files(name, tuple(FORMATS))}
        files |= {file for source in sources for file in self._from.get(str(source.absolute()), ())}
        shared._shared = True
        shared._know({file: self._made[file] for file in files if file in self._made})
        return shared

    @property
    def _journal(self) -> Path:
        return self.path / (_OF_A_WORKER.format(_process()) if self._shared else SOURCES)

    def _know(self, made: Mapping[str, Identity]) -> None:
        self._made |= made
        for file, source in made.items():
            self._from.setdefault(source.path, set()).add(file)

    def _made_alike(self, note: Path) -> bool:
        try:
            return bool(json.loads(note.read_text(encoding="utf-8")) == self.settings)
        except (OSError, ValueError):
            return False

    def holds(self, name: PurePath) -> bool:
        """Whether there is, or was, a result of this name."""
        return any(file in self._made for file in self._files(name, self.formats))

    def is_done(self, name: PurePath, source: Identity) -> bool:
        """Whether every format of a recording is there, and is of it as it is now, wherever it lies.

        Raises OutputError where a result of this name is of another recording.
        """
        files = self._files(name, self.formats)
        made = {file: self._made[file] for file in files if file in self._made and (self.path / file).is_file()}
        if source.content and all(each.content == source.content for each in made.values()):
            return len(made) == len(files)
        for file, each in made.items():
            if each.path != source.path:
                problem = f"{self.path / file} is of another recording, {each.path or 'standard input'}"
                remedy = "write into another folder, or recognise the folder around both; --force replaces it"
                raise OutputError(problem, remedy, source.path)
        return False

    def write(self, name: PurePath, recording: Recording, source: Identity) -> None:
        """Writes a recording in every format; what is there of its older sound or by its other name goes.

        Raises OutputError where this result cannot be written, OSError where none can.
        """
        files = self._files(name, self.formats)
        try:
            for file, format_ in files.items():
                _write(self.path / file, FORMATS[format_].write(recording))
        except OSError as error:
            if error.errno in _NOTHING_CAN:
                raise
            problem, where = f"cannot be written ({error.strerror or error})", self.path / next(iter(files))
            raise OutputError(problem, "rename the recording, or what is in the way", where) from error
        for file in self._outdated(name, source):
            (self.path / file).unlink(missing_ok=True)
            del self._made[file]
        self._know(dict.fromkeys(files, source))
        with self._journal.open("a", encoding="utf-8", newline="\n") as journal:
            journal.write("\n" + json.dumps({**source._asdict(), "files": list(files)}) + "\n")

    def _outdated(self, name: PurePath, source: Identity) -> list[str]:
        """The files of a recording in the same folder that another run would not find, or find old."""
        named = self._files(name, tuple(FORMATS))
        made = {file: self._made[file] for file in self._from.get(source.path, ()) if file in self._made}
        return [
            file
            for file, each in made.items()
            if source.path is not None and each.path == source.path and PurePath(file).parent == name.parent
            if file not in named or (named[file] not in self.formats and each.content != source.content)
        ]

    def _files(self, name: PurePath, formats: Sequence[str]) -> dict[str, str]:
        """Path below the folder -> format."""
        return {str(name.parent / (name.name + FORMATS[each].suffix)): each for each in formats}


def _read_sources(path: Path) -> dict[str, Identity]:
    """File -> which recording it is of; lines that a sudden end has torn are passed over."""
    made: dict[str, Identity] = {}
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            record = json.loads(line)
            made |= dict.fromkeys(record["files"], Identity(record["path"], record["content"]))
        except (ValueError, KeyError, TypeError):
            continue
    return made


def _process() -> str:
    """Tells this process from others, on whatever machine."""
    return f"{platform.node()[:64]}-{os.getpid()}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text, "backslashreplace")  # a name that is not valid UTF-8 shall not keep the rest from it
