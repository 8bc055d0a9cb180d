"""Files are written whole or not at all: beside the old one, whose place the new one takes when it is complete."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft(path: Path, *, synced: bool = False) -> Iterator[Path]:
    """A file to write, which becomes ``path`` at the end, and is removed where anything fails; OSError as it comes.

    Its name is short, whatever that of ``path``, and no other process's or thread's. ``synced`` waits until the disk
    has it, so that not even a loss of power leaves half of it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with draft(Path(folder) / "a.txt") as file:
    ...         _ = file.write_text("whole")
    ...     [(each.name, each.read_text()) for each in Path(folder).iterdir()]
    [('a.txt', 'whole')]
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield unfinished
        if synced:
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, content: str, errors: str = "strict") -> None:
    """Writes text, with line ends as they are; ``errors`` as of `str.encode`."""
    with draft(path) as file:
        file.write_text(content, encoding="utf-8", errors=errors, newline="\n")
