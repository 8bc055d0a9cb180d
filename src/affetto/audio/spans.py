"""Parts of a file, joined with bytes that it lacks, read as if they were a file of their own."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import IO, NamedTuple, TypeAlias

_CHUNK = 1 << 16
_SEARCHED = 1 << 20
_PATTERN = 64


class Span(NamedTuple):
    """Bytes of a file: the place of the first, and that of the one after the last."""

    start: int
    end: int


Pieces: TypeAlias = tuple[Span | bytes, ...]  # what follows what: bytes of the file, and such as it lacks


class Bytes:
    """What a file holds, by its place, whatever its size; little of it is in memory. Where the file stands changes.

    >>> import io
    >>> found = Bytes(io.BytesIO(b"some bytes"))
    >>> found.at(5, 5), found.at(8, 5), found.search(re.compile(b"[by]"), 6), found.search(re.compile(b"x"), 0)
    (b'bytes', b'es', 6, None)
    """

    def __init__(self, file: IO[bytes] | Spliced) -> None:
        self._file = file
        self._chunk = b""
        self._start = 0
        self.size = file.seek(0, os.SEEK_END)

    def at(self, place: int, size: int) -> bytes:
        """So many bytes from a place on, or as many as there are."""
        if place >= self.size:  # a damaged header may name a place that no file has
            return b""
        first = place - self._start
        if first < 0 or first + size > len(self._chunk):
            self._file.seek(place)
            self._chunk, self._start, first = self._file.read(max(size, _CHUNK)), place, 0
            while len(self._chunk) < size and (more := self._file.read(size - len(self._chunk))):
                self._chunk += more  # it may give fewer bytes at a time
        return self._chunk[first : first + size]

    def search(self, pattern: re.Pattern[bytes], place: int, end: int | None = None) -> int | None:
        """Where a pattern of at most 64 bytes is found first, from a place on; None if it is not found."""
        end = self.size if end is None else end
        while place < end:
            chunk = self.at(place, min(_SEARCHED, end - place))
            if (found := pattern.search(chunk)) is not None:
                return place + found.start()
            if place + len(chunk) >= end or len(chunk) <= _PATTERN:
                return None
            place += len(chunk) - _PATTERN
        return None


class Spliced:
    """Pieces as an open file, which stays where it is when a damaged header sends it before its beginning.

    libsndfile asks from C, where an exception could only be printed.

    >>> import io
    >>> file = Spliced(io.BytesIO(b"0123456789"), (b"ab", Span(4, 7), Span(9, 10)))
    >>> file.read(4), file.tell(), file.read(9), file.seek(3), file.read(1), file.seek(-9)
    (b'ab45', 4, b'69', 3, b'5', 4)
    """

    def __init__(self, file: IO[bytes], pieces: Iterable[Span | bytes]) -> None:
        self._content = Bytes(file)
        self._pieces = tuple(pieces)
        sizes = (len(piece) if isinstance(piece, bytes) else piece.end - piece.start for piece in self._pieces)
        self._starts = (0, *accumulate(sizes))
        self._place = 0

    def tell(self) -> int:
        """Where it is."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes elsewhere, if there is such a place."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._starts[-1]}[whence]
        if origin + offset >= 0:
            self._place = origin + offset
        return self._place

    def read(self, size: int = _CHUNK) -> bytes:
        """The next bytes; fewer than asked for are the last."""
        parts: list[bytes] = []
        while size > 0 and self._place < self._starts[-1]:
            number = bisect_right(self._starts, self._place) - 1
            piece, first = self._pieces[number], self._place - self._starts[number]
            if isinstance(piece, bytes):
                part = piece[first : first + size]
            else:
                part = self._content.at(piece.start + first, min(size, piece.end - piece.start - first))
            if not part:  # the file was cut meanwhile
                break
            parts.append(part)
            self._place += len(part)
            size -= len(part)
        return b"".join(parts)
