"""The paper's three corpora, each in its official layout or prepared, joined by one recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.speech_trees import pack, write_submission, write_talk

from affetto.data.prepare import prepare_corpus
from affetto.models.deepspeech2 import PRESETS
from affetto.models.network import load_recogniser
from affetto.training.recogniser.fit import fit_recogniser
from affetto.training.recogniser.processes import Placement
from affetto.training.recogniser.recipe import RecogniserRecipe
from affetto.training.recogniser.speech import SpeechData, gather

REPOSITORY = Path(__file__).resolve().parents[3]
ONE = Placement(devices=1)
RECIPE = """
model = {width = 2, depth = 1, convolutions = [{channels = 1, kernel = [21, 5], stride = [8, 3]}]}

[[corpora]]
path = "LibriSpeech"
training_partitions = ["train-clean-100"]
validation_partition = "dev-clean"

[[corpora]]
path = "TEDLIUM_release2"
validation_partition = "dev"

[[corpora]]
path = "VoxForge"
validation_speakers = 0.4
"""


@pytest.fixture
def corpora(tmp_path: Path, make_sound: Callable[..., Path]) -> Path:
    """A few utterances of each, with readers who train and readers who validate."""

    data = tmp_path / "data"
    for part, reader in (("train-clean-100", "19"), ("train-clean-100", "26"), ("dev-clean", "84")):
        _librispeech(data, part, reader, make_sound)
    for part, talk in (("train", "AaronHuey_2010X"), ("dev", "AlGore_2009")):
        _talk(data, part, talk, make_sound)
    root = data / "VoxForge"
    for name in ("ann-20080101-abc", "ben-20080101-abc", "cleo-20080101-abc"):
        write_submission(root, name, {"a1": "THE WORDS"}, lambda name: make_sound(str(root / name), duration_s=1.0))
    return data


def _librispeech(data: Path, part: str, reader: str, make_sound: Callable[..., Path]) -> None:
    """A chapter of one utterance."""
    chapter = data / "LibriSpeech" / part / reader / "1"
    make_sound(str(chapter / f"{reader}-1-0000.flac"), duration_s=1.0)
    (chapter / f"{reader}-1.trans.txt").write_text(f"{reader}-1-0000 GO DO YOU HEAR\n")


def _talk(data: Path, part: str, talk: str, make_sound: Callable[..., Path]) -> None:
    """A talk of two segments."""
    lines = [f"{talk} 1 {talk} {start} {start + 0.5} <o,f0,male> it 's one" for start in (0.0, 0.5)]
    root = data / "TEDLIUM_release2"
    write_talk(root / part, talk, lines, lambda name: make_sound(str(root / name), duration_s=1.0))


def _heard(data: SpeechData) -> list[dict[str, int]]:
    """Corpus -> utterances, of those to train on and those to validate on."""
    return [dict(Counter(each.utterance.corpus for each in part)) for part in (data.training, data.validation)]


def test_official_layouts_are_joined(corpora: Path) -> None:
    data = gather(RecogniserRecipe.read(_recipe(corpora)), corpora)
    assert _heard(data) == [
        {"librispeech": 2, "tedlium": 2, "voxforge": 2},
        {"librispeech": 1, "tedlium": 2, "voxforge": 1},
    ]
    assert {each.text for each in data.training} == {"go do you hear", "it's one", "the words"}
    assert data.left_out == {}


def test_prepared_they_are_the_same_to_a_recipe(corpora: Path, tmp_path: Path) -> None:
    recipe = RecogniserRecipe.read(_recipe(corpora))
    before = gather(recipe, corpora)
    pack(corpora / "VoxForge" / "ann-20080101-abc", corpora / "VoxForge")
    for name in ("LibriSpeech", "TEDLIUM_release2", "VoxForge"):
        prepare_corpus(corpora / name, tmp_path / "prepared" / name, jobs=1)
    after = gather(recipe, tmp_path / "prepared")
    for old, new in ((before.training, after.training), (before.validation, after.validation)):
        assert [(each.utterance.id, each.utterance.speaker, each.text, each.duration_s) for each in new] == [
            (each.utterance.id, each.utterance.speaker, each.text, each.duration_s) for each in old
        ]
        assert all(each.utterance.audio.suffix == ".flac" for each in new)


def test_the_papers_recipe_trains_on_all_three(corpora: Path, tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    """Everything as the recipe has it but how wide the network is and how long it may learn."""
    for part, reader in (("train-clean-360", "27"), ("train-other-500", "28")):
        _librispeech(corpora, part, reader, make_sound)
    _talk(corpora, "train", "BillGates_2010", make_sound)
    written = RecogniserRecipe.read(REPOSITORY / "recipes" / "asr-lakomkin2017.toml")
    narrow = PRESETS["lakomkin2017"].model_copy(update={"width": 4})
    shorter = written.training.model_copy(update={"epochs": 2})
    recipe = written.model_copy(update={"preset": None, "model": narrow, "training": shorter})
    heard = gather(recipe, corpora)
    assert _heard(heard) == [
        {"librispeech": 4, "tedlium": 2, "voxforge": 2},
        {"librispeech": 1, "tedlium": 2, "voxforge": 1},
    ]
    model, description = load_recogniser(fit_recogniser(recipe, corpora, tmp_path / "run", placement=ONE))
    assert model.config == narrow
    assert description.facts["epochs"] == 2
    assert description.facts["validation_cer"] <= 2


def _recipe(folder: Path) -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    return path
