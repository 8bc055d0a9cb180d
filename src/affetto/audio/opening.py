"""Sound files opened: each stream in them, by libsndfile or, where it cannot, by ffmpeg."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from affetto.audio.containers import spans, streams
from affetto.audio.program import HIGHEST_RATE, LOWEST_RATE, Container, Program, container
from affetto.audio.spans import Bytes, Pieces, Span, Spliced
from affetto.errors import AudioError

_VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".avi", ".flv", ".mkv", ".mpg", ".mpeg", ".webm", ".wmv",
})  # fmt: skip
PROGRAM_SUFFIXES = _VIDEO_SUFFIXES | frozenset({
    ".m4a", ".m4b", ".aac", ".ac3", ".amr", ".ape", ".mka", ".spx", ".tta", ".wma", ".wv",
})  # fmt: skip
"""Those of files that take the program ffmpeg."""

SUFFIXES = PROGRAM_SUFFIXES | frozenset({
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".sph", ".aiff", ".aif", ".aifc", ".au", ".snd",
    ".caf", ".rf64", ".voc", ".w64",
})  # fmt: skip
"""What a folder is searched for. A file named outright is opened whatever its suffix."""

SOUND_SUFFIXES = SUFFIXES - _VIDEO_SUFFIXES
"""What a corpus is searched for: films of the same takes may lie beside the sound."""

UNKNOWN_FRAMES = 2**63 - 1  # what libsndfile says where no header tells, as in a flac that came out of a pipe
_BEFORE_S = 1.0
_REFERRING = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "OPUS", "VORBIS"})
_REMEDY = "give a recording (wav, flac, ogg, opus, mp3, sph, or m4a, webm and more with ffmpeg), or convert this one"


class Sound(soundfile.SoundFile):  # type: ignore[misc]
    """One stream of sound, from its beginning to its end.

    After each block soundfile itself seeks, which some formats cannot at all, and others only if a header tells their
    length; but not where a file says that it cannot.
    """

    def seekable(self) -> bool:
        """What soundfile asks."""
        return False

    @property
    def promised(self) -> int | None:
        """Frames, as far as is known; there may be fewer."""
        return None if self.frames == UNKNOWN_FRAMES else int(self.frames)

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

    def jump(self, frames: int) -> int:
        """Goes from the beginning as far as that quickly, or less far; the result is how far it came."""
        if self.promised is None or not super().seekable() or self.subtype.startswith("DWVW"):
            return 0  # what is kept in words of variable width says that it could
        # After a jump, frames that refer to those before them come out silent.
        before = round(_BEFORE_S * self.samplerate) if self.subtype in _REFERRING else 0
        return int(self.seek(max(0, min(frames, self.promised) - before)))


Opened: TypeAlias = Sound | Program


def sounds(source: Path | IO[bytes], where: object) -> Generator[Opened, None, None]:
    """Each stream of sound in a file, open until the next is asked for."""
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            state = os.fstat(file.fileno()) if isinstance(source, Path) else None
            found = streams(file) if state is None else _streams(source, state.st_size, state.st_mtime_ns)
            try:
                sound = _opened(Spliced(file, found[0]) if found else _itself(source), where)
            except AudioError as error:
                kind = container(file)
                if kind is None:
                    raise
                if found and len(found) > 1:
                    problem = "several files joined into one, of different formats"
                    raise AudioError(problem, "cut it up", where) from error
                for span in _foreign(file, kind):
                    with _on_disk(source, file, span) as kept, closing(_through_ffmpeg(kept, kind, error)) as program:
                        yield program
                return
            with _checked(sound, where):
                yield sound
            for pieces in (found or ())[1:]:
                with _checked(_opened(Spliced(file, pieces), where), where) as sound:
                    yield sound
    except OSError as error:
        raise AudioError(reason(error), "check the path and its permissions", where) from error


def headed(source: Path | IO[bytes], where: object) -> Generator[Opened, None, None]:
    """A file's first stream as its own header has it, if libsndfile understands that; no more of the file is read."""
    try:
        sound = _opened(_itself(source), where)
    except AudioError:
        yield from sounds(source, where)
        return
    with _checked(sound, where):
        yield sound


def _itself(source: Path | IO[bytes]) -> bytes | Spliced:
    """Where it can, libsndfile itself reads the file, which is quicker than through Python."""
    return os.fsencode(source) if isinstance(source, Path) else Spliced(source, (Span(0, source.seek(0, os.SEEK_END)),))


@lru_cache(maxsize=256)
def _streams(path: Path, size: int, changed_ns: int) -> list[Pieces] | None:
    """Of a file of this size and time: many utterances may be cut out of a long one."""
    del size, changed_ns
    with path.open("rb") as file:
        return streams(file)


def _foreign(file: IO[bytes], kind: Container) -> list[Span]:
    """The files that were joined into one that ffmpeg reads."""
    content = Bytes(file)
    found = spans(content, re.compile(kind.again, re.DOTALL)) if kind.again else []
    return found if len(found) > 1 else [Span(0, content.size)]


@contextmanager
def _on_disk(source: Path | IO[bytes], file: IO[bytes], span: Span) -> Iterator[IO[bytes]]:
    """A file that another program can open."""
    if isinstance(source, Path) and span == (0, file.seek(0, os.SEEK_END)):
        with source.open("rb") as opened:
            yield opened
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(Spliced(file, (span,)), copy)
        copy.seek(0)  # which writes out what is left
        yield copy


def _opened(source: bytes | Spliced, where: object) -> Sound:
    """A name comes as bytes, for soundfile would refuse one that is not valid UTF-8."""
    try:
        return Sound(source)
    # soundfile takes a name that ends in .raw for a promise of headerless samples, and asks for their format.
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise AudioError(f"cannot be read as sound ({reason(error)})", _REMEDY, where) from error


def _checked(sound: Sound, where: object) -> Sound:
    """The same; one whose sampling rate is none of sound is closed, and an AudioError."""
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        sound.close()
        raise AudioError(f"a sampling rate of {sound.samplerate} Hz is not one of sound", _REMEDY, where)
    return sound


def _through_ffmpeg(file: IO[bytes], kind: Container, error: AudioError) -> Program:
    """What libsndfile could not open; its error is the clearer one where it reads such files otherwise."""
    try:
        return Program(file, kind, error.where)
    except AudioError:
        if kind.name:
            raise
        raise error from None


def reason(error: Exception) -> str:
    """What libsndfile or the system says."""
    text = getattr(error, "error_string", "") or getattr(error, "strerror", "") or str(error)
    return text.rstrip(". ") or type(error).__name__


def named(source: Path | IO[bytes], where: object | None) -> object | None:
    """What errors call a source, once it is known to be a file."""
    if not isinstance(source, Path):
        return where
    where = source if where is None else where
    try:
        if source.is_dir():
            raise AudioError("a folder, not a sound file", "name a file in it", where)
        if not source.exists():
            raise AudioError("no such file", "check the path", where)
        if not source.is_file():
            raise AudioError("a pipe or a device, not a file", "pipe it in and use - for it, or save it first", where)
        if source.stat().st_size == 0:
            raise AudioError("the file is empty", "record or copy it again", where)
    except OSError as error:
        raise AudioError(error.strerror or str(error), "check the path", where) from error
    return where
