"""Where sound may come from: files, open streams, stretches of files, samples in memory, and what is made in time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from affetto import audio
from affetto.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

Wave: TypeAlias = NDArray[np.float32]  # Sound at 16 kHz, full scale at 1


class Stretch(NamedTuple):
    """Part of a sound file, in seconds; without an end, up to that of the file."""

    path: Path
    start_s: float
    end_s: float | None


class Samples(NamedTuple):
    """Sound in memory: floats with full scale at 1, or signed integers of any width.

    What is plainly of another scale is taken for 16, 24 or 32 bits, with a warning.
    """

    values: NDArray[Any] | Tensor  # (samples,) or (samples, channels)
    sample_rate: float  # Hz


class Deferred(NamedTuple):
    """Sound that is made when its turn comes.

    Blocks are (samples,) float32 at 16 kHz, or (channels, samples) where each channel is a voice of its own, none
    empty; what makes them raises an AffettoError where it cannot.
    """

    name: str  # what results and errors call it
    make: Callable[[], Iterable[Wave | Tensor]]


Source: TypeAlias = str | Path | IO[bytes] | Stretch | Samples | Deferred


class Found(NamedTuple):
    """What is in a folder."""

    files: list[Path]  # those of sound, sorted
    left_out: Counter[str]  # how many others there are, by their suffix or what else is the matter with them
    unreadable: list[AudioError]  # the folders that cannot be looked into


def sound_files(folder: Path) -> Found:
    """Every sound file in a folder and the folders in it; hidden ones and linked folders are left alone.

    Raises:
        AudioError: there is none.

    >>> [path.stem for path in sound_files(Path(audio.__file__).parent.parent / "demo").files]
    ['angry', 'happy', 'neutral', 'sad']
    """
    found = Found([], Counter(), [])

    def forbidden(error: OSError) -> None:
        found.unreadable.append(AudioError(error.strerror or str(error), "check its permissions", error.filename))

    for root, folders, names in os.walk(folder, onerror=forbidden):
        found.left_out["linked folder"] += sum(Path(root, name).is_symlink() for name in folders)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(root, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() not in audio.SUFFIXES:
                found.left_out[path.suffix.lower() or "without a suffix"] += 1
            elif path.is_file() or path.is_symlink():  # a link to nowhere is a recording that is missing
                found.files.append(path)
            else:
                found.left_out["no file"] += 1
    found.files.sort()
    if not found.files:
        others = ", ".join(f"{kind}: {count:,}" for kind, count in sorted((+found.left_out).items())) or "nothing else"
        sought = f"sought were {' '.join(sorted(audio.SUFFIXES))}"
        raise next(iter(found.unreadable), AudioError(f"no sound file in this folder ({others})", sought, folder))
    return found


def label(source: Source) -> str:
    """What results and errors call a source.

    >>> label("call.wav"), label(Samples(np.zeros(1), 16_000))
    ('call.wav', 'samples')
    """
    if isinstance(source, Samples):
        return "samples"
    if isinstance(source, Stretch):
        return str(source.path)
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)  # of what is deferred, or of an open file
    return name if isinstance(name, str) else "stream" if hasattr(source, "read") else type(source).__name__


def blocks(source: Source, channels: audio.Channels = "mix") -> Iterator[Wave]:
    """The sound of a source, block by block: (samples,) float32 at 16 kHz, full scale at 1.

    Of separate channels they are (channels, samples).

    Raises:
        AudioError: see `audio.stream`; or samples of an impossible shape, kind or rate.
        AffettoError: whatever makes deferred sound raises.
    """
    if isinstance(source, Samples):
        yield _from_samples(source, channels)
    elif isinstance(source, Stretch):
        yield from audio.stream(source.path, start_s=source.start_s, end_s=source.end_s, channels=channels)
    elif isinstance(source, Deferred):
        for made in source.make():
            block = np.asarray(made, np.float32)
            yield block if channels == "mix" else block.reshape(-1, block.shape[-1])
    elif isinstance(source, str | Path):
        yield from audio.stream(Path(source), channels=channels)
    elif isinstance(source, np.ndarray | tuple | list) or _is_tensor(source):
        remedy = "call recognise_samples(samples, sample_rate), or give affetto.Samples(samples, sample_rate)"
        raise AudioError("samples where a file is expected", remedy, label(source))
    elif not hasattr(source, "read") or not hasattr(source, "seekable"):
        remedy = "give a path, a file opened with mode 'rb', or bytes as io.BytesIO(...)"
        raise AudioError(f"{type(source).__name__} where a sound file is expected", remedy, label(source))
    elif hasattr(source, "encoding"):  # as every stream of text has
        raise AudioError("text where a sound file is expected", "open it with mode 'rb'", label(source))
    elif source.seekable():
        yield from audio.stream(source, where=label(source), channels=channels)
    else:
        yield from _spooled(source, channels)


def _is_tensor(values: object) -> bool:
    """Whether it is one of torch's, which need not be there."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def _spooled(source: IO[bytes], channels: audio.Channels) -> Iterator[Wave]:
    """A pipe goes to a temporary file first: decoding has to jump back and forth."""
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(source, spool)
        if spool.tell() == 0:
            raise AudioError("nothing came in", "pipe a sound file into it", label(source))
        spool.seek(0)
        yield from audio.stream(spool, where=label(source), channels=channels)


def _from_samples(source: Samples, channels: audio.Channels) -> Wave:
    values: Any = source.values
    if _is_tensor(values):  # numpy knows no bfloat16
        values = (values.float() if values.is_floating_point() else values).detach().cpu().numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fi":
        raise AudioError(f"samples of the type {array.dtype}", "give floats or signed integers", label(source))
    if array.ndim not in (1, 2) or array.shape[-1] > array.shape[0] > 0:
        raise AudioError(f"samples of the shape {array.shape}", "give (samples,) or (samples, channels)", label(source))
    rate: object = source.sample_rate  # callers without a type checker leave it out, or give it as text
    if rate is None or isinstance(rate, str):
        raise AudioError(f"a sampling rate of {rate!r}", "give it in Hz, as 44100", label(source))
    if not audio.LOWEST_RATE <= source.sample_rate <= audio.HIGHEST_RATE:
        raise AudioError(f"a sampling rate of {source.sample_rate} Hz", "give it in Hz, as 44100", label(source))
    if array.size == 0:
        raise AudioError("no samples", "record it again", label(source))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise AudioError("samples that are not finite numbers", "leave them out, or set them to 0", label(source))
    usual = 1.0 if array.dtype.kind == "f" else 2.0 ** (8 * array.dtype.itemsize - 1)
    scale = audio.full_scale(max(float(array.max()), -float(array.min())), usual, label(source))
    values = array.astype(np.float32).reshape(len(array), -1) * np.float32(1 / scale)
    sound = np.concatenate(list(audio.tracks([values], round(source.sample_rate), channels)), axis=1)
    if source.sample_rate != audio.SAMPLE_RATE:
        sound = np.stack([soxr.resample(track, source.sample_rate, audio.SAMPLE_RATE) for track in sound])
    wave: Wave = sound[0] if channels == "mix" else sound
    return wave
