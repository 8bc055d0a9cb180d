"""What the recogniser spells: the alphabet, and real-world text brought into it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from affetto.errors import TextError

if TYPE_CHECKING:
    import inflect

SYMBOLS = " 'abcdefghijklmnopqrstuvwxyz"
"""The paper's characters: letters, apostrophe and space."""

_SPOKEN = {"&": " and ", "%": " percent ", "+": " plus ", "@": " at ", "=": " equals "}
_CURRENCY = {"$": "dollars", "£": "pounds", "€": "euros"}
_MONEY = re.compile(r"([$£€])\s?(\d[\d,]*(?:\.\d+)?)")
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:st|nd|rd|th)?(?![a-z])|\d+", re.IGNORECASE)
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")


@cache
def _numbers() -> inflect.engine:
    import inflect  # costs 100 ms, and only training and scoring need it

    return inflect.engine()


def _spell_number(match: re.Match[str]) -> str:
    digits = match.group().replace(",", "").lower()
    if not digits.isascii():
        return " "
    if len(digits) > 1 and digits.isdecimal() and digits.startswith("0"):  # 007: digit by digit
        return " " + " ".join(_words(digit) for digit in digits) + " "
    if digits.isdecimal() and 1100 <= int(digits) < 2000 and "," not in match.group():  # a year: nineteen eighty-four
        return f" {_words(digits, group=2)} "
    return f" {_words(digits)} "


def _words(digits: str, group: int = 0) -> str:
    return str(_numbers().number_to_words(digits, andword="", group=group, zero="zero"))


def normalise(text: str) -> str:
    """Brings a transcript into the alphabet: lower case, numbers in words, no accents, no punctuation.

    Args:
        text: any text.

    Returns:
        Words of a-z and apostrophes with single spaces between; empty if nothing can be spelt.

    >>> normalise("Don’t pay $20 to Zoë at No. 7!")
    "don't pay twenty dollars to zoe at no seven"
    >>> normalise("In 1984, the 21st of May")
    'in nineteen eighty four the twenty first of may'
    """
    from anyascii import anyascii

    text = _APOSTROPHES.sub("'", text)
    text = _MONEY.sub(lambda match: f"{match.group(2)} {_CURRENCY[match.group(1)]}", text)
    for sign, word in _SPOKEN.items():
        text = text.replace(sign, word)
    text = anyascii(text).lower()
    text = _NUMBER.sub(_spell_number, text)
    text = re.sub(r"[^a-z']+", " ", text)
    text = re.sub(r"(?<![a-z])'+|'+(?![a-z])", " ", text)  # quotation marks, not apostrophes
    return " ".join(text.split())


class Alphabet:
    """Symbols and the class numbers that stand for them; class 0 is CTC's blank.

    Args:
        symbols: the characters, each once.

    >>> alphabet = Alphabet()
    >>> alphabet.encode("it's")
    [11, 22, 2, 21]
    >>> alphabet.decode([11, 22, 2, 21])
    "it's"
    """

    BLANK = 0

    def __init__(self, symbols: str = SYMBOLS) -> None:
        if len(set(symbols)) != len(symbols):
            raise TextError(f"the alphabet {symbols!r} repeats a symbol", "name each symbol once")
        self.symbols = symbols
        self._classes = {symbol: number for number, symbol in enumerate(symbols, start=1)}

    def __len__(self) -> int:
        """How many classes there are, the blank included."""
        return len(self.symbols) + 1

    def encode(self, text: str) -> list[int]:
        """The class of each character.

        Raises:
            TextError: a character is not in the alphabet.
        """
        try:
            return [self._classes[symbol] for symbol in text]
        except KeyError as error:
            raise TextError(f"{error.args[0]!r} in {text!r} is not in the alphabet", "normalise the text") from error

    def decode(self, classes: Sequence[int]) -> str:
        """The text of class numbers, blanks left out."""
        return "".join(self.symbols[number - 1] for number in classes if number != self.BLANK)
