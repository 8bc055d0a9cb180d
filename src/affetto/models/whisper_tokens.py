"""Whisper's vocabulary: what its tokens mean, and which of them it may write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from affetto.errors import CheckpointError, ConfigError
from affetto.models import transformers_folder

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
    """The tokens of a Whisper model.

    Attributes:
        spelt: what each token of text spells, UTF-8; a character may be divided between tokens.
        special: name -> token of those that spell nothing.
        multilingual: whether it is told, and can tell, which language it hears.
        unspoken: tokens that are never written.
        unspoken_first: those that are not written first.
    """

    spelt: dict[int, bytes]
    special: dict[str, int]
    multilingual: bool
    unspoken: frozenset[int]
    unspoken_first: frozenset[int]

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
        """The token whose probability tells that nobody speaks; None if there is none."""
        return next((self.special[name] for name in _NO_SPEECH if name in self.special), None)

    @cached_property
    def languages(self) -> dict[str, int]:
        """Code -> token of every language; empty unless it is multilingual."""
        if not self.multilingual:
            return {}
        found = ((_LANGUAGE.fullmatch(name), token) for name, token in self.special.items())
        return {match[1]: token for match, token in found if match is not None}

    def prompt(self, language: int | None) -> list[int]:
        """What a transcript without time marks begins with.

        Args:
            language: its token; None for a model of English alone.
        """
        middle = [] if language is None else [language, self.special["<|transcribe|>"]]
        return [self.start, *middle, self.special["<|notimestamps|>"]]


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Reads the tokens of a model's folder.

    Args:
        folder: with ``tokenizer.json``; ``generation_config.json`` is asked what may be written, if it is there.
        size: of the decoder's vocabulary, time marks included.

    Raises:
        CheckpointError: they are missing or damaged, or no vocabulary of Whisper.
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
    """What ``generation_config.json`` says, if it is there."""
    path = folder / "generation_config.json"
    settings = transformers_folder.read_json(path) if path.exists() else {}
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
    """The token of a language.

    Args:
        vocabulary: of the model.
        language: its code, such as "en".

    Returns:
        None for English, where the model knows no other.

    Raises:
        ConfigError: the model does not know it.
    """
    if not vocabulary.multilingual:
        if language == "en":
            return None
        raise ConfigError(f"no language {language!r} in a model of English alone", "name a multilingual model")
    if language not in vocabulary.languages:
        raise ConfigError(f"no language {language!r}", f"choose auto or {', '.join(sorted(vocabulary.languages))}")
    return vocabulary.languages[language]
