"""MPEG audio (mp3, mp2) frame by frame: every frame counts, whatever a header says of how many there are.

A decoder guesses the number of frames where no header tells it, or stops at the end of the first of several streams
that were joined. Here the frames of streams set them apart, and those that lack a header get one.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from affetto.audio.spans import Bytes, Pieces, Span

# What begins like a frame.
_LIKELY = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][^\x00-\x0f\xf0-\xff]", re.DOTALL)
_KBIT_S = {  # (MPEG-1 or not, layer) -> of the indices from 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_DIVISORS = {3: 1, 2: 2, 0: 4}  # MPEG-1, 2 and 2.5
_MONO = 3
_VBRI_PLACE = 36
_HEADER_KBIT_S = 64  # a frame that has room for a header, and which every layer-3 stream may hold


class Frame(NamedTuple):
    """What the four bytes at the beginning of a frame say."""

    size: int  # bytes, these included
    samples: int  # how many come out of it, of each channel
    # What does not change within a stream: version, layer, sampling rate in Hz, mono or not; and, where no header could
    # say the length of a stream whose rate varies, the bit rate.
    kind: tuple[int, int, int, bool, int]
    tag: int  # where in it the word stands by which a header is known; 0 where there is none


@lru_cache(maxsize=4096)
def frame(header: bytes) -> Frame | None:
    """What a frame is that begins with these bytes; None if no frame does, or one whose size it does not tell.

    >>> frame(bytes.fromhex("fffb9064"))
    Frame(size=417, samples=1152, kind=(3, 3, 44100, False, 0), tag=36)
    >>> frame(b"RIFF"), frame(b"")
    (None, None)
    """
    if len(header) != 4 or _LIKELY.match(header) is None or header[2] >> 2 & 3 == 3:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    first, mono = version == 3, header[3] >> 6 == _MONO
    rate = _RATES[header[2] >> 2 & 3] // _DIVISORS[version]
    kbit_s, padding = _KBIT_S[first, layer][(header[2] >> 4) - 1], header[2] >> 1 & 1
    if layer == 1:
        size, samples = (12_000 * kbit_s // rate + padding) * 4, 384
    else:
        samples = 1152 if first or layer == 2 else 576
        size = 125 * samples * kbit_s // rate + padding
    tag = 0 if layer != 3 else 4 + ((17 if mono else 32) if first else (9 if mono else 17))
    return Frame(size, samples, (version, layer, rate, mono, 0 if layer == 3 else kbit_s), tag)


@dataclass(slots=True)
class _Run:
    """Frames that belong together."""

    head: bytes  # the first four bytes of one of them
    kind: tuple[int, int, int, bool, int]
    promised: int | None  # how many there are besides its header, as the header has it; None without such a header
    frames: int = 0
    spans: list[Span] = field(default_factory=list)

    def add(self, place: int, size: int) -> None:
        if self.spans and self.spans[-1].end == place:
            self.spans[-1] = Span(self.spans[-1].start, place + size)
        else:
            self.spans.append(Span(place, place + size))

    def takes(self, found: Frame) -> bool:
        return found.kind == self.kind and (self.promised is None or self.frames < self.promised)

    def pieces(self) -> Pieces:
        lacking = self.promised is None and self.kind[1] == 3
        return (_header(self.head, self.frames), *self.spans) if lacking else tuple(self.spans)


def mpeg_streams(content: Bytes, start: int, end: int) -> list[Pieces] | None:
    """The streams in a stretch of a file, each with a header that has its length, without what is no frame.

    None where it is a single stream as it should be, or no such thing. It may begin with an ID3 tag.
    """
    runs: list[_Run] = []
    place = _next(content, start, end, None)
    while place is not None:
        head = content.at(place, 64)
        found = frame(head[:4])
        assert found is not None
        promise = _promise(head, found)
        if promise is not None or not runs or not runs[-1].takes(found):
            runs.append(_Run(head[:4], found.kind, promise or None))
        if promise is None:
            runs[-1].frames += 1
        if promise != 0:
            runs[-1].add(place, found.size)
        place = _next(content, place + found.size, end, found)
    runs = [run for run in runs if run.frames]
    sound = len(runs) == 1 and len(runs[0].spans) == 1 and (runs[0].promised is not None or runs[0].kind[1] != 3)
    return None if sound or sum(run.frames for run in runs) < 2 else [run.pieces() for run in runs]


def _next(content: Bytes, place: int, end: int, before: Frame | None) -> int | None:
    """Where the next whole frame begins, at this place or after what is none."""
    likely: int | None = place
    while likely is not None:
        found = frame(content.at(likely, 4))
        if found is not None and likely + found.size <= end:
            after = frame(content.at(likely + found.size, 4))
            sure = before is not None and found.kind == before.kind
            if sure or likely + found.size == end or (after is not None and after.kind[:3] == found.kind[:3]):
                return likely
        before = None
        behind = after_tags(content, likely)
        likely = behind if behind > likely else content.search(_LIKELY, likely + 1, end)
    return None


def after_tags(content: Bytes, place: int = 0) -> int:
    """Where ID3 tags end of which the first begins at this place; the place itself where none does."""
    while (head := content.at(place, 10))[:3] == b"ID3" and len(head) == 10 and max(head[6:]) < 128:
        size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        place += 10 + size + (10 if head[5] & 16 else 0)
    return place


def _promise(head: bytes, found: Frame) -> int | None:
    """How many frames follow, as a header says, 0 if it does not tell; None if this frame is sound, and no header."""
    if not found.tag:
        return None
    tag = head[found.tag : found.tag + 12]
    if tag[:4] in (b"Xing", b"Info"):
        return struct.unpack(">I", tag[8:])[0] if tag[7] & 1 else 0
    return 0 if head[_VBRI_PLACE : _VBRI_PLACE + 4] == b"VBRI" else None


def _header(head: bytes, frames: int) -> bytes:
    """A frame without sound that tells how many follow."""
    first = head[1] >> 3 & 3 == 3
    index = _KBIT_S[first, 3].index(_HEADER_KBIT_S) + 1
    start = bytes([head[0], head[1] | 1, index << 4 | head[2] & 0x0C, head[3]])
    made = frame(start)
    assert made is not None
    return (start.ljust(made.tag, b"\0") + b"Info" + struct.pack(">II", 1, frames)).ljust(made.size, b"\0")
