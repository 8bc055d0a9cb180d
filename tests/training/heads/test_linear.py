"""Heads solved at once: the minimum is scikit-learn's, and strangers pull weights away from where they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tests.training.banks import make_bank

from affetto.errors import TrainingError
from affetto.models.heads import EmotionHead, load_head, save_head
from affetto.models.heads.head import Familiarity
from affetto.models.heads.kinds import AttentiveStatisticsConfig, MeanPoolingConfig
from affetto.training.heads.linear import (
    FamiliarityConfig,
    HiddenTraining,
    LinearTraining,
    familiarity,
    scatter,
    solve,
    train_hidden,
)
from affetto.training.heads.tasks import HeadData, Task, measure

CLASSES = ("anger", "neutral", "sadness")
COUNT = 90
TASK = Task(0, 0, *np.arange(COUNT).reshape(3, -1))
NAME = "gru1/mean"


@pytest.fixture
def data(tmp_path: Path) -> HeadData:
    bank = make_bank(tmp_path / "bank", COUNT, 4, longest=1, noise=0.7)
    return HeadData({NAME: bank}, torch.eye(3)[torch.arange(COUNT) % 3], share=1 / 3)


def _head(data: HeadData, hidden: int = 0) -> EmotionHead:
    head = EmotionHead(MeanPoolingConfig(layer="gru1", standardise=True, hidden=hidden), CLASSES, {"gru1": 4})
    measure(head, data, TASK.training)
    return head


def test_the_minimum_is_scikit_learns(data: HeadData) -> None:
    head = _head(data)
    _, validation_loss = solve(head, data, TASK, LinearTraining(l2=0.05, strength=0, balanced=False))
    part = head.parts["pooled"].standardise
    rows = torch.cat([variant[TASK.training] for variant in data.banks[NAME].dense])
    values = ((rows - part.mean) / part.deviation).numpy()
    theirs = LogisticRegression(C=1 / (0.05 * len(values)), tol=1e-8).fit(values, np.tile(TASK.training % 3, 2))
    np.testing.assert_allclose(head.output.weight.detach(), theirs.coef_, atol=1e-3)
    assert validation_loss < np.log(3)


def test_directions_in_which_calm_strangers_differ_weigh_less(data: HeadData, tmp_path: Path) -> None:
    plain, wary = _head(data), _head(data)
    solve(plain, data, TASK, LinearTraining(l2=0.05))
    strangers = make_bank(tmp_path / "strangers", 40, 4, longest=1, noise=0.01, signal=0.0)
    strangers.dense[:, :, 0] += 5.0  # strangers' recordings differ in the first column alone
    solve(wary, data, TASK, LinearTraining(l2=0.05, strength=10), {NAME: strangers})
    ratio = wary.output.weight.norm(dim=0) / plain.output.weight.norm(dim=0)
    assert ratio[0] < 0.6 * ratio[1:3].min()


HIDDEN = HiddenTraining(epochs=80, batch_size=10, learning_rate=0.03, weight_decay=0.01, dropout=0.1, members=2)


def _accuracy(head: EmotionHead, data: HeadData, places: NDArray[np.int64]) -> float:
    with torch.no_grad():
        predicted = head({NAME: data.banks[NAME].batch(places)}).argmax(dim=1)
    return float((predicted == data.targets_of(places).argmax(dim=1)).float().mean())


def test_a_hidden_layer_parts_what_no_line_does(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank", 600, 4, longest=1, noise=1.0, signal=0.0)
    task = Task(0, 0, *np.arange(600).reshape(3, -1))
    bank.dense[1:] = bank.dense[:1]  # all variants are the sound itself
    far = bank.dense[0, :, :1].abs() > 0.67  # half of them, on either side
    data = HeadData({NAME: bank}, torch.where(far, torch.eye(3)[0], torch.eye(3)[1]), share=1 / 3)
    plain, deep = _head(data), _head(data, hidden=16)
    solve(plain, data, task, LinearTraining(l2=0.01))
    curve = train_hidden(deep, data, task, HIDDEN)
    assert _accuracy(plain, data, task.validation) < 0.7
    assert _accuracy(deep, data, task.validation) > 0.8
    assert [each.epoch for each in curve] == list(range(80))
    assert curve[-1].training_loss < curve[0].training_loss


def test_a_hidden_layer_reads_little_of_what_strangers_differ_in(data: HeadData, tmp_path: Path) -> None:
    plain, wary = _head(data, hidden=16), _head(data, hidden=16)
    train_hidden(plain, data, TASK, HIDDEN)
    strangers = make_bank(tmp_path / "strangers", 40, 4, longest=1, noise=0.01, signal=0.0)
    strangers.dense[:, :, 0] += 5.0
    train_hidden(wary, data, TASK, HIDDEN.model_copy(update={"strength": 10.0}), {NAME: strangers})
    ratio = wary.output[0].weight.norm(dim=0) / plain.output[0].weight.norm(dim=0)
    assert ratio[0] < 0.6 * ratio[1:3].min()


def test_a_hidden_layer_is_trained_the_same_again(data: HeadData) -> None:
    torch.manual_seed(0)
    first, again, other = (_head(data, hidden=4) for _ in range(3))
    for each in (again, other):
        each.load_state_dict(first.state_dict())
    state = torch.get_rng_state()
    for head, seed in ((first, 1), (again, 1), (other, 2)):
        train_hidden(head, data, TASK, HIDDEN, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.output[0].weight, again.output[0].weight)
    assert not torch.equal(first.output[0].weight, other.output[0].weight)


def test_weights_of_a_layer_of_half_the_scale_cost_four_times_as_much(data: HeadData) -> None:
    dear, small = _head(data), _head(data)
    solve(dear, data, TASK, LinearTraining(l2=0.2))
    solve(small, data, TASK, LinearTraining(l2=0.05, trust=(0.5,)))
    torch.testing.assert_close(small.output.weight, dear.output.weight, atol=1e-3, rtol=1e-3)
    with pytest.raises(TrainingError, match="trust has 2 numbers; give one for each of the head's layers, gru1"):
        solve(_head(data), data, TASK, LinearTraining(trust=(0.5, 1.0)))


def test_the_distance_of_the_familiar_is_mahalanobis() -> None:
    values = torch.randn(200, 5, generator=torch.Generator().manual_seed(1)) @ torch.diag(torch.arange(1.0, 6.0))
    known = Familiarity.fitted(values, values, components=5, quantile=0.9)
    away = (values - values.mean(dim=0)).numpy()
    expected = np.sqrt(np.einsum("ij,jk,ik->i", away, np.linalg.inv(away.T @ away / 200), away) / 5)
    np.testing.assert_allclose(known.distance(values), expected, rtol=1e-3)
    assert known(values).float().mean() == pytest.approx(0.9, abs=0.01)


def test_a_head_keeps_what_is_familiar_to_it(data: HeadData, tmp_path: Path) -> None:
    head = _head(data)
    head.familiarity = familiarity(head, data.banks, TASK, FamiliarityConfig(components=9, quantile=0.95))
    save_head(tmp_path / "head.safetensors", head, {})
    kept = load_head(tmp_path / "head.safetensors")[0].familiarity
    vectors = torch.randn(20, 4)
    assert kept is not None
    assert torch.equal(kept.distance(vectors), head.familiarity.distance(vectors))


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
    with pytest.raises(TrainingError, match="cannot be solved at once"):
        solve(_head(data, hidden=3), data, TASK, LinearTraining())
    with pytest.raises(TrainingError, match="no hidden layer over statistics; give it hidden units"):
        train_hidden(_head(data), data, TASK, HIDDEN)
    with pytest.raises(TrainingError, match="7 hidden units cannot be shared out among 2 members; choose a multiple"):
        train_hidden(_head(data, hidden=7), data, TASK, HIDDEN)
