"""Sound files to 16 kHz mono float32, and back to FLAC or through a lossy codec; nothing else in affetto opens one.

libsndfile decodes (wav of every width, flac, ogg, opus, mp3, NIST sph, ...), soxr resamples, and both work block by
block, so that a recording of any length passes through in little memory.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.errors import AudioError

SAMPLE_RATE = 16_000
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aiff", ".aif", ".au", ".caf", ".w64"})
"""What a folder is searched for. A file named outright is opened whatever its suffix."""

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
"""Sampling rates in Hz beyond which a header is taken to be damaged."""

_UNKNOWN_FRAMES = 2**63 - 1  # What libsndfile says of a flac written through a pipe, whose end soundfile cannot read.
_SLACK_S = 0.2  # Sound mp3 files hold some frames of padding less than libsndfile counts.
_MOST_VALUES_AT_ONCE = 2**24
_REMEDY = "give a recording that libsndfile reads (wav, flac, ogg, opus, mp3, sph), or convert this one"


_OPUS_KBIT_S = 6, 256
_MP3_KBIT_S = 8, 160
"""What libsndfile's compression level, from 1 to 0, stands for; of MP3 at 16 kHz."""
_MP3_DELAY = 1105
"""Samples that LAME and its decoder put before the sound where the file is too small to tell of them."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says: duration in seconds, sampling rate in Hz, channels."""

    duration_s: float
    sample_rate: int
    channels: int


class _Steady:
    """An open file that stays where it is when a damaged header sends it before its beginning.

    libsndfile asks from C, where an exception could only be printed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.read = file.read
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self._file.tell()


@contextmanager
def _open(source: Path | IO[bytes], where: object) -> Iterator[soundfile.SoundFile]:
    if isinstance(source, Path):
        _check_file(source, where)
    try:
        # As bytes, for soundfile would refuse a name that is not valid UTF-8.
        sound = soundfile.SoundFile(os.fsencode(source) if isinstance(source, Path) else _Steady(source))
    # soundfile takes a name that ends in .raw for a promise of headerless samples, and asks for their format.
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise AudioError(f"cannot be read as sound ({_reason(error)})", _REMEDY, where) from error
    with sound:
        if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
            raise AudioError(f"a sampling rate of {sound.samplerate} Hz is not one of sound", _REMEDY, where)
        if sound.frames == _UNKNOWN_FRAMES:
            raise AudioError("the header does not tell the length", "encode it again, not through a pipe", where)
        yield sound


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
    text = getattr(error, "error_string", "") or str(error)
    return text.rstrip(". ") or type(error).__name__


def info(source: Path | IO[bytes], where: object | None = None) -> AudioInfo:
    """What the header of a sound file says.

    Args:
        source: a path, or an open file that can seek.
        where: the name that errors carry, if not the path.

    Raises:
        AudioError: the file is missing, empty or not sound.
    """
    if where is None and isinstance(source, Path):
        where = source
    with _open(source, where) as sound:
        return AudioInfo(sound.frames / sound.samplerate, sound.samplerate, sound.channels)


def stream(
    source: Path | IO[bytes],
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    block_s: float = 30.0,
    where: object | None = None,
) -> Iterator[Tensor]:
    """Decodes, mixes down to mono and resamples, block by block.

    A file cut short is an error where its container tells what is missing (flac, mp3); of others (wav, ogg, opus) there
    is as much as there is.

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
    if where is None and isinstance(source, Path):
        where = source
    _check_times(start_s, end_s, where)
    heard = False
    with _open(source, where) as sound:
        rate = sound.samplerate
        first = min(round(start_s * rate), sound.frames)
        last = sound.frames if end_s is None else min(round(end_s * rate), sound.frames)
        # A header that claims a thousand channels shall not claim the memory.
        block_frames = max(1, min(round(block_s * rate), _MOST_VALUES_AT_ONCE // sound.channels))
        monos = (_mono(block, where) for block in _blocks(sound, first, last, block_frames, where))
        for out in monos if rate == SAMPLE_RATE else _resample(monos, rate):
            if len(out):
                heard = True
                yield torch.from_numpy(out)
    if not heard:
        raise AudioError("no samples", "record it again, or check the times asked for", where)


def _check_times(start_s: float, end_s: float | None, where: object) -> None:
    if not (math.isfinite(start_s) and start_s >= 0):
        raise AudioError(f"cannot begin at {start_s} s", "begin at 0 or later", where)
    if end_s is not None and not math.isfinite(end_s):
        raise AudioError(f"cannot end at {end_s} s", "give a time, or none for the end of the file", where)


def _blocks(
    sound: soundfile.SoundFile, first: int, last: int, block_frames: int, where: object
) -> Iterator[NDArray[np.float32]]:
    """The frames from first to last as (frames, channels), never empty."""
    position = first
    try:
        if first < last:
            sound.seek(first)
        while position < last:
            block = sound.read(min(block_frames, last - position), dtype="float32", always_2d=True)
            if len(block) == 0:
                break
            position += len(block)
            yield block
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"breaks off or is damaged ({_reason(error)})", "copy or convert it again", where) from error
    if last - position > _SLACK_S * sound.samplerate:
        there, promised = position / sound.samplerate, last / sound.samplerate
        raise AudioError(f"breaks off after {there:.2f} s of {promised:.2f} s", "copy or convert it again", where)


def _mono(block: NDArray[np.float32], where: object) -> NDArray[np.float32]:
    mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError("holds samples that are not finite numbers", "export it again, for example as 16-bit", where)
    return np.ascontiguousarray(mono)


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


def write_flac(path: Path, blocks: Iterable[Tensor]) -> float:
    """Writes a 16 kHz mono FLAC of 16 bits, whole or not at all; it is compressed in memory first.

    Args:
        path: the file; its folder has to be there.
        blocks: (samples,) float32 each, as `stream` yields them; what is beyond full scale is clipped.

    Returns:
        How long the recording is, seconds.

    Raises:
        OSError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_flac(Path(folder) / "a.flac", [torch.zeros(8000), torch.zeros(8000)])
    1.0
    """
    content, samples = io.BytesIO(), 0
    with soundfile.SoundFile(content, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as sound:
        for block in blocks:
            sound.write(block.numpy())
            samples += len(block)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content.getbuffer())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return samples / SAMPLE_RATE


class Codec(NamedTuple):
    """A lossy way to store sound, in libsndfile's words.

    Attributes:
        container: the file's format.
        subtype: how samples are stored in it.
        settings: of the encoder.
    """

    container: str
    subtype: str
    settings: dict[str, float | str]


G711 = Codec("WAV", "ULAW", {})
"""That of the telephone (mu-law), at 8 kHz: 64 kbit/s."""


def opus(kbit_s: float) -> Codec:
    """Opus at a variable rate, 6 to 256 kbit/s for speech without pauses.

    >>> opus(8).settings
    {'compression_level': 0.992}
    """
    return Codec("OGG", "OPUS", {"compression_level": _compression(kbit_s, _OPUS_KBIT_S)})


def mp3(kbit_s: float) -> Codec:
    """MP3 at a constant rate, 8 to 160 kbit/s; the encoder takes the next lower rate that MP3 has."""
    level = _compression(kbit_s, _MP3_KBIT_S)
    return Codec("MP3", "MPEG_LAYER_III", {"compression_level": min(level, 0.999), "bitrate_mode": "CONSTANT"})


def _compression(kbit_s: float, bounds: tuple[int, int]) -> float:
    lowest, highest = bounds
    return (highest - kbit_s) / (highest - lowest)


def recode(wave: NDArray[np.float32], codec: Codec, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """What a lossy codec leaves of a sound.

    Args:
        wave: (samples,), at least one; what is beyond full scale is clipped.
        codec: `G711`, or what `opus` or `mp3` gives.
        sample_rate: of the wave, Hz; one that the codec knows.

    Returns:
        (samples,), in time with the wave.

    >>> wave = np.sin(np.arange(8000, dtype=np.float32) / 10)
    >>> 0 < float(np.abs(recode(wave, G711, 8000) - wave).max()) < 0.05
    True
    """
    content = io.BytesIO()
    with soundfile.SoundFile(
        content, "w", sample_rate, 1, codec.subtype, format=codec.container, **codec.settings
    ) as sound:
        sound.write(np.clip(wave, -1.0, 1.0))
    content.seek(0)
    decoded, _ = soundfile.read(content, dtype="float32")
    delay = _MP3_DELAY if codec.container == "MP3" and len(decoded) > len(wave) else 0
    kept = decoded[delay : delay + len(wave)]
    return np.pad(kept, (0, len(wave) - len(kept)))
