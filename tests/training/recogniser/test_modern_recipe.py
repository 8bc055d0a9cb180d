"""The options of a modern recipe, trained together and one by one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from affetto.errors import CheckpointError, ConfigError, TrainingError
from affetto.models.network import load_recogniser
from affetto.training.recogniser.fit import fit_recogniser
from affetto.training.recogniser.processes import Placement
from affetto.training.recogniser.recipe import RecogniserRecipe

Write = Callable[..., Path]
ONE = Placement(devices=1)
REPOSITORY = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning advises on workers and logging

MODERN = """
precision = "bf16-mixed"
accumulate = 2
batch_seconds = 2.0
average_last = 3
average_best = 2
cache_sound = true
patience = 20
perturb = { speed = [0.9, 1.1], gain_db = [-6.0, 6.0] }
augment = { frequency_masks = 1, frequency_width = 4, from_epoch = 2 }
"""


def test_all_options_together_learn(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    recipe = RecogniserRecipe.read(write_recipe(30, more=MODERN))
    folder = tmp_path / "run"
    model, description = load_recogniser(fit_recogniser(recipe, tones, folder, placement=ONE))
    (log,) = folder.glob("csv/*/metrics.csv")
    rates = [float(row["cer"]) for row in csv.DictReader(log.open()) if row.get("cer")]
    assert description.facts["validation_cer"] < 0.5 < rates[0]
    assert description.facts["validation_cer"] <= min(rates) + 1e-6
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert len(list((folder / "checkpoints" / "late").iterdir())) == 3
    assert len(list((folder / "checkpoints" / "good").iterdir())) == 2
    assert [each.suffix for each in sorted((folder / "sound").iterdir())] == [".int16", ".json"]


def _model(tones: Path, folder: Path, write_recipe: Write) -> Path:
    fit_recogniser(RecogniserRecipe.read(write_recipe(1)), tones, folder, placement=ONE)
    return folder


def _with_initial(write_recipe: Write, initial: object, **replaced: str) -> RecogniserRecipe:
    text = write_recipe(1).read_text()
    for old, new in replaced.items():
        text = text.replace(f"{old} = ", f"{old} = {new} #")
    path = write_recipe(1, name="warm.toml")
    path.write_text(f'initial = "{initial}"\n{text}')
    return RecogniserRecipe.read(path)


def test_begins_with_a_saved_recogniser(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    first = _model(tones, tmp_path / "first", write_recipe)
    recipe = _with_initial(write_recipe, first, learning_rate="1e-12")
    again = fit_recogniser(recipe, tones, tmp_path / "second", placement=ONE)
    before = load_recogniser(first / "recogniser.safetensors")[0]
    after = load_recogniser(again)[0]
    for (name, ours), theirs in zip(after.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_refuses_an_initial_model_of_another_shape(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    first = _model(tones, tmp_path / "first", write_recipe)
    with pytest.raises(TrainingError, match=r"another shape: width \(12, not 8\).*give the recipe"):
        fit_recogniser(_with_initial(write_recipe, first, width="8"), tones, tmp_path / "second", placement=ONE)


def test_refuses_an_initial_model_that_is_none(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    with pytest.raises(CheckpointError, match="enormous: no such model"):
        fit_recogniser(_with_initial(write_recipe, "enormous"), tones, tmp_path / "run", placement=ONE)


def test_keeps_models_of_its_epochs(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    recipe = RecogniserRecipe.read(write_recipe(4, more="keep_every = 2\n"))
    folder = tmp_path / "run"
    fit_recogniser(recipe, tones, folder, placement=ONE)
    assert sorted(each.name for each in (folder / "epochs").iterdir()) == ["02", "04"]
    (log,) = folder.glob("csv/*/metrics.csv")
    rates = [float(row["cer"]) for row in csv.DictReader(log.open()) if row.get("cer")]
    for epoch in (2, 4):
        _, description = load_recogniser(folder / "epochs" / f"{epoch:02d}" / "recogniser.safetensors")
        assert description.facts["epochs"] == epoch
        assert description.facts["validation_cer"] == pytest.approx(rates[epoch - 1])


def _two_stages(write_recipe: Write) -> RecogniserRecipe:
    write_recipe(2, name="earlier.toml")
    path = write_recipe(1, name="later.toml")
    path.write_text('first = "earlier.toml"\n' + path.read_text().replace("0.01", "1e-12"))
    return RecogniserRecipe.read(path)


def test_a_first_recipe_is_trained_first_and_once(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    recipe = _two_stages(write_recipe)
    folder = tmp_path / "run"
    path = fit_recogniser(recipe, tones, folder, placement=ONE)
    first = folder / "first" / "recogniser.safetensors"
    (before, told), (after, description) = load_recogniser(first), load_recogniser(path)
    for (name, ours), theirs in zip(after.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    assert description.facts["recipe"]["first"] == told.facts["recipe"]
    written = first.stat().st_mtime_ns
    fit_recogniser(recipe, tones, folder, placement=ONE)
    assert first.stat().st_mtime_ns == written


def test_a_recipe_never_comes_before_itself(tmp_path: Path, write_recipe: Write) -> None:
    path = write_recipe(1)
    path.write_text(f'first = "{path.name}"\n' + path.read_text())
    with pytest.raises(ConfigError, match=r"before itself.*'first'"):
        RecogniserRecipe.read(path)


def test_begins_with_one_thing_only(tmp_path: Path, write_recipe: Write) -> None:
    write_recipe(1, name="earlier.toml")
    path = write_recipe(1)
    path.write_text('first = "earlier.toml"\ninitial = "small"\n' + path.read_text())
    with pytest.raises(ConfigError, match="either a public encoder, an initial model or a first recipe"):
        RecogniserRecipe.read(path)


def test_a_missing_first_recipe_is_named(tmp_path: Path, write_recipe: Write) -> None:
    path = write_recipe(1)
    path.write_text('first = "nowhere.toml"\n' + path.read_text())
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        RecogniserRecipe.read(path)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "recipes").glob("asr-*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_are_read(path: Path) -> None:
    shape = RecogniserRecipe.read(path).shape
    assert getattr(shape, "head", shape).width in {256, 800}


def test_the_papers_recipe_is_the_papers() -> None:
    training = RecogniserRecipe.read(REPOSITORY / "recipes" / "asr-lakomkin2017.toml").training
    assert (training.optimiser, training.learning_rate, training.anneal) == ("sgd", 3e-4, 1.1)
    assert (training.max_duration_s, training.accumulate, training.warmup_steps) == (15.0, 1, 0)
