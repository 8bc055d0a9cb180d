"""Beam search over words: those of a lexicon, with a language model of words that KenLM reads.

Both are flashlight-text's, whose wheels for Linux and macOS bring KenLM along. ARPA files, which are text, are checked
before any library is given them; KenLM's binary files are mapped into memory as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, isfinite, log
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from affetto.config import Config
from affetto.errors import CheckpointError, ConfigError, MissingExtraError
from affetto.frames import Frames
from affetto.models.decoding.paths import Found
from affetto.text import Alphabet

# What stands for the start of a text, its end, and every word that the model does not know.
MARKERS = frozenset({"<s>", "</s>", "<unk>", "<UNK>"})
ORDERS = range(2, 7)  # Words of the longest n-gram that KenLM takes
MOST_WORDS = 1_000_000  # Of a lexicon: some 300 MB as a tree of letters
_LONGEST_LINE = 65536
_TAIL = 4096
_BINARY = b"mmap lm http://kheafield.com/code format version "
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_COUNT = re.compile(rb"ngram ([0-9]{1,2})=([0-9]{1,18})\s*")
# Characters of a word; the tree of letters is walked by recursion, so that its depth has to be bounded.
LONGEST_WORD = 100
_MOST_ALIKE = 6  # Words of the same spelling that flashlight's tree of letters takes
_UNKNOWN = "<unk>"
_NEVER = -1e5  # flashlight adds up probabilities, which makes no number of two that are 0; this is as good as that
_NO_LIMIT = 1e9  # how far below the best a beginning may fall: the width alone decides


def read_words(path: Path) -> list[str] | None:
    """The words of an ARPA file in its order, without markers; None for KenLM's binary files, which hide them.

    Raises CheckpointError where the file is missing, damaged or foreign, or does not hold what its header says.
    """
    try:
        if not path.is_file():
            raise CheckpointError("there is no such file", "check the language model's path", path)
        with path.open("rb") as file:
            start = file.read(len(_BINARY))
            for magic, program in _COMPRESSED.items():
                if start.startswith(magic):
                    raise CheckpointError(f"is compressed by {program}", "unpack it", path)
            if start == _BINARY:
                return None
            file.seek(0)
            return _Arpa(path, file).words()
    except OSError as error:
        raise CheckpointError(error.strerror or str(error), "check the language model's path", path) from error


class _Arpa:
    """An ARPA file, from its first line on."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._line = 0

    def words(self) -> list[str]:
        """Reads header and words, and checks how the file goes on and ends."""
        counts = self._header()
        self._end()
        self._expect(b"\\1-grams:")
        seen: dict[str, None] = {}  # in the file's order
        for _ in range(counts[0]):
            word = self._word()
            if word in seen:
                raise self._fault(f"has the word {word!r} twice")
            seen[word] = None
            if len(seen) > MOST_WORDS + len(MARKERS):
                raise self._fault(f"has more than {MOST_WORDS:,} words", "prune it")
        for marker in ("<s>", "</s>"):
            if marker not in seen:
                raise self._fault(f"has no {marker} among its words")
        self._expect(b"\\2-grams:")
        return [word for word in seen if word not in MARKERS]

    def _header(self) -> list[int]:
        """How many n-grams of each length there are; more than the file can hold are refused, not made room for."""
        if self._next_filled() != b"\\data\\":
            raise CheckpointError("is neither an ARPA file nor one of KenLM's", "choose one of these", self._path)
        counts: list[int] = []
        line = self._next_filled()
        while line:
            found = _COUNT.fullmatch(line)
            if found is None or int(found[1]) != len(counts) + 1:
                raise self._fault(f"has {line[:40]!r} in its header")
            counts.append(int(found[2]))
            line = self._next()
        if len(counts) not in ORDERS:
            remedy = f"choose one of {ORDERS[0]} to {ORDERS[-1]} words"
            raise self._fault(f"has n-grams of up to {len(counts)} words", remedy)
        # A line of n words is at least a digit, n letters, n spaces between and before them, and its end.
        least = sum(count * (2 * length + 2) for length, count in enumerate(counts, start=1))
        held = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if min(counts) < 1 or least > held:
            raise self._fault(f"promises {sum(counts):,} n-grams in {held:,} bytes")
        return counts

    def _end(self) -> None:
        place = self._file.tell()
        size = os.fstat(self._file.fileno()).st_size
        self._file.seek(max(place, size - _TAIL))
        if not self._file.read().rstrip().endswith(b"\n\\end\\"):
            raise CheckpointError("is cut off: its last line is not \\end\\", "copy the file again", self._path)
        self._file.seek(place)

    def _word(self) -> str:
        """The word of a line, whose numbers have to be some."""
        parts = self._next().split()
        try:
            numbers = [float(part) for part in parts[:1] + parts[2:]]
        except ValueError:
            numbers = []
        # A probability may be 0, whose logarithm is -inf; nothing may be NaN.
        if len(numbers) not in {1, 2} or len(parts) < 2 or not numbers[0] <= 0 or not all(map(isfinite, numbers[1:])):
            raise self._fault(f"has {b' '.join(parts)[:40]!r} where a log probability and a word should stand")
        return parts[1].decode("utf-8", errors="replace")  # what is no UTF-8 cannot be spelt, and is left out for it

    def _expect(self, heading: bytes) -> None:
        line = self._next_filled()
        if line != heading:
            raise self._fault(f"has {line[:40]!r} instead of {heading.decode()}")

    def _next_filled(self) -> bytes:
        return next(line for line in iter(self._next, None) if line)

    def _next(self) -> bytes:
        line = self._file.readline(_LONGEST_LINE)
        self._line += 1
        if not line or len(line) == _LONGEST_LINE:
            raise self._fault("ends too soon" if not line else f"is longer than {_LONGEST_LINE:,} bytes")
        return line.strip()

    def _fault(self, problem: str, remedy: str = "copy or make the file again") -> CheckpointError:
        return CheckpointError(f"line {self._line:,} {problem}", remedy, self._path)


def read_word_list(path: Path) -> list[str]:
    """The words of a file with a word a line; blank lines and repeats are passed over.

    Raises ConfigError where it is missing, no text in UTF-8, empty or too long, or a line has several words.
    """
    words: dict[str, None] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), start=1):
                parts = line.decode("utf-8-sig" if number == 1 else "utf-8").split()
                if len(parts) > 1:
                    raise ConfigError(f"line {number:,} holds {len(parts)} words", "write a word a line", path)
                words.update(dict.fromkeys(parts))
                if len(words) > MOST_WORDS:
                    raise ConfigError(f"has more than {MOST_WORDS:,} words", "choose those that matter", path)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), "check the lexicon's path", path) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is no text in UTF-8", "write a word a line", path) from error
    found = [word for word in words if word not in MARKERS]
    if not found:
        raise ConfigError("has no words", "write a word a line", path)
    return found


class Lexicon(NamedTuple):
    """Words and their spellings."""

    words: list[str]  # as the language model writes them
    spellings: list[list[int]]  # class numbers of each word's characters
    left_out: int  # how many words the alphabet cannot spell


def spell_words(words: Iterable[str], alphabet: Alphabet) -> Lexicon:
    """Spells words as the language model writes them, each once, in the alphabet's case whatever their own."""
    symbols = set(alphabet.symbols) - {" "}
    words, spelt = list(words), dict[str, list[int]]()
    alike: Counter[str] = Counter()
    for word in words:
        forms = (word, word.lower(), word.upper()) if len(word) <= LONGEST_WORD else ()
        form = next((each for each in forms if symbols.issuperset(each)), None)
        if form is not None and alike[form] < _MOST_ALIKE:
            alike[form] += 1
            spelt[word] = alphabet.encode(form)
    return Lexicon(list(spelt), list(spelt.values()), len(words) - len(spelt))


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
        problem = f"KenLM cannot read it ({_complaint(error)})"
        raise CheckpointError(problem, "copy or make the file again", path) from error
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
        remedy = 'pip install "affetto[kenlm]", on Linux or macOS with Python 3.11 or 3.12, for which it is built'
        raise MissingExtraError("flashlight-text with KenLM is not installed", remedy) from error
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
        remedy = "write them as it does, in its upper or lower case"
        raise ConfigError("the language model knows none of these words", remedy, source)
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
        decoder, _, _ = _flashlight()
        [space] = self.model.alphabet.encode(" ")
        options = decoder.LexiconDecoderOptions(
            beam_size=self.config.width,
            beam_size_token=len(self.model.alphabet),
            beam_threshold=_NO_LIMIT,
            lm_weight=self.config.weight * log(10),  # KenLM's logarithms are to the base of 10
            word_score=self.config.bonus,
            unk_score=-inf,
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
