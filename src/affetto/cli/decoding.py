"""How verbs are told to decode."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affetto.models.decoding import DecoderChoice


class Method(StrEnum):
    """How probabilities become text."""

    GREEDY = "greedy"
    BEAM = "beam"


Decoding = Annotated[
    Method | None,
    typer.Option("--decoder", help="How to decode.", show_default="beam with a language model, or greedy"),
]
LanguageModelFile = Annotated[
    Path | None,
    typer.Option("--language-model", help="A language.safetensors.", show_default="the model's, if it has one"),
]
BeamWidth = Annotated[
    int | None, typer.Option("--beam-width", min=1, help="Spellings kept a frame.", show_default="32")
]
BeamWeight = Annotated[
    float | None,
    typer.Option("--beam-weight", min=0.0, help="How much the language model counts.", show_default="0.7"),
]
BeamBonus = Annotated[
    float | None,
    typer.Option("--beam-bonus", help="For each character, against short texts.", show_default="1.4"),
]


def decoder_choice(
    method: Method | None, language_model: Path | None, width: int | None, weight: float | None, bonus: float | None
) -> DecoderChoice:
    """What the options ask for; those left out keep the library's defaults.

    Raises:
        ConfigError: a number is out of range.
    """
    from affetto.models.decoding import BeamConfig, DecoderChoice

    given = {"width": width, "weight": weight, "bonus": bonus}
    beam = BeamConfig.parse({name: value for name, value in given.items() if value is not None})
    return DecoderChoice(None if method is None else method.value, language_model, beam)
