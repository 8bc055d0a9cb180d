"""Language models to disk and back; whatever is wrong with the files ends in a CheckpointError."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from affetto.errors import CheckpointError, TextError
from affetto.models.language_model import LanguageModel, expand, load_language_model, save_language_model
from affetto.text import Alphabet
from affetto.training.recogniser.language_model import estimate

ALPHABET = Alphabet(" abc")
TEXTS = ["abba ", "cab ", "a cab ", "bab ab ", "abc "]
ORDER = 4
Arrays = dict[str, torch.Tensor]


def _save(path: Path) -> LanguageModel:
    ngrams = estimate([ALPHABET.encode(text) for text in TEXTS], ORDER, len(ALPHABET.symbols))
    save_language_model(path, ALPHABET, ngrams, ORDER, {"licence": "CC0"})
    return expand(ALPHABET, ngrams, ORDER)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "language.safetensors"
    _save(path)
    return path


def _edit(path: Path, **changes: Any) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def _retensor(path: Path, change: Callable[[Arrays], object]) -> None:
    """Changes the arrays and has the card describe the changed file."""
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)
    _edit(path, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("text", ["abba", "a cab", "ccc", "", "bcbcbc a"])
def test_to_disk_and_back_within_the_rounding(tmp_path: Path, text: str) -> None:
    exact = _save(tmp_path / "language.safetensors")
    loaded, description = load_language_model(tmp_path / "language.safetensors")
    assert loaded.score(text) == pytest.approx(exact.score(text), abs=0.06 * (len(text) + 1))
    assert torch.equal(loaded.following, exact.following)
    torch.testing.assert_close(loaded.log_probs.exp().sum(dim=1), torch.ones(len(loaded.log_probs)))
    assert description.facts == {"licence": "CC0"}


def test_the_start_of_a_text_is_a_context(saved: Path) -> None:
    model, _ = load_language_model(saved)
    after_start, after_b = model.log_probs[model.start], model.log_probs[model.following[0, 2]]
    assert after_start[1] > after_b[1]  # two texts begin with a


def test_perplexity_is_that_of_the_scores(saved: Path) -> None:
    model, _ = load_language_model(saved)
    expected = torch.tensor(-(model.score("abba") + model.score("c")) / 7).exp().item()
    assert model.perplexity(["abba", "c"]) == pytest.approx(expected)


@pytest.mark.parametrize(("texts", "problem"), [([], "no texts"), (["x"], "is not in the alphabet")])
def test_what_cannot_be_scored_is_an_error(saved: Path, texts: list[str], problem: str) -> None:
    with pytest.raises(TextError, match=problem):
        load_language_model(saved)[0].perplexity(texts)


def _set(name: str, place: int, value: int) -> Callable[[Path], None]:
    return lambda path: _retensor(path, lambda arrays: arrays[name].__setitem__(place, value))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights missing": (lambda path: path.unlink(), "cannot be loaded"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "cannot be loaded"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be loaded"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps([1])), "cannot be loaded"),
    "a bit turned": (
        lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
        "holds other weights",
    ),
    "card missing": (lambda path: path.with_suffix(".json").unlink(), "cannot be read"),
    "another kind": (lambda path: _edit(path, kind="recogniser"), "is of kind 'recogniser'"),
    "no alphabet": (lambda path: _edit(path, config={"order": 4, "symbols": ""}), "describes no language model"),
    "a symbol twice": (lambda path: _edit(path, config={"order": 4, "symbols": "aabc"}), "repeats a symbol"),
    "another order": (lambda path: _edit(path, config={"order": 3, "symbols": " abc"}), "more n-grams than"),
    "too high an order": (lambda path: _edit(path, config={"order": 99, "symbols": " abc"}), "order"),
    "an array missing": (lambda path: _retensor(path, lambda arrays: arrays.pop("backoffs")), "the arrays"),
    "floats": (
        lambda path: _retensor(path, lambda arrays: arrays.update(symbols=arrays["symbols"].float())),
        "symbols of the type",
    ),
    "two dimensions": (
        lambda path: _retensor(path, lambda arrays: arrays.update(children=arrays["children"][None])),
        "children of the type",
    ),
    "arrays of different lengths": (
        lambda path: _retensor(path, lambda arrays: arrays.update(log_probs=arrays["log_probs"][1:].clone())),
        "different lengths",
    ),
    "more children than there are": (_set("children", 1, 200), "n-grams are missing|more n-grams than"),
    "a character beyond the alphabet": (_set("symbols", -1, 77), "beyond the alphabet"),
    "the start within a text": (_set("symbols", -1, 0), "beyond the alphabet"),
    "the shortest out of order": (_set("symbols", 1, 2), "not the alphabet"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_files_are_refused(saved: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    spoil(saved)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_language_model(saved)
    assert str(saved.with_suffix("")) in str(caught.value)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Arrays]:
    path = tmp_path_factory.mktemp("fuzz") / "language.safetensors"
    _save(path)
    return path, load_file(path)


@given(st.sampled_from(["symbols", "log_probs", "children", "backoffs"]), st.lists(st.integers(0, 255), max_size=60))
@with_settings(max_examples=60)
def test_any_numbers_load_or_are_refused(original: tuple[Path, Arrays], name: str, numbers: list[int]) -> None:
    path, arrays = original
    changed = arrays[name].clone()
    changed[: len(numbers)] = torch.tensor(numbers[: len(changed)], dtype=torch.uint8)
    save_file({**arrays, name: changed}, path)
    _edit(path, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with suppress(CheckpointError):  # any other exception fails the test
        model, _ = load_language_model(path)
        assert torch.isfinite(model.log_probs).all()
