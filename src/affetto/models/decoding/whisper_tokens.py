"""Whisper's vocabulary: what its tokens mean, and which of them it may write."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto import text
from affetto.errors import CheckpointError, ConfigError
from affetto.models import transformers_folder
from affetto.recording import Spelling, Word

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")

# Signs that nobody says: they begin notes such as "[music]", which are no transcript.
_SIGNS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』♩♪♫♬♭♮♯'
_GROUPS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"


@cache
def _byte_symbols() -> dict[str, int]:
    """GPT-2's printable symbol for each byte, as vocabularies spell them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(rest)}


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a Whisper model."""

    spelt: dict[int, bytes]  # what each token of text spells, UTF-8; a character may be divided between tokens
    special: dict[str, int]  # name -> token of those that spell nothing
    multilingual: bool  # whether it takes, and can predict, the language that is spoken
    unspoken: frozenset[int]  # tokens that are never written
    unspoken_first: frozenset[int]  # those that are not written first

    @property
    def end(self) -> int:
        """The token after the last."""
        return self.special["<|endoftext|>"]

    @property
    def start(self) -> int:
        """The token before the first."""
        return self.special["<|startoftranscript|>"]

    @property
    def no_speech(self) -> int | None:
        """The token whose probability is that nobody speaks; None if there is none."""
        return next((self.special[name] for name in _NO_SPEECH if name in self.special), None)

    @cached_property
    def languages(self) -> dict[str, int]:
        """Code -> token of every language; empty unless it is multilingual."""
        if not self.multilingual:
            return {}
        found = ((_LANGUAGE.fullmatch(name), token) for name, token in self.special.items())
        return {match[1]: token for match, token in found if match is not None}

    def prompt(self, language: int | None) -> list[int]:
        """What a transcript without time marks begins with; no language is for a model of English alone."""
        middle = [] if language is None else [language, self.special["<|transcribe|>"]]
        return [self.start, *middle, self.special["<|notimestamps|>"]]


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Reads ``tokenizer.json`` of a model's folder, and in ``generation_config.json`` what may be written.

    ``size`` is the decoder's vocabulary, time marks included. Raises CheckpointError where they are missing or damaged,
    or no vocabulary of Whisper.
    """
    path = folder / "tokenizer.json"
    values = transformers_folder.read_json(path)
    try:
        plain = {str(piece): int(token) for piece, token in values["model"]["vocab"].items()}
        special = {str(each["content"]): int(each["id"]) for each in values["added_tokens"]}
        symbols = _byte_symbols()
        spelt = {
            token: bytes(symbols[symbol] for symbol in piece) for piece, token in plain.items() if piece not in special
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"is no vocabulary of Whisper ({error!r})", "copy the model again", path) from error
    needed = {"<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"}
    if not needed <= special.keys() or not all(0 <= token < size for token in (*spelt, *special.values())):
        raise CheckpointError("is no vocabulary of this decoder", "copy the model again", path)
    settings = _settings(folder, size)
    multilingual = bool(settings.get("is_multilingual", size >= 51_865))  # OpenAI's own rule
    end = special["<|endoftext|>"]
    silent = set(range(size)) - spelt.keys()  # the prompt's, time marks
    unspoken = settings.get("suppress_tokens") or _signs(spelt)
    first = settings.get("begin_suppress_tokens") or [*(token for token, text in spelt.items() if text == b" "), end]
    return Vocabulary(spelt, special, multilingual, frozenset({*silent, *unspoken} - {end}), frozenset(first))


def _settings(folder: Path, size: int) -> dict[str, Any]:
    path = folder / "generation_config.json"
    settings = transformers_folder.read_if_there(path)
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        tokens = settings.get(name) or []
        if not (isinstance(tokens, list) and all(isinstance(each, int) and 0 <= each < size for each in tokens)):
            raise CheckpointError(f"{name} is no list of tokens", "copy the model again", path)
    return settings


def _signs(spelt: dict[int, bytes]) -> set[int]:
    texts = {text: token for token, text in spelt.items()}
    wanted = [f"{space}{sign}".encode() for sign in (*_SIGNS, *_GROUPS.split()) for space in ("", " ")]
    return {texts[text] for text in [*wanted, b" -", b" '"] if text in texts}


def find_language(vocabulary: Vocabulary, language: str) -> int | None:
    """The token of a language's code, ConfigError if the model has none; None for English, where it knows no other."""
    if not vocabulary.multilingual:
        if language == "en":
            return None
        raise ConfigError(f"no language {language!r} in a model of English alone", "name a multilingual model")
    if language not in vocabulary.languages:
        raise ConfigError(f"no language {language!r}", f"choose auto or {', '.join(sorted(vocabulary.languages))}")
    return vocabulary.languages[language]


_SMOOTHING_FRAMES = 7


def token_starts(attention: Tensor) -> list[int]:
    """The frame with which each token begins, from how much each head looked at each frame, (heads, tokens, frames)."""
    _, tokens, frames = attention.shape
    if tokens > frames:
        return [token * frames // tokens for token in range(tokens)]
    spread, mean = torch.std_mean(attention.float(), dim=1, keepdim=True, correction=0)
    scores = (attention - mean) / spread.clamp(min=1e-8)
    if frames > _SMOOTHING_FRAMES:
        half = _SMOOTHING_FRAMES // 2
        padded = torch.nn.functional.pad(scores, (half, half), mode="reflect")
        scores = padded.unfold(2, _SMOOTHING_FRAMES, 1).median(dim=3).values
    return _best_starts(scores.mean(dim=0).double().cpu().numpy())


def _best_starts(scores: NDArray[np.float64]) -> list[int]:
    """Where each row begins on the best path through (rows, columns) that visits every row, in order."""
    rows, columns = scores.shape
    sums = np.concatenate([np.zeros((rows, 1)), scores.cumsum(axis=1)], axis=1)
    ends = sums[0].copy()  # the best score with which a row ends before each column
    ends[0] = -np.inf
    gains = []
    for row in range(1, rows):
        gains.append(ends - sums[row])  # of beginning the row at each column
        ends = np.concatenate([[-np.inf], sums[row, 1:] + np.maximum.accumulate(gains[-1])[:-1]])
    starts, column = [], columns
    for gain in reversed(gains):
        column = int(gain[:column].argmax())
        starts.append(column)
    return [0, *reversed(starts)]


def spell_tokens(
    pieces: Sequence[bytes], log_probs: Sequence[float], starts_s: Sequence[float], end_s: float
) -> Spelling:
    """The words of tokens, in the alphabet: numbers are spelt out, punctuation goes (see `text.normalise`).

    Of tokens' bytes (UTF-8, a word begins with a space), their log probabilities, and when each begins and the last
    ends.
    """
    begins = [place for place, piece in enumerate(pieces) if piece.startswith(b" ") or place == 0]
    bounds = [*starts_s, end_s]
    written = []
    for begin, end in zip(begins, [*begins[1:], len(pieces)], strict=True):
        said = [place for place in range(begin, end) if any(each.isalnum() for each in _decoded([pieces[place]]))]
        confidence = math.exp(min(0.0, float(np.mean([log_probs[place] for place in said or range(begin, end)]))))
        written.append(Word(_decoded(pieces[begin:end]).strip(), bounds[begin], bounds[end], confidence))
    words = _normalised(written)
    return Spelling(" ".join(word.text for word in words), words)


def says(piece: bytes) -> bool:
    """Whether a token spells letters or digits, or part of one: no punctuation, and no space alone.

    >>> says(b" don"), says(b"'t"), says(b"!"), says("\u00e9".encode()[:1])
    (True, True, False, True)
    """
    text = _decoded([piece])
    return any(each.isalnum() for each in text) or (not text and bool(piece))


def _decoded(pieces: Sequence[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", errors="ignore")


def _normalised(written: Sequence[Word]) -> tuple[Word, ...]:
    """Words as they are said: "$7 million" is three, which share the time of the two."""
    alone = [part for word in written for part in _spread(_said([word]), [word])]
    whole = _said(written)
    if [word.text for word in alone] == whole:
        return tuple(alone)
    words: list[Word] = []
    begin = 0
    for end in range(1, len(written) + 1):  # where what stands on either side is said the same without the other
        if [*_said(written[:end]), *_said(written[end:])] == whole:
            words += _spread(whole[len(words) : len(_said(written[:end]))], written[begin:end])
            begin = end
    return tuple(words)


def _said(written: Sequence[Word]) -> list[str]:
    return text.normalise(" ".join(word.text for word in written)).split()


def _spread(said: Sequence[str], sources: Sequence[Word]) -> list[Word]:
    """What is said in the time of some words, each by its share of the letters."""
    if not said:
        return []
    begin_s, end_s = sources[0].start_s, sources[-1].end_s
    ends = np.cumsum([len(each) for each in said])
    bounds = [begin_s, *(begin_s + (end_s - begin_s) * float(end) / float(ends[-1]) for end in ends)]
    confidence = float(np.mean([each.confidence for each in sources]))
    return [Word(each, bounds[place], bounds[place + 1], confidence) for place, each in enumerate(said)]
