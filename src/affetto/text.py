"""What the recogniser spells: the alphabet, and real-world text brought into it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from affetto.errors import TextError

if TYPE_CHECKING:
    import inflect

SYMBOLS = " 'abcdefghijklmnopqrstuvwxyz"  # The paper's characters: letters, apostrophe and space
_FORMULA = ("=", "+", "-", "@", "\t")

# What is looked for, and the words that are said for it.
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
_SCALES = {"k": "thousand", "m": "million", "bn": "billion"}
_SIGNS = {"&": "and", "%": "percent", "+": "plus", "@": "at", "=": "equals", "°": "degrees", "№": "number"}
_SIGNS |= {sign: names[1] for sign, names in _CURRENCIES.items()}
_FRACTIONS = {"1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter", "3/4": "three quarters"}


@cache
def _numbers() -> inflect.engine:
    import inflect  # costs 100 ms, and only training and scoring need it

    return inflect.engine()


def _cardinal(number: str) -> str:
    """The words of a number or an ordinal; beyond a billion without commas, one by one, as a telephone number is."""
    plain = number.replace(",", "")
    digits = len(re.split("[^0-9]", plain)[0])
    if (digits > 1 and plain.startswith("0")) or digits > (9 if plain == number else 30):
        return _digit_by_digit(plain)
    return str(_numbers().number_to_words(plain, andword="", zero="zero"))


def _digit_by_digit(text: str) -> str:
    return " ".join(str(_numbers().number_to_words(digit, zero="zero")) for digit in re.findall("[0-9]", text))


def _year(digits: str) -> str:
    """Four digits as a year is read."""
    century, rest = int(digits[:2]), int(digits[2:])
    if century % 10 == 0 and rest < 10:  # two thousand and one
        return _cardinal(digits)
    if rest == 0:
        return f"{_cardinal(digits[:2])} hundred"
    return f"{_cardinal(digits[:2])} {'oh ' if rest < 10 else ''}{_cardinal(str(rest))}"


def _plural(words: str) -> str:
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")


def _money(match: re.Match[str]) -> str:
    unit, units, part, parts = _CURRENCIES[match["sign"]]
    amount, scale = match["amount"], (match["scale"] or "").lower()
    whole, _, cents = amount.partition(".")
    if scale or len(cents) not in {0, 2}:
        return f"{_cardinal(amount)} {_SCALES.get(scale, scale)} {units}"
    spoken = []
    if whole.strip("0,") or not cents.strip("0"):
        spoken.append(f"{_cardinal(whole)} {unit if whole == '1' else units}")
    if cents.strip("0"):
        spoken.append(f"{_cardinal(str(int(cents)))} {part if cents == '01' else parts}")
    return " and ".join(spoken)


def _time(match: re.Match[str]) -> str:
    hour, minute = _cardinal(str(int(match["hour"]))), match["minute"]
    if minute == "00":
        return hour if match["half"] is not None else f"{hour} o'clock"
    return f"{hour} {'oh ' if minute < '10' else ''}{_cardinal(str(int(minute)))}"


_NOISES = (
    "applause|breath(?:ing|s)?|cheer(?:ing|s)?|cough(?:ing|s)?|crosstalk|foreign|hiss|inaudible|indistinct|"
    "laugh(?:ing|s|ter)?|music|noise|pause|sigh(?:ing|s)?|silence|sniff(?:ing|s)?|static|unclear|unintelligible"
)
MARK = re.compile(
    rf"<[^<>\s]*>|\{{[^{{}}]*\}}|\[[^\[\]]*\]|\((?:(?:audience|background|loud)[\s_-])?(?:{_NOISES})\)|\*(?:{_NOISES})\*"
    r"|\+\+[^+\s]+\+\+|(?<!\S)(?-i:![A-Z_]+)(?!\S)",
    re.IGNORECASE,
)
"""What transcribers write that nobody says: <unk>, [noise], {SMACK}, (applause), *cough*, ++UH++, !SIL."""
# Which of a word's pronunciations it was: the(2).
VARIANT = re.compile(r"(?:(?<=[\w'])(?:\(\d+\))+|(?<!\S)(?:\(\d\))+)(?!\S)")
_LAUGHED = re.compile(r"\[laughter-([^\[\]\s]+)\]", re.IGNORECASE)  # said while laughing

_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")
_PICTURES = {"So", "Sk", "Cf", "Co"}  # Unicode's categories of emoji and what modifies them

# What would be lost, or come out wrong, when accents and foreign scripts are transcribed.
_BEFORE: tuple[Rule, ...] = (
    (r"(?<=[0-9])(?=[¼½¾⅓⅔])", "and"),
    (r"(?<=[0-9])\s?–\s?(?=[0-9])", "to"),
    (
        rf"(?i)(?P<sign>[$£€])\s?(?P<amount>{_NUMBER})(?:\s?(?P<scale>thousand|(?:m|b|tr)illion|k|m|bn)\b)?",
        _money,
    ),
    (f"[{''.join(_SIGNS)}]", lambda match: _SIGNS[match.group()]),
)
# Lower-case ASCII, each rule over what the ones before it left.
_AFTER: tuple[Rule, ...] = (
    (r"#(?=[0-9])|\bno\.\s?(?=[0-9])", "number"),
    (r"(?<!\S)-(?=\.?[0-9])", "minus"),
    (  # (555) 123-4567, 555-1234
        r"(?<![0-9-])(?:\(?[0-9]{3}\)?[ .-]\s?[0-9]{3}[ .-]|[0-9]{3}-)[0-9]{4}(?![0-9-])",
        lambda match: _digit_by_digit(match.group()),
    ),
    (r"(?<![0-9:])(?P<hour>[0-9]{1,2}):(?P<minute>[0-5][0-9])(?![0-9:])(?P<half>(?=\s?[ap]\.?m\b))?", _time),
    (r"(?<![0-9/])(?:1/[234]|2/3|3/4)(?![0-9/])", lambda match: _FRACTIONS[match.group()]),
    (r"(?<![\w.,])((?:1[1-9]|20)[0-9]0)'?s\b", lambda match: _plural(_year(match[1]))),  # the 1990s
    (
        r"(?<![\w.,])((?:1[1-9]|20)[0-9]{2})('s)?(?![\w.,']?[0-9]|[a-z])",
        lambda match: _year(match[1]) + (match[2] or ""),
    ),
    (rf"({_NUMBER})'?s\b", lambda match: _plural(_cardinal(match[1]))),
    (rf"{_NUMBER}(?:st|nd|rd|th)\b", lambda match: _cardinal(match.group())),
    (r"(?<![0-9a-z])\.[0-9]+", lambda match: f"point {_digit_by_digit(match.group())}"),
    (_NUMBER, lambda match: _cardinal(match.group())),
)


def _apply(rules: Sequence[Rule], text: str) -> str:
    for pattern, words in rules:
        text = re.sub(pattern, f" {words} " if isinstance(words, str) else partial(_spaced, words), text)
    return text


def _spaced(words: Callable[[re.Match[str]], str], match: re.Match[str]) -> str:
    return f" {words(match)} "


def without_marks(text: str) -> str:
    """What is said in a transcript, as it is written: without marks of noise, of unknown words and of pronunciations.

    >>> without_marks("well [laughter] <sil> the(2) end")
    'well the end'
    """
    text = VARIANT.sub("", MARK.sub(" ", _LAUGHED.sub(r"\1", text)))
    return " ".join(text.split())


def normalise(text: str) -> str:
    """Brings a transcript into the alphabet: lower case, numbers in words, no accents, punctuation or marks of noise.

    What is left are words of a-z and apostrophes with single spaces between; nothing if nothing can be spelt.

    >>> normalise("Don’t pay $20 to Zoë at No. 7!")
    "don't pay twenty dollars to zoe at number seven"
    >>> normalise("In 1984, the 21st of May")
    'in nineteen eighty four the twenty first of may'
    >>> normalise("[noise] um(2) <unk> yes (applause) (perhaps)")
    'um yes perhaps'
    """
    from anyascii import anyascii

    text = _apply(_BEFORE, _APOSTROPHES.sub("'", without_marks(text)))
    text = "".join(" " if unicodedata.category(each) in _PICTURES and not each.isascii() else each for each in text)
    text = _apply(_AFTER, anyascii(text).lower())
    text = re.sub(r"[^a-z']+", " ", text)
    text = re.sub(r"(?<![a-z])'+|'+(?![a-z])", " ", text)  # quotation marks, not apostrophes
    return " ".join(text.split())


def harmless(cells: Iterable[object]) -> list[object]:
    """Cells that no spreadsheet takes for formulas: text that would begin one gets an apostrophe before it.

    >>> harmless(["=1+1.wav", -0.5, "no"])
    ["'=1+1.wav", -0.5, 'no']
    """
    texts = (each.replace("\r", " ") if isinstance(each, str) else each for each in cells)  # csv does not quote it
    return [f"'{each}" if isinstance(each, str) and each.startswith(_FORMULA) else each for each in texts]


class Alphabet:
    """Symbols, each once, and the class numbers that stand for them; class 0 is CTC's blank.

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
        """The class of each character; raises TextError where a character is not in the alphabet."""
        try:
            return [self._classes[symbol] for symbol in text]
        except KeyError as error:
            raise TextError(f"{error.args[0]!r} in {text!r} is not in the alphabet", "normalise the text") from error

    def decode(self, classes: Sequence[int]) -> str:
        """The text of class numbers, blanks left out."""
        return "".join(self.symbols[number - 1] for number in classes if number != self.BLANK)
