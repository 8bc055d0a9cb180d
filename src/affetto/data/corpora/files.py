"""Reading the files that corpora are made of: lists of text, folders of sound in any container; many at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import TypeVar

from affetto.audio import SOUND_SUFFIXES
from affetto.errors import CorpusError

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int, str], None]
"""Called as long work goes on, with how much is done, how much there is, and what is being done."""
_WAITING = 64
"""How much is handed out for each thread: enough to keep it busy, and little enough to forget when stopped."""


def read_lines(path: Path, *, any_encoding: bool = False) -> list[tuple[int, str]]:
    r"""Numbers (from 1) and contents of the lines of a UTF-8 file that are not blank, without their ends.

    Only line feeds end a line: transcripts may hold the other characters that Python would split at (U+2028, \x85).
    What is not UTF-8 raises CorpusError, or is read as Windows-1252, as Latin-1 is then, if it may be of any encoding.
    """
    content = b""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise CorpusError(error.strerror or str(error), "download or copy the corpus again", path) from error
    except UnicodeDecodeError as error:
        if not any_encoding:
            raise CorpusError(f"not UTF-8 text ({error.reason})", "convert the file to UTF-8", path) from error
        text = content.decode("cp1252", errors="replace")
    return [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def read_table(path: Path) -> dict[str, str]:
    """First word -> the rest of the line, "" where there is none; see `read_lines`."""
    pairs = (line.split(maxsplit=1) for _, line in read_lines(path))
    return {words[0]: words[1].strip() if len(words) > 1 else "" for words in pairs}


def folders(path: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; none where the path is no folder."""
    return [path / name for name in _names(path, os.DirEntry.is_dir)]


def files(path: Path) -> list[Path]:
    """The files in a folder, sorted, without hidden ones (the ``._x.wav`` of macOS); none where it cannot be opened."""
    return [path / name for name in _names(path, os.DirEntry.is_file)]


def _names(path: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and wanted(entry))
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return []


def sound_stem(name: str) -> str:
    """A file's name without its container alone, since "clip.wav" and "clip.01" are two recordings.

    >>> sound_stem("clip.wav"), sound_stem("clip.01")
    ('clip', 'clip.01')
    """
    return Path(name).stem if Path(name).suffix.lower() in SOUND_SUFFIXES else name


def _listing(folder: Path) -> tuple[frozenset[str], dict[str, str]]:
    """Every file's name, and stem -> the first of its sound files, sorted."""
    names = [path.name for path in files(folder)]
    sounds = {Path(name).stem: name for name in reversed(names) if Path(name).suffix.lower() in SOUND_SUFFIXES}
    return frozenset(names), dict(sorted(sounds.items()))


class AudioFolders:
    """Finds sound files by folder and stem, whatever their container; lists every folder once.

    Corpora are re-encoded (flac for wav, opus for mp3) while their lists keep the old names. Listing a folder costs
    one system call where asking for each candidate would cost a dozen an utterance.
    """

    def __init__(self) -> None:
        self._list = cache(_listing)

    def find(self, path: Path) -> Path | None:
        """The file of this very name, else one of the same stem in another container, else None."""
        names, sounds = self._list(path.parent)
        if path.name in names:
            return path
        name = sounds.get(sound_stem(path.name))
        return None if name is None else path.parent / name

    def stems(self, folder: Path) -> list[str]:
        """The stems of the sound files in a folder, sorted."""
        return list(self._list(folder)[1])


def silent(done: int, total: int, what: str) -> None:
    """Shows no progress."""
    del done, total, what


def in_threads(work: Callable[[Item], Result], items: Iterable[Item], jobs: int | None = None) -> Iterator[Result]:
    """Does the same work on many items at a time, and gives the results in the order in which they are ready.

    Stopped early (by Ctrl-C, by an error), it lets what has begun come to its end and drops the rest. Items are read
    only as fast as they are worked on; ``jobs`` are as many at a time, None as suits the machine.
    """
    pool = ThreadPoolExecutor(jobs)
    most = _WAITING * pool._max_workers
    waiting: set[Future[Result]] = set()
    try:
        for item in items:
            waiting.add(pool.submit(work, item))
            if len(waiting) >= most:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
    finally:
        pool.shutdown(cancel_futures=True)
