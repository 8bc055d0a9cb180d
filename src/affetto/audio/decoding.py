"""Sound files to float32 at 16 kHz, of one channel or of each; nothing else in affetto reads one.

libsndfile decodes (wav of every width, flac, ogg, opus, mp3, NIST sph, ...), or else ffmpeg (m4a, webm, video, ...);
soxr resamples. All work block by block, so that a recording of any length passes through in little memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from affetto.audio.mixing import Channels, full_scale, tracks
from affetto.audio.opening import UNKNOWN_FRAMES, Opened, headed, named, reason, sounds
from affetto.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000

_BLOCK_S = 10.0
_SLACK_S = 0.2  # Sound mp3 files hold some frames of padding less than libsndfile counts.
_MOST_VALUES_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says: the duration may be wrong (see `duration`), or None where it does not stand there."""

    duration_s: float | None
    sample_rate: int
    channels: int


def _described(sound: Opened) -> AudioInfo:
    frames = sound.promised
    return AudioInfo(None if frames is None else frames / sound.samplerate, sound.samplerate, sound.channels)


def info(source: Path | IO[bytes], where: object | None = None) -> AudioInfo:
    """What the header of a sound file says, without reading more of it; source and errors as of `stream`."""
    where = named(source, where)
    with closing(headed(source, where)) as found:
        return _described(next(found))


def duration(source: Path | IO[bytes], where: object | None = None) -> float:
    """How long a recording is, seconds: all that is in it, whatever its header says.

    The whole file is read, and decoded where there is no other way; source and errors as of `stream`.
    """
    where = named(source, where)
    total_s = 0.0
    with closing(sounds(source, where)) as found:
        for sound in found:
            frames = sound.promised
            if frames is None:
                with _decoding(where):
                    frames = _skip(sound, UNKNOWN_FRAMES, sound.samplerate)
            total_s += frames / sound.samplerate
    return total_s


def stream(
    source: Path | IO[bytes],
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    where: object | None = None,
    check: Callable[[AudioInfo], None] | None = None,
    channels: Channels = "mix",
) -> Iterator[NDArray[np.float32]]:
    """Decodes, mixes down to mono about zero or leaves the channels separate, and resamples, block by block.

    All of a file is decoded, several streams in it one after the other. One cut short is an error where its container
    tells what is missing (flac, mp3); of others (wav, ogg, opus) there is as much as there is. Blocks are (samples,)
    float32 at 16 kHz, full scale at 1, some 10 s, never empty; of separate channels (channels, samples).

    Args:
        source: a path, or an open file that can seek.
        start_s: where to begin, seconds.
        end_s: where to end, seconds; None is the end of the file.
        where: the name that errors carry, if not the path.
        check: called with what the header of each stream says, before any of it is decoded; it raises to stop.
        channels: mixed, or each about zero by itself.

    Raises:
        AudioError: the file is missing, empty, not sound, breaks off, holds no samples or holds values that are not
            numbers; the times asked for are no times; or it has streams of different numbers of separate channels.
    """
    where = named(source, where)
    _check_times(start_s, end_s, where)
    count = 0  # of the channels that came out
    began_s = 0.0
    with closing(sounds(source, where)) as found:
        for sound in found:
            if check is not None:
                check(_described(sound))
            part = _Part(sound, began_s, where)
            blocks = tracks(part.blocks(start_s, end_s), sound.samplerate, channels)
            for out in blocks if sound.samplerate == SAMPLE_RATE else _resample(blocks, sound.samplerate):
                if out.size:
                    count = count or len(out)
                    if len(out) != count:
                        problem = f"streams of {count} and of {len(out)} channels, one after the other"
                        raise AudioError(problem, "let its channels be mixed", where)
                    yield out[0] if channels == "mix" else out
            began_s += part.position / sound.samplerate
            if end_s is not None and end_s <= began_s:
                break
    if not count:
        raise AudioError("no samples", "record it again, or check the times asked for", where)


def _check_times(start_s: float, end_s: float | None, where: object) -> None:
    if not (math.isfinite(start_s) and start_s >= 0):
        raise AudioError(f"cannot begin at {start_s} s", "begin at 0 or later", where)
    if end_s is not None and not math.isfinite(end_s):
        raise AudioError(f"cannot end at {end_s} s", "give a time, or none for the end of the file", where)


@dataclass(slots=True)
class _Part:
    """The decoding of one stream of sound, just opened, after so many seconds of others in the same file."""

    sound: Opened
    began_s: float
    where: object
    position: int = 0  # frames so far, those that were skipped among them

    def blocks(self, start_s: float, end_s: float | None) -> Iterator[NDArray[np.float32]]:
        """What of it lies between two times of the file, as (frames, channels), never empty, full scale at 1."""
        sound, rate = self.sound, self.sound.samplerate
        # A header that claims a thousand channels shall not claim the memory.
        most = max(1, min(round(_BLOCK_S * rate), _MOST_VALUES_AT_ONCE // sound.channels))
        first = max(0, round((start_s - self.began_s) * rate))
        last = UNKNOWN_FRAMES if end_s is None else max(0, round((end_s - self.began_s) * rate))
        last = last if sound.promised is None else min(last, sound.promised)
        scale = 1.0 if sound.scaled else None  # only floats can be of another, and the first of them tell
        with _decoding(self.where):
            if first:
                self.position = _skip(sound, min(first, last), most)
            while self.position < last and len(block := sound.next(min(most, last - self.position))):
                self.position += len(block)
                if not np.isfinite(block.sum()) and not np.isfinite(block).all():  # the sum is quicker to look at
                    problem = "holds samples that are not finite numbers"
                    raise AudioError(problem, "export it again, for example as 16-bit", self.where)
                scale = scale or 1 / full_scale(float(np.abs(block).max()), 1.0, self.where)
                yield block if scale == 1 else block * np.float32(scale)
        if sound.promised is not None and last - self.position > _SLACK_S * rate:
            there, promised = (self.began_s + frames / rate for frames in (self.position, last))
            problem = f"breaks off after {there:.2f} s of {promised:.2f} s"
            raise AudioError(problem, "copy or convert it again", self.where)


def _skip(sound: Opened, frames: int, block_frames: int) -> int:
    """Goes this far from the beginning, or to the end; the result is how far it came."""
    skipped = sound.jump(frames)
    while skipped < frames and (found := len(sound.next(min(block_frames, frames - skipped)))):
        skipped += found
    return skipped


@contextmanager
def _decoding(where: object) -> Iterator[None]:
    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"breaks off or is damaged ({reason(error)})", "copy or convert it again", where) from error


def _resample(blocks: Iterator[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    resamplers: list[soxr.ResampleStream] = []
    for block in blocks:
        resamplers = resamplers or [soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") for _ in block]
        yield np.stack([each.resample_chunk(track) for each, track in zip(resamplers, block, strict=True)])
    if resamplers:
        yield np.stack([each.resample_chunk(np.zeros(0, dtype=np.float32), last=True) for each in resamplers])


def load(path: Path, *, start_s: float = 0.0, end_s: float | None = None) -> Tensor:
    """A whole recording, or a stretch of it, in memory: (samples,) float32 at 16 kHz; see `stream`."""
    import torch

    return torch.from_numpy(np.concatenate(list(stream(path, start_s=start_s, end_s=end_s))))
