"""Emotion heads by kind, what is trained on top of a recogniser's layers; to and from disk.

A kind is a config that declares what a head reads and which parts make a vector of it (`affetto.models.heads.head`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator
from torch import Tensor, nn

from affetto.config import Config
from affetto.errors import RegistryError
from affetto.models import checkpoint
from affetto.models.heads.head import ACOUSTIC, MAX_WIDTH, EmotionHead, Familiarity, HeadConfig
from affetto.registry import Registry

__all__ = ["ACOUSTIC", "HEADS", "AnyHead", "EmotionHead", "HeadConfig", "head_config", "load_head", "save_head"]

HEADS = Registry(
    "heads",
    {
        "attentive_statistics": "affetto.models.heads.kinds:AttentiveStatisticsConfig",
        "baseline": "affetto.models.heads.kinds:BaselineConfig",
        "mean_pooling": "affetto.models.heads.kinds:MeanPoolingConfig",
        "progressive": "affetto.models.heads.kinds:ProgressiveConfig",
        "recurrent": "affetto.models.heads.kinds:RecurrentConfig",
        "weighted_sum": "affetto.models.heads.kinds:WeightedSumConfig",
    },
)
"""Every head's config by its kind; ``tests/models/test_heads.py`` holds each to what it declares."""


def head_config(values: Any) -> Any:
    """The config that plain values with a ``kind`` stand for, ValueError if none; anything else is left as it is.

    >>> head_config({"kind": "mean_pooling", "layer": "gru3"}).layers
    ('gru3',)
    """
    if not isinstance(values, dict):
        return values
    try:
        return HEADS.load(str(values.get("kind"))).model_validate(values)
    except RegistryError as error:
        raise ValueError(str(error)) from error


# The config of a head of any kind, as a field of another config.
AnyHead = Annotated[SerializeAsAny[HeadConfig], BeforeValidator(head_config)]


KIND = "emotion head"


class _Shape(Config):
    head: AnyHead
    classes: tuple[str, ...]
    dimensions: tuple[str, ...] = ()
    layers: dict[str, Annotated[int, Field(ge=1, le=MAX_WIDTH)]]
    familiarity: int | None = Field(default=None, ge=1, le=MAX_WIDTH)

    @model_validator(mode="after")
    def _predicts_something(self) -> _Shape:
        if bool(self.classes) == bool(self.dimensions):
            raise ValueError("a head has either classes or dimensions")
        return self

    @model_validator(mode="before")
    @classmethod
    def _of_one_layer(cls, values: Any) -> Any:
        """Of older files, whose heads read one layer at most."""
        if not isinstance(values, dict) or "layer_width" not in values or not isinstance(values.get("head"), dict):
            return values
        width, layer = values["layer_width"], values["head"].get("layer")
        rest = {name: value for name, value in values.items() if name != "layer_width"}
        return rest | {"layers": {} if layer is None else {layer: width}}


def save_head(
    path: Path, head: EmotionHead, facts: Mapping[str, Any], *, precision: checkpoint.Precision = "float32"
) -> None:
    """Writes a head; ``facts`` are its training data, licence, recipe, metrics and ``encoder_fingerprint``."""
    components = None if head.familiarity is None else head.familiarity.axes.shape[1]
    shape = _Shape(
        head=head.config, classes=head.classes, dimensions=head.dimensions, layers=head.layers, familiarity=components
    )
    description = checkpoint.Description(kind=KIND, config=shape.model_dump(mode="json"), facts=dict(facts))
    checkpoint.save(path, head.state_dict(), description, precision=precision)


def load_head(path: Path) -> tuple[EmotionHead, checkpoint.Description]:
    """Reads a head, ready to use (in evaluation mode); see `checkpoint.load` for what it raises."""
    return checkpoint.load(path, KIND, _Shape, _make)


def _make(shape: _Shape) -> EmotionHead:
    head = EmotionHead(shape.head, shape.classes, shape.layers, shape.dimensions)
    if shape.familiarity is not None:
        head.familiarity = Familiarity(head.width, shape.familiarity)
    head.register_load_state_dict_pre_hook(_rename)  # type: ignore[no-untyped-call]
    return head


def _rename(_: nn.Module, weights: dict[str, Tensor], *__: object) -> None:
    """Of older files, whose heads had one standardisation of a pooled layer, empty where none was pooled."""
    for name in ("mean", "deviation"):
        values = weights.pop(f"standardise.{name}", None)
        if values is not None and len(values):
            weights[f"pooled.standardise.{name}"] = values
