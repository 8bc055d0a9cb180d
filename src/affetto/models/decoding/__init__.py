"""From the recogniser's character probabilities to text, its words, their times and how sure they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch

from affetto import pretrained
from affetto.errors import ConfigError
from affetto.frames import Frames
from affetto.models.decoding.paths import BeamConfig, align, beam_search, best_paths, greedy
from affetto.models.decoding.word_search import WordBeamConfig, WordSearch, load_word_model
from affetto.models.encoders.encoder import Encoder, LayerInfo, TextDecoder, Written
from affetto.models.language_model import LanguageModel, load_language_model
from affetto.recording import Spelling
from affetto.spelling import spell
from affetto.text import Alphabet

__all__ = [
    "BeamConfig",
    "Decoder",
    "DecoderChoice",
    "WordBeamConfig",
    "WordSearch",
    "beam_search",
    "find_decoder",
    "greedy",
    "load_word_model",
]


@dataclass(frozen=True)
class Decoder:
    """Character probabilities to text and words."""

    alphabet: Alphabet  # what the classes mean
    frame_rate_hz: float  # frames a second
    beam: BeamConfig | None = None  # how to search; None takes the best class of every frame
    language_model: LanguageModel | None = None  # what a beam search asks, beside the recogniser
    words: WordSearch | None = None  # a search over words, instead of one over characters

    window_s: ClassVar[float] = 0.0  # frames are spelt by what is near them: more sound at once changes nothing
    layers: ClassVar[tuple[LayerInfo, ...]] = ()  # characters have no vectors

    @property
    def name(self) -> str:
        """What it does, in a few words.

        >>> Decoder(Alphabet(), 25.0).name
        'greedy'
        """
        if self.words is not None:
            return self.words.name
        if self.beam is None:
            return "greedy"
        search = f"beam of {self.beam.width}"
        if self.language_model is None:
            return search
        return f"{search}, language model x {self.beam.weight:g}, bonus {self.beam.bonus:g}"

    @property
    def fingerprint(self) -> str:
        """A digest of all that a text depends on beside the probabilities.

        >>> Decoder(Alphabet(), 25.0).fingerprint == Decoder(Alphabet("ab"), 25.0).fingerprint
        False
        """
        beam = "" if self.beam is None else self.beam.model_dump_json()
        asked = ["" if each is None else each.fingerprint for each in (self.language_model, self.words)]
        parts = [self.alphabet.symbols, f"{self.frame_rate_hz:g}", beam, *asked]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def to(self, device: torch.device | str) -> Self:  # noqa: ARG002
        """Itself: it decodes on the CPU, wherever the log probabilities are."""
        return self

    def write(self, log_probs: Frames | None) -> list[Written]:
        """Its spellings alone."""
        return [Written(spelling, {}) for spelling in self(log_probs)]

    def __call__(self, log_probs: Frames | None) -> list[Spelling]:
        """What each utterance of a batch spells, from log probabilities (batch, time, classes)."""
        assert log_probs is not None, "the encoder spells"
        log_probs = log_probs.to("cpu")
        if self.words is not None:
            paths = align(log_probs, [each.classes for each in self.words(log_probs)])
        elif self.beam is None:
            paths = best_paths(log_probs)
        else:
            found = beam_search(log_probs, self.alphabet, self.beam, self.language_model)
            paths = align(log_probs, [each.classes for each in found])
        return [
            spell(path.numpy(), values.numpy(), self.alphabet, self.frame_rate_hz)
            for path, values in zip(paths, log_probs.unpad(), strict=True)
        ]


@dataclass(frozen=True)
class DecoderChoice:
    """What a user may say about decoding."""

    # "greedy", "beam" or "kenlm"; None is "kenlm" where a model of words is named, a beam search where there is a
    # language model of characters, greedy where there is none
    method: Literal["greedy", "beam", "kenlm"] | None = None
    # of characters, its file; None takes the one in the model's folder, if there is one
    language_model: Path | None = None
    beam: BeamConfig = field(default_factory=BeamConfig)  # how a beam search over characters goes
    word_model: Path | None = None  # a language model of words, an ARPA file or one of KenLM's
    # the words that may be written, a file with a word a line; None takes all of an ARPA file
    word_list: Path | None = None
    word_beam: WordBeamConfig = field(default_factory=WordBeamConfig)  # how a beam search over words goes
    language: str | None = None  # what is spoken, where the recogniser knows several; "auto" lets it find out


def find_decoder(encoder: Encoder, choice: DecoderChoice | None = None) -> TextDecoder:
    """The decoder for a recogniser, as chosen: its own if it has one, else one of those for characters.

    Raises:
        CheckpointError: a language model is missing or damaged.
        ConfigError: what is named is of no use to the method, or the method lacks it, or has another alphabet.
        MissingExtraError: a model of words is named and flashlight-text is not installed.
    """
    choice = choice or DecoderChoice()
    _check(choice)
    own = encoder.text_decoder(choice.language)
    if own is not None:
        if replace(choice, language=None) != DecoderChoice():
            raise ConfigError(f"{own.name} takes neither method nor language model", "leave them out")
        return own
    if choice.language is not None:
        raise ConfigError(f"no choice of language, {choice.language!r} or other", "leave it out", encoder.origin.name)
    alphabet, rate_hz = encoder.alphabet, encoder.output_rate_hz
    if alphabet is None or rate_hz is None:
        raise ConfigError("spells no characters", "name a model that recognises speech", encoder.origin.name)
    if choice.word_model is not None:
        model_of_words = load_word_model(choice.word_model, alphabet, choice.word_list)
        return Decoder(alphabet, rate_hz, words=WordSearch(model_of_words, choice.word_beam))
    path, folder = choice.language_model, encoder.origin.folder
    if path is None and choice.method != "greedy" and folder is not None:
        embedded = folder / pretrained.LANGUAGE_MODEL
        path = embedded if embedded.exists() or embedded.with_suffix(".json").exists() else None
    if path is None:
        return Decoder(alphabet, rate_hz, choice.beam if choice.method == "beam" else None)
    model, _ = load_language_model(path)
    if model.alphabet.symbols != alphabet.symbols:
        problem = f"is over the symbols {model.alphabet.symbols!r}, the recogniser over {alphabet.symbols!r}"
        raise ConfigError(problem, "train a language model with this recogniser's alphabet", path)
    return Decoder(alphabet, rate_hz, choice.beam, model)


def _check(choice: DecoderChoice) -> None:
    words, characters = choice.word_model, choice.language_model
    if characters is not None and choice.method == "greedy":
        raise ConfigError("greedy decoding asks no language model", "leave it out, or decode by beam", characters)
    if words is not None and choice.method not in {None, "kenlm"}:
        raise ConfigError(f"decoding by {choice.method} asks no model of words", "leave it out, or the method", words)
    if words is not None and characters is not None:
        raise ConfigError("a search over words asks no language model of characters", "leave one out", characters)
    if words is None and choice.method == "kenlm":
        raise ConfigError("decoding by kenlm needs a language model of words", "name an ARPA file (--word-model)")
    if words is None and choice.word_list is not None:
        raise ConfigError("a lexicon needs a language model of words", "name one (--word-model)", choice.word_list)
