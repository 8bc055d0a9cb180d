"""Emotion heads by kind: what is trained on top of a recogniser's layers, one file a kind.

A kind is a config, which declares what the head reads and which parts make of it the vector that a softmax classifies
(`affetto.models.heads.head`). Third parties add theirs through entry points of the group ``affetto.heads``.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from affetto.errors import RegistryError
from affetto.models.heads.head import ACOUSTIC, EmotionHead, HeadConfig
from affetto.registry import Registry

__all__ = ["ACOUSTIC", "HEADS", "AnyHead", "EmotionHead", "HeadConfig", "head_config"]

HEADS = Registry(
    "heads",
    {
        "attentive_statistics": "affetto.models.heads.attentive_statistics:AttentiveStatisticsConfig",
        "baseline": "affetto.models.heads.baseline:BaselineConfig",
        "mean_pooling": "affetto.models.heads.mean_pooling:MeanPoolingConfig",
        "progressive": "affetto.models.heads.progressive:ProgressiveConfig",
        "recurrent": "affetto.models.heads.recurrent:RecurrentConfig",
        "weighted_sum": "affetto.models.heads.weighted_sum:WeightedSumConfig",
    },
)
"""Every head's config by its kind; ``tests/models/test_heads.py`` holds each to what it declares."""


def head_config(values: Any) -> Any:
    """The config that plain values with a ``kind`` stand for; anything else is left as it is.

    Raises:
        ValueError: there is no head of that kind, or the values do not fit its config.

    >>> head_config({"kind": "mean_pooling", "layer": "gru3"}).layers
    ('gru3',)
    """
    if not isinstance(values, dict):
        return values
    try:
        return HEADS.load(str(values.get("kind"))).model_validate(values)
    except RegistryError as error:
        raise ValueError(str(error)) from error


AnyHead = Annotated[SerializeAsAny[HeadConfig], BeforeValidator(head_config)]
"""The config of a head of any kind, as a field of another config."""
