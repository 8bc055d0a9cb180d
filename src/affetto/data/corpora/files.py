"""Reading the files that corpora are made of: lists of text, and folders of sound in any container."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from affetto.audio import SOUND_SUFFIXES
from affetto.errors import CorpusError


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Numbers (from 1) and contents of the lines of a UTF-8 file that are not blank, without their ends.

    Only line feeds end a line: transcripts may hold the other characters that Python would split at (U+2028, \x85).

    Raises:
        CorpusError: the file is missing, cannot be opened, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise CorpusError(error.strerror or str(error), "download or copy the corpus again", path) from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"not UTF-8 text ({error.reason})", "convert the file to UTF-8", path) from error


def read_lines_of_any_encoding(path: Path) -> list[tuple[int, str]]:
    r"""Like `read_lines`, for files from before UTF-8: what is not that is read as Windows-1252, as Latin-1 is then.

    Raises:
        CorpusError: the file is missing or cannot be opened.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(error.strerror or str(error), "download or copy the corpus again", path) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


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


class Listing(NamedTuple):
    """What a folder holds: every file's name, and stem -> names of the sound files, sorted."""

    names: frozenset[str]
    sounds: dict[str, list[str]]


class AudioFolders:
    """Finds sound files by folder and stem, whatever their container; lists every folder once.

    Corpora are re-encoded (flac for wav, opus for mp3) while their lists keep the old names. Listing a folder costs
    one system call where asking for each candidate would cost a dozen an utterance.
    """

    def __init__(self) -> None:
        self._listed: dict[Path, Listing] = {}

    def find(self, path: Path) -> Path | None:
        """The file of this very name, else one of the same stem in another container, else None."""
        listing = self._list(path.parent)
        if path.name in listing.names:
            return path
        # Only a container is cut off: the stem of "clip.01" is "clip.01", and "clip.wav" is another recording.
        stem = path.stem if path.suffix.lower() in SOUND_SUFFIXES else path.name
        sounds = listing.sounds.get(stem)
        return path.parent / sounds[0] if sounds else None

    def stems(self, folder: Path) -> list[str]:
        """The stems of the sound files in a folder, sorted."""
        return sorted(self._list(folder).sounds)

    def names(self, folder: Path) -> list[str]:
        """The names of all files in a folder, sorted."""
        return sorted(self._list(folder).names)

    def _list(self, folder: Path) -> Listing:
        if folder not in self._listed:
            self._listed[folder] = _list_folder(folder)
        return self._listed[folder]


def _list_folder(folder: Path) -> Listing:
    names = [path.name for path in files(folder)]
    sounds: dict[str, list[str]] = {}
    for name in names:
        if Path(name).suffix.lower() in SOUND_SUFFIXES:
            sounds.setdefault(Path(name).stem, []).append(name)
    return Listing(frozenset(names), sounds)
