"""A recogniser to and from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affetto.models import checkpoint
from affetto.models.deepspeech2 import DeepSpeech2, DeepSpeech2Config

KIND = "recogniser"


def save_recogniser(path: Path, model: DeepSpeech2, facts: Mapping[str, Any], *, half: bool = False) -> None:
    """Writes a recogniser; ``facts`` are its training data, licence, recipe and metrics."""
    description = checkpoint.Description(kind=KIND, config=model.config.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, model.state_dict(), description, half=half)


def load_recogniser(path: Path) -> tuple[DeepSpeech2, checkpoint.Description]:
    """Reads a recogniser, ready to use (in evaluation mode).

    Raises:
        CheckpointError: see `checkpoint.load`.
    """
    return checkpoint.load(path, KIND, DeepSpeech2Config, DeepSpeech2)
