"""Search over words, against every path and a literal reading of the ARPA file."""

from __future__ import annotations

import itertools
import math
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from affetto.errors import AffettoError, CheckpointError, ConfigError, MissingExtraError
from affetto.frames import Frames, pad
from affetto.models.decoding import (
    Decoder,
    DecoderChoice,
    WordBeamConfig,
    WordSearch,
    find_decoder,
    load_word_model,
)
from affetto.models.decoding.paths import Found
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.text import Alphabet

ALPHABET = Alphabet(" ab")
NGRAMS = {
    "<unk>": (-2.0, 0.0), "<s>": (-99.0, -0.3), "</s>": (-1.2, 0.0), "a": (-0.7, -0.2), "ab": (-0.6, -0.25),
    "ba": (-1.1, -0.1), "bab": (-1.3, 0.0),
    "<s> ab": (-0.4, -0.15), "<s> a": (-0.9, 0.0), "a ba": (-0.5, -0.05), "ab a": (-0.3, 0.0), "ba </s>": (-0.2, 0.0),
    "<s> ab a": (-0.1, 0.0), "a ba </s>": (-0.15, 0.0),
}  # fmt: skip
"""N-gram -> log probability and backing-off weight, to the base of 10."""
WORDS = ("a", "ab", "ba", "bab")


@pytest.fixture(scope="module")
def kenlm() -> None:
    reason = "flashlight-text, which has wheels for Python 3.11 and 3.12 alone, is not installed"
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason=reason, exc_type=ImportError)


def arpa(ngrams: dict[str, tuple[float, float]] = NGRAMS) -> str:
    """An ARPA file of n-grams."""
    levels = [[each for each in ngrams if len(each.split()) == length] for length in (1, 2, 3)]
    lines = ["\\data\\", *(f"ngram {length}={len(level)}" for length, level in enumerate(levels, start=1))]
    for length, level in enumerate(levels, start=1):
        lines += ["", f"\\{length}-grams:"]
        lines += [
            "\t".join([f"{ngrams[each][0]}", each, f"{ngrams[each][1]}"][: 3 if length < 3 else 2]) for each in level
        ]
    return "\n".join([*lines, "", "\\end\\", ""])


def log10_probability(words: list[str]) -> float:
    """Of words and the end after them, by the definition of backing off."""

    def of(word: str, context: tuple[str, ...]) -> float:
        whole = " ".join([*context, word])
        if whole in NGRAMS or not context:
            return NGRAMS.get(whole, NGRAMS["<unk>"])[0]
        return NGRAMS.get(" ".join(context), (0.0, 0.0))[1] + of(word, context[1:])

    said = ["<s>", *words, "</s>"]
    return sum(of(said[place], tuple(said[max(0, place - 2) : place])) for place in range(1, len(said)))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "lm.arpa"
    path.write_text(arpa())
    return path


def _random(time: int, classes: int, seed: int, sharpness: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(time, classes, generator=generator)).log_softmax(dim=-1)


def _same(found: list[Found], others: list[Found]) -> None:
    assert [each.classes for each in found] == [each.classes for each in others]
    assert [each.score for each in found] == pytest.approx([each.score for each in others])


def _every_text(log_probs: torch.Tensor) -> dict[str, float]:
    """Words that the lexicon holds -> probability, summed over all paths one by one."""
    rows = log_probs.exp().tolist()
    texts: dict[str, float] = {}
    for path in itertools.product(range(len(rows[0])), repeat=len(rows)):
        spelt = "".join(ALPHABET.symbols[number - 1] for number, _ in itertools.groupby(path) if number)
        text = " ".join(spelt.split())
        if set(text.split()) <= set(WORDS):
            texts[text] = texts.get(text, 0.0) + math.prod(row[each] for row, each in zip(rows, path, strict=True))
    return texts


@pytest.mark.usefixtures("kenlm")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("weight", "bonus"), [(0.0, 0.0), (0.5, 0.0), (1.5, 2.0), (0.8, -1.0)])
def test_finds_what_the_sum_over_all_paths_finds(model_file: Path, seed: int, weight: float, bonus: float) -> None:
    log_probs = _random(5, len(ALPHABET), seed)

    def score(text: str, probability: float) -> float:
        words = text.split()
        return math.log(probability) + weight * math.log(10) * log10_probability(words) + bonus * len(words)

    expected = {text: score(text, probability) for text, probability in _every_text(log_probs).items()}
    search = WordSearch(load_word_model(model_file, ALPHABET), WordBeamConfig(width=4000, weight=weight, bonus=bonus))
    [found] = search(pad([log_probs]))
    assert ALPHABET.decode(found.classes) == max(expected, key=expected.__getitem__)
    assert found.score == pytest.approx(max(expected.values()), abs=1e-3)


@pytest.mark.usefixtures("kenlm")
def test_the_model_decides_where_the_recogniser_cannot(model_file: Path) -> None:
    log_probs = torch.full((3, 4), -9.0)
    log_probs[0, 3] = log_probs[1, 0] = log_probs[2, 2] = 0.0  # "ba" ...
    log_probs[0, 2], log_probs[2, 3] = 0.1, 0.1  # ... or rather "ab"
    texts = [
        ALPHABET.decode(
            WordSearch(load_word_model(model_file, ALPHABET), WordBeamConfig(weight=each))(pad([log_probs]))[0].classes
        )
        for each in (0.0, 1.0)
    ]
    assert texts == ["ab", "ba"]


@pytest.mark.usefixtures("kenlm")
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(0, 2**16), st.integers(1, 40))
@with_settings(max_examples=30)
def test_only_words_are_written_and_neither_mates_nor_padding_matter(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seed: int, width: int
) -> None:
    path = tmp_path_factory.mktemp("model") / "lm.arpa"
    path.write_text(arpa())
    search = WordSearch(load_word_model(path, ALPHABET), WordBeamConfig(width=width))
    utterances = [_random(length, 4, seed + number) for number, length in enumerate(lengths)]
    together = pad(utterances)
    noisy = Frames(together.values.masked_fill(~together.mask[..., None], -0.1), together.lengths)
    found = search(noisy)
    _same(found, [search(pad([each]))[0] for each in utterances])
    assert {word for each in found for word in ALPHABET.decode(each.classes).split()} <= set(WORDS)


@pytest.mark.usefixtures("kenlm")
def test_words_have_the_times_and_confidences_of_the_other_decoders(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    words = ["NO", "ONE", "IS", "HERE"]
    ngrams = {each: NGRAMS[each] for each in ("<unk>", "<s>", "</s>")} | dict.fromkeys(words, (-0.5, 0.0))
    path.write_text(arpa(ngrams | dict.fromkeys(["<s> NO", "NO ONE", "<s> NO ONE"], (-0.1, 0.0))))
    alphabet = Alphabet()
    classes = [number for letter in "no one is here" for number in (alphabet.encode(letter)[0], 0)]
    log_probs = (12 * torch.nn.functional.one_hot(torch.tensor(classes), 29).float()).log_softmax(dim=-1)
    search = WordSearch(load_word_model(path, alphabet), WordBeamConfig())
    [found] = Decoder(alphabet, 25.0, words=search)(pad([log_probs]))
    [greedy] = Decoder(alphabet, 25.0)(pad([log_probs]))
    assert found == greedy
    assert [word.text for word in found.words] == ["no", "one", "is", "here"]


@pytest.mark.usefixtures("kenlm")
def test_nothing_is_written_where_nothing_is_said(model_file: Path) -> None:
    log_probs = torch.full((5, 4), -50.0)
    log_probs[:, 0] = 0.0
    [spelling] = Decoder(ALPHABET, 25.0, words=WordSearch(load_word_model(model_file, ALPHABET), WordBeamConfig()))(
        pad([log_probs])
    )
    assert (spelling.text, spelling.words) == ("", ())


@pytest.mark.usefixtures("kenlm")
def test_what_has_no_probability_is_not_written(model_file: Path) -> None:
    never = float("-inf")
    log_probs = torch.tensor([[never, never, 0.0, never], [0.0, never, never, never], [never, never, 0.0, never]])
    [found] = WordSearch(load_word_model(model_file, ALPHABET), WordBeamConfig())(pad([log_probs]))
    assert set(ALPHABET.decode(found.classes).split()) <= set(WORDS)
    assert math.isfinite(found.score)


@pytest.mark.usefixtures("kenlm")
def test_threads_may_share_a_model(model_file: Path) -> None:
    search = WordSearch(load_word_model(model_file, ALPHABET), WordBeamConfig(width=20))
    batches = [pad([_random(30, 4, seed)]) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = [found for [found] in pool.map(search, batches)]
    _same(together, [search(each)[0] for each in batches])


@pytest.mark.usefixtures("kenlm")
def test_upper_case_words_are_spelt_in_lower_case_and_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    upper = {" ".join(each if "<" in each else each.upper() for each in key.split()): NGRAMS[key] for key in NGRAMS}
    path.write_text(arpa(upper).replace("BAB", "naïve"), encoding="utf-8")
    model = load_word_model(path, ALPHABET)
    assert (model.lexicon.words, model.lexicon.left_out) == (["A", "AB", "BA"], 1)
    [found] = WordSearch(model, WordBeamConfig())(pad([_random(12, 4, 1)]))
    assert set(ALPHABET.decode(found.classes)) <= set(" ab")


@pytest.mark.usefixtures("kenlm")
def test_a_word_list_restricts_the_words(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("ba\nbaba\n")
    model = load_word_model(model_file, ALPHABET, tmp_path / "words.txt")
    found = WordSearch(model, WordBeamConfig())(pad([_random(12, 4, seed) for seed in range(8)]))
    assert {word for each in found for word in ALPHABET.decode(each.classes).split()} - {"baba"} == {"ba"}


@pytest.mark.usefixtures("kenlm")
@pytest.mark.parametrize(
    ("words", "complaint"), [("AB\nBA\n", "knows none of these words"), ("cd\n", "can spell none")]
)
def test_a_word_list_that_does_not_fit_is_refused(model_file: Path, tmp_path: Path, words: str, complaint: str) -> None:
    (tmp_path / "words.txt").write_text(words)
    with pytest.raises(ConfigError, match=complaint):
        load_word_model(model_file, ALPHABET, tmp_path / "words.txt")


@pytest.mark.usefixtures("kenlm")
def test_an_alphabet_without_a_space_is_refused(model_file: Path) -> None:
    with pytest.raises(ConfigError, match="has no space"):
        load_word_model(model_file, Alphabet("ab"))


@pytest.mark.usefixtures("kenlm")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-0.4\t<s> ab", "x\t<s> ab"),
        ("a ba </s>", "a no </s>"),
        ("\\3-grams:", "\\4-grams:"),
        ("ngram 2=5", "ngram 2=6"),
    ],
)
def test_what_kenlm_refuses_is_a_complaint_that_names_the_file(
    model_file: Path, old: str, new: str, capfd: pytest.CaptureFixture[str]
) -> None:
    changed = model_file.read_text().replace(old, new)
    assert changed != model_file.read_text()
    model_file.write_text(changed)
    with pytest.raises(CheckpointError, match=r"lm\.arpa: KenLM cannot read it \([^/]*Byte: "):
        load_word_model(model_file, ALPHABET)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("kenlm")
def test_loading_is_silent(model_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_word_model(model_file, ALPHABET)
    assert capfd.readouterr() == ("", "")
    sys.stderr.write("still there")
    assert capfd.readouterr().err == "still there"


@pytest.mark.usefixtures("kenlm")
@given(st.integers(0, len(arpa()) - 1), st.integers(0, 7), st.booleans())
@with_settings(max_examples=300)
def test_a_damaged_file_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int, cut: bool
) -> None:
    content = bytearray(arpa().encode())
    content[place] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "damaged.arpa"
    path.write_bytes(content[: place + 1] if cut else content)
    try:
        search = WordSearch(load_word_model(path, ALPHABET), WordBeamConfig(width=10))
    except AffettoError as error:
        assert error.where == path  # noqa: PT017  # most damage is found, but not all of it can be
    else:
        assert set(ALPHABET.decode(search(pad([_random(10, 4, 0)]))[0].classes)) <= set(" ab")


@pytest.mark.usefixtures("kenlm")
def test_a_binary_file_needs_a_word_list_and_has_to_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "lm.bin"
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(400))
    with pytest.raises(ConfigError, match=r"lm\.bin: a binary file does not tell its words; give a lexicon"):
        load_word_model(path, ALPHABET)
    (tmp_path / "words.txt").write_text("ab\n")
    with pytest.raises(CheckpointError, match=r"lm\.bin: KenLM cannot read it"):
        load_word_model(path, ALPHABET, tmp_path / "words.txt")


def test_says_how_to_get_what_is_missing(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    with pytest.raises(MissingExtraError, match=r'is not installed; pip install "affetto\[kenlm\]", on Linux'):
        load_word_model(model_file, ALPHABET)


@pytest.fixture
def speech(tiny_model: Path, tmp_path: Path) -> Encoder:
    for path in tiny_model.glob("recogniser.*"):
        shutil.copy(path, tmp_path)
    return open_encoder(tmp_path, device="cpu")


@pytest.mark.usefixtures("kenlm")
@pytest.mark.parametrize("method", [None, "kenlm"])
def test_a_model_of_words_is_used_where_one_is_named(
    speech: Encoder, model_file: Path, tmp_path: Path, method: str | None
) -> None:
    choice = DecoderChoice(method, word_model=model_file, word_beam=WordBeamConfig(width=7))  # type: ignore[arg-type]
    assert find_decoder(speech, choice).name == "beam of 7, lm.arpa x 1, bonus 2 a word"


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        (DecoderChoice("kenlm"), "needs a language model of words; name an ARPA file"),
        (DecoderChoice("greedy", word_model=Path("lm.arpa")), "decoding by greedy asks no model of words"),
        (DecoderChoice("beam", word_model=Path("lm.arpa")), "decoding by beam asks no model of words"),
        (DecoderChoice(None, Path("x.safetensors"), word_model=Path("lm.arpa")), "leave one out"),
        (DecoderChoice("kenlm", Path("x.safetensors")), "needs a language model of words"),
        (DecoderChoice(word_list=Path("words.txt")), "a lexicon needs a language model of words"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(
    speech: Encoder, tmp_path: Path, choice: DecoderChoice, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        find_decoder(speech, choice)
