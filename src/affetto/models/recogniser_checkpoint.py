"""A recogniser to and from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affetto.errors import CheckpointError, ConfigError
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
        CheckpointError: see `checkpoint.describe`, `checkpoint.load_weights` and `checkpoint.restore`.
    """
    description = checkpoint.describe(path, KIND)
    try:
        config = DeepSpeech2Config.parse(description.config)
    except ConfigError as error:
        raise CheckpointError(f"describes no recogniser ({error.problem})", "copy the model again", path) from error
    weights = checkpoint.load_weights(path, description)
    return checkpoint.restore(lambda: DeepSpeech2(config), weights, path), description
