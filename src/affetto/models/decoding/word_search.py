"""Beam search over words: those of a lexicon, with a language model of words that KenLM reads.

Both are flashlight-text's, whose wheels for Linux and macOS bring KenLM along. Its search goes through a tree of the
lexicon's letters and adds up the paths that spell the same words; the language model scores a word once it is whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from affetto.config import Config
from affetto.errors import CheckpointError, ConfigError, MissingExtraError
from affetto.frames import Frames
from affetto.models.decoding.beam import Found
from affetto.models.decoding.lexicon import Lexicon, read_word_list, read_words, spell_words
from affetto.text import Alphabet

_UNKNOWN = "<unk>"
_NEVER = -1e5  # flashlight adds up probabilities, which makes no number of two that are 0; this is as good as that
_NO_LIMIT = 1e9  # how far below the best a beginning may fall: the width alone decides


class WordBeamConfig(Config):
    """How to search for words.

    A text scores log p(the frames spell it) + weight x log p(of the language model, its end included) + bonus x its
    words, all logarithms natural.
    """

    # beginnings that are kept a frame; the same words that end in another character or blank are another
    width: int = Field(default=100, ge=1, le=4096)
    weight: float = Field(default=1.0, ge=0, le=100, allow_inf_nan=False)  # of the language model
    # for each word; above 0 it makes up for the language model's dislike of long texts
    bonus: float = Field(default=2.0, ge=-100, le=100, allow_inf_nan=False)


@dataclass(frozen=True)
class WordModel:
    """A language model of words, and the words that may be written."""

    path: Path  # its file
    alphabet: Alphabet  # what spells the words
    lexicon: Lexicon  # the words
    scores: Any = field(repr=False)  # KenLM's model
    letters: Any = field(repr=False)  # the lexicon as a tree, each word with a space behind it


def load_word_model(path: Path, alphabet: Alphabet, word_list: Path | None = None) -> WordModel:
    """Reads a language model of words for a recogniser: an ARPA file, or one that KenLM's build_binary made.

    A binary file is mapped into memory as it is: only one from someone who is trusted should be loaded. An ARPA file
    is text, of which header, words and end are checked here and the rest by KenLM. Words are spelt in the alphabet's
    case; those of ``word_list``, a line each, are written as the model writes them. Without it the model's own words
    are taken.

    Raises:
        CheckpointError: the file is missing, damaged or foreign.
        ConfigError: there is no word list for a binary file, it cannot be read, or no word of it is known or spelt.
        MissingExtraError: flashlight-text is not installed.
    """
    decoder, kenlm, dictionary = _flashlight()
    if " " not in alphabet.symbols:
        raise ConfigError(f"the alphabet {alphabet.symbols!r} has no space", "decode without a model of words", path)
    own = read_words(path)
    if own is None and word_list is None:
        raise ConfigError("a binary file does not tell its words", "give a lexicon, a file with a word a line", path)
    lexicon = spell_words(own or [] if word_list is None else read_word_list(word_list), alphabet)
    if not lexicon.words:
        raise ConfigError("the alphabet can spell none of the words", "choose other words", word_list or path)
    names = dictionary.Dictionary([*lexicon.words, _UNKNOWN])
    try:
        with _quiet():
            scores = kenlm.KenLM(str(path), names)
    except (RuntimeError, ValueError) as error:  # ValueError: a complaint that quotes bytes which are no text
        raise CheckpointError(
            f"KenLM cannot read it ({_complaint(error)})", "copy or make the file again", path
        ) from error
    return WordModel(path, alphabet, lexicon, scores, _tree(decoder, scores, lexicon, alphabet, word_list or path))


def _complaint(error: Exception) -> str:
    """What KenLM complains of, without the place in its source, its first line."""
    if not isinstance(error, RuntimeError):
        return "it is no text"
    lines = str(error).strip().splitlines()
    return " ".join(" ".join(lines[1:] if len(lines) > 1 and " threw " in lines[0] else lines).split())


def _flashlight() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Its decoder, its door to KenLM, and its dictionaries."""
    try:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder import kenlm
    except ImportError as error:
        raise MissingExtraError(
            "flashlight-text with KenLM is not installed",
            'pip install "affetto[kenlm]", on Linux or macOS with Python 3.11 or 3.12, for which it is built',
        ) from error
    return decoder, kenlm, dictionary


@contextmanager
def _quiet() -> Iterator[None]:
    """KenLM writes to standard error, past Python: a bar, and the advice to make a binary file. Neither is shown."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _tree(decoder: ModuleType, scores: Any, lexicon: Lexicon, alphabet: Alphabet, source: Path) -> Any:
    """The lexicon as a tree of letters, each branch with the best score of its words at the beginning of a text."""
    [space] = alphabet.encode(" ")
    tree = decoder.Trie(len(alphabet), space)
    start = scores.start(False)
    unknown = scores.score(start, len(lexicon.words))[1]
    known = False
    for number, spelling in enumerate(lexicon.spellings):
        score = scores.score(start, number)[1]
        known = known or score != unknown
        tree.insert([*spelling, space], number, score)
    if not known:
        raise ConfigError(
            "the language model knows none of these words", "write them as it does, in its upper or lower case", source
        )
    tree.smear(decoder.SmearingMode.MAX)
    return tree


@dataclass(frozen=True)
class WordSearch:
    """A search, ready to use."""

    model: WordModel  # whose words it writes
    config: WordBeamConfig  # how it goes

    @property
    def name(self) -> str:
        """What it does, in a few words."""
        config = self.config
        return f"beam of {config.width}, {self.model.path.name} x {config.weight:g}, bonus {config.bonus:g} a word"

    @property
    def fingerprint(self) -> str:
        """A digest of the model's file, of the words that may be written, and of how the search goes."""
        with self.model.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update(json.dumps([self.model.lexicon.words, self.config.model_dump(mode="json")]).encode())
        return digest.hexdigest()[:16]

    def __call__(self, log_probs: Frames) -> list[Found]:
        """The words of the highest score of each utterance, as far as the beam's width lets them be found.

        Of log probabilities (batch, time, classes), class 0 the blank; there are single spaces between words.
        """
        return [self._search(each) for each in log_probs.to("cpu").unpad()]

    def _search(self, log_probs: Tensor) -> Found:
        """One utterance, (time, classes)."""
        decoder, _, _ = _flashlight()
        [space] = self.model.alphabet.encode(" ")
        options = decoder.LexiconDecoderOptions(
            beam_size=self.config.width,
            beam_size_token=len(self.model.alphabet),
            beam_threshold=_NO_LIMIT,
            lm_weight=self.config.weight * math.log(10),  # KenLM's logarithms are to the base of 10
            word_score=self.config.bonus,
            unk_score=-math.inf,
            sil_score=0.0,
            log_add=True,
            criterion_type=decoder.CriterionType.CTC,
        )
        # A search of its own for each utterance: flashlight's keeps what it is at, and threads may share the model.
        search = decoder.LexiconDecoder(
            options, self.model.letters, self.model.scores, space, Alphabet.BLANK, len(self.model.lexicon.words), [],
            False,
        )  # fmt: skip
        # One more frame, certain to be a space: a word ends with the utterance, and what is none is dropped.
        last = torch.full((1, log_probs.shape[1]), _NEVER)
        last[0, space] = 0
        ended = torch.cat([log_probs.detach().float().clamp(min=_NEVER), last]).contiguous()
        best = search.decode(ended.data_ptr(), *ended.shape)[0]
        # Of all words that the path completes; -1 stands where it completes none.
        spellings = [self.model.lexicon.spellings[number] for number in best.words if number >= 0]
        return Found([each for spelling in spellings for each in (*spelling, space)][:-1], best.score)
