"""The paper's three corpora, each in its official layout or prepared, joined by one recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.speech_trees import pack, write_submission, write_talk

from affetto.data.prepare import prepare_corpus
from affetto.training.recogniser_recipe import RecogniserRecipe
from affetto.training.speech import SpeechData, gather

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

    def sound_in(corpus: str) -> Callable[[str], Path]:
        return lambda name: make_sound(f"data/{corpus}/{name}", duration_s=1.0)

    data = tmp_path / "data"
    for part, reader in (("train-clean-100", "19"), ("train-clean-100", "26"), ("dev-clean", "84")):
        make_sound(f"data/LibriSpeech/{part}/{reader}/1/{reader}-1-0000.flac", duration_s=1.0)
        transcript = data / "LibriSpeech" / part / reader / "1" / f"{reader}-1.trans.txt"
        transcript.write_text(f"{reader}-1-0000 GO DO YOU HEAR\n")
    for part, talk in (("train", "AaronHuey_2010X"), ("dev", "AlGore_2009")):
        lines = [f"{talk} 1 {talk} {start} {start + 0.5} <o,f0,male> it 's one" for start in (0.0, 0.5)]
        write_talk(data / "TEDLIUM_release2" / part, talk, lines, sound_in("TEDLIUM_release2"))
    for name in ("ann-20080101-abc", "ben-20080101-abc", "cleo-20080101-abc"):
        write_submission(data / "VoxForge", name, {"a1": "THE WORDS"}, sound_in("VoxForge"))
    return data


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


def _recipe(folder: Path) -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    return path
