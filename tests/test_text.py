"""Real transcripts brought into the alphabet."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from affetto.errors import TextError
from affetto.text import SYMBOLS, Alphabet, normalise

CASES = {
    # Plain words.
    "": "",
    "   ": "",
    "...": "",
    "Hello, World!": "hello world",
    "one  two\tthree\nfour": "one two three four",
    "well-known — or not—so": "well known or not so",
    "wait… what?": "wait what",
    "and/or (maybe) [noise]": "and or maybe",
    # Apostrophes and quotation marks.
    "don't": "don't",
    "don’t, don`t": "don't don't",
    "the dogs' bowls": "the dogs bowls",
    "'single' “double” «angled»": "single double angled",
    "rock 'n' roll": "rock n roll",
    "o'clock": "o'clock",
    # Accents, foreign letters and scripts, pictures.
    "Zoë ate crème brûlée": "zoe ate creme brulee",
    "Cafe\u0301": "cafe",
    "Straße": "strasse",
    "Æsop, Łódź, Ångström": "aesop lodz angstrom",
    "Привет": "privet",
    "ﬁve": "five",
    "great 😀👍🏽 job": "great job",
    "Affetto™ ©": "affetto",
    # Abbreviations stay as they are written.
    "Dr. Smith vs. Mrs. Jones": "dr smith vs mrs jones",
    "U.S.A.": "u s a",
    "USA": "usa",
    # Numbers.
    "7": "seven",
    "0": "zero",
    "42 cats": "forty two cats",
    "100": "one hundred",
    "1,000": "one thousand",
    "1,234,567": "one million two hundred thirty four thousand five hundred sixty seven",
    "3.14": "three point one four",
    "0.5": "zero point five",
    ".05": "point zero five",
    "It was 5.": "it was five",
    "-5 degrees": "minus five degrees",
    "−5": "minus five",
    "20-30": "twenty thirty",
    "20–30": "twenty to thirty",
    "007": "zero zero seven",
    "12345678901": "one two three four five six seven eight nine zero one",
    "1/2 cup, 1½ cups": "one half cup one and one half cups",
    "24/7": "twenty four seven",
    "٣": "three",
    "mp3, B2B and 10k": "mp three b two b and ten k",
    # Ordinals, years, decades.
    "1st, 2nd, 3rd, 4th": "first second third fourth",
    "the 21st, the 112TH": "the twenty first the one hundred twelfth",
    "1984": "nineteen eighty four",
    "in 1900 and 1905.": "in nineteen hundred and nineteen oh five",
    "2000, 2001, 2010, 2024": "two thousand two thousand one twenty ten twenty twenty four",
    "1066": "one thousand sixty six",
    "1914–1918": "nineteen fourteen to nineteen eighteen",
    "1984's end": "nineteen eighty four's end",
    "1,984 people": "one thousand nine hundred eighty four people",
    "90s": "nineties",
    "the '90s and the 1990's": "the nineties and the nineteen nineties",
    "747s": "seven hundred forty sevens",
    # Money, signs, times, telephones.
    "$20": "twenty dollars",
    "$1": "one dollar",
    "$3.50": "three dollars and fifty cents",
    "$1,000.00.": "one thousand dollars",
    "$0.99": "ninety nine cents",
    "£1.01": "one pound and one penny",
    "€1.5": "one point five euros",
    "20 €": "twenty euros",
    "$5 million, $2bn": "five million dollars two billion dollars",
    "5%": "five percent",
    "R&B": "r and b",
    "1 + 1 = 2": "one plus one equals two",
    "me@home": "me at home",
    "20°C": "twenty degrees c",
    "No. 5, #1, № 3": "number five number one number three",
    "No. Never.": "no never",
    "10:30": "ten thirty",
    "at 9:05 or 12:00": "at nine oh five or twelve o'clock",
    "7:00 p.m., 7:30am": "seven p m seven thirty am",
    "555-1234": "five five five one two three four",
    "(555) 123-4567": "five five five one two three four five six seven",
    "555.123.4567": "five five five one two three four five six seven",
}


@pytest.mark.parametrize("text", CASES)
def test_comes_out_as_it_is_said(text: str) -> None:
    assert normalise(text) == CASES[text]


NUMERIC = st.text(alphabet="0123456789.,:/$£€%'-–½ #()snrdtha", max_size=20)


@given(text=st.text(max_size=40) | NUMERIC)
@example("9" * 400)
@example("1," + ",".join(["000"] * 40))
@example("$" + "9" * 50 + ".99")
@example("a''b 'c")
@example("\ud800")
def test_whatever_comes_can_be_spelt_and_stays_as_it_is(text: str) -> None:
    spoken = normalise(text)
    alphabet = Alphabet()
    assert alphabet.decode(alphabet.encode(spoken)) == spoken
    assert normalise(spoken) == spoken
    assert " ".join(spoken.split()) == spoken


@given(text=st.text(alphabet=SYMBOLS))
def test_encoding_and_back(text: str) -> None:
    alphabet = Alphabet()
    classes = alphabet.encode(text)
    assert alphabet.decode(classes) == text
    assert alphabet.BLANK not in classes
    assert max(classes, default=0) < len(alphabet) == 29


def test_blanks_decode_to_nothing() -> None:
    assert Alphabet("xy").decode([0, 2, 0, 0, 1, 0]) == "yx"


def test_what_cannot_be_spelt_is_named() -> None:
    with pytest.raises(TextError, match=r"'é' in 'café' is not in the alphabet; normalise the text"):
        Alphabet().encode("café")


def test_a_symbol_stands_once() -> None:
    with pytest.raises(TextError, match="'aba' repeats a symbol"):
        Alphabet("aba")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<unk> hello <sil>", "hello"),
        ("[noise] i [laughter] see [background noise]", "i see"),
        ("thank you (applause)", "thank you"),
        ("(Audience laughter) thank you (Music)", "thank you"),
        ("um(2) the(3) end", "um the end"),
        ("{SMACK} well ++UH++ yes !SIL", "well yes"),
        ("[laughter-yeah] sure", "yeah sure"),
        ("<b>bold</b> words", "bold words"),
        ("[NOISE]", ""),
        ("he (and she) said (so)", "he and she said so"),
        ("call (555) 123-4567", "call five five five one two three four five six seven"),
        ("a < b and c > d!", "a b and c d"),
        ("three (3) apples", "three apples"),
        ("stop! now", "stop now"),
        ("well *cough* yes, *really*", "well yes really"),
    ],
)
def test_marks_of_noise_are_no_words(written: str, said: str) -> None:
    assert normalise(written) == said
