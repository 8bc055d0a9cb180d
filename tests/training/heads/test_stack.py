"""Heads trained together end as heads trained alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.banks import make_bank

from affetto.errors import TrainingError
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads import ACOUSTIC, EmotionHead, HeadConfig
from affetto.models.heads.kinds import (
    AttentiveStatisticsConfig,
    BaselineConfig,
    BranchConfig,
    MeanPoolingConfig,
    ProgressiveConfig,
    RecurrentConfig,
    WeightedSumConfig,
)
from affetto.training.heads import batches
from affetto.training.heads.fit import Study, new_head
from affetto.training.heads.loop import HeadTraining, fit_head, predictions
from affetto.training.heads.stack import StackTraining
from affetto.training.heads.tasks import Epoch, HeadData, Task, measure
from affetto.training.heads.unfinished import Unfinished

CLASSES = ("anger", "neutral", "sadness")
COUNT, WIDTH = 60, 5
BRANCH = BranchConfig(units=4, depth=2)
HEADS: dict[str, HeadConfig] = {
    "baseline": BaselineConfig(branch=BRANCH, standardise=True),
    "mean_pooling": MeanPoolingConfig(layer="gru1"),
    "mean_pooling, scaled": MeanPoolingConfig(layer="gru1", standardise=True, dropout=0.4),
    "recurrent": RecurrentConfig(layer="gru1", units=3, dropout=0.0),
    "recurrent, scaled": RecurrentConfig(layer="gru1", units=3, depth=2, standardise=True, stride=2),
    "progressive": ProgressiveConfig(layer="gru1", branch=BRANCH, standardise=True),
    "mean_pooling of more": MeanPoolingConfig(layer="all", statistics=("deviation", "mean"), standardise=True),
    "weighted_sum": WeightedSumConfig(standardise=True),
    "attentive_statistics": AttentiveStatisticsConfig(layer=("gru2", "gru1"), units=4, standardise=True),
}
LAYERS = (LayerInfo("gru1", WIDTH, 25.0), LayerInfo("gru2", WIDTH, 25.0))
TRAINING = HeadTraining(epochs=7, batch_size=8, learning_rate=0.02, weight_decay=0.01, clip_norm=0.5, patience=1)


@pytest.fixture
def material_of(tmp_path: Path) -> Callable[[HeadConfig], HeadData]:
    def make(config: HeadConfig) -> HeadData:
        banks = {
            name: make_bank(tmp_path / str(seed), COUNT, WIDTH, seed=seed, longest=1 if config.pooling else 8)
            for seed, name in enumerate(config.inputs(config.choose(LAYERS)))
        }
        if config.acoustic is not None:
            banks[ACOUSTIC] = make_bank(tmp_path / "acoustic", COUNT, config.acoustic.width, seed=2)
        targets = torch.eye(3)[torch.arange(COUNT) % 3]
        targets[::7] = 0.6 * targets[::7] + 0.2  # some raters disagree
        targets /= targets.sum(dim=1, keepdim=True)
        return HeadData(banks, targets, share=0.6)

    return make


def _tasks() -> list[Task]:
    """Three folds of unequal sizes, of two repeats."""
    fold_of = np.array([0] * 24 + [1] * 20 + [2] * 16)[np.random.default_rng(3).permutation(COUNT)]
    everyone = np.arange(COUNT)
    return [
        Task(
            repeat,
            fold,
            everyone[fold_of == (fold + 2) % 3],
            everyone[fold_of == (fold + 1) % 3],
            everyone[fold_of == fold],
        )
        for repeat in range(2)
        for fold in range(3)
    ]


def _heads(config: HeadConfig, tasks: list[Task]) -> list[EmotionHead]:
    study = Study(CLASSES, torch.empty(0, 3), 0.6, {}, LAYERS, None, seed=1)
    return [new_head(config, study, task.repeat, task.fold) for task in tasks]


def fit_stack(
    heads: list[EmotionHead], tasks: list[Task], material: HeadData, config: HeadTraining, seed: int
) -> list[list[Epoch]]:
    """Trains heads in place, and gives their learning curves."""
    training = StackTraining(heads, tasks, material, config, seed)
    while not training.done:
        training.run_epoch()
    training.finish()
    return training.curves


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("kind", HEADS)
def test_the_stack_ends_where_the_plain_loop_does(
    kind: str, balanced: bool, material_of: Callable[[HeadConfig], HeadData]
) -> None:
    config, tasks = HEADS[kind], _tasks()
    material = material_of(config)
    training = TRAINING.model_copy(update={"balanced": balanced})
    together, alone = _heads(config, tasks), _heads(config, tasks)
    curves = fit_stack(together, tasks, material, training, seed=5)
    for head, task, curve, stacked in zip(alone, tasks, curves, together, strict=True):
        measure(head, material, task.training)
        expected = fit_head(head, material, task, training, seed=5)
        np.testing.assert_allclose(curve, expected, rtol=2e-3, atol=2e-5)
        for part in (task.validation, task.test):
            np.testing.assert_allclose(
                predictions(stacked, material, part), predictions(head, material, part), atol=2e-3
            )


@pytest.mark.parametrize("kind", ["mean_pooling", "mean_pooling, scaled", "progressive"])
def test_the_stack_ends_where_the_plain_loop_does_with_dimensions(
    kind: str, material_of: Callable[[HeadConfig], HeadData]
) -> None:
    config, tasks = HEADS[kind], _tasks()
    material = material_of(config)._replace(targets=50 + 10 * torch.randn(COUNT, 2, generator=seeded(1)))
    study = Study((), torch.empty(0, 2), 0.6, {}, LAYERS, None, seed=1, dimensions=("valence", "activation"))
    together, alone = ([new_head(config, study, task.repeat, task.fold) for task in tasks] for _ in range(2))
    curves = fit_stack(together, tasks, material, TRAINING, seed=5)
    for head, task, curve, stacked in zip(alone, tasks, curves, together, strict=True):
        measure(head, material, task.training)
        expected = fit_head(head, material, task, TRAINING, seed=5)
        np.testing.assert_allclose(curve, expected, rtol=2e-3, atol=2e-4)
        found = predictions(stacked, material, task.test)
        np.testing.assert_allclose(found, predictions(head, material, task.test), atol=0.1)
        assert (found - 50).abs().max() < 60  # in the targets' units
        known = material.targets[torch.from_numpy(task.training)]
        np.testing.assert_allclose(stacked.units.mean, known.mean(dim=0), rtol=1e-5)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_heads_stop_one_by_one(material_of: Callable[[HeadConfig], HeadData]) -> None:
    config, tasks = HEADS["progressive"], _tasks()
    training = TRAINING.model_copy(update={"epochs": 60, "learning_rate": 0.2, "stop_learning_rate": 0.06})
    curves = fit_stack(_heads(config, tasks), tasks, material_of(config), training, seed=5)
    lengths = {len(curve) for curve in curves}
    assert len(lengths) > 1
    assert max(lengths) < 60
    for curve in curves:
        assert curve[-1].learning_rate / 2 < 0.06 <= curve[-1].learning_rate


@pytest.mark.parametrize("kind", ["mean_pooling, scaled", "progressive", "weighted_sum"])
@pytest.mark.parametrize("stopped_after", [1, 3])
def test_goes_on_to_the_bit(
    kind: str, stopped_after: int, material_of: Callable[[HeadConfig], HeadData], tmp_path: Path
) -> None:
    config, tasks = HEADS[kind], _tasks()
    training = TRAINING.model_copy(update={"epochs": 20, "learning_rate": 0.2, "stop_learning_rate": 0.06})
    material = material_of(config)
    whole = StackTraining(_heads(config, tasks), tasks, material, training, seed=5)
    while not whole.done:
        whole.run_epoch()
        if whole.epoch == stopped_after:
            Unfinished(tmp_path / "new" / "state", "it", every_s=0).keep(whole.snapshot)
    resumed = StackTraining(_heads(config, tasks), tasks, material, training, seed=5)
    kept = Unfinished(tmp_path / "new" / "state", "it").load()
    assert kept is not None
    resumed.resume(kept)
    assert resumed.epoch == stopped_after
    while not resumed.done:
        resumed.run_epoch()
    assert resumed.curves == whole.curves
    for training in (whole, resumed):
        training.finish()
    for part in ("validation", "test"):
        for one, other in zip(whole.predictions(part), resumed.predictions(part), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["mean_pooling", "progressive"])
def test_what_a_head_becomes_does_not_depend_on_its_mates(
    kind: str, material_of: Callable[[HeadConfig], HeadData]
) -> None:
    config, tasks = HEADS[kind], _tasks()
    material = material_of(config)
    everyone = StackTraining(_heads(config, tasks), tasks, material, TRAINING, seed=5)
    some = [tasks[1], tasks[4], tasks[5]]
    few = StackTraining(_heads(config, some), some, material, TRAINING, seed=5)
    for training in (everyone, few):
        while not training.done:
            training.run_epoch()
        training.finish()
    for part in ("validation", "test"):
        all_said = everyone.predictions(part)
        for place, said in zip((1, 4, 5), few.predictions(part), strict=True):
            np.testing.assert_allclose(said, all_said[place], atol=2e-3)


@pytest.mark.parametrize("kind", ["baseline", "recurrent, scaled", "progressive", "weighted_sum"])
def test_long_recordings_are_trained_on_a_few_heads_at_a_time(
    kind: str, material_of: Callable[[HeadConfig], HeadData], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tasks = HEADS[kind], _tasks()
    material, heads, same = material_of(config), _heads(config, tasks), _heads(config, tasks)
    curves = fit_stack(heads, tasks, material, TRAINING, seed=5)
    monkeypatch.setattr(batches, "NEAR_STATES", 600)
    again = fit_stack(same, tasks, material, TRAINING, seed=5)
    for curve, expected in zip(again, curves, strict=True):
        np.testing.assert_allclose(curve, expected, rtol=2e-3, atol=2e-5)


def test_says_of_a_part_what_each_head_says(material_of: Callable[[HeadConfig], HeadData]) -> None:
    config, tasks = HEADS["recurrent"], _tasks()
    heads, material = _heads(config, tasks), material_of(config)
    training = StackTraining(heads, tasks, material, TRAINING, seed=5)
    training.run_epoch()
    training.finish()
    for head, task, said in zip(heads, tasks, training.predictions("test"), strict=True):
        np.testing.assert_allclose(said, predictions(head, material, task.test), atol=1e-5)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_values_that_are_no_numbers_end_it(part: str, material_of: Callable[[HeadConfig], HeadData]) -> None:
    config, tasks = HEADS["mean_pooling"], _tasks()[:1]
    material = material_of(config)
    material.banks["gru1/mean"].dense[:, getattr(tasks[0], part)[0]] = float("nan")
    with pytest.raises(TrainingError, match="loss became nan; look for values"):
        fit_stack(_heads(config, tasks), tasks, material, TRAINING, seed=5)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_nothing_to_learn_from_is_refused(part: str, material_of: Callable[[HeadConfig], HeadData]) -> None:
    config = HEADS["mean_pooling"]
    task = _tasks()[0]._replace(**{part: np.zeros(0, dtype=np.int64)})
    with pytest.raises(TrainingError, match="no utterances to train or validate on"):
        StackTraining(_heads(config, [task]), [task], material_of(config), TRAINING, seed=5)
