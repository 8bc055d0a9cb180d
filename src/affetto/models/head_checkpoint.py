"""An emotion head to and from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from affetto.config import Config
from affetto.models import checkpoint
from affetto.models.heads import MAX_WIDTH, EmotionHead, HeadConfig

KIND = "emotion head"


class _Shape(Config):
    head: HeadConfig
    classes: tuple[str, ...] = Field(min_length=1)
    layer_width: int = Field(ge=0, le=MAX_WIDTH)


def save_head(path: Path, head: EmotionHead, facts: Mapping[str, Any], *, half: bool = False) -> None:
    """Writes a head.

    Args:
        path: the ``.safetensors`` file.
        head: what to write.
        facts: its training data, licence, recipe and metrics, and ``encoder_fingerprint``, the recogniser's.
        half: see `checkpoint.save`.
    """
    shape = _Shape(head=head.config, classes=head.classes, layer_width=head.layer_width)
    description = checkpoint.Description(kind=KIND, config=shape.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, head.state_dict(), description, half=half)


def load_head(path: Path) -> tuple[EmotionHead, checkpoint.Description]:
    """Reads a head, ready to use (in evaluation mode).

    Raises:
        CheckpointError: see `checkpoint.load`.
    """
    return checkpoint.load(path, KIND, _Shape, lambda shape: EmotionHead(shape.head, shape.classes, shape.layer_width))
