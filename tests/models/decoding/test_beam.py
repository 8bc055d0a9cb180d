"""Prefix beam search against the sum over every path, and against flashlight's decoder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from affetto.errors import ConfigError
from affetto.frames import Frames, pad
from affetto.models.decoding import BeamConfig, beam_search, greedy
from affetto.models.language_model import LanguageModel, expand
from affetto.text import Alphabet
from affetto.training.recogniser.language_model import estimate

ALPHABET = Alphabet(" ab")
WIDE = BeamConfig(width=400)


def _language_model(alphabet: Alphabet = ALPHABET, order: int = 3) -> LanguageModel:
    texts = ["ab ", "abba ", "a b ", "bab ab "]
    symbols = len(alphabet.symbols)
    return expand(alphabet, estimate([alphabet.encode(text) for text in texts], order, symbols), order)


def _random(time: int, classes: int, seed: int, sharpness: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(time, classes, generator=generator)).log_softmax(dim=-1)


def _spelt(path: Sequence[int]) -> str:
    return "".join(ALPHABET.symbols[number - 1] for number, _ in itertools.groupby(path) if number)


def _every_text(log_probs: torch.Tensor) -> dict[str, float]:
    """Text -> probability, summed over all paths one by one."""
    rows = log_probs.exp().tolist()
    texts: dict[str, float] = {}
    for path in itertools.product(range(len(rows[0])), repeat=len(rows)):
        text = _spelt(path)
        texts[text] = texts.get(text, 0.0) + math.prod(row[number] for row, number in zip(rows, path, strict=True))
    return texts


@pytest.mark.parametrize("seed", range(4))
def test_a_pause_changes_no_text_and_hardly_a_score(seed: int) -> None:
    spoken = _random(4, len(ALPHABET), seed, sharpness=1.0)
    sure = torch.tensor([1 - 1.5e-5, *[5e-6] * (len(ALPHABET) - 1)]).log().expand(300, -1)
    short, long = (pad([torch.cat([spoken, sure[:count], spoken[-1:], sure[:count]])]) for count in (1, 300))
    with torch.no_grad():
        [expected], [found] = (beam_search(each, ALPHABET, WIDE, _language_model()) for each in (short, long))
    assert found.classes == expected.classes
    assert found.score == pytest.approx(expected.score, abs=0.01)


def test_a_letter_said_twice_beside_a_pause_is_spelt_twice() -> None:
    a, blank = (torch.full((len(ALPHABET),), 1e-6).scatter(0, torch.tensor(place), 1.0).log() for place in (2, 0))
    [found] = beam_search(pad([torch.stack([a, a, blank, blank, blank, a])]), ALPHABET, WIDE)
    assert ALPHABET.decode(found.classes) == "aa"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("time", [1, 2, 5, 6])
def test_a_wide_beam_finds_what_the_sum_over_all_paths_finds(time: int, seed: int) -> None:
    log_probs = _random(time, len(ALPHABET), seed)
    expected = _every_text(log_probs)
    [found] = beam_search(pad([log_probs]), ALPHABET, WIDE)
    assert ALPHABET.decode(found.classes) == max(expected, key=expected.__getitem__)
    assert math.exp(found.score) == pytest.approx(max(expected.values()), rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("weight", "bonus"), [(0.5, 0.0), (1.5, 1.0), (0.0, -0.7)])
def test_so_it_does_with_a_language_model(seed: int, weight: float, bonus: float) -> None:
    model = _language_model()
    log_probs = _random(5, len(ALPHABET), seed)

    def score(text: str, probability: float) -> float:
        ended = text if text == "" or text.endswith(" ") else text + " "
        prior = model.score(ended[:-1]) if ended else 0.0
        return math.log(probability) + weight * prior + bonus * len(text)

    expected = {text: score(text, probability) for text, probability in _every_text(log_probs).items()}
    config = BeamConfig(width=400, weight=weight, bonus=bonus)
    [found] = beam_search(pad([log_probs]), ALPHABET, config, model)
    assert ALPHABET.decode(found.classes) == max(expected, key=expected.__getitem__)
    assert found.score == pytest.approx(max(expected.values()), rel=1e-5)


@pytest.mark.parametrize("width", [1, 3, 10, 30])
@pytest.mark.parametrize("with_model", [False, True])
def test_a_narrow_beam_finds_no_better_score_than_a_wide_one(width: int, with_model: bool) -> None:
    frames = pad([_random(12, len(ALPHABET), seed) for seed in range(6)])
    model = _language_model() if with_model else None
    narrow = beam_search(frames, ALPHABET, BeamConfig(width=width), model)
    wide = beam_search(frames, ALPHABET, WIDE, model)
    assert all(one.score <= other.score + 1e-9 for one, other in zip(narrow, wide, strict=True))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 2**16), st.integers(1, 12), st.booleans())
@with_settings(max_examples=40)
def test_neither_batch_mates_nor_padding_change_anything(
    lengths: list[int], seed: int, width: int, with_model: bool
) -> None:
    utterances = [_random(length, len(ALPHABET), seed + number) for number, length in enumerate(lengths)]
    model = _language_model() if with_model else None
    config = BeamConfig(width=width)
    together = pad(utterances)
    noisy = Frames(together.values.masked_fill(~together.mask[..., None], -0.1), together.lengths)
    alone = [beam_search(pad([each]), ALPHABET, config, model)[0] for each in utterances]
    for frames in (together, noisy):
        for one, other in zip(beam_search(frames, ALPHABET, config, model), alone, strict=True):
            assert one.classes == other.classes
            assert one.score == pytest.approx(other.score)


@pytest.mark.parametrize("seed", range(4))
def test_where_the_recogniser_is_sure_it_is_greedy_decoding(seed: int) -> None:
    log_probs = _random(60, 29, seed, sharpness=40.0)
    [found] = beam_search(pad([log_probs]), Alphabet(), BeamConfig(width=8))
    assert " ".join(Alphabet().decode(found.classes).split()) == greedy(pad([log_probs]), Alphabet())[0]


def test_what_has_no_probability_is_not_spelt() -> None:
    never = float("-inf")
    log_probs = torch.tensor([[never, never, 0.0, never], [never, never, 0.0, never], [never, never, never, 0.0]])
    [found] = beam_search(pad([log_probs]), ALPHABET, BeamConfig(width=5))
    assert (ALPHABET.decode(found.classes), found.score) == ("ab", 0.0)


def test_the_language_model_decides_where_the_recogniser_cannot() -> None:
    log_probs = torch.tensor([[0.0, 0.0, 9.0, 0.0], [0.0, 0.0, 8.9, 9.0]]).log_softmax(dim=-1)  # "aa" or "ab"
    decided = beam_search(pad([log_probs]), ALPHABET, BeamConfig(weight=2.0, bonus=3.0), _language_model())
    assert ALPHABET.decode(decided[0].classes) == "ab"


def test_a_language_model_of_another_alphabet_is_refused() -> None:
    with pytest.raises(ConfigError, match="a language model over ' ba'"):
        beam_search(pad([_random(3, 4, 0)]), ALPHABET, BeamConfig(), _language_model(Alphabet(" ba")))


@pytest.mark.parametrize(("key", "value"), [("width", 0), ("weight", -1.0), ("weight", float("nan")), ("beams", 3)])
def test_impossible_settings_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        BeamConfig.parse({key: value})


@pytest.mark.parametrize("seed", range(3))
def test_flashlight_finds_the_same(seed: int) -> None:
    decoder = pytest.importorskip("flashlight.lib.text.decoder", reason="flashlight-text has no wheel for this Python")
    log_probs = _random(50, 29, seed, sharpness=5.0).contiguous()
    options = decoder.LexiconFreeDecoderOptions(
        beam_size=64, beam_size_token=29, beam_threshold=1e9, lm_weight=0.0, sil_score=0.0, log_add=True,
        criterion_type=decoder.CriterionType.CTC,
    )  # fmt: skip
    search = decoder.LexiconFreeDecoder(options, decoder.ZeroLM(), -1, Alphabet.BLANK, [])
    best = search.decode(log_probs.data_ptr(), *log_probs.shape)[0]
    expected = [number for number, _ in itertools.groupby(best.tokens) if number > 0]
    [found] = beam_search(pad([log_probs]), Alphabet(), BeamConfig(width=64))
    assert found.classes == expected
    assert best.score - 0.01 < found.score < best.score + math.log(2) + 0.01  # it keeps paths by how they end apart
