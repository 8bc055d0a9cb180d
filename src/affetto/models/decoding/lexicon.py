"""The words that a search may write: read from a language model or a list, and spelt by the recogniser's alphabet.

ARPA files are text: a header with the number of n-grams of each length, then the n-grams, a line each, words first.
They are checked before any library is given them. KenLM's own binary files are mapped into memory as they are, so that
nothing of them can be checked but that they are some.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import BinaryIO, NamedTuple

from affetto.errors import CheckpointError, ConfigError
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


def read_words(path: Path) -> list[str] | None:
    """The words of an ARPA file in its order, without markers; None for KenLM's binary files, which hide them.

    Raises:
        CheckpointError: the file is missing, damaged or foreign, or does not hold what its header says.
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
            raise self._fault(
                f"has n-grams of up to {len(counts)} words", f"choose one of {ORDERS[0]} to {ORDERS[-1]} words"
            )
        # A line of n words is at least a digit, n letters, n spaces between and before them, and its end.
        least = sum(count * (2 * length + 2) for length, count in enumerate(counts, start=1))
        held = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if min(counts) < 1 or least > held:
            raise self._fault(f"promises {sum(counts):,} n-grams in {held:,} bytes")
        return counts

    def _end(self) -> None:
        """Whether the last line is there."""
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
        """The next line that is not blank."""
        line = self._next()
        while not line:
            line = self._next()
        return line

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

    Raises:
        ConfigError: it is missing, no text in UTF-8, empty or too long, or a line has several words.
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


# Characters of a word; the tree of letters is walked by recursion, so that its depth has to be bounded.
LONGEST_WORD = 100
_MOST_ALIKE = 6  # Words of the same spelling that flashlight's tree of letters takes


class Lexicon(NamedTuple):
    """Words and their spellings."""

    words: list[str]  # as the language model writes them
    spellings: list[list[int]]  # class numbers of each word's characters
    left_out: int  # how many words the alphabet cannot spell


def spell_words(words: Iterable[str], alphabet: Alphabet) -> Lexicon:
    """Spells words as the language model writes them, each once, in the alphabet's case whatever their own."""
    symbols = set(alphabet.symbols) - {" "}
    spelt: dict[str, list[int]] = {}
    alike: Counter[str] = Counter()
    count = 0
    for count, word in enumerate(words, start=1):  # noqa: B007  # counted to the last
        forms = (word, word.lower(), word.upper()) if len(word) <= LONGEST_WORD else ()
        form = next((each for each in forms if symbols.issuperset(each)), None)
        if form is not None and alike[form] < _MOST_ALIKE:
            alike[form] += 1
            spelt[word] = alphabet.encode(form)
    return Lexicon(list(spelt), list(spelt.values()), count - len(spelt))
