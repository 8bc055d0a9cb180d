"""Sound files to 16 kHz mono float32; nothing else in affetto reads one.

libsndfile decodes (wav of every width, flac, ogg, opus, mp3, NIST sph, ...), or else ffmpeg (m4a, webm, video, ...);
soxr resamples. All work block by block, so that a recording of any length passes through in little memory.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.audio.containers import streams
from affetto.audio.levels import full_scale
from affetto.audio.mixing import mono
from affetto.audio.program import Program, container
from affetto.audio.spans import Pieces, Span, Spliced
from affetto.errors import AudioError

SAMPLE_RATE = 16_000
PROGRAM_SUFFIXES = frozenset(
    [
        ".m4a",
        ".m4b",
        ".mp4",
        ".m4v",
        ".mov",
        ".3gp",
        ".aac",
        ".ac3",
        ".amr",
        ".ape",
        ".avi",
        ".flv",
        ".mka",
        ".mkv",
        ".mpg",
        ".mpeg",
        ".spx",
        ".tta",
        ".webm",
        ".wma",
        ".wmv",
        ".wv",
    ]
)
"""Those of files that take the program ffmpeg."""

SUFFIXES = PROGRAM_SUFFIXES | frozenset(
    [
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".mp2",
        ".sph",
        ".aiff",
        ".aif",
        ".aifc",
        ".au",
        ".snd",
        ".caf",
        ".rf64",
        ".voc",
        ".w64",
    ]
)
"""What a folder is searched for. A file named outright is opened whatever its suffix."""

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
"""Sampling rates in Hz beyond which a header is taken to be damaged."""

_UNKNOWN_FRAMES = 2**63 - 1  # What libsndfile says where no header tells, as in a flac that came out of a pipe.
_SLACK_S = 0.2  # Sound mp3 files hold some frames of padding less than libsndfile counts.
_BEFORE_S = 1.0
_REFERRING = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS", "VORBIS"})
_MOST_VALUES_AT_ONCE = 2**24
_REMEDY = "give a recording (wav, flac, ogg, opus, mp3, sph, or m4a, webm and more with ffmpeg), or convert this one"


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says.

    Attributes:
        duration_s: seconds; None where it does not tell. It may be wrong; see `duration`.
        sample_rate: Hz.
        channels: how many there are.
    """

    duration_s: float | None
    sample_rate: int
    channels: int


class _Sound(soundfile.SoundFile):  # type: ignore[misc]
    """One stream of sound, from its beginning to its end.

    After each block soundfile itself seeks, which some formats cannot at all, and others only if a header tells their
    length; but not where it is told that a file cannot.
    """

    def seekable(self) -> bool:
        return False

    @property
    def promised(self) -> int | None:
        """Frames, as far as is known; there may be fewer."""
        return None if self.frames == _UNKNOWN_FRAMES else int(self.frames)

    @property
    def scaled(self) -> bool:
        """Whether full scale is 1 for sure."""
        return self.subtype not in {"FLOAT", "DOUBLE"}

    def next(self, frames: int) -> NDArray[np.float32]:
        """At most so many, (frames, channels); none at the end."""
        if self.promised is not None:
            frames = min(frames, self.promised)  # that much room is made, however short it is
        block: NDArray[np.float32] = self.read(frames, dtype="float32", always_2d=True)
        return block

    def skip(self, frames: int, block_frames: int) -> int:
        """Goes this far from the beginning, or to the end; the result is how far it came."""
        skipped = self._jump(frames)
        while skipped < frames and (found := len(self.next(min(block_frames, frames - skipped)))):
            skipped += found
        return skipped

    def _jump(self, frames: int) -> int:
        """Goes as far as that quickly, or less far."""
        if self.promised is None or not super().seekable() or self.subtype.startswith("DWVW"):
            return 0  # what is kept in words of variable width says that it could
        # After a jump, frames that refer to those before them come out silent.
        before = round(_BEFORE_S * self.samplerate) if self.subtype in _REFERRING else 0
        return int(self.seek(max(0, min(frames, self.promised) - before)))


_Source: TypeAlias = _Sound | Program


def _sounds(source: Path | IO[bytes], where: object) -> Generator[_Source, None, None]:
    """Each stream of sound in a file, open until the next is asked for."""
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            found = _streams_of(source, file)
            whole = Spliced(file, (Span(0, file.seek(0, os.SEEK_END)),))
            # Where it can, libsndfile itself reads the file, which is quicker than through Python.
            first = Spliced(file, found[0]) if found else os.fsencode(source) if isinstance(source, Path) else whole
            try:
                sound = _opened(first, where)
            except AudioError:
                kind = container(file)
                if kind is None:
                    raise
                with _on_disk(source, file) as kept, Program(kept, kind, where) as program:
                    yield program
                return
            with sound:
                yield sound
            for pieces in (found or ())[1:]:
                with _opened(Spliced(file, pieces), where) as sound:
                    yield sound
    except OSError as error:
        raise AudioError(_reason(error), "check the path", where) from error


def _streams_of(source: Path | IO[bytes], file: IO[bytes]) -> list[Pieces] | None:
    if not isinstance(source, Path):
        return streams(file)
    state = source.stat()
    return _streams(source, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _streams(path: Path, size: int, changed_ns: int) -> list[Pieces] | None:
    """Of a file of this size and time: many utterances may be cut out of a long one."""
    del size, changed_ns
    with path.open("rb") as file:
        return streams(file)


@contextmanager
def _on_disk(source: Path | IO[bytes], file: IO[bytes]) -> Iterator[IO[bytes]]:
    """A file that another program can open."""
    if isinstance(source, Path):
        with source.open("rb") as opened:
            yield opened
        return
    with tempfile.TemporaryFile() as copy:
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        copy.seek(0)
        yield copy


def _opened(source: bytes | Spliced, where: object) -> _Sound:
    """A name comes as bytes, for soundfile would refuse one that is not valid UTF-8."""
    try:
        sound = _Sound(source)
    # soundfile takes a name that ends in .raw for a promise of headerless samples, and asks for their format.
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise AudioError(f"cannot be read as sound ({_reason(error)})", _REMEDY, where) from error
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        sound.close()
        raise AudioError(f"a sampling rate of {sound.samplerate} Hz is not one of sound", _REMEDY, where)
    return sound


def _check_file(path: Path, where: object) -> None:
    try:
        if path.is_dir():
            raise AudioError("a folder, not a sound file", "name a file in it", where)
        if not path.exists():
            raise AudioError("no such file", "check the path", where)
        if not path.is_file():
            raise AudioError("not a file (a pipe or a device)", "save the sound in a file first", where)
        if path.stat().st_size == 0:
            raise AudioError("the file is empty", "record or copy it again", where)
    except OSError as error:
        raise AudioError(error.strerror or str(error), "check the path", where) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", "") or getattr(error, "strerror", "") or str(error)
    return text.rstrip(". ") or type(error).__name__


def _named(source: Path | IO[bytes], where: object | None) -> object | None:
    """What errors call a source, once it is known to be a file."""
    if isinstance(source, Path):
        where = source if where is None else where
        _check_file(source, where)
    return where


def info(source: Path | IO[bytes], where: object | None = None) -> AudioInfo:
    """What the header of a sound file says, without reading more of it.

    Args:
        source: a path, or an open file that can seek.
        where: the name that errors carry, if not the path.

    Raises:
        AudioError: the file is missing, empty or not sound.
    """
    where = _named(source, where)
    try:
        quick = os.fsencode(source) if isinstance(source, Path) else Spliced(source, (Span(0, source.seek(0, 2)),))
        with _opened(quick, where) as sound:
            return _described(sound)
    except AudioError:
        with closing(_sounds(source, where)) as sounds:
            return _described(next(sounds))


def _described(sound: _Source) -> AudioInfo:
    frames = sound.promised
    return AudioInfo(None if frames is None else frames / sound.samplerate, sound.samplerate, sound.channels)


def duration(source: Path | IO[bytes], where: object | None = None, *, enough_s: float = math.inf) -> float:
    """How long a recording is, seconds: all that is in it, whatever its header says.

    The whole file is read, and decoded where nothing else tells.

    Args:
        source: a path, or an open file that can seek.
        where: the name that errors carry, if not the path.
        enough_s: nothing is decoded beyond that; the result is then larger.

    Raises:
        AudioError: the file is missing, empty or not sound.
    """
    where = _named(source, where)
    total_s = 0.0
    with closing(_sounds(source, where)) as sounds:
        for sound in sounds:
            frames = sound.promised
            if frames is None:
                most = min(_UNKNOWN_FRAMES, max(0.0, enough_s - total_s + 1) * sound.samplerate)
                with _decoding(where):
                    frames = sound.skip(int(most), sound.samplerate)
            total_s += frames / sound.samplerate
            if total_s > enough_s:
                break
    return total_s


def stream(
    source: Path | IO[bytes],
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    block_s: float = 30.0,
    where: object | None = None,
) -> Iterator[Tensor]:
    """Decodes, mixes down to mono about zero and resamples, block by block.

    All of a file is decoded, several streams in it one after the other. One cut short is an error where its container
    tells what is missing (flac, mp3); of others (wav, ogg, opus) there is as much as there is.

    Args:
        source: a path, or an open file that can seek.
        start_s: where to begin, seconds.
        end_s: where to end, seconds; None is the end of the file.
        block_s: length of the blocks that are decoded, seconds; those that come out are about as long.
        where: the name that errors carry, if not the path.

    Yields:
        (samples,) float32 at 16 kHz, full scale at 1, never empty.

    Raises:
        AudioError: the file is missing, empty, not sound, breaks off, holds no samples or holds values that are not
            numbers; or the times asked for are no times.
    """
    where = _named(source, where)
    _check_times(start_s, end_s, where)
    heard = False
    began_s = 0.0
    with closing(_sounds(source, where)) as sounds:
        for sound in sounds:
            part = _Part(sound, began_s, where)
            for out in part.decode(start_s, end_s, block_s):
                if len(out):
                    heard = True
                    yield torch.from_numpy(out)
            began_s += part.position / sound.samplerate
            if end_s is not None and end_s <= began_s:
                break
    if not heard:
        raise AudioError("no samples", "record it again, or check the times asked for", where)


def _check_times(start_s: float, end_s: float | None, where: object) -> None:
    if not (math.isfinite(start_s) and start_s >= 0):
        raise AudioError(f"cannot begin at {start_s} s", "begin at 0 or later", where)
    if end_s is not None and not math.isfinite(end_s):
        raise AudioError(f"cannot end at {end_s} s", "give a time, or none for the end of the file", where)


class _Part:
    """The decoding of one stream of sound.

    Args:
        sound: just opened.
        began_s: how long those before it in the file are, seconds.
        where: what errors call the file.
    """

    def __init__(self, sound: _Source, began_s: float, where: object) -> None:
        self._sound = sound
        self._began_s = began_s
        self._where = where
        self._scale: float | None = None
        self.position = 0
        """Frames so far, those that were skipped among them."""

    def decode(self, start_s: float, end_s: float | None, block_s: float) -> Iterator[NDArray[np.float32]]:
        """What of it lies between two times of the file, as (samples,) at 16 kHz."""
        rate = self._sound.samplerate
        blocks = mono(self._blocks(start_s, end_s, block_s), rate)
        return blocks if rate == SAMPLE_RATE else _resample(blocks, rate)

    def _blocks(self, start_s: float, end_s: float | None, block_s: float) -> Iterator[NDArray[np.float32]]:
        """The same as (frames, channels), never empty."""
        sound, rate = self._sound, self._sound.samplerate
        # A header that claims a thousand channels shall not claim the memory.
        most = max(1, min(round(block_s * rate), _MOST_VALUES_AT_ONCE // sound.channels))
        first = max(0, round((start_s - self._began_s) * rate))
        last = _UNKNOWN_FRAMES if end_s is None else max(0, round((end_s - self._began_s) * rate))
        last = last if sound.promised is None else min(last, sound.promised)
        with _decoding(self._where):
            if first:
                self.position = sound.skip(min(first, last), most)
            while self.position < last and len(block := sound.next(min(most, last - self.position))):
                self.position += len(block)
                if not np.isfinite(block.sum()) and not np.isfinite(block).all():  # the sum is quicker to look at
                    problem, remedy = (
                        "holds samples that are not finite numbers",
                        "export it again, for example as 16-bit",
                    )
                    raise AudioError(problem, remedy, self._where)
                yield self._scaled(block)
        if sound.promised is not None and last - self.position > _SLACK_S * rate:
            there, promised = (self._began_s + frames / rate for frames in (self.position, last))
            problem = f"breaks off after {there:.2f} s of {promised:.2f} s"
            raise AudioError(problem, "copy or convert it again", self._where)

    def _scaled(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """To a full scale of 1; only floats can be of another, and the first of them tell."""
        if self._scale is None:
            known = self._sound.scaled
            self._scale = 1.0 if known else 1 / full_scale(float(np.abs(block).max()), 1.0, self._where)
        return block if self._scale == 1 else block * np.float32(self._scale)


@contextmanager
def _decoding(where: object) -> Iterator[None]:
    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"breaks off or is damaged ({_reason(error)})", "copy or convert it again", where) from error


def _resample(blocks: Iterator[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def load(path: Path, *, start_s: float = 0.0, end_s: float | None = None) -> Tensor:
    """A whole recording, or a stretch of it, in memory.

    Args:
        path: the sound file.
        start_s: where to begin, seconds.
        end_s: where to end, seconds; None is the end of the file.

    Returns:
        (samples,) float32 at 16 kHz.

    Raises:
        AudioError: see `stream`.
    """
    return torch.cat(list(stream(path, start_s=start_s, end_s=end_s)))
