"""An emotion head to and from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator
from torch import Tensor, nn

from affetto.config import Config
from affetto.models import checkpoint
from affetto.models.heads import AnyHead, EmotionHead
from affetto.models.heads.familiarity import Familiarity
from affetto.models.heads.head import MAX_WIDTH

KIND = "emotion head"


class _Shape(Config):
    head: AnyHead
    classes: tuple[str, ...] = Field(min_length=1)
    layers: dict[str, Annotated[int, Field(ge=1, le=MAX_WIDTH)]]
    familiarity: int | None = Field(default=None, ge=1, le=MAX_WIDTH)

    @model_validator(mode="before")
    @classmethod
    def _of_one_layer(cls, values: Any) -> Any:
        """Of older files, whose heads read one layer at most."""
        if not isinstance(values, dict) or "layer_width" not in values or not isinstance(values.get("head"), dict):
            return values
        width, layer = values["layer_width"], values["head"].get("layer")
        rest = {name: value for name, value in values.items() if name != "layer_width"}
        return rest | {"layers": {} if layer is None else {layer: width}}


def save_head(path: Path, head: EmotionHead, facts: Mapping[str, Any], *, half: bool = False) -> None:
    """Writes a head.

    Args:
        path: the ``.safetensors`` file.
        head: what to write.
        facts: its training data, licence, recipe and metrics, and ``encoder_fingerprint``, the recogniser's.
        half: see `checkpoint.save`.
    """
    shape = _Shape(head=head.config, classes=head.classes, layers=head.layers, familiarity=_components(head))
    description = checkpoint.Description(kind=KIND, config=shape.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, head.state_dict(), description, precision="float16" if half else "float32")


def load_head(path: Path) -> tuple[EmotionHead, checkpoint.Description]:
    """Reads a head, ready to use (in evaluation mode).

    Raises:
        CheckpointError: see `checkpoint.load`.
    """
    return checkpoint.load(path, KIND, _Shape, _make)


def _make(shape: _Shape) -> EmotionHead:
    head = EmotionHead(shape.head, shape.classes, shape.layers)
    if shape.familiarity is not None:
        head.familiarity = Familiarity(head.width, shape.familiarity)
    head.register_load_state_dict_pre_hook(_rename)  # type: ignore[no-untyped-call]
    return head


def _components(head: EmotionHead) -> int | None:
    return None if head.familiarity is None else head.familiarity.axes.shape[1]


def _rename(_: nn.Module, weights: dict[str, Tensor], *__: object) -> None:
    """Of older files, whose heads had one standardisation of a pooled layer, empty where none was pooled."""
    for name in ("mean", "deviation"):
        values = weights.pop(f"standardise.{name}", None)
        if values is not None and len(values):
            weights[f"pooled.standardise.{name}"] = values
