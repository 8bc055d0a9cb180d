"""Training a recogniser: what it leaves, and that the same command goes on where it was stopped."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from affetto import audio
from affetto.errors import ConfigError, SplitError, TrainingError
from affetto.frames import pad_waves
from affetto.models import checkpoint
from affetto.models.network import load_recogniser
from affetto.training.recogniser.fit import fit_recogniser, gather
from affetto.training.recogniser.processes import Placement
from affetto.training.recogniser.recipe import RecogniserRecipe
from affetto.training.recogniser.speech import SpeechModule, held_out

Write = Callable[..., Path]
ONE = Placement(devices=1)

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning advises on workers and logging


def _fit(recipe: Path, tones: Path, folder: Path) -> Path:
    return fit_recogniser(RecogniserRecipe.read(recipe), tones, folder, placement=ONE)


def _validations(folder: Path) -> list[dict[str, str]]:
    """What was logged after each epoch, by all runs over a folder, in their order."""
    runs = sorted((folder / "csv").iterdir(), key=lambda path: int(path.name.removeprefix("version_")))
    logs = [run / "metrics.csv" for run in runs if (run / "metrics.csv").exists()]
    return [row for log in logs for row in csv.DictReader(log.open()) if row.get("cer")]


def _epochs(folder: Path) -> list[int]:
    return [int(row["epoch"]) for row in _validations(folder)]


def _rates(folder: Path) -> list[float]:
    return [float(row["cer"]) for row in _validations(folder)]


def test_leaves_a_recogniser_checkpoints_and_logs(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    result = _fit(write_recipe(2), tones, tmp_path / "run")
    assert _epochs(tmp_path / "run") == [0, 1]
    assert list((tmp_path / "run" / "tensorboard").rglob("events.out.tfevents.*"))
    assert {each.name for each in (tmp_path / "run" / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    model, description = load_recogniser(result)
    assert model.config == RecogniserRecipe.read(write_recipe(2)).shape
    assert description.facts["licence"] == "CC0"
    assert description.facts["validation_cer"] == pytest.approx(min(_rates(tmp_path / "run")))
    assert description.facts["recipe"]["training"]["epochs"] == 2


def test_the_best_epoch_is_kept_not_the_last(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    result = _fit(write_recipe(4, more="anneal = 1.0\nwarmup_steps = 0"), tones, tmp_path / "run")
    rates = _rates(tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert state["epoch"] == rates.index(min(rates))
    assert checkpoint.fingerprint(load_recogniser(result)[0]) == checkpoint.fingerprint(_of(state, result))


def _of(state: dict[str, Any], result: Path) -> torch.nn.Module:
    model, _ = load_recogniser(result)
    model.load_state_dict({key.removeprefix("model."): value for key, value in state["state_dict"].items()})
    return model


def test_learns(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    result = _fit(write_recipe(25, more="anneal = 1.05\npatience = 25"), tones, tmp_path / "run")
    rates = _rates(tmp_path / "run")
    assert min(rates) < 0.2 < rates[0]
    assert load_recogniser(result)[1].facts["validation_cer"] == pytest.approx(min(rates))


def test_epochs_after_the_first_are_shuffled(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    """Lightning has to tell the batches their epoch, after resuming, too."""
    seen: list[list[int]] = []
    recipe = RecogniserRecipe.read(write_recipe(2))
    load = audio.load

    def spy(path: Path, **times: Any) -> torch.Tensor:
        wave = load(path, **times)
        seen.append([len(wave)])
        return wave

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("affetto.data.transcribed.audio.load", spy)
        fit_recogniser(recipe, tones, tmp_path / "run", placement=ONE)
    data = gather(recipe, tones)
    training, validation = len(data.training), len(data.validation)
    lengths = [each[0] for each in seen]
    first = lengths[:training]
    second = lengths[training + validation : 2 * training + validation]
    assert first == sorted(first)
    assert sorted(second) == first
    assert second != first


def test_finished_is_finished(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    first = _fit(write_recipe(2), tones, tmp_path / "run")
    before = checkpoint.fingerprint(load_recogniser(first)[0])
    facts = load_recogniser(first)[1].facts
    first.unlink()
    again = _fit(write_recipe(2), tones, tmp_path / "run")
    assert _epochs(tmp_path / "run") == [0, 1]
    assert checkpoint.fingerprint(load_recogniser(again)[0]) == before
    assert load_recogniser(again)[1].facts == facts


def test_stopped_early_is_finished(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    recipe = write_recipe(30, more="patience = 1\nanneal = 1e6")  # next to nothing is learnt after the first epoch
    _fit(recipe, tones, tmp_path / "run")
    epochs = _epochs(tmp_path / "run")
    assert 2 <= len(epochs) < 30
    _fit(recipe, tones, tmp_path / "run")
    assert _epochs(tmp_path / "run") == epochs


def test_more_epochs_go_on_from_the_last(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    _fit(write_recipe(1), tones, tmp_path / "run")
    _fit(write_recipe(3), tones, tmp_path / "run")
    assert _epochs(tmp_path / "run") == [0, 1, 2]


KILLED = """
import os, signal, sys
from pathlib import Path
from affetto.training.recogniser import fit as recogniser
from affetto.training.recogniser.recipe import RecogniserRecipe

recipe, data, folder = map(Path, sys.argv[1:])
step = recogniser.RecogniserTask.training_step

def killed_in_the_middle_of_the_second_epoch(self, batch, batch_index):
    if self.current_epoch == 1 and batch_index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_index)

recogniser.RecogniserTask.training_step = killed_in_the_middle_of_the_second_epoch
recogniser.fit_recogniser(RecogniserRecipe.read(recipe), data, folder)
"""


def test_killed_in_the_middle_of_an_epoch_goes_on_with_that_epoch(
    tones: Path, tmp_path: Path, write_recipe: Write
) -> None:
    recipe, folder = write_recipe(3), tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, recipe, tones, folder],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (folder / "recogniser.safetensors").exists()
    result = _fit(recipe, tones, folder)
    assert _epochs(folder) == [0, 1, 2]
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)
    steps_an_epoch = -(-len(gather(RecogniserRecipe.read(recipe), tones).training) // 4)
    assert (state["epoch"], state["global_step"]) == (2, 3 * steps_an_epoch)
    model, _ = load_recogniser(result)
    with torch.no_grad():
        assert model(pad_waves([torch.zeros(16_000)])).log_probs.values.isfinite().all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epohcs = 3", "training.epohcs: Extra inputs"),
        ("warmup_steps = -1", "training.warmup_steps: "),
        ('patience = "long"', "training.patience: .*integer"),
        ("[training.augment]\nfrequency_masks = -1", "training.augment.frequency_masks"),
        ('[spare]\nseed = "x"', "spare: Extra inputs"),
    ],
)
def test_a_faulty_recipe_names_the_key(write_recipe: Write, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RecogniserRecipe.read(write_recipe(more=line))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"corpora": []}, "corpora"),
        ({"corpora": [{"path": "a"}]}, "give either a preset or a model"),
        ({"corpora": [{"path": "a"}], "preset": "small", "model": {}}, "give either a preset or a model"),
        ({"corpora": [{"path": "a"}], "preset": "huge"}, "no preset 'huge'; choose one of lakomkin2017, small"),
        ({"corpora": [{"path": "a", "validation_speakers": 1.0}], "preset": "small"}, "validation_speakers"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RecogniserRecipe.parse(values)


def _recipe(*corpora: dict[str, Any]) -> RecogniserRecipe:
    small = {"width": 2, "depth": 1, "convolutions": [{"channels": 1, "kernel": [21, 5], "stride": [8, 3]}]}
    return RecogniserRecipe.parse({"corpora": corpora, "model": small})


def test_speakers_are_held_out_whole(tones: Path) -> None:
    data = gather(_recipe({"path": "tones", "validation_speakers": 0.25}), tones)
    learnt = {each.utterance.speaker for each in data.training}
    held_out = {each.utterance.speaker for each in data.validation}
    assert (len(learnt), len(held_out)) == (3, 1)
    assert not learnt & held_out


@pytest.mark.parametrize("source", [{"validation_partition": "train"}, {"validation_speakers": 0.5}])
def test_every_seed_is_validated_by_the_same_utterances(tones: Path, source: dict[str, Any]) -> None:
    def heard(seed: int) -> tuple[int, list[str]]:
        values = _recipe({"path": "tones", **source}).model_dump()
        recipe = RecogniserRecipe.parse(values | {"seed": seed, "training": {"validation_utterances": 4}})
        data = gather(recipe, tones)
        return len(data.validation), [item.utterance.id for item in SpeechModule(data, recipe).validation]

    available, chosen = heard(1)
    assert available > len(chosen) == 4
    assert all(heard(seed) == (available, chosen) for seed in range(2, 8))


@pytest.mark.parametrize(
    ("source", "trained", "validated"),
    [
        ({"validation_partition": "test"}, {"s0", "s1", "s2"}, {"s3"}),
        ({"validation_partition": "train"}, {"s3"}, {"s0", "s1", "s2"}),
        ({"training_partitions": ["train"], "validation_partition": "test"}, {"s0", "s1", "s2"}, {"s3"}),
    ],
)
def test_official_parts_are_kept(tones: Path, source: dict[str, Any], trained: set[str], validated: set[str]) -> None:
    data = gather(_recipe({"path": "tones", **source}), tones)
    assert {each.utterance.speaker for each in data.training} == trained
    assert {each.utterance.speaker for each in data.validation} == validated


def test_a_part_that_is_neither_stays_out(tones: Path) -> None:
    source = {"path": "tones", "training_partitions": ["train"], "validation_speakers": 0.3}
    data = gather(_recipe(source), tones)
    assert {each.utterance.speaker for each in [*data.training, *data.validation]} == {"s0", "s1", "s2"}


@pytest.mark.parametrize(
    ("corpora", "message"),
    [
        ([{"path": "tones"}, {"path": "tones", "validation_speakers": 0.3}], "in both train and validation"),
        (
            [{"path": "tones", "training_partitions": ["train", "test"], "validation_partition": "test"}],
            "tones/s3 in both train and validation",
        ),
    ],
)
def test_a_validation_speaker_who_is_also_trained_on_is_refused(
    tones: Path, corpora: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        gather(_recipe(*corpora), tones)


@pytest.mark.parametrize("source", [{"validation_partition": "tset"}, {"training_partitions": ["tset"]}])
def test_an_official_part_that_is_none_is_refused(tones: Path, source: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="has no part tset; choose among test, train"):
        gather(_recipe({"path": "tones", **source}), tones)


@pytest.mark.parametrize("source", [{"validation_speakers": 0.3}, {"validation_partition": "test"}])
def test_what_was_held_out_is_found_again(tones: Path, source: dict[str, Any]) -> None:
    recipe = _recipe({"path": "tones", **source})
    validated = {item.utterance.id for item in gather(recipe, tones).validation}
    assert {utterance.id for utterance in held_out(recipe, tones / "tones")} == validated


@pytest.mark.parametrize(
    ("path", "problem"), [("tones", "holds nothing of this corpus out"), ("ones", "does not train on this corpus")]
)
def test_a_corpus_of_which_nothing_was_held_out_is_refused(tones: Path, path: str, problem: str) -> None:
    with pytest.raises(TrainingError, match=problem):
        held_out(_recipe({"path": path}), tones / "tones")


def test_nothing_held_out_is_refused(tones: Path) -> None:
    with pytest.raises(TrainingError, match="32 utterances to train on and 0 to validate on"):
        gather(_recipe({"path": "tones"}), tones)


def test_too_little_says_what_was_left_out(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones / "tones", tmp_path / "tones")
    manifest = tmp_path / "tones" / "manifest.jsonl"
    first, *others = map(json.loads, manifest.read_text().splitlines())
    lines = [{**first, "audio": "lost.wav"}, *({**each, "text": "[noise]"} for each in others)]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(TrainingError, match=r"left out: no transcript: 31, audio missing: 1"):
        gather(_recipe({"path": "tones", "validation_speakers": 0.3}), tmp_path)


def test_sound_that_is_damaged_later_is_left_out(tones: Path, tmp_path: Path, write_recipe: Write) -> None:
    data = tmp_path / "data"
    shutil.copytree(tones, data)
    recipe = RecogniserRecipe.read(write_recipe(1))
    lost = gather(recipe, data).training[0].utterance.audio
    whole = gather

    def then_damaged(recipe: RecogniserRecipe, root: Path) -> Any:
        found = whole(recipe, root)
        lost.write_bytes(b"no sound")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("affetto.training.recogniser.fit.gather", then_damaged)
        result = fit_recogniser(recipe, data, tmp_path / "run", placement=ONE)
    assert result.exists()
