"""Options of decoding, shared by several verbs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from affetto.cli.terminal import note

if TYPE_CHECKING:
    from affetto.models.decoding import DecoderChoice
    from affetto.models.encoders.encoder import TextDecoder


class Method(StrEnum):
    """How probabilities become text."""

    GREEDY = "greedy"
    BEAM = "beam"
    KENLM = "kenlm"


Decoding = Annotated[
    Method | None,
    typer.Option(
        "--decoder",
        help="How to decode: kenlm searches for words.",
        show_default="kenlm with a word model, beam with a language model, or greedy",
    ),
]
LanguageModelFile = Annotated[
    Path | None,
    typer.Option("--language-model", help="A language.safetensors.", show_default="the model's, if it has one"),
]
WordModelFile = Annotated[
    Path | None,
    typer.Option(
        "--word-model",
        help="A language model of words: an ARPA file, or one of KenLM's binary files, which is mapped into memory as "
        "it is and has to come from someone you trust.",
    ),
]
LexiconFile = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        help="The words that may be written, a word a line, as the word model writes them; needed for a binary file.",
        show_default="the ARPA file's words",
    ),
]
BeamWidth = Annotated[
    int | None, typer.Option("--beam-width", min=1, help="Spellings kept a frame.", show_default="32, or 100 of words")
]
BeamWeight = Annotated[
    float | None,
    typer.Option(
        "--beam-weight", min=0.0, help="How much the language model counts.", show_default="0.7, or 1 of words"
    ),
]
BeamBonus = Annotated[
    float | None,
    typer.Option(
        "--beam-bonus",
        help="For each character, or with a word model for each word, against short texts.",
        show_default="1.4, or 2 a word",
    ),
]


Language = Annotated[
    str | None,
    typer.Option(
        metavar="CODE",
        help="What is spoken, as de, where the model knows several languages; auto lets it find out.",
        show_default="en",
    ),
]


class Files(NamedTuple):
    """What decoding reads: a language model of characters, one of words, a lexicon."""

    language_model: Path | None
    word_model: Path | None
    lexicon: Path | None


class Numbers(NamedTuple):
    """How a beam search goes."""

    width: int | None
    weight: float | None
    bonus: float | None


def decoder_choice(method: Method | None, files: Files, numbers: Numbers, language: str | None = None) -> DecoderChoice:
    """What the options ask for; those left out keep the library's defaults.

    Raises:
        ConfigError: a number is out of range.
    """
    from affetto.models.decoding import BeamConfig, DecoderChoice, WordBeamConfig

    given = {name: value for name, value in numbers._asdict().items() if value is not None}
    return DecoderChoice(
        None if method is None else method.value,
        files.language_model,
        BeamConfig.parse(given),
        files.word_model,
        files.lexicon,
        WordBeamConfig.parse(given),
        language,
    )


def tell_left_out(decoder: TextDecoder) -> None:
    """Says how many words of a lexicon cannot be written, if there are any."""
    from affetto.models.decoding import Decoder

    words = decoder.words if isinstance(decoder, Decoder) else None
    lexicon = None if words is None else words.model.lexicon
    if lexicon is not None and lexicon.left_out:
        total = lexicon.left_out + len(lexicon.words)
        note(f"words left out, which the recogniser cannot spell: {lexicon.left_out:,} of {total:,}")
