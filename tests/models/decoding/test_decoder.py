"""Decoders as users ask for them, and long utterances divided between words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto import pretrained
from affetto.errors import CheckpointError, ConfigError
from affetto.frames import pad
from affetto.models.decoding import BeamConfig, Decoder, DecoderChoice, beam_search, find_decoder, greedy
from affetto.models.decoding.decoder import divide
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.models.language_model import save_language_model
from affetto.text import Alphabet
from affetto.training.recogniser.kneser_ney import estimate

ALPHABET = Alphabet()


def _language_model(path: Path, alphabet: Alphabet = ALPHABET) -> Path:
    texts = [alphabet.encode(text) for text in ("the cat ", "a cat sat ")]
    save_language_model(path, alphabet, estimate(texts, 3, len(alphabet.symbols)), 3, {})
    return path


def _utterances(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [(3 * torch.randn(length, 29, generator=generator)).log_softmax(dim=-1) for length in lengths]


@pytest.fixture
def speech(tiny_model: Path, tmp_path: Path) -> Encoder:
    for path in tiny_model.glob("recogniser.*"):
        shutil.copy(path, tmp_path)
    return open_encoder(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("method", "embedded", "name"),
    [
        (None, False, "greedy"),
        (None, True, "beam of 32, language model x 0.7, bonus 1.4"),
        ("greedy", True, "greedy"),
        ("beam", False, "beam of 32"),
        ("beam", True, "beam of 32, language model x 0.7, bonus 1.4"),
    ],
)
def test_a_language_model_beside_the_recogniser_is_used(
    speech: Encoder, tmp_path: Path, method: str | None, embedded: bool, name: str
) -> None:
    if embedded:
        _language_model(tmp_path / pretrained.LANGUAGE_MODEL)
    assert find_decoder(speech, DecoderChoice(method)).name == name  # type: ignore[arg-type]


def test_a_language_model_may_be_named(speech: Encoder, tmp_path: Path) -> None:
    path = _language_model(tmp_path / "other.safetensors")
    decoder = find_decoder(speech, DecoderChoice(language_model=path, beam=BeamConfig(width=4)))
    assert decoder.name == "beam of 4, language model x 0.7, bonus 1.4"


def test_half_a_language_model_is_refused_not_ignored(speech: Encoder, tmp_path: Path) -> None:
    _language_model(tmp_path / pretrained.LANGUAGE_MODEL).unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        find_decoder(speech)


def test_one_of_another_alphabet_is_refused(speech: Encoder, tmp_path: Path) -> None:
    path = _language_model(tmp_path / "other.safetensors", Alphabet(" abcdefghijklmnopqrstuvwxyz"))
    with pytest.raises(ConfigError, match="is over the symbols"):
        find_decoder(speech, DecoderChoice(language_model=path))


def test_greedy_decoding_has_no_use_for_one(speech: Encoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asks no language model"):
        find_decoder(speech, DecoderChoice("greedy", tmp_path / "any.safetensors"))


def test_texts_are_those_of_the_search_with_single_spaces() -> None:
    frames = pad(_utterances(40, 25))
    texts = [" ".join(ALPHABET.decode(found.classes).split()) for found in beam_search(frames, ALPHABET, BeamConfig())]
    assert [each.text for each in Decoder(ALPHABET, 25.0, BeamConfig())(frames)] == texts
    assert [each.text for each in Decoder(ALPHABET, 25.0)(frames)] == greedy(frames, ALPHABET)


@given(st.integers(0, 200), st.integers(1, 60), st.integers(0, 99))
def test_parts_are_the_whole_and_of_useful_length(frames: int, longest: int, seed: int) -> None:
    scores = torch.randn(frames, 29, generator=torch.Generator().manual_seed(seed))
    lengths = [len(part) for part in divide(scores, ALPHABET, longest)]
    assert torch.equal(torch.cat([scores[:0], *divide(scores, ALPHABET, longest)]), scores)
    assert all(longest / 2 <= length <= longest for length in lengths[:-1])


def test_a_long_utterance_is_decoded_as_a_whole_where_words_end_clearly() -> None:
    words = ["seven", "words", "that", "are", "far", "apart", "indeed"]
    classes = [number for word in words for letter in f"{word} " for number in (ALPHABET.encode(letter)[0], *[0] * 20)]
    log_probs = (9 * torch.nn.functional.one_hot(torch.tensor(classes), 29).float()).log_softmax(dim=-1)
    decoder = Decoder(ALPHABET, 25.0)
    assert len(log_probs) > 2 * 15 * 25
    [whole] = decoder(pad([log_probs]))
    long = decoder.decode_long(log_probs)
    assert long.text == whole.text == " ".join(words)
    assert [word[1:] for word in long.words] == [pytest.approx(word[1:]) for word in whole.words]
