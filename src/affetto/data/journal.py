"""What was made from which file: kept line by line, so that work that was stopped, however rudely, goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple

from pydantic import TypeAdapter, ValidationError

from affetto import audio
from affetto.data.utterance import Utterance
from affetto.errors import AudioError

_LONGEST_NAME = 100
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Origin(NamedTuple):
    """The stretch of sound that a file was made from; the folder that it lies in does not count, for corpora move.

    Attributes:
        source: the name of the sound file.
        bytes: its size.
        time_ns: when it was last changed.
        start_s: where the stretch begins, seconds.
        end_s: where it ends; None is the end of the file.
    """

    source: str
    bytes: int
    time_ns: int
    start_s: float
    end_s: float | None

    @classmethod
    def of(cls, utterance: Utterance) -> Origin:
        """Where an utterance lies now.

        Raises:
            AudioError: the file is not there.
        """
        try:
            found = utterance.audio.stat()
        except OSError as error:
            raise AudioError(error.strerror or str(error), "check the path", utterance.audio) from error
        return cls(utterance.audio.name, found.st_size, found.st_mtime_ns, utterance.start_s, utterance.end_s)


class Made(NamedTuple):
    """A sound file that was made.

    Attributes:
        file: its path below the folder of all.
        origin: what it was made from.
        duration_s: how long it is, seconds.
        bytes: its size.
    """

    file: str
    origin: Origin
    duration_s: float
    bytes: int


_MADE = TypeAdapter(Made)


class Journal:
    """The records of all files made in a folder; they may be added from several threads.

    Args:
        file: where more are written.
        made: those there are, by the path of what was made.
    """

    def __init__(self, file: IO[str], made: dict[str, Made]) -> None:
        self.file = file
        self.made = made
        self._lock = Lock()

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Journal]:
        """Reads a journal, and keeps it open; lines that a sudden end has torn are passed over.

        Raises:
            OSError: it cannot be read or written.
        """
        *lines, torn = path.read_bytes().split(b"\n") if path.exists() else [b""]
        made: dict[str, Made] = {}
        for line in lines:
            try:
                record = _MADE.validate_json(line)
            except ValidationError:
                continue
            made[record.file] = record
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("\n" if torn else "")
            yield cls(file, made)

    def add(self, record: Made) -> None:
        """Writes a record down at once."""
        with self._lock:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()

    def whole(self, file: str, origin: Origin, path: Path) -> Made | None:
        """The record of a file that was made from this origin and lies at a path, whole as far as its header shows.

        Args:
            file: its path below the folder of all.
            origin: what it should have been made from.
            path: where it is.
        """
        record = self.made.get(file)
        if record is None or record.origin != origin:
            return None
        try:
            is_whole = path.stat().st_size == record.bytes and audio.info(path).duration_s == record.duration_s
        except (OSError, AudioError):
            return None
        return record if is_whole else None


def file_names(utterances: Sequence[Utterance]) -> list[str]:
    """A path for each utterance, ``corpus/speaker/id.flac``, that is good on every system whatever the names are.

    >>> names = [Utterance(id=id, audio=Path("x"), speaker="ann", corpus="mine") for id in ("a1", "../b")]
    >>> file_names(names)
    ['mine/ann/a1.flac', 'mine/ann/b-95cd9069.flac']
    """
    folders = _distinct({each.corpus for each in utterances} | {each.speaker for each in utterances})
    names = _distinct({each.id for each in utterances})
    return [f"{folders[each.corpus]}/{folders[each.speaker]}/{names[each.id]}.flac" for each in utterances]


def _distinct(names: set[str]) -> dict[str, str]:
    """Name -> one that is no path and is different even where case does not count."""
    alike = Counter(name.casefold() for name in names)
    return {name: name if alike[name.casefold()] == 1 and _is_safe(name) else _spelt(name) for name in names}


def _is_safe(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and not name.endswith(".") and _SAFE_NAME.fullmatch(name) is not None


def _spelt(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[: _LONGEST_NAME // 2]
    return f"{plain}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}".lstrip("-")
