"""Listening conditions drawn at random, for training on what differs between recordings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from affetto.config import Config
from affetto.features.conditions import EFFECTS, Condition


class Chance(Config):
    """How often an effect happens, and by how much.

    Attributes:
        chance: the share of recordings that it happens to.
        between: bounds of its amount, which is drawn evenly.
    """

    chance: float = Field(ge=0.0, le=1.0)
    between: tuple[float, float] = (0.0, 0.0)

    @model_validator(mode="after")
    def _ascend(self) -> Chance:
        if self.between[0] > self.between[1]:
            raise ValueError("give the lower bound first")
        return self


def _known(chances: dict[str, Chance]) -> dict[str, Chance]:
    for name, chance in chances.items():
        if name not in EFFECTS:
            raise ValueError(f"no effect {name!r}; choose among {', '.join(EFFECTS)}")
        (low, high), (first, last) = EFFECTS[name].bounds, chance.between
        if not low <= first <= last <= high:
            raise ValueError(f"{name} goes from {low:g} to {high:g} ({EFFECTS[name].meaning})")
    return {name: chances[name] for name in EFFECTS if name in chances}


PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "everyday": {
            "eq": {"chance": 0.3, "between": (0.0, 9.0)},
            "reverb": {"chance": 0.25, "between": (0.1, 0.9)},
            "room": {"chance": 0.15, "between": (0.0, 2.0)},
            "white": {"chance": 0.15, "between": (5.0, 30.0)},
            "noise": {"chance": 0.25, "between": (5.0, 30.0)},
            "clip": {"chance": 0.1, "between": (3.0, 20.0)},
            "telephone": {"chance": 0.25},
            "opus": {"chance": 0.1, "between": (6.0, 24.0)},
            "mp3": {"chance": 0.1, "between": (8.0, 32.0)},
            "gain": {"chance": 0.5, "between": (-40.0, 6.0)},
            "dc": {"chance": 0.1, "between": (-0.05, 0.05)},
            "silence": {"chance": 0.15, "between": (0.0, 2.0)},
        },
    }
)
"""Name -> chances that a recipe may name; "everyday" is all that happens to recordings but for others' voices."""


def _preset(values: Any) -> Any:
    if not isinstance(values, str):
        return values
    if values not in PRESETS:
        raise ValueError(f"no set of conditions {values!r}; choose among {', '.join(PRESETS)}, or list effects")
    return PRESETS[values]


Chances = Annotated[dict[str, Chance], BeforeValidator(_preset), AfterValidator(_known)]
"""Effect -> how often and how much, in the order in which effects happen; a recipe may give a preset's name."""


def draw_condition(chances: Mapping[str, Chance], generator: np.random.Generator) -> Condition:
    """A condition in which each effect happens or not.

    Args:
        chances: in the order of `EFFECTS`, as `Chances` gives them.
        generator: of two numbers an effect, whether it happens or not.

    >>> draw_condition({"pink": Chance(chance=1.0, between=(10.0, 10.0))}, np.random.default_rng(1)).name
    'pink-10'
    """
    drawn = [
        (name, generator.random() < each.chance, generator.uniform(*each.between)) for name, each in chances.items()
    ]
    return Condition(tuple((name, float(amount)) for name, happens, amount in drawn if happens))
