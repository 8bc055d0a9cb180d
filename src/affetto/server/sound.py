"""A recording that has come in, as the sound that is heard: decoded once, within bounds, and kept on disk till then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from affetto import audio
from affetto.audio import SAMPLE_RATE
from affetto.server.problems import RequestError
from affetto.server.uploads import Upload

USUAL_VALUES = 192_000
"""Values a second, as of two channels at 96 kHz or of four at 48 kHz; recordings with more may last less long."""

_BLOCK_BYTES = 4 * 10 * SAMPLE_RATE
_IN_MEMORY_BYTES = 1 << 20


class Decoded(NamedTuple):
    """The sound of a recording.

    Attributes:
        samples: float32 at 16 kHz, one channel; a file without a name, which whoever takes it closes.
        name: what the client calls the recording.
        duration_s: seconds.
    """

    samples: IO[bytes]
    name: str
    duration_s: float

    def blocks(self, watch: Callable[[], None]) -> Iterator[Tensor]:
        """All of it from its beginning, (samples,) at a time; `watch` is called before each and raises to stop."""
        self.samples.seek(0)
        while data := self.samples.read(_BLOCK_BYTES):
            watch()
            yield torch.from_numpy(np.frombuffer(bytearray(data), np.float32))


def decode(upload: Upload, most_s: float, watch: Callable[[], None]) -> Decoded:
    """Decodes a recording; the upload stays open.

    Args:
        upload: what came in.
        most_s: how long it may be; less of more than `USUAL_VALUES` a second.
        watch: called now and then; it raises to stop.

    Raises:
        AudioError: it is no sound.
        RequestError: it is too long.
    """
    watch()
    allowance = _Allowance(most_s)
    samples = cast(IO[bytes], SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))  # noqa: SIM115  # its taker closes it
    try:
        for block in audio.stream(upload.sound, where=upload.name, check=allowance.check):
            allowance.spend(len(block) / SAMPLE_RATE)
            samples.write(block.numpy().tobytes())
            watch()
        return Decoded(samples, upload.name, samples.tell() / (4 * SAMPLE_RATE))
    except BaseException:
        samples.close()
        raise


class _Allowance:
    """How much may be decoded: a header is believed where it promises too much, but not where it promises little."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._spent_s = 0.0
        self._weight = 1.0
        self._kind = ""

    def check(self, info: audio.AudioInfo) -> None:
        """Before a stream of sound is decoded."""
        self._weight = max(1.0, info.channels * info.sample_rate / USUAL_VALUES)
        self._kind = f" with {info.channels} channels at {info.sample_rate} Hz" if self._weight > 1 else ""
        self._check(info.duration_s or 0.0)

    def spend(self, seconds: float) -> None:
        """After some of it was."""
        self._spent_s += seconds * self._weight
        self._check(0.0)

    def _check(self, promised_s: float) -> None:
        if self._spent_s + promised_s * self._weight > self._most_s:
            longest_s = self._most_s / self._weight
            raise RequestError("too_long", f"the recording is longer than {longest_s:g} s{self._kind}")
