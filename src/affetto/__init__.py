"""Hears emotion in speech by reusing what a speech recogniser already learnt.

What a program needs is at hand here and loaded when first used:

    from affetto import Recogniser

    recording = Recogniser.from_pretrained().recognise("call.wav")
    print(recording.emotion, recording.probabilities, recording.transcript)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affetto.recognise import Recogniser, Recording, Segment
    from affetto.streaming import Failure

__all__ = ["Failure", "Recogniser", "Recording", "Segment", "__version__"]

__version__: str

_HOMES = {
    "Failure": "affetto.streaming",
    "Recogniser": "affetto.recognise",
    "Recording": "affetto.recognise",
    "Segment": "affetto.recognise",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for, so that ``import affetto`` alone loads no torch."""
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'affetto' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("affetto")
    except PackageNotFoundError:
        return "unknown (not installed)"
