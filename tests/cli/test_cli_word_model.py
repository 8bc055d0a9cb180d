"""``--word-model`` and ``--lexicon``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import affetto

Run = Callable[..., "tuple[int, str, str]"]
SAD = Path(affetto.__file__).parent / "demo" / "sad.flac"
ARPA = """\\data\\
ngram 1=7
ngram 2=1

\\1-grams:
-2\t<unk>
-99\t<s>\t-0.3
-1\t</s>
-0.5\tA\t-0.2
-0.5\tNO
-0.5\tI
-0.7\t24\t-0.1

\\2-grams:
-0.3\t<s> A

\\end\\
"""


@pytest.fixture
def word_model(tmp_path: Path) -> Path:
    path = tmp_path / "words.arpa"
    path.write_text(ARPA)
    return path


@pytest.fixture
def kenlm() -> None:
    reason = "flashlight-text, which has wheels for Python 3.11 and 3.12 alone, is not installed"
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason=reason, exc_type=ImportError)


@pytest.mark.usefixtures("kenlm")
def test_only_its_words_are_written_and_those_left_out_are_counted(
    run: Run, tiny_model: Path, word_model: Path
) -> None:
    options = ("--decoder", "kenlm", "--word-model", word_model, "--beam-bonus", 20, "--format", "json")
    code, out, err = run("asr", "transcribe", SAD, "--model", tiny_model, *options)
    [transcript] = json.loads(out)
    words = [word["text"] for word in transcript["words"]]
    assert code == 0
    assert err == "affetto: words left out, which the recogniser cannot spell: 1 of 4\n"
    assert words
    assert words == transcript["text"].split()
    assert set(words) <= {"a", "no", "i"}


@pytest.mark.usefixtures("kenlm")
def test_a_lexicon_restricts_them(run: Run, tiny_model: Path, word_model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("NO\n")
    options = ("--word-model", word_model, "--lexicon", tmp_path / "mine.txt", "--beam-bonus", 20)
    code, out, err = run("asr", "transcribe", SAD, "--model", tiny_model, *options)
    assert (code, err, set(out.split())) == (0, "", {"no"})


@pytest.mark.usefixtures("kenlm")
def test_a_damaged_model_is_one_line(run: Run, tiny_model: Path, word_model: Path) -> None:
    word_model.write_text(ARPA[:-9])
    code, out, err = run("asr", "transcribe", SAD, "--model", tiny_model, "--word-model", word_model)
    assert (code, out) == (2, "")
    assert err.startswith(f"affetto: {word_model}: is cut off")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--decoder", "kenlm"), "name an ARPA file (--word-model)"),
        (("--decoder", "beam", "--word-model", "words.arpa"), "decoding by beam asks no model of words"),
        (("--lexicon", "words.txt"), "a lexicon needs a language model of words"),
    ],
)
def test_what_does_not_go_together_is_refused(
    run: Run, tiny_model: Path, options: tuple[str, ...], problem: str
) -> None:
    code, _, err = run("asr", "transcribe", SAD, "--model", tiny_model, *options)
    assert code == 2
    assert problem in err


@pytest.mark.parametrize("verb", ["transcribe", "evaluate"])
def test_help_warns_of_binary_files_from_strangers(run: Run, verb: str) -> None:
    words = " ".join(run("asr", verb, "--help")[1].replace("│", " ").split())
    assert "has to come from someone you trust" in words
    assert re.search(r'pip install .*"affetto\[kenlm\]"', words)
