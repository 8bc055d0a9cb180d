"""Recognition by the graphs of an exported model, with onnxruntime and without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from affetto.errors import CheckpointError
from affetto.onnx.description import DETECTOR, GRAPH, OnnxDescription, read_description
from affetto.recognition import RecordingRecogniser, SegmentPrediction
from affetto.spelling import spell
from affetto.streaming.activity import Activity
from affetto.streaming.segments import Spoken
from affetto.text import Alphabet

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxRecogniser(RecordingRecogniser):
    """Predicts what is said, by greedy decoding, and with which emotion; used as `EmotionRecogniser` is.

    To tell speakers apart takes torch.

        recording = OnnxRecogniser("tiny-onnx").recognise("call.wav")  # a folder that affetto model export wrote

    So many ``threads`` recognise a stretch of speech each; None takes as many as there are cores.

    Raises:
        CheckpointError: there is no exported model, or it is damaged.
        ModuleNotFoundError: onnxruntime is not installed (the extra ``onnx``).
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        self.description: OnnxDescription = read_description(Path(folder))
        # Two threads within each stretch would take 1.5 times the processor's time, and longer by the clock.
        self._session = _open(Path(folder) / GRAPH)
        self._detector = OnnxDetector(Path(folder) / DETECTOR)
        self._alphabet = Alphabet(self.description.characters)
        self._threads = ThreadPoolExecutor(threads or _cores())

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions it can tell apart."""
        return self.description.emotions

    def fingerprint(self) -> str:
        """A digest of all that its results depend on beside the sound."""
        return f"{self.description.fingerprint}-onnx-{self.description.precision}"

    def activity(self) -> Activity:
        """What finds speech in one stream."""
        return Activity(self._detector)

    def understand(self, stretches: Sequence[Spoken]) -> list[SegmentPrediction]:
        """See `RecordingRecogniser.understand`."""
        if len(stretches) == 1:
            return [self._understand(stretches[0])]
        longest_first = reversed(stretches)  # as batches are sorted, so that all threads end together
        return list(self._threads.map(self._understand, longest_first))[::-1]

    def _understand(self, spoken: Spoken) -> SegmentPrediction:
        speech = (spoken.start - spoken.since, spoken.end - spoken.since)
        speech = speech if self.description.speech_only else (0, len(spoken.wave))
        given = {"wave": spoken.wave, "speech": np.array(speech)}
        log_probs, probabilities, distance = self._session.run(None, given)
        limit, rate_hz = self.description.familiar_up_to, self.description.character_rate_hz
        return SegmentPrediction(
            spell(log_probs.argmax(axis=1), log_probs, self._alphabet, rate_hz),
            dict(zip(self.emotions, probabilities.tolist(), strict=True)),
            limit is None or bool(distance <= limit),
        )


class OnnxDetector:
    """How probable speech is in each frame, see `affetto.streaming.activity.Detector`."""

    def __init__(self, path: Path) -> None:
        self._session = _open(path)
        self._states = {each.name: each.shape for each in self._session.get_inputs()[1:]}

    def forget(self) -> list[NDArray[np.float32]]:
        """Zeros."""
        return [np.zeros(shape, np.float32) for shape in self._states.values()]

    def probabilities(
        self, frames: NDArray[np.float32], state: Sequence[NDArray[np.float32]]
    ) -> tuple[list[float], list[NDArray[np.float32]]]:
        """Of (frames, 512)."""
        found, *after = self._session.run(None, {"frames": frames, **dict(zip(self._states, state, strict=True))})
        return found.tolist(), after


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open(path: Path) -> InferenceSession:
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the caller's
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(path, options)
    except Exception as error:  # its classes have no name that is documented
        raise CheckpointError(f"cannot be used ({error})", "export the model again", path) from error
