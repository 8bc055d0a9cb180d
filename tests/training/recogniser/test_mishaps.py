"""What goes wrong in a training: losses that are no numbers, gradients that explode, disks that are full."""

from __future__ import annotations

import csv
import errno
import logging
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from affetto.errors import TrainingError
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.network import load_recogniser
from affetto.training.recogniser.fit import WholeCheckpoints, fit_recogniser
from affetto.training.recogniser.processes import Placement
from affetto.training.recogniser.recipe import RecogniserRecipe
from affetto.training.recogniser.task import RecogniserTask, SafeSteps

Write = Callable[..., Path]
ONE = Placement(devices=1)

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning advises on workers and logging


def _last(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)
    return state


def _spoil(monkeypatch: pytest.MonkeyPatch, spoilt: Callable[[int], bool]) -> None:
    """Makes the input of some training steps, counted from 0, no numbers."""
    mask, steps = "affetto.training.recogniser.task.mask_frames", iter(range(10_000))

    def masked(inputs: Any, config: object, **_: object) -> Any:
        return inputs._replace(values=inputs.values * float("nan")) if spoilt(next(steps)) else inputs

    monkeypatch.setattr(mask, masked)


def test_a_batch_that_is_no_number_is_skipped_counted_and_named(
    tones: Path, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _spoil(monkeypatch, {2, 5}.__contains__)
    recipe = RecogniserRecipe.read(write_recipe(2))
    with caplog.at_level(logging.WARNING, logger="affetto"):
        model, _ = load_recogniser(fit_recogniser(recipe, tones, tmp_path / "run", placement=ONE))
    assert all(each.isfinite().all() for each in model.state_dict().values())
    assert caplog.text.count("step left out: gradient nan") == 2
    assert caplog.text.count("of the utterances s") == 2  # the tones' utterances are s0-0, s0-1, ...
    (log,) = (tmp_path / "run").glob("csv/*/metrics.csv")
    assert [row["skipped"] for row in csv.DictReader(log.open()) if row.get("cer")] == ["2.0", "2.0"]


def test_too_many_in_a_row_end_the_training(
    tones: Path, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RecogniserRecipe.read(write_recipe(3, more="most_skipped = 3"))
    with monkeypatch.context() as patch:
        _spoil(patch, lambda step: step >= 7)  # in the second epoch
        with pytest.raises(TrainingError, match=r"3 steps in a row had no usable gradient .*lower learning_rate"):
            fit_recogniser(recipe, tones, tmp_path / "run", placement=ONE)
    assert _last(tmp_path / "run")["epoch"] == 0
    fit_recogniser(recipe, tones, tmp_path / "run", placement=ONE)
    assert _last(tmp_path / "run")["epoch"] == 2


def test_a_gradient_far_beyond_all_others_is_not_followed() -> None:
    layer, steps = nn.Linear(2, 1), SafeSteps(most=3)

    def judge(size: float) -> bool:
        layer.weight.grad = torch.full((1, 2), size)
        return steps.judge(layer, torch.tensor(size))

    assert all(judge(size) for size in [1.0, 50.0, 0.02] * 10)  # clipping sees to such
    assert not judge(1e6)
    assert layer.weight.grad is None
    assert judge(2.0)
    assert (steps.skipped, steps.in_a_row) == (1, 0)


@pytest.mark.parametrize("clip_norm", [0.5, 4.0])
def test_a_gradient_is_shortened_to_what_the_recipe_allows(write_recipe: Write, clip_norm: float) -> None:
    recipe = RecogniserRecipe.read(write_recipe(1, more=f"clip_norm = {clip_norm}"))
    task = RecogniserTask(DeepSpeech2(recipe.shape), recipe.training, seed=1)
    for parameter in task.parameters():
        parameter.grad = torch.ones_like(parameter)
    task.configure_gradient_clipping(torch.optim.SGD(task.parameters()))
    squares = sum(float(parameter.grad.square().sum()) for parameter in task.parameters() if parameter.grad is not None)
    assert squares**0.5 == pytest.approx(clip_norm, rel=1e-3)


def test_a_transcript_too_long_for_the_frames_costs_nothing(tones: Path, write_recipe: Write) -> None:
    """Speed may shorten what just fitted: its loss, which would be infinite, counts as 0."""
    recipe = RecogniserRecipe.read(write_recipe(1))
    from affetto.data.transcribed import batch_loader
    from affetto.training.recogniser.speech import gather

    data = gather(recipe, tones)
    task = RecogniserTask(DeepSpeech2(recipe.shape), recipe.training, seed=1)
    batch = batch_loader(task.alphabet)([data.training[0]._replace(text="abc" * 30), data.training[1]])
    assert batch is not None
    losses, _ = task._losses_of(task.model.features(batch.inputs), batch)
    assert losses[0].item() == 0.0 < losses[1].item() < float("inf")
    losses.sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in task.parameters())


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to write longer files, as a full disk does in their middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1, "weights": torch.ones(10)}, path)
    with _files_of_at_most(20_000), pytest.raises(TrainingError, match=r"last\.ckpt: .*cannot be written .*make room"):
        WholeCheckpoints().save_checkpoint({"epoch": 2, "weights": torch.ones(100_000)}, path)
    assert WholeCheckpoints().load_checkpoint(path)["epoch"] == 1
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


def test_a_training_goes_on_once_the_disk_has_room(
    tones: Path, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RecogniserRecipe.read(write_recipe(3))
    calls = iter(range(100))

    def full_in_the_second_epoch(_: int) -> None:
        if next(calls) >= 2:  # after the first epoch's best and last
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("affetto.files.os.fsync", full_in_the_second_epoch)
        with pytest.raises(TrainingError, match="No space left on device"):
            fit_recogniser(recipe, tones, tmp_path / "run", placement=ONE)
    assert _last(tmp_path / "run")["epoch"] == 0
    fit_recogniser(recipe, tones, tmp_path / "run", placement=ONE)
    assert _last(tmp_path / "run")["epoch"] == 2


def test_a_resumed_training_ends_as_one_that_was_never_stopped(
    tones: Path, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order, masks, speed and learning rates of an epoch do not depend on which epochs a process has run before."""
    more = "perturb = { speed = [0.9, 1.1] }\naugment = { frequency_masks = 1 }\n"
    recipe = RecogniserRecipe.read(write_recipe(3, more=more))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_recogniser(recipe, tones, whole, placement=ONE)
    step = RecogniserTask.training_step

    def interrupted(task: RecogniserTask, batch: Any, batch_index: int) -> Any:
        if task.current_epoch == 2:
            raise TrainingError("stopped", "go on")
        return step(task, batch, batch_index)

    with monkeypatch.context() as patch:
        patch.setattr(RecogniserTask, "training_step", interrupted)
        with pytest.raises(TrainingError, match="stopped"):
            fit_recogniser(recipe, tones, parts, placement=ONE)
    fit_recogniser(recipe, tones, parts, placement=ONE)
    for name, ours in _last(parts)["state_dict"].items():
        torch.testing.assert_close(ours, _last(whole)["state_dict"][name], msg=name)
