"""Where in a stream somebody speaks, frame by frame: what a detector says of it, without offset and loud enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FRAME = 512  # samples of a frame, at 16 kHz: 32 ms
_USUAL_LEVEL = 0.1  # -20 dB of full scale, root mean square of a frame of loud speech; nothing is made softer
_FIRST_LEVEL, _LOWEST_LEVEL = 0.01, 0.0003  # at most taken for loud at first, and at least where all is soft
_FORESEEN_FRAMES = 32  # so many at once tell how loud a stream is; live, there are fewer
_LEVEL_PACE = 0.988  # a frame: what was loud is forgotten at 3 dB a second
_OFFSET_PACE = 0.02  # a frame's part in the offset, which so follows in a second or two


class Detector(Protocol):
    """A network that says how probable speech is; the caller keeps its state, so that it serves many."""

    def forget(self) -> Sequence[Any]:
        """Its state at the beginning of a stream."""

    def probabilities(self, frames: NDArray[np.float32], state: Any) -> tuple[list[float], Sequence[Any]]:
        """Of the next (frames, 512) of a stream at 16 kHz; and the state after them."""


class Activity:
    """How probable speech is in each frame of one stream.

    The detector takes a constant offset for sound, and soft voices for none: before it gets a frame, what the stream
    hovers about is taken away, and what was loud lately is brought to a usual loudness. How soft a stream is from its
    beginning on shows in its first block, if that lasts a second.
    """

    def __init__(self, detector: Detector | None = None) -> None:
        if detector is None:
            from affetto.streaming.detector import speech_detector  # loads torch

            detector = speech_detector()
        self._detector: Detector = detector
        self._state = self._detector.forget()
        self._offset: float | None = None
        self._level = _FIRST_LEVEL
        self._gain = _USUAL_LEVEL / _FIRST_LEVEL

    def feed(self, samples: NDArray[np.float32]) -> list[float]:
        """One probability a frame of the next (samples,) at 16 kHz, which are whole frames save at the stream's end."""
        frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        offsets, gains = [], [self._gain]
        variances = frames.var(axis=1).tolist()
        if self._offset is None and len(variances) >= _FORESEEN_FRAMES:  # soft from the beginning on
            self._level = min(_FIRST_LEVEL, max(variances) ** 0.5)
        for mean, variance in zip(frames.mean(axis=1).tolist(), variances, strict=True):
            self._offset = mean if self._offset is None else self._offset + _OFFSET_PACE * (mean - self._offset)
            self._level = max(variance**0.5, self._level * _LEVEL_PACE, _LOWEST_LEVEL)
            self._gain = max(1.0, _USUAL_LEVEL / self._level)
            offsets.append(self._offset)
            gains.append(self._gain)
        before, after = np.array(gains[:-1])[:, None], np.array(gains[1:])[:, None]
        gain = before + (after - before) * np.linspace(0, 1, FRAME)  # steps in loudness would sound like clicks
        inputs = (frames - np.array(offsets)[:, None]) * gain
        found, self._state = self._detector.probabilities(inputs.astype(np.float32), self._state)
        return found
