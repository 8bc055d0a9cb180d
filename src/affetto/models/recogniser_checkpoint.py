"""A recogniser to and from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affetto.errors import CheckpointError
from affetto.models import checkpoint
from affetto.models.network import RecogniserConfig, RecogniserNetwork
from affetto.registry import Registry

KIND = "recogniser"

DEFAULT_KIND = "deepspeech2"
"""What a config is that names none."""

RECOGNISERS = Registry(
    "recognisers",
    {
        "deepspeech2": "affetto.models.deepspeech2:DeepSpeech2",
        "whisper_ctc": "affetto.models.whisper_ctc:WhisperCtc",
    },
)
"""Every network that affetto trains to recognise characters, by the kind that its config names."""


def parse_shape(values: Any) -> Any:
    """The shape of a recogniser from plain values, of the class of its kind; anything else comes back as it is.

    Raises:
        ValueError: there is no such kind, or a value does not fit it.

    >>> parse_shape({"kind": "deepspeech2", "width": 8}).width
    8
    """
    if not isinstance(values, Mapping):
        return values
    kind = values.get("kind", DEFAULT_KIND)
    if kind not in RECOGNISERS.names():
        raise ValueError(f"no recogniser of kind {kind!r}; choose one of {', '.join(RECOGNISERS.names())}")
    network: type[RecogniserNetwork] = RECOGNISERS.load(kind)
    return network.shape.model_validate(values)


def make_recogniser(config: RecogniserConfig) -> RecogniserNetwork:
    """A network of a shape, with random numbers."""
    network: type[RecogniserNetwork] = RECOGNISERS.load(config.kind)
    return network(config)


def save_recogniser(
    path: Path,
    model: RecogniserNetwork,
    facts: Mapping[str, Any],
    *,
    precision: checkpoint.Precision = "float32",
) -> None:
    """Writes a recogniser; ``facts`` are its training data, licence, recipe and metrics."""
    description = checkpoint.Description(kind=KIND, config=model.config.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, model.state_dict(), description, precision=precision)


def load_recogniser(path: Path) -> tuple[Any, checkpoint.Description]:
    """Reads a recogniser, ready to use (in evaluation mode).

    Raises:
        CheckpointError: see `checkpoint.load`; or no network of that kind is known.
    """
    kind = checkpoint.describe(path, KIND).config.get("kind", DEFAULT_KIND)
    if kind not in RECOGNISERS.names():
        raise CheckpointError(
            f"is a recogniser of kind {kind!r}", "install the affetto that wrote it", path.with_suffix(".json")
        )
    network: type[RecogniserNetwork] = RECOGNISERS.load(kind)
    return checkpoint.load(path, KIND, network.shape, network)
