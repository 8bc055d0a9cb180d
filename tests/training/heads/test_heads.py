"""Training one head: the paper's annealing, the best epoch, the same seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from tests.training.banks import make_bank

from affetto.errors import TrainingError
from affetto.metrics import uar
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
from affetto.training.heads.fit import Study, new_head
from affetto.training.heads.loop import HeadTraining, fit_head, mean_loss, predictions
from affetto.training.heads.tasks import HeadData, Task, class_weights, measure

CLASSES = ("anger", "neutral", "sadness")
COUNT = 90
BRANCH = BranchConfig(units=4, depth=1)
HEADS: dict[str, HeadConfig] = {
    "baseline": BaselineConfig(branch=BRANCH, dropout=0.1),
    "mean_pooling": MeanPoolingConfig(layer="gru1"),
    "recurrent": RecurrentConfig(layer="gru1", units=4),
    "progressive": ProgressiveConfig(layer="gru1", branch=BRANCH, standardise=True),
    "weighted_sum": WeightedSumConfig(layer="all", standardise=True),
    "attentive_statistics": AttentiveStatisticsConfig(layer="gru1", units=4),
}
LAYERS = (LayerInfo("gru1", 4, 25.0), LayerInfo("gru2", 4, 25.0))
QUICK = HeadTraining(epochs=30, batch_size=8, learning_rate=0.02)
TASK = Task(0, 0, *np.arange(COUNT).reshape(3, -1))

MakeMaterial = Callable[..., HeadData]


@pytest.fixture
def make_material(tmp_path: Path) -> MakeMaterial:
    def make(kind: str = "mean_pooling", noise: float = 0.3) -> HeadData:
        config = HEADS[kind]
        banks = {
            name: make_bank(tmp_path / str(seed), COUNT, 4, seed=seed, longest=1 if config.pooling else 6, noise=noise)
            for seed, name in enumerate(config.inputs(config.choose(LAYERS)))
        }
        if config.acoustic is not None:
            banks[ACOUSTIC] = make_bank(tmp_path / "acoustic", COUNT, config.acoustic.width, seed=2, noise=noise)
        return HeadData(banks, torch.eye(3)[torch.arange(COUNT) % 3], share=1 / 3)

    return make


def _head(kind: str, material: HeadData, seed: int = 0) -> EmotionHead:
    head = new_head(HEADS[kind], Study(CLASSES, material.targets, 1 / 3, {}, LAYERS, None, seed))
    measure(head, material, TASK.training)
    return head


@pytest.mark.parametrize("kind", HEADS)
def test_learns_what_can_be_told_apart(kind: str, make_material: MakeMaterial) -> None:
    material = make_material(kind)
    head = _head(kind, material)
    curve = fit_head(head, material, TASK, QUICK, seed=0)
    assert curve[-1].validation_loss < 0.5 * curve[0].validation_loss
    predicted = [CLASSES[index] for index in predictions(head, material, TASK.test).argmax(-1)]
    assert uar([CLASSES[place % 3] for place in TASK.test], predicted) == 1


def test_keeps_the_epoch_with_the_lowest_validation_loss(make_material: MakeMaterial) -> None:
    material = make_material(noise=2.0)
    head = _head("mean_pooling", material)
    config = HeadTraining(epochs=40, batch_size=4, learning_rate=0.2, patience=40)
    losses = [each.validation_loss for each in fit_head(head, material, TASK, config, seed=0)]
    assert min(losses) < losses[-1]
    assert mean_loss(head, material, TASK.validation) == pytest.approx(min(losses), rel=1e-5)


def _worsening(make_material: MakeMaterial, config: HeadTraining) -> list[float]:
    """The learning rates of a training whose validation labels are wrong, so that it gets worse from the start."""
    material = make_material()
    material.targets[TASK.validation] = material.targets[TASK.validation].roll(1, dims=1)
    curve = fit_head(_head("mean_pooling", material), material, TASK, config, seed=0)
    losses = [each.validation_loss for each in curve]
    assert losses == sorted(losses)
    return [each.learning_rate for each in curve]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_anneals_after_so_many_epochs_without_progress(patience: int, make_material: MakeMaterial) -> None:
    config = HeadTraining(epochs=1 + 3 * patience, learning_rate=0.01, patience=patience, anneal=4)
    rates = [0.01] * (1 + patience) + [0.01 / 4] * patience + [0.01 / 16] * patience
    assert _worsening(make_material, config) == pytest.approx(rates)


@pytest.mark.parametrize("limit", [1e-4, 1e-9])
def test_stops_when_the_learning_rate_falls_below_the_limit(limit: float, make_material: MakeMaterial) -> None:
    config = HeadTraining(epochs=300, learning_rate=0.01, patience=1, anneal=10, stop_learning_rate=limit * 1.5)
    rates = _worsening(make_material, config)
    assert rates[-1] == pytest.approx(limit * 10)
    assert len(rates) < 30


def test_the_same_seed_gives_the_same_head_and_another_another(make_material: MakeMaterial) -> None:
    material = make_material("progressive")

    def fit(seed: int) -> torch.Tensor:
        head = _head("progressive", material)
        fit_head(head, material, TASK, HeadTraining(epochs=3, batch_size=4, learning_rate=0.01), seed)
        return head.output.weight.detach()

    assert torch.equal(fit(1), fit(1))
    assert not torch.equal(fit(1), fit(2))


def test_leaves_torchs_random_numbers_as_they_were(make_material: MakeMaterial) -> None:
    before = torch.get_rng_state()
    material = make_material()
    fit_head(_head("mean_pooling", material), material, TASK, HeadTraining(epochs=1), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_cross_entropy_is_scikit_learns(make_material: MakeMaterial) -> None:
    material = make_material()
    head, everyone = _head("mean_pooling", material), np.arange(COUNT)  # more than one batch
    shares = predictions(head, material, everyone).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    expected = log_loss(everyone % 3, shares / shares.sum(axis=1, keepdims=True))
    assert mean_loss(head, material, everyone) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_nothing_to_learn_from_is_refused(part: str, make_material: MakeMaterial) -> None:
    material = make_material()
    task = TASK._replace(**{part: np.zeros(0, dtype=np.int64)})
    with pytest.raises(TrainingError, match="no utterances to train or validate on"):
        fit_head(_head("mean_pooling", material), material, task, QUICK, seed=0)


def test_classes_weigh_the_same_where_asked() -> None:
    targets = torch.eye(3)[[0] * 6 + [1] * 3 + [2]]
    weights = class_weights(targets, np.arange(10))
    assert (targets.sum(dim=0) * weights).tolist() == pytest.approx([10 / 3] * 3)


@pytest.mark.parametrize(("balanced", "expected"), [(False, 0.9), (True, 0.5)])
def test_balanced_training_predicts_the_rare_class(balanced: bool, expected: float, tmp_path: Path) -> None:
    """Nothing tells the classes apart, so that only their frequency is learnt, or, balanced, nothing."""
    silence = make_bank(tmp_path / "layer", COUNT, 4, longest=1, noise=0.0, signal=0.0)
    targets = torch.eye(3)[[int(place % 10 == 0) for place in range(COUNT)]]
    material = HeadData({"gru1/mean": silence}, targets, share=1 / 3)
    head = _head("mean_pooling", material)
    config = HeadTraining(epochs=80, batch_size=30, learning_rate=0.2, balanced=balanced, patience=80)
    fit_head(head, material, TASK, config, seed=0)
    said = predictions(head, material, TASK.test)[0]
    assert said[:2].tolist() == pytest.approx([expected, 1 - expected], abs=0.05)
