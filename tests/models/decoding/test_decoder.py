"""Decoders as users ask for them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from affetto import pretrained
from affetto.errors import CheckpointError, ConfigError
from affetto.frames import pad
from affetto.models.decoding import BeamConfig, Decoder, DecoderChoice, beam_search, find_decoder, greedy
from affetto.models.decoding.word_search import WordBeamConfig, WordModel, WordSearch, spell_words
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.models.language_model import save_language_model
from affetto.text import Alphabet
from affetto.training.recogniser.language_model import estimate

ALPHABET = Alphabet()


def _language_model(
    path: Path, alphabet: Alphabet = ALPHABET, texts: Sequence[str] = ("the cat ", "a cat sat ")
) -> Path:
    encoded = [alphabet.encode(text) for text in texts]
    save_language_model(path, alphabet, estimate(encoded, 3, len(alphabet.symbols)), 3, {})
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


def test_the_fingerprint_tells_ways_of_decoding_apart(speech: Encoder, tmp_path: Path) -> None:
    likely = _language_model(tmp_path / "likely.safetensors")
    other = _language_model(tmp_path / "other.safetensors", texts=("the cat ", "a cap sat "))
    choices = [
        DecoderChoice("greedy"),
        DecoderChoice("beam"),
        DecoderChoice("beam", beam=BeamConfig(width=4)),
        DecoderChoice(language_model=likely),
        DecoderChoice(language_model=other),
        DecoderChoice(language_model=likely, beam=BeamConfig(weight=0.70001)),
        DecoderChoice(language_model=likely, beam=BeamConfig(bonus=0.0)),
    ]
    found = [find_decoder(speech, choice).fingerprint for choice in choices]
    assert len(set(found)) == len(choices)
    assert found == [find_decoder(speech, choice).fingerprint for choice in choices]


def test_the_fingerprint_tells_models_of_words_apart(tmp_path: Path) -> None:
    def fingerprint(content: str, words: list[str], width: int = 9) -> str:
        path = tmp_path / "words.arpa"
        path.write_text(content)
        model = WordModel(path, ALPHABET, spell_words(words, ALPHABET), scores=None, letters=None)
        return Decoder(ALPHABET, 25.0, words=WordSearch(model, WordBeamConfig(width=width))).fingerprint

    found = [
        fingerprint("one", ["no"]),
        fingerprint("two", ["no"]),
        fingerprint("one", ["no", "yes"]),
        fingerprint("one", ["no"], width=8),
    ]
    assert len(set(found)) == 4
    assert fingerprint("one", ["no"]) == found[0]
