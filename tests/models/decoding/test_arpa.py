"""Language models of words as files: what is read of them, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affetto.errors import AffettoError, CheckpointError, ConfigError
from affetto.models.decoding.word_search import LONGEST_WORD, read_word_list, read_words, spell_words
from affetto.text import Alphabet

ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-1\t</s>
-0.5\tHELLO\t-0.2
-0.7\tWORLD\t-0.1

\\2-grams:
-0.3\t<s> HELLO
-0.2\tHELLO WORLD

\\end\\
"""


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_words_of_an_arpa_file_are_read(tmp_path: Path) -> None:
    assert read_words(_write(tmp_path / "lm.arpa", ARPA)) == ["HELLO", "WORLD"]


def test_blank_lines_and_windows_line_ends_are_passed_over(tmp_path: Path) -> None:
    text = ("\n\n" + ARPA.replace("\n\n", "\n \n")).replace("\n", "\r\n")
    assert read_words(_write(tmp_path / "lm.arpa", text)) == ["HELLO", "WORLD"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1 ends too soon"),
        (b"\x00\x01\x02 anything", "neither an ARPA file nor one of KenLM's"),
        ("{}\n", "neither an ARPA file"),
        (b"\x1f\x8b\x08\x00rest", "compressed by gzip; unpack it"),
        (ARPA.replace("ngram 2=2", "ngram 2=99999999999"), "promises 100,000,000,004 n-grams in"),
        (ARPA.replace("ngram 2=2", "ngram 2=0"), "promises 5 n-grams"),
        (ARPA.replace("ngram 2=2", "ngram 2=-2"), "in its header"),
        (ARPA.replace("ngram 2=2", "ngram 3=2"), "in its header"),
        (ARPA.replace("ngram 2=2", "ngram 2=2\nmore"), "in its header"),
        (ARPA.replace("ngram 2=2\n", ""), "up to 1 words; choose one of 2 to 6 words"),
        (ARPA.replace("ngram 1=5", "ngram 1=6"), "where a log probability and a word should stand"),
        (ARPA.replace("ngram 1=5", "ngram 1=4"), "line 10 has b'-0.7"),
        (ARPA.replace("-0.5", "nan"), "where a log probability"),
        (ARPA.replace("-0.5", "0.5"), "where a log probability"),
        (ARPA.replace("-0.5", "x"), "where a log probability"),
        (ARPA.replace("HELLO\t-0.2", "HELLO\t-inf"), "where a log probability"),
        (ARPA.replace("-0.7\tWORLD", "-0.7\tHELLO"), "line 10 has the word 'HELLO' twice"),
        (ARPA.replace("<s>\t", "<p>\t"), "has no <s> among its words"),
        (ARPA.replace("\\2-grams:", "\\3-grams:"), "instead of"),
        (ARPA[:-12], "is cut off"),
        (ARPA[:60], "is cut off"),
        (ARPA.replace("HELLO", "H" * 70_000, 1), "is longer than 65,536 bytes"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    path = _write(tmp_path / "lm.arpa", content)
    with pytest.raises(CheckpointError) as caught:
        read_words(path)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read_words(tmp_path / "missing.arpa")
    with pytest.raises(CheckpointError, match="no such file"):
        read_words(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no such file"):
        read_words(tmp_path / "pipe")


@given(st.integers(0, len(ARPA) * 8 - 1))
def test_a_flipped_bit_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    content = bytearray(ARPA.encode())
    content[place // 8] ^= 1 << place % 8
    path = _write(tmp_path_factory.mktemp("flipped") / "lm.arpa", bytes(content))
    try:
        words = read_words(path)
    except AffettoError as error:
        assert error.where == path  # noqa: PT017  # a marker may have become a word instead
    else:
        assert words is not None
        assert len(words) in {2, 3}  # a marker may have become a word


@given(st.integers(0, len(ARPA) - 3))
def test_a_file_that_is_cut_off_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = _write(tmp_path_factory.mktemp("cut") / "lm.arpa", ARPA[:length])
    with pytest.raises(CheckpointError, match=r"lm\.arpa: "):
        read_words(path)


def test_a_word_list_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "words.txt", "\ufeffhello\n\n world \r\nhello\n<s>\n")
    assert read_word_list(path) == ["hello", "world"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\n<unk>\n", "has no words"),
        ("hello h e l l o\n", "line 1 holds 6 words; write a word a line"),
        (b"caf\xe9\n", "no text in UTF-8"),
        (None, "check the lexicon's path"),
    ],
)
def test_a_bad_word_list_is_named(tmp_path: Path, content: str | bytes | None, complaint: str) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        _write(path, content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_word_list(path)
    assert caught.value.where == path


@pytest.mark.parametrize(
    ("symbols", "words", "spelt"),
    [
        (" abc", ["cab", "CAB", "Cab", "dab", "a b"], ["cab", "CAB", "Cab"]),
        (" ABC", ["cab"], ["cab"]),
        (" abc", ["ab"[number % 2] * number for number in range(99, 103)], ["b" * 99, "a" * LONGEST_WORD]),
    ],
)
def test_words_are_spelt_in_the_alphabets_case_or_counted(symbols: str, words: list[str], spelt: list[str]) -> None:
    alphabet = Alphabet(symbols)
    lexicon = spell_words(words, alphabet)
    assert lexicon.words == spelt
    assert lexicon.left_out == len(words) - len(spelt)
    cased = str.upper if symbols.isupper() else str.lower
    assert [alphabet.decode(each) for each in lexicon.spellings] == [cased(word) for word in spelt]


def test_no_more_words_share_a_spelling_than_the_tree_takes() -> None:
    words = ["abc", "abC", "aBc", "Abc", "aBC", "AbC", "ABc", "ABC"]
    assert spell_words(words, Alphabet(" abc")).left_out == 2
