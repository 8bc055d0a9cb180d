"""Heads solved at once: the minimum is scikit-learn's, and strangers pull weights away from where they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tests.training.banks import make_bank

from affetto.errors import TrainingError
from affetto.models.heads import EmotionHead
from affetto.models.heads.attentive_statistics import AttentiveStatisticsConfig
from affetto.models.heads.mean_pooling import MeanPoolingConfig
from affetto.training.heads.data import HeadData, measure
from affetto.training.heads.linear import LinearTraining, scatter, solve
from affetto.training.heads.tasks import Task

CLASSES = ("anger", "neutral", "sadness")
COUNT = 90
TASK = Task(0, 0, *np.arange(COUNT).reshape(3, -1))
NAME = "gru1/mean"


@pytest.fixture
def data(tmp_path: Path) -> HeadData:
    bank = make_bank(tmp_path / "bank", COUNT, 4, longest=1, noise=0.7)
    return HeadData({NAME: bank}, torch.eye(3)[torch.arange(COUNT) % 3], share=1 / 3)


def _head(data: HeadData) -> EmotionHead:
    head = EmotionHead(MeanPoolingConfig(layer="gru1", standardise=True), CLASSES, {"gru1": 4})
    measure(head, data, TASK.training)
    return head


def test_the_minimum_is_scikit_learns(data: HeadData) -> None:
    head = _head(data)
    found = solve(head, data, TASK, LinearTraining(l2=0.05, strength=0, balanced=False))
    part = head.parts["pooled"].standardise
    rows = torch.cat([variant[TASK.training] for variant in data.banks[NAME].dense])
    values = ((rows - part.mean) / part.deviation).numpy()
    theirs = LogisticRegression(C=1 / (0.05 * len(values)), tol=1e-8).fit(values, np.tile(TASK.training % 3, 2))
    np.testing.assert_allclose(head.output.weight.detach(), theirs.coef_, atol=1e-3)
    assert found.validation_loss < np.log(3)


def test_directions_in_which_calm_strangers_differ_weigh_less(data: HeadData, tmp_path: Path) -> None:
    plain, wary = _head(data), _head(data)
    solve(plain, data, TASK, LinearTraining(l2=0.05))
    strangers = make_bank(tmp_path / "strangers", 40, 4, longest=1, noise=0.01, signal=0.0)
    strangers.dense[:, :, 0] += 5.0  # strangers' recordings differ in the first column alone
    solve(wary, data, TASK, LinearTraining(l2=0.05, strength=10), {NAME: strangers})
    ratio = wary.output.weight.norm(dim=0) / plain.output.weight.norm(dim=0)
    assert ratio[0] < 0.6 * ratio[1:3].min()


def test_the_scatter_is_numpys() -> None:
    generator = torch.Generator().manual_seed(1)
    strangers, calm = torch.randn(30, 3, generator=generator), torch.randn(3, generator=generator)
    away = strangers.numpy() - (strangers.numpy().mean(axis=0) + calm.numpy()) / 2
    np.testing.assert_allclose(
        scatter(strangers, calm), np.cov(away.T, bias=True) + np.outer(m := away.mean(axis=0), m), atol=1e-5
    )


def test_what_cannot_be_solved_is_refused(data: HeadData) -> None:
    head = EmotionHead(AttentiveStatisticsConfig(layer="gru1", units=2), CLASSES, {"gru1": 4})
    with pytest.raises(TrainingError, match="cannot be solved at once; train it in epochs"):
        solve(head, data, TASK, LinearTraining())
    with pytest.raises(TrainingError, match="no class 'calm'; choose calm among anger, neutral, sadness"):
        solve(_head(data), data, TASK, LinearTraining(calm="calm"), data.banks)
