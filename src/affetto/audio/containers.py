"""Where the streams of sound in a file lie, if a decoder would not find all of them, or could not open them.

Joined files are several streams. A header whose sizes were never written, as of a recorder that crashed, gets sizes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import IO

from affetto.audio.mpeg import after_tags, frame, mpeg_streams
from affetto.audio.spans import Bytes, Pieces, Span, Spliced

_UNKNOWN = 0xFFFFFFFF
_RF64_SIZE = 28
_MP3_TAGS = (0x50, 0x55)
_WAVE_CHUNKS = {b"data", b"fmt ", b"fact", b"LIST", b"bext", b"cue ", b"PEAK", b"JUNK", b"id3 ", b"ID3 ", b"smpl"}
_FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xaf][\x00-\xfd]", re.DOTALL)
_FLAC_HEAD, _FLAC_TAIL = 42, 1 << 17
_FLAC_WITHIN = re.compile(rb"\x7fFLAC|\x63\xa2")  # Before one in Ogg or Matroska
_FLAC_BEFORE = 9
_SVX = re.compile(rb"FORM.{4}(?:8SVX|16SV)[A-Z]{4}", re.DOTALL)
_SDS = re.compile(rb"\xf0\x7e.\x01.{16}\xf7", re.DOTALL)
_OGG_PAGE = re.compile(rb"OggS\x00")
_OGG_HEAD, _OGG_FIRST = 27, 2
_MP3 = rb"ID3[\x02-\x04]\x00.[\x00-\x7f]{4}|\xff[\xe2-\xfb]..(?:.{9}|.{17}|.{32})(?:Xing|Info)\x00\x00\x00"
_BEGINNINGS = {
    "wav": re.compile(rb"(?:RIF[FX]|RF64).{4}WAVE[ -~]{4}", re.DOTALL),
    "aiff": re.compile(rb"FORM.{4}AIF[FC][ -~]{4}", re.DOTALL),
    "flac": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),
    "ogg": re.compile(rb"OggS\x00\x02"),
    "mp3": re.compile(_MP3, re.DOTALL),
    "au": re.compile(rb"\.snd\x00.{3}.{4}\x00\x00\x00[\x01-\x1b]\x00.{3}\x00\x00\x00", re.DOTALL),
    "caf": re.compile(rb"caff\x00\x01\x00\x00desc"),
    "nist": re.compile(rb"NIST_1A\n +\d+\n"),
    "voc": re.compile(rb"Creative Voice File\x1a"),
    "w64": re.compile(re.escape(bytes.fromhex("726966662e91cf11a5d628db04c10000"))),
    "mp4": re.compile(rb"\x00\x00\x00[\x08-\x40]ftyp[ -~]{4}"),
    "matroska": re.compile(rb"\x1a\x45\xdf\xa3.{1,8}?\x42[\x82\x86]", re.DOTALL),
}
"""What files that may be joined to others begin with."""
_BY_FFMPEG = ("", "mp4", "matroska")  # the kinds of files, the unknown among them, that libsndfile does not read
_NEVER_WITHIN = ("wav", "aiff", "flac", "ogg", "au", "caf", "nist", "voc", "w64")  # what hardly one of those has in it


def streams(file: IO[bytes]) -> list[Pieces] | None:
    """The streams of sound in a file; None where it is a single stream as it should be, or something unknown."""
    content = Bytes(file)
    files = _of_different_kinds(content)
    if len(files) < 2:
        return _of_one_kind(content)
    found: list[Pieces] = []
    for start, end in files:
        for pieces in _of_one_kind(Bytes(Spliced(file, (Span(start, end),)))) or [(Span(0, end - start),)]:
            moved = (each if isinstance(each, bytes) else Span(start + each.start, start + each.end) for each in pieces)
            found.append(tuple(moved))
    return found


def _of_different_kinds(content: Bytes) -> list[Span]:
    """The files that were joined into one; those of one kind that follow one another are one here."""
    place = after_tags(content)
    start = content.at(place, _FLAC_HEAD)
    known = [kind for kind, magic in _BEGINNINGS.items() if magic.match(start)]
    kind = "mp3" if frame(start[:4]) is not None else next(iter(known), "")
    looked_for = {each: _BEGINNINGS[each] for each in (_NEVER_WITHIN if kind in _BY_FFMPEG else _BEGINNINGS)}
    first = place + 1
    if kind == "wav":  # samples may look like anything
        chunks, _ = _chunks(content, place + 12, ">" if start[:4] == b"RIFX" else "<")
        end = chunks[b"data"].end if b"data" in chunks else 0
        first = end if first < end <= content.size else first
    places = sorted((place, each) for each, magic in looked_for.items() for place, _ in spans(content, magic, first))
    borders = [0]
    for place, each in places:
        if each != kind and _begins_here(content, place, each):
            kind = each
            borders.append(place)
    return [Span(*ends) for ends in pairwise([*borders, content.size])]


def _begins_here(content: Bytes, place: int, kind: str) -> bool:
    """Whether what looks like the beginning of a file is no part of what is around it."""
    if kind == "mp3":  # a tag may be within others, and at the end of anything
        after = after_tags(content, place)
        found = frame(content.at(after, 4))
        return found is not None and frame(content.at(after + found.size, 4)) is not None
    before = content.at(max(place - _FLAC_BEFORE, 0), min(place, _FLAC_BEFORE))
    return kind != "flac" or _FLAC_WITHIN.search(before) is None


def _of_one_kind(content: Bytes) -> list[Pieces] | None:
    start = content.at(0, 4)
    if start[:3] == b"ID3" or frame(start) is not None:
        return _joined(content, _BEGINNINGS["flac"], _mended_flac) or mpeg_streams(content, 0, content.size)
    return _READERS[start](content) if start in _READERS else None


def spans(content: Bytes, magic: re.Pattern[bytes], first: int = 0) -> list[Span]:
    """What lies between each place where this is found, the first of which may be this one, and the next."""
    places: list[int] = []
    while (place := content.search(magic, places[-1] + 1 if places else first)) is not None:
        places.append(place)
    return [Span(*ends) for ends in pairwise([*places, content.size])]


def _joined(
    content: Bytes, magic: re.Pattern[bytes], mend: Callable[[Bytes, Span], Pieces] | None = None
) -> list[Pieces] | None:
    """Files that each begin with the same, joined or not; some may lack their sizes."""
    found: list[Pieces] = [(span,) if mend is None else mend(content, span) for span in spans(content, magic)]
    return found if len(found) > 1 or any(len(pieces) > 1 for pieces in found) else None


def _form(content: Bytes) -> list[Pieces] | None:
    """What begins with FORM: AIFF, or what the Amiga had."""
    is_aiff = content.at(8, 3) == b"AIF"
    return _joined(content, _BEGINNINGS["aiff"], _mended_aiff) if is_aiff else _joined(content, _SVX)


def _mended_flac(content: Bytes, span: Span) -> Pieces:
    """One that goes on after the number of samples it tells gets a header that tells none."""
    head = content.at(span.start, _FLAC_HEAD)
    block, total = int.from_bytes(head[10:12], "big"), int.from_bytes(head[18:26], "big") & 0xF_FFFF_FFFF
    first = max(span.start + len(head), span.end - _FLAC_TAIL)
    tail = content.at(first, span.end - first)
    starts = [_first_sample(tail[found.start() :][:16], block) for found in _FLAC_FRAME.finditer(tail)]
    known = [start for start in starts if start is not None]
    if not total or not known or known[-1] < total:
        return (span,)
    return (head[:21] + bytes([head[21] & 0xF0]) + bytes(4) + head[26:], Span(span.start + len(head), span.end))


def _first_sample(head: bytes, block: int) -> int | None:
    """Which one a FLAC frame begins with; None where this is the head of none. A block may be as long as all others."""
    more = f"{head[4]:08b}".index("0")  # a number as in UTF-8
    more -= more > 0
    number = head[4] & (0x7F >> (more + (more > 0)))
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    end = 5 + more + {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    check = 0
    for byte in head[:end]:  # CRC-8
        check ^= byte
        for _ in range(8):
            check = (check << 1 ^ 0x107 * (check >> 7)) & 0x1FF
    fits = len(head) > end and check == head[end] and all(byte >> 6 == 2 for byte in head[5 : 5 + more])
    return number * (1 if head[1] & 1 else block) if fits else None


def _mended_au(content: Bytes, span: Span) -> Pieces:
    """One of another size than it says; there is a value for those that are not known."""
    head = content.at(span.start, 12)
    start, size = struct.unpack(">II", head[4:])
    if size == _UNKNOWN or span.start + start + size == span.end:
        return (span,)
    return (head[:8] + struct.pack(">I", _UNKNOWN), Span(span.start + len(head), span.end))


def _mended_aiff(content: Bytes, span: Span) -> Pieces:
    """One whose number of frames was never written."""
    chunks, _ = _chunks(content, span.start + 12, ">", b"SSND")
    common, sound = chunks.get(b"COMM"), chunks.get(b"SSND")
    if common is None or sound is None or sound.start + 8 >= span.end:
        return (span,)
    channels, frames, bits = struct.unpack(">HIH", content.at(common.start, 8))
    if frames or not channels or not bits:
        return (span,)
    size = span.end - sound.start - 8
    frames = size // (channels * ((bits + 7) // 8))
    head = bytearray(content.at(span.start, sound.start - span.start))
    struct.pack_into(">I", head, 4, span.end - span.start - 8)
    struct.pack_into(">I", head, common.start - span.start + 2, frames)
    struct.pack_into(">I", head, len(head) - 4, size + 8)
    return (bytes(head), Span(sound.start, span.end))


def _ogg(content: Bytes) -> list[Pieces] | None:
    """Chains: a page that begins a stream, after pages that do not, begins the next."""
    places, begun = [0], True
    place: int | None = 0
    while place is not None and place < content.size:
        head = content.at(place, _OGG_HEAD)
        if len(head) < _OGG_HEAD or head[:5] != b"OggS\0":
            place = content.search(_OGG_PAGE, place + 1)
            continue
        first = bool(head[5] & _OGG_FIRST)
        if first and not begun:
            places.append(place)
        begun = first
        sizes = content.at(place + _OGG_HEAD, head[26])
        place += _OGG_HEAD + len(sizes) + sum(sizes)
    return [(Span(*ends),) for ends in pairwise([*places, content.size])] if len(places) > 1 else None


def _wave(content: Bytes) -> list[Pieces] | None:
    """WAV files, joined or not; what plays as it is, is left as it is."""
    found: list[Pieces] = []
    changed, start = False, 0
    while content.at(start + 8, 4) == b"WAVE" and (read := _one_wave(content, start)) is not None:
        pieces, end, mended = read
        found += pieces
        changed |= mended or start > 0
        start = end
    return found if changed else None


def _one_wave(content: Bytes, start: int) -> tuple[list[Pieces], int, bool] | None:
    """The streams in one WAV file, where it ends, and whether they are others than a decoder would find by itself."""
    order = ">" if content.at(start, 4) == b"RIFX" else "<"
    chunks, unpadded = _chunks(content, start + 12, order)
    if b"fmt " not in chunks or b"data" not in chunks:
        return None
    data = chunks[b"data"]
    long = content.at(start, 4) == b"RF64" and any(content.at(start + _RF64_SIZE, 8))
    if long:
        data = Span(data.start, data.start + int.from_bytes(content.at(start + _RF64_SIZE, 8), "little"))
    sized = data.end <= content.size if long else _sized(content, data, order)
    if not sized:
        joined = content.search(_BEGINNINGS["wav"], data.start)
        data = Span(data.start, content.size if joined is None else joined)
    following = content.search(_BEGINNINGS["wav"], data.end)
    end = content.size if following is None else following
    form = content.at(chunks[b"fmt "].start, chunks[b"fmt "].end - chunks[b"fmt "].start)
    if len(form) >= 2 and struct.unpack(f"{order}H", form[:2])[0] in _MP3_TAGS:
        inside = mpeg_streams(content, data.start, data.end)
        return ([(Span(start, end),)], end, not sized) if inside is None else (inside, end, True)
    fact = content.at(chunks[b"fact"].start, 4) if b"fact" in chunks else b""
    return [_as_wave(form, fact, data, order)], end, unpadded or not sized or following is not None


def _chunks(content: Bytes, place: int, order: str, last: bytes = b"data") -> tuple[dict[bytes, Span], bool]:
    """What lies where up to the sound itself, and whether a chunk of an odd size lacks its pad byte."""
    chunks: dict[bytes, Span] = {}
    unpadded = False
    while last not in chunks and len(head := content.at(place, 8)) == 8:
        (size,) = struct.unpack(f"{order}I", head[4:])
        chunks.setdefault(head[:4], Span(place + 8, place + 8 + size))
        place += 8 + size
        lacking = size & 1 and content.at(place, 4) in _WAVE_CHUNKS
        unpadded |= bool(lacking)
        place += size & 1 and not lacking
    return chunks, unpadded


def _sized(content: Bytes, data: Span, order: str) -> bool:
    """Whether the size of the sound was ever written."""
    if data.end - data.start == _UNKNOWN or data.end > content.size > data.start:
        return False
    if data.end > data.start or data.start == content.size:
        return True
    _, rest = data
    while rest < content.size and len(head := content.at(rest, 8)) == 8 and head[:4] in _WAVE_CHUNKS:
        size = struct.unpack(f"{order}I", head[4:])[0]
        rest += 8 + size + (size & 1)
    return rest >= content.size


def _as_wave(form: bytes, fact: bytes, data: Span, order: str) -> Pieces:
    """A WAV file with the least that a decoder needs; one of 4 GB or more has a header that can tell so."""
    size = data.end - data.start
    body = b"fmt " + struct.pack(f"{order}I", len(form)) + form + b"\0" * (len(form) & 1)
    body += b"fact" + struct.pack(f"{order}I", 4) + fact if len(fact) == 4 else b""
    if size + len(body) + 36 <= _UNKNOWN:
        start = (b"RIFX" if order == ">" else b"RIFF") + struct.pack(f"{order}I", 12 + len(body) + size) + b"WAVE"
        return (start + body + b"data" + struct.pack(f"{order}I", size), data)
    start = b"RF64" + struct.pack("<I", _UNKNOWN) + b"WAVE" + b"ds64"
    start += struct.pack("<IQQQI", 28, size + len(body) + 48, size, 0, 0)
    return (start + body + b"data" + struct.pack("<I", _UNKNOWN), data)


_READERS: dict[bytes, Callable[[Bytes], list[Pieces] | None]] = {
    b"RIFF": _wave,
    b"RIFX": _wave,
    b"RF64": _wave,
    b"OggS": _ogg,
    b"fLaC": partial(_joined, magic=_BEGINNINGS["flac"], mend=_mended_flac),
    b"caff": partial(_joined, magic=_BEGINNINGS["caf"]),
    b"Crea": partial(_joined, magic=_BEGINNINGS["voc"]),
    b"NIST": partial(_joined, magic=_BEGINNINGS["nist"]),
    b"riff": partial(_joined, magic=_BEGINNINGS["w64"]),
    b"FORM": _form,
    b"\xf0\x7e\x00\x01": partial(_joined, magic=_SDS),
    b".snd": partial(_joined, magic=_BEGINNINGS["au"], mend=_mended_au),
}
"""What a file begins with -> what finds the streams in it."""
