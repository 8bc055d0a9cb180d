"""Reading the files that corpora are made of: lists of text, and folders of sound in any container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from affetto.audio import SUFFIXES
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


def folders(path: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; none where the path is no folder."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return []
    return [path / name for name in sorted(names)]


class AudioFolders:
    """Finds sound files by folder and stem, whatever their container; lists every folder once.

    Corpora are re-encoded (flac for wav, opus for mp3) while their lists keep the old names. Listing a folder costs
    one system call where asking for each candidate would cost a dozen an utterance.
    """

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, path: Path) -> Path | None:
        """The file of this very name, else one of the same stem in another container, else None."""
        names = self._names(path.parent).get(path.stem, [])
        # A name without a container may itself hold dots: "clip.01" lies on disk as "clip.01.wav".
        names = names or self._names(path.parent).get(path.name, [])
        if not names:
            return None
        return path if path.name in names else path.parent / names[0]

    def stems(self, folder: Path) -> list[str]:
        """The stems of the sound files in a folder, sorted."""
        return sorted(self._names(folder))

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            self._listed[folder] = _audio_names(folder)
        return self._listed[folder]


def _audio_names(folder: Path) -> dict[str, list[str]]:
    """Stem -> names of the sound files, sorted; hidden files (the ``._x.wav`` of macOS) are left out."""
    found: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return found
    for name in names:
        if Path(name).suffix.lower() in SUFFIXES:
            found.setdefault(Path(name).stem, []).append(name)
    return found
