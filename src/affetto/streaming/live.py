"""Sound while it is being made: a microphone, or samples without a header that come through a pipe."""

from __future__ import annotations

import queue
import re
from collections.abc import Iterator
from typing import IO

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.audio import HIGHEST_RATE, LOWEST_RATE, SAMPLE_RATE
from affetto.errors import AudioError

ENCODINGS = {"s16le": ("<i2", 2.0**-15), "s32le": ("<i4", 2.0**-31), "f32le": ("<f4", 1.0)}
"""Name, as ffmpeg's -f has it -> numpy's name, and what a sample is multiplied by for full scale to be 1."""

_READ_BYTES = 1 << 16  # at most; what is there is taken at once
_BLOCK_S = 0.05
_HEAD_BYTES = 8  # that tell a sound file
_FILE = re.compile(rb"RIF[FX]|RF64|riff|fLaC|OggS|ID3|FORM|\.snd|caff|\x1aE\xdf\xa3|.{4}ftyp", re.DOTALL)


class RawSamples:
    """Samples of one channel without a header that come in pieces, torn anywhere, as sound at 16 kHz.

    Raises AudioError where the encoding or the rate is none, or samples are not finite numbers, or none of sound.

    >>> samples = RawSamples()
    >>> [samples.feed(piece).tolist() for piece in (bytes([0, 64, 0]), bytes([192]))]
    [[0.5], [-0.5]]
    """

    def __init__(self, encoding: str = "s16le", sample_rate: int = SAMPLE_RATE, where: object | None = None) -> None:
        if encoding not in ENCODINGS:
            raise AudioError(f"no encoding {encoding!r}", f"choose one of {', '.join(ENCODINGS)}", where)
        name, self._scale = ENCODINGS[encoding]
        self._dtype = np.dtype(name)
        self._resampler = _Resampler(sample_rate)
        self._where = where
        self._rest = b""
        self._head = b""

    def feed(self, data: bytes) -> Tensor:
        """Takes the next bytes; gives (samples,) float32 at 16 kHz, full scale at 1, of which some are kept back."""
        taken = self._rest + data
        if len(self._head) < _HEAD_BYTES:
            self._head += data[: _HEAD_BYTES - len(self._head)]
            if _FILE.match(self._head):
                raise AudioError("a sound file where samples without a header are due", "decode it first", self._where)
        whole = len(taken) // self._dtype.itemsize * self._dtype.itemsize
        self._rest = taken[whole:]
        values = np.frombuffer(taken[:whole], self._dtype).astype(np.float32) * np.float32(self._scale)
        # Noise read as floats is full of numbers that are none, or too large to be sound.
        if not (np.abs(values) < 1e6).all():
            raise AudioError("samples that are no sound", "check the encoding", self._where)
        return self._resampler.feed(values)

    def finish(self) -> Tensor:
        """What was kept back, at the end of the stream."""
        return self._resampler.feed(np.zeros(0, np.float32), last=True)


class _Resampler:
    """A stream at 16 kHz, whatever rate it comes at."""

    def __init__(self, sample_rate: int) -> None:
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise AudioError(f"a sampling rate of {sample_rate} Hz", "give it in Hz, as 44100")
        same = sample_rate == SAMPLE_RATE
        self._stream = None if same else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, "float32")

    def feed(self, values: NDArray[np.float32], *, last: bool = False) -> Tensor:
        out = values if self._stream is None else self._stream.resample_chunk(values, last=last)
        return torch.from_numpy(np.ascontiguousarray(out))


def raw_blocks(stream: IO[bytes], encoding: str = "s16le", sample_rate: int = SAMPLE_RATE) -> Iterator[Tensor]:
    """Samples of one channel, as they come, never empty, from a stream that is open for reading bytes.

    >>> import io
    >>> [block.tolist() for block in raw_blocks(io.BytesIO(bytes([0, 64, 0, 192])))]
    [[0.5, -0.5]]
    """
    samples = RawSamples(encoding, sample_rate, getattr(stream, "name", None))
    read = getattr(stream, "read1", stream.read)  # read would wait until all it was asked for is there
    while chunk := read(_READ_BYTES):
        if len(block := samples.feed(chunk)):
            yield block
    if len(rest := samples.finish()):
        yield rest


def microphone() -> Iterator[Tensor]:
    """The sound of the system's microphone, without end: (samples,) float32 at 16 kHz, some 50 ms each.

    Raises:
        AudioError: there is no microphone, or no PortAudio to reach it.
        ModuleNotFoundError: sounddevice is not installed (the extra ``live``).
    """
    try:
        import sounddevice
    except OSError as error:  # it looks for the system's library
        raise AudioError("PortAudio is missing", "install it, for example the package libportaudio2") from error
    recorded: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()
    try:
        rate = round(float(sounddevice.query_devices(kind="input")["default_samplerate"]))
        resampler = _Resampler(rate)
        stream = sounddevice.InputStream(
            samplerate=rate,
            channels=1,
            dtype="float32",
            blocksize=round(_BLOCK_S * rate),
            callback=lambda block, *_: recorded.put(block[:, 0].copy()),
        )
        with stream:
            while True:
                if len(block := resampler.feed(recorded.get())):
                    yield block
    except (sounddevice.PortAudioError, ValueError) as error:
        remedy = "plug one in, or pipe samples in: affetto listen -"
        raise AudioError(f"no microphone can be used ({error})", remedy) from error
