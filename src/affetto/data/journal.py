"""What was made from which file: kept line by line, so that work that was stopped, however rudely, goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import TypeAdapter, ValidationError

from affetto import audio
from affetto.data.utterance import Utterance
from affetto.errors import AudioError

_LONGEST_NAME = 100
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Made(NamedTuple):
    """A sound file that was made, and what of.

    Attributes:
        file: its path below the folder of all.
        source: the name of the file that it was made from ...
        source_bytes: ... its size ...
        source_time_ns: ... and when it was last changed.
        start_s: where the utterance begins in the source, seconds.
        end_s: where it ends; None is the end of the source.
        duration_s: how long the made file is, seconds.
        file_bytes: its size.
    """

    file: str
    source: str
    source_bytes: int
    source_time_ns: int
    start_s: float
    end_s: float | None
    duration_s: float
    file_bytes: int

    def is_from(self, utterance: Utterance) -> bool:
        """Whether it was made from this stretch of this source, as the source is now; the source may have moved."""
        return self[1:6] == _origin(utterance)

    def is_whole(self, path: Path) -> bool:
        """Whether the file at a path is the one that was made, as far as its size and header tell."""
        try:
            return path.stat().st_size == self.file_bytes and audio.info(path).duration_s == self.duration_s
        except (OSError, AudioError):
            return False


_MADE = TypeAdapter(Made)


def made_from(utterance: Utterance, file: str, path: Path, duration_s: float) -> Made:
    """The record of a file that has just been made at a path."""
    return Made(file, *_origin(utterance), duration_s, path.stat().st_size)


def _origin(utterance: Utterance) -> tuple[str, int, int, float, float | None]:
    found = utterance.audio.stat()
    return utterance.audio.name, found.st_size, found.st_mtime_ns, utterance.start_s, utterance.end_s


class Journal:
    """The records of all files made in a folder.

    Args:
        file: where more are written.
        made: those there are, by the path of what was made.
    """

    def __init__(self, file: IO[str], made: dict[str, Made]) -> None:
        self.file = file
        self.made = made

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
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()


def file_names(utterances: Sequence[Utterance]) -> list[str]:
    """A path for each utterance, ``corpus/speaker/id.flac``, that is good on every system whatever the names are.

    >>> names = [Utterance(id=id, audio=Path("x"), speaker="ann", corpus="mine") for id in ("a1", "../b")]
    >>> file_names(names)
    ['mine/ann/a1.flac', 'mine/ann/b-fa0cd1b7.flac']
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
