"""A recogniser to and from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affetto.errors import CheckpointError
from affetto.models import checkpoint
from affetto.models.network import RecogniserNetwork
from affetto.registry import Registry

KIND = "recogniser"

RECOGNISERS = Registry("recognisers", {"deepspeech2": "affetto.models.deepspeech2:DeepSpeech2"})
"""Every network that affetto trains to recognise characters, by the kind that its config names."""


def save_recogniser(path: Path, model: RecogniserNetwork, facts: Mapping[str, Any], *, half: bool = False) -> None:
    """Writes a recogniser; ``facts`` are its training data, licence, recipe and metrics."""
    description = checkpoint.Description(kind=KIND, config=model.config.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, model.state_dict(), description, half=half)


def load_recogniser(path: Path) -> tuple[Any, checkpoint.Description]:
    """Reads a recogniser, ready to use (in evaluation mode).

    Raises:
        CheckpointError: see `checkpoint.load`; or no network of that kind is known.
    """
    kind = checkpoint.describe(path, KIND).config.get("kind", "deepspeech2")
    if kind not in RECOGNISERS.names():
        raise CheckpointError(
            f"is a recogniser of kind {kind!r}", "install the affetto that wrote it", path.with_suffix(".json")
        )
    network: type[RecogniserNetwork] = RECOGNISERS.load(kind)
    return checkpoint.load(path, KIND, network.shape, network)
