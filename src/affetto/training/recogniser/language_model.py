"""A language model from the transcripts that a recogniser is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from affetto import pretrained
from affetto.config import Config
from affetto.data.transcribed import Transcribed
from affetto.environment import environment
from affetto.errors import TrainingError
from affetto.models.language_model import LONGEST_ORDER, load_language_model, save_language_model
from affetto.text import Alphabet, normalise
from affetto.training.recogniser.kneser_ney import estimate
from affetto.training.recogniser.recipe import RecogniserRecipe


class NGramConfig(Config):
    """How much a language model keeps.

    Attributes:
        order: characters of the longest n-gram.
        least_gain: n-grams that gain less are left out, in nats (`kneser_ney.prune`); 0 keeps all.
    """

    order: int = Field(default=8, ge=1, le=LONGEST_ORDER)
    least_gain: float = Field(default=2.0, ge=0, allow_inf_nan=False)


class FittedLanguageModel(NamedTuple):
    """What came of it.

    Attributes:
        path: where it is kept.
        texts: different transcripts that it was trained on.
        characters: in them, the space after each counted.
        ngrams: that are kept.
        megabytes: its size.
        perplexity: a character of the validation speakers' transcripts that are none of those; None where all are.
    """

    path: Path
    texts: int
    characters: int
    ngrams: int
    megabytes: float
    perplexity: float | None


def fit_language_model(
    recipe: RecogniserRecipe,
    training: Sequence[Transcribed],
    validation: Sequence[Transcribed],
    folder: Path,
    config: NGramConfig | None = None,
    more: Sequence[Path] = (),
) -> FittedLanguageModel:
    """Learns which characters follow which, and keeps it as small as it stays good.

    Each different transcript counts once, however many speakers read it: prompts recur in corpora, not in life.

    Args:
        recipe: the recogniser's.
        training: what it is trained on.
        validation: utterances of other speakers.
        folder: the run's; the model goes there, beside the recogniser.
        config: how much it keeps; None takes the defaults.
        more: text files that it also learns from, an utterance a line.

    Raises:
        ConfigError: the order is too high for so many symbols.
        TextError: the recogniser's alphabet has no space.
        TrainingError: there is no text, or a file of text cannot be read.
    """
    order, least_gain = (config or NGramConfig()).order, (config or NGramConfig()).least_gain
    alphabet = Alphabet(recipe.shape.symbols)
    files = [_read(path, alphabet) for path in more]
    texts = sorted({item.text for item in training}.union(*files))
    ngrams = estimate([alphabet.encode(f"{text} ") for text in texts], order, len(alphabet.symbols), least_gain)
    path = folder / pretrained.LANGUAGE_MODEL
    unheard = sorted({item.text for item in validation} - set(texts))
    characters = sum(len(text) + 1 for text in texts)
    facts = {
        "licence": recipe.licence,
        "recipe": recipe.model_dump(mode="json"),
        "least_gain": least_gain,
        "more_texts": {path.name: len(lines) for path, lines in zip(more, files, strict=True)},
        "texts": len(texts),
        "characters": characters,
        "environment": environment(),
    }
    save_language_model(path, alphabet, ngrams, order, facts)
    perplexity = load_language_model(path)[0].perplexity(unheard) if unheard else None
    save_language_model(path, alphabet, ngrams, order, {**facts, "validation_perplexity": perplexity})
    size = sum(each.stat().st_size for each in (path, path.with_suffix(".json")))
    return FittedLanguageModel(path, len(texts), characters, len(ngrams.symbols), size / 1e6, perplexity)


def _read(path: Path, alphabet: Alphabet) -> set[str]:
    """The different lines of a text file that the alphabet can spell."""
    try:
        lines = {normalise(line) for line in path.read_text(encoding="utf-8").splitlines()}
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(
            f"cannot be read ({error})", "name a text file in UTF-8, an utterance a line", path
        ) from error
    return {line for line in lines if line and set(line) <= set(alphabet.symbols)}
