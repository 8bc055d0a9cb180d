"""Recognises emotion in speech by reusing the layers of a trained speech recogniser.

What a program needs is at hand here and loaded when first used:

    from affetto import EmotionRecogniser

    recording = EmotionRecogniser.from_pretrained().recognise("call.wav")
    print(recording.emotion, recording.probabilities, recording.transcript)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affetto.recognise import EmotionRecogniser
    from affetto.recognise import EmotionRecogniser as Recogniser
    from affetto.recording import Recording, Segment
    from affetto.streaming import Failure

__all__ = ["EmotionRecogniser", "Failure", "Recogniser", "Recording", "Samples", "Segment", "__version__"]

__version__: str

_HOMES = {
    "EmotionRecogniser": "affetto.recognise:EmotionRecogniser",
    "Failure": "affetto.streaming:Failure",
    "Recogniser": "affetto.recognise:EmotionRecogniser",  # its name in earlier versions
    "Recording": "affetto.recording:Recording",
    "Samples": "affetto.streaming:Samples",
    "Segment": "affetto.recording:Segment",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Imports what is asked for, so that ``import affetto`` alone loads no torch."""
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'affetto' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("affetto")
    except PackageNotFoundError:
        return "unknown (not installed)"
