"""An emotion head from a recipe to a run folder, on a made-up CREMA-D whose emotions differ in pitch and loudness."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from numpy.typing import NDArray
from tests.predictions import read_predictions, read_tested

from affetto.data.corpora import open_corpus
from affetto.data.manifest import write_manifest
from affetto.errors import AffettoError, ConfigError, LabelError, SplitError
from affetto.evaluate import RunFolder, score
from affetto.experiment import EmotionRecipe, Engine, run_experiment, train_emotion
from affetto.frames import Frames
from affetto.models import checkpoint
from affetto.models.heads import load_head
from affetto.models.network import load_recogniser
from affetto.represent import cache
from affetto.training.heads.tasks import HeadData

RECIPE = """
recogniser = "{model}"
corpus = "crema-d"
classes = ["sadness", "anger"]
validation_speakers = ["1003"]
test_speakers = ["1004"]
licence = "CC0"

[head]
kind = "progressive"
layer = "gru2"
standardise = true
branch = {{ units = 4, depth = 1, acoustic = {{ level = "absolute", loudness = true }} }}

[training]
epochs = 12
learning_rate = 0.02
"""


@pytest.fixture
def write_recipe(tmp_path: Path, tiny_model: Path) -> Callable[..., Path]:
    def write(old: str = "", new: str = "") -> Path:
        text = RECIPE.format(model=tiny_model)
        assert old in text
        path = tmp_path / "recipe.toml"
        path.write_text(text.replace(old, new) if old else text)
        return path

    return write


def test_from_a_recipe_to_a_run_folder(
    data_root: Path, tmp_path: Path, tiny_model: Path, write_recipe: Callable[..., Path]
) -> None:
    told: list[int] = []
    run = train_emotion(write_recipe(), data_root, tmp_path / "run", on_epoch=lambda epoch: told.append(epoch.epoch))
    assert run.counts == (12, 6, 6)
    predictions = read_predictions(tmp_path / "run" / "predictions.csv")
    assert {each.speaker for each in predictions} == {"1004"}
    assert len({each.utterance for each in predictions}) == 6
    assert score(predictions) == run.scores
    assert run.scores.uar == 1

    head, description = load_head(run.head)
    assert (head.classes, head.layers) == (("sadness", "anger"), {"gru2": 8})
    recogniser, _ = load_recogniser(tiny_model / "recogniser.safetensors")
    facts = description.facts
    assert facts["encoder_fingerprint"] == checkpoint.fingerprint(recogniser)
    assert facts["utterances"] == {"train": 12, "validation": 6, "test": 6}
    assert facts["test"]["uar"] == run.scores.uar
    assert facts["licence"] == "CC0"
    assert facts["corpora"] == ["crema_d"]
    assert EmotionRecipe.parse(facts["recipe"]) == EmotionRecipe.read(write_recipe())
    assert len(facts["manifest_sha256"]) == 64
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == facts

    curve = list(csv.DictReader((tmp_path / "run" / "learning_curve.csv").open()))
    assert [int(row["epoch"]) for row in curve] == told == list(range(len(told)))


def test_a_second_run_reads_the_cache_and_finds_the_same(
    data_root: Path, tmp_path: Path, write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_emotion(write_recipe(), data_root, tmp_path / "run")
    before = (tmp_path / "run" / "predictions.csv").read_bytes()

    def hear(path: Path, **times: float) -> None:
        raise AssertionError(f"{path} was heard again")

    monkeypatch.setattr(cache, "load_utterance", hear)
    again = train_emotion(write_recipe(), data_root, tmp_path / "run")
    assert again == first
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == before


def test_variants_of_the_recordings_are_trained_on_but_not_judged_by(
    data_root: Path, tmp_path: Path, write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[int, set[int]] = {}

    def note(data: HeadData, places: NDArray[np.int64], variants: NDArray[np.int64]) -> dict[str, Frames]:
        for place, variant in zip(places.tolist(), variants.tolist(), strict=True):
            read.setdefault(place, set()).add(variant)
        return original(data, places, variants)

    original = HeadData.read
    monkeypatch.setattr(HeadData, "read", note)
    recipe = write_recipe("[training]", "[augment]\nvariants = 2\ntempo = [0.9, 1.1]\n\n[training]")
    run = train_emotion(recipe, data_root, tmp_path / "run")
    assert sorted(map(len, read.values())) == [1] * sum(run.counts[1:]) + [3] * run.counts[0]
    assert all(0 in variants for variants in read.values())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (('["1004"]', '["1999"]'), SplitError, "no such speaker: 1999; choose among crema_d/1001"),
        (('["1004"]', '["1003"]'), SplitError, "1003 named for both validation and test"),
        (('layer = "gru2"', 'layer = "gru2"\ntrained_from = "gru1"'), ConfigError, "leave trained_from to experiments"),
        (('"gru2"', '"gru9"'), ConfigError, "no layer 'gru9'; choose one of conv1, gru1, gru2"),
        (('["sadness", "anger"]', '["sadness", "joy"]'), LabelError, "no utterance counts as joy"),
        (('["sadness", "anger"]', '["sadness", "sadness"]'), ConfigError, "classes: .*name each once"),
        (('["sadness", "anger"]', '["sadness"]'), ConfigError, "classes: "),
        (('["1004"]', "[]"), ConfigError, "test_speakers: "),
        (("licence", "license"), ConfigError, "license: Extra inputs"),
        (("units = 4", "unit = 4"), ConfigError, "head.branch.unit: Extra inputs"),
        (('"progressive"', '"regressive"'), ConfigError, "head: "),
        (("epochs = 12", 'epochs = "many"'), ConfigError, "training.epochs: "),
        (('"crema-d"', '"crema"'), AffettoError, "no such file or folder"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(
    data_root: Path,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    change: tuple[str, str],
    error: type[AffettoError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        train_emotion(write_recipe(*change), data_root, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_none(
    data_root: Path, tmp_path: Path, tiny_model: Path, write_recipe: Callable[..., Path]
) -> None:
    with pytest.raises(AffettoError, match="nowhere: no such model"):
        train_emotion(write_recipe(str(tiny_model), "nowhere"), data_root, tmp_path / "run")


def test_unreadable_sound_is_left_out_and_a_part_without_sound_refused(
    data_root: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    folder = tmp_path / "data" / "crema-d" / "AudioWAV"
    folder.mkdir(parents=True)
    for path in (data_root / "crema-d" / "AudioWAV").iterdir():
        (folder / path.name).write_bytes(b"no sound" if path.name.startswith("1004_IEO") else path.read_bytes())
    run = train_emotion(write_recipe("epochs = 12", "epochs = 1"), tmp_path / "data", tmp_path / "run")
    assert run.counts == (12, 6, 4)
    for path in folder.glob("1004_*"):
        path.write_bytes(b"no sound")
    with pytest.raises(SplitError, match="no sound of its test part can be read"):
        train_emotion(write_recipe(), tmp_path / "data", tmp_path / "other")


def _is_a_row_of_an_experiment(recipe: Path, data_root: Path, folder: Path) -> bool:
    (folder / "experiment.toml").write_text(tomli_w.dumps(EmotionRecipe.read(recipe).as_experiment().resolved()))
    run = run_experiment(folder / "experiment.toml", data_root, folder / "table", engine=Engine(jobs=1))
    ((name, *_),) = run.rows
    return read_tested(RunFolder(run.folder), name) == read_predictions(folder / "run" / "predictions.csv")


def test_it_is_a_row_of_an_experiment(data_root: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    train_emotion(write_recipe(), data_root, tmp_path / "run")
    assert _is_a_row_of_an_experiment(write_recipe(), data_root, tmp_path)


def test_labels_say_what_counts_as_a_class(data_root: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    recipe = write_recipe("epochs = 12", "epochs = 1")
    recipe.write_text('labels = { merge = { disgust = "sadness" } }\n' + recipe.read_text())
    assert train_emotion(recipe, data_root, tmp_path / "run").counts == (18, 9, 9)
    assert _is_a_row_of_an_experiment(recipe, data_root, tmp_path)


@pytest.mark.parametrize(
    ("hidden", "way", "epochs"), [(0, "[linear]\nl2 = 0.01", 0), (4, "[hidden]\nepochs = 3\nlearning_rate = 0.1", 3)]
)
def test_a_head_may_be_trained_with_strangers(
    data_root: Path, tmp_path: Path, write_recipe: Callable[..., Path], hidden: int, way: str, epochs: int
) -> None:
    recipe = write_recipe('kind = "progressive"\n', f'kind = "mean_pooling"\nhidden = {hidden}\n')
    text = recipe.read_text().replace(
        'branch = { units = 4, depth = 1, acoustic = { level = "absolute", loudness = true } }', ""
    )
    solved = f'\n{way}\ncalm = "sadness"\n[familiarity]\ncomponents = 3\nquantile = 1.0\n'
    more = 'strangers = ["STRANGERS"]\nstrangers_each = 5\nspeech_only = true\ntemperature = 1.5\n'
    text = more + text.partition("[training]")[0] + solved
    recipe.write_text(text.replace("STRANGERS", "crema-d"))
    with pytest.raises(SplitError, match="the strangers are of crema_d, which is tested, too"):
        train_emotion(recipe, data_root, tmp_path / "run")
    others = [replace(each, corpus="others") for each in open_corpus(data_root / "crema-d").utterances]
    write_manifest(tmp_path / "others.jsonl", others)
    recipe.write_text(text.replace("STRANGERS", str(tmp_path / "others.jsonl")))
    run = train_emotion(recipe, data_root, tmp_path / "run")
    head, description = load_head(run.head)
    facts = description.facts
    assert set(run.scores.classes) == {"sadness", "anger"}
    assert (facts["speech_only"], facts["temperature"]) == (True, 1.5)
    assert head.familiarity is not None
    assert head.familiarity.axes.shape[1] == 3
    assert len((tmp_path / "run" / "learning_curve.csv").read_text().splitlines()) == 1 + epochs
    assert _is_a_row_of_an_experiment(recipe, data_root, tmp_path)


def test_a_head_is_trained_one_way(data_root: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    recipe = write_recipe()
    recipe.write_text(recipe.read_text() + "\n[linear]\n[hidden]\n")
    with pytest.raises(ConfigError, match=r"leave out \[linear\] or \[hidden\]"):
        train_emotion(recipe, data_root, tmp_path / "run")
