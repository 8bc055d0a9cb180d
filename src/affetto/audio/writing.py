"""Sound back into files: FLAC, and what a lossy codec leaves of it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from affetto.audio.decoding import SAMPLE_RATE
from affetto.files import draft

if TYPE_CHECKING:
    from torch import Tensor

_OPUS_KBIT_S = 6, 256
_MP3_KBIT_S = 8, 160  # what libsndfile's compression level, from 1 to 0, stands for; of MP3 at 16 kHz
_MP3_DELAY = 1105  # samples that LAME and its decoder put before the sound where the file is too small to tell of them


def write_flac(path: Path, blocks: Iterable[NDArray[np.float32] | Tensor]) -> float:
    """Writes a 16 kHz mono FLAC of 16 bits, whole or not at all; it is compressed in memory first.

    Blocks are (samples,) float32, as `stream` yields them; what is beyond full scale is clipped. The result is how long
    the recording is, seconds. Raises OSError where the file cannot be written, as when there is no such folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_flac(Path(folder) / "a.flac", [np.zeros(8000), np.zeros(8000)])
    1.0
    """
    content, samples = io.BytesIO(), 0
    with soundfile.SoundFile(content, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as sound:
        for block in blocks:
            sound.write(np.asarray(block))
            samples += len(block)
    with draft(path) as unfinished:
        unfinished.write_bytes(content.getbuffer())
    return samples / SAMPLE_RATE


class Codec(NamedTuple):
    """A lossy way to store sound, in libsndfile's words: the file's format, the coding of samples, and settings."""

    container: str
    subtype: str
    settings: dict[str, float | str]


G711 = Codec("WAV", "ULAW", {})  # that of the telephone (mu-law), at 8 kHz: 64 kbit/s


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
    """What a lossy codec, `G711` or what `opus` or `mp3` gives, leaves of a wave: (samples,) in time with it.

    The wave is (samples,), at least one, at a rate in Hz that the codec knows; what is beyond full scale is clipped.

    >>> wave = np.sin(np.arange(8000, dtype=np.float32) / 10)
    >>> 0 < float(np.abs(recode(wave, G711, 8000) - wave).max()) < 0.05
    True
    """
    content, form = io.BytesIO(), {"subtype": codec.subtype, "format": codec.container, **codec.settings}
    with soundfile.SoundFile(content, "w", sample_rate, 1, **form) as sound:
        sound.write(np.clip(wave, -1.0, 1.0))
    content.seek(0)
    decoded, _ = soundfile.read(content, dtype="float32")
    delay = _MP3_DELAY if codec.container == "MP3" and len(decoded) > len(wave) else 0
    kept = decoded[delay : delay + len(wave)]
    return np.pad(kept, (0, len(wave) - len(kept)))
