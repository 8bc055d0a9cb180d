"""Archives from strangers, unpacked with nothing taken on trust.

Only plain files come out, into one folder, each in a folder that was named beforehand. An archive with links, devices
or paths that lead elsewhere is refused whole, and so is one that grows beyond all measure.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO

from affetto.errors import CorpusError

SUFFIXES = (".tgz", ".tar.gz")
DAMAGED, UNSAFE, TOO_BIG = "damaged archive", "unsafe archive", "archive too big"
FAULTS = frozenset({DAMAGED, UNSAFE, TOO_BIG})
MOST_FILES = 20_000
MOST_BYTES = 2**30
MOST_EXPANSION, _SMALL = 100, 2**20  # Speech shrinks to a half, silence to a hundredth.
_SAME_TIME_S = 2.0  # What the coarsest file systems tell apart.


class ArchiveError(CorpusError):
    """An archive that is not to be unpacked; ``reason`` is one of `FAULTS`."""

    def __init__(self, reason: str, problem: str, path: Path) -> None:
        super().__init__(f"{reason} ({problem})", "download it again, or leave it out", path)
        self.reason = reason


def stem(path: Path) -> str | None:
    """The name of an archive without its suffix; None where it is no archive.

    >>> stem(Path("ann-20080101-abc.tgz")), stem(Path("notes.txt"))
    ('ann-20080101-abc', None)
    """
    return next((path.name.removesuffix(each) for each in SUFFIXES if path.name.lower().endswith(each)), None)


def unpack(archive: Path, folder: Path, wanted: Collection[str]) -> None:
    """Unpacks a tar file into a folder, whole or not at all; if the folder holds the same archive already, it is left.

    Of the archive, ``wanted`` folders at its top, or one deeper, are unpacked; files elsewhere are passed over. Raises
    ArchiveError where it is damaged, unsafe or too big, OSError where the folder cannot be written to.
    """
    try:
        packed = archive.open("rb")
    except OSError as error:
        raise ArchiveError(DAMAGED, error.strerror or str(error), archive) from error
    draft = folder.with_name(f".{folder.name}.partial")
    with packed:
        modified_s = archive.stat().st_mtime
        if folder.is_dir() and abs(folder.stat().st_mtime - modified_s) < _SAME_TIME_S:
            return
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            _unpack(packed, archive, draft, wanted)
            os.utime(draft, (modified_s, modified_s))
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _unpack(packed: IO[bytes], archive: Path, folder: Path, wanted: Collection[str]) -> None:
    limit = min(MOST_BYTES, _SMALL + MOST_EXPANSION * archive.stat().st_size)
    content = _Bounded(gzip.GzipFile(fileobj=packed), archive, limit)
    try:
        # Read forward only ("|"), so that what is counted is all that is ever unpacked.
        with tarfile.open(fileobj=content, mode="r|") as tar:
            for number, member in enumerate(tar):
                if number >= MOST_FILES:
                    raise ArchiveError(TOO_BIG, f"over {MOST_FILES:,} files", archive)
                _write_member(tar, member, folder, wanted, archive)
    # Of a damaged header, tarfile may raise ValueError, too.
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise ArchiveError(DAMAGED, str(error) or type(error).__name__, archive) from error


class _Bounded(io.RawIOBase):
    """A file that refuses to be longer than it may be."""

    def __init__(self, file: gzip.GzipFile, archive: Path, limit: int) -> None:
        self.file, self.archive, self.limit, self.count = file, archive, limit, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.count += len(content)
        if self.count > self.limit:
            raise ArchiveError(TOO_BIG, f"over {self.limit / 2**20:,.0f} MiB unpacked", self.archive)
        return content


def _write_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, wanted: Collection[str], archive: Path
) -> None:
    parts = [part for part in member.name.split("/") if part not in {"", "."}]
    if member.name.startswith("/") or ".." in parts or any(not _is_plain(part) for part in parts):
        raise ArchiveError(UNSAFE, f"a path that leads elsewhere: {member.name!r}", archive)
    if member.isdir():
        return
    if not member.isreg():
        raise ArchiveError(UNSAFE, f"a link or device: {member.name!r}", archive)
    if len(parts) not in {2, 3} or parts[-2] not in wanted or parts[-1].startswith("."):
        return
    target = folder / parts[-2] / parts[-1]
    target.parent.mkdir(exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None, "a plain file has content"
    try:
        with target.open("xb") as file:
            shutil.copyfileobj(source, file)
    except FileExistsError as error:
        raise ArchiveError(DAMAGED, f"the name {member.name!r} twice", archive) from error
    modified_s = min(max(0.0, float(member.mtime)), 2.0**32)
    os.utime(target, (modified_s, modified_s))  # so that it is known again should it be unpacked again


def _is_plain(part: str) -> bool:
    """Whether a name is one on every system: no separator of another, no control character, not too long."""
    return part.isprintable() and not set(part) & set('\\:*?"<>|') and len(os.fsencode(part)) <= 200
