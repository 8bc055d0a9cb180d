"""Training heads: the paper's annealing, the best epoch, the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from affetto.errors import TrainingError
from affetto.features.acoustic import AcousticConfig
from affetto.metrics import uar
from affetto.models.heads import BaselineConfig, BranchConfig, EmotionHead, MeanPoolingConfig, ProgressiveConfig
from affetto.training.heads import Example, HeadTraining, batch_of, cross_entropy, fit_head, probabilities

CLASSES = ("anger", "neutral", "sadness")
BRANCH = BranchConfig(units=4, depth=1)
QUICK = HeadTraining(epochs=30, batch_size=8, learning_rate=0.02)
WIDTH = AcousticConfig().width


def _examples(count: int, seed: int, *, noise: float = 0.3) -> list[Example]:
    """A layer whose average tells the class, and acoustic features that do, too."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        label = number % 3
        time = int(torch.randint(2, 6, (), generator=generator))
        layer = noise * torch.randn(1, 4, generator=generator) + torch.eye(4)[label]
        acoustic = noise * torch.randn(time, WIDTH, generator=generator) + torch.eye(WIDTH)[label]
        made.append(Example(layer, acoustic, label))
    return made


def _head(kind: str = "mean_pooling", seed: int = 0) -> EmotionHead:
    configs: dict[str, Any] = {
        "baseline": BaselineConfig(branch=BRANCH, dropout=0.1),
        "mean_pooling": MeanPoolingConfig(layer="gru1"),
        "progressive": ProgressiveConfig(layer="gru1", branch=BRANCH, standardise=True),
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return EmotionHead(configs[kind], CLASSES, 0 if kind == "baseline" else 4)


def _read(examples: Sequence[Example], head: EmotionHead) -> list[Example]:
    """Only what a head reads."""
    return [
        Example(each.layer if head.layer else None, each.acoustic if head.acoustic else None, each.label)
        for each in examples
    ]


@pytest.mark.parametrize("kind", ["baseline", "mean_pooling", "progressive"])
def test_learns_what_can_be_told_apart(kind: str) -> None:
    head = _head(kind)
    training, validation, test = (_read(_examples(36, seed), head) for seed in (1, 2, 3))
    curve = fit_head(head, training, validation, QUICK, seed=0)
    assert curve[-1].validation_loss < 0.5 * curve[0].validation_loss
    predicted = [CLASSES[index] for index in probabilities(head, test).argmax(-1)]
    assert uar([CLASSES[each.label] for each in test], predicted) == 1
    assert not head.training


def test_keeps_the_epoch_with_the_lowest_validation_loss() -> None:
    head = _head()
    training = _read(_examples(12, 1, noise=2.0), head)
    validation = _read(_examples(60, 2, noise=2.0), head)
    config = HeadTraining(epochs=40, batch_size=4, learning_rate=0.2, patience=40)
    losses = [each.validation_loss for each in fit_head(head, training, validation, config, seed=0)]
    assert min(losses) < losses[-1]
    assert cross_entropy(head, validation) == pytest.approx(min(losses), rel=1e-5)


def _worsening(config: HeadTraining) -> list[float]:
    """The learning rates of a training whose validation labels are wrong, so that it gets worse from the start."""
    head = _head()
    training = _read(_examples(12, 1), head)
    validation = [each._replace(label=(each.label + 1) % 3) for each in training]
    curve = fit_head(head, training, validation, config, seed=0)
    losses = [each.validation_loss for each in curve]
    assert losses == sorted(losses)
    return [each.learning_rate for each in curve]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_anneals_after_so_many_epochs_without_progress(patience: int) -> None:
    config = HeadTraining(epochs=1 + 3 * patience, learning_rate=0.01, patience=patience, anneal=4)
    rates = [0.01] * (1 + patience) + [0.01 / 4] * patience + [0.01 / 16] * patience
    assert _worsening(config) == pytest.approx(rates)


@pytest.mark.parametrize("limit", [1e-4, 1e-9])
def test_stops_when_the_learning_rate_falls_below_the_limit(limit: float) -> None:
    config = HeadTraining(epochs=300, learning_rate=0.01, patience=1, anneal=10, stop_learning_rate=limit * 1.5)
    rates = _worsening(config)
    assert rates[-1] == pytest.approx(limit * 10)
    assert len(rates) < 30


def test_the_same_seed_gives_the_same_head_and_another_another() -> None:
    training = _examples(20, 1)
    weights = []

    def fit(seed: int) -> torch.Tensor:
        head = _head("progressive")
        fit_head(head, training, training, HeadTraining(epochs=3, batch_size=4, learning_rate=0.01), seed)
        weights.append(head.output.weight.detach())
        return weights[-1]

    assert torch.equal(fit(1), fit(1))
    assert not torch.equal(fit(1), fit(2))


def test_leaves_torchs_random_numbers_as_they_were() -> None:
    before = torch.get_rng_state()
    head = _head()
    fit_head(head, _read(_examples(9, 1), head), _read(_examples(9, 2), head), HeadTraining(epochs=1), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("part", "faulty"), [("training", 0), ("validation", 1)])
def test_values_that_are_no_numbers_end_it(part: str, faulty: int) -> None:
    head = _head()
    parts = [_read(_examples(9, seed), head) for seed in (1, 2)]
    parts[faulty][4] = Example(torch.full((1, 4), float("nan")), None, 0)
    with pytest.raises(TrainingError, match=f"the {part} loss became nan; look for values that are not numbers"):
        fit_head(head, parts[0], parts[1], HeadTraining(epochs=2), seed=0)


@pytest.mark.parametrize(("training", "validation"), [(0, 3), (3, 0)])
def test_nothing_to_learn_from_is_refused(training: int, validation: int) -> None:
    with pytest.raises(TrainingError, match="no utterances to train or validate on"):
        fit_head(_head(), _examples(training, 1), _examples(validation, 2), QUICK, seed=0)


def test_cross_entropy_is_scikit_learns() -> None:
    head = _head()
    examples = _read(_examples(150, 1), head)  # more than one batch
    shares = probabilities(head, examples).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    expected = log_loss([each.label for each in examples], shares / shares.sum(axis=1, keepdims=True))
    assert cross_entropy(head, examples) == pytest.approx(expected, rel=1e-4)


def test_balanced_training_hears_the_rare_class() -> None:
    """Nothing tells the classes apart, so that only their frequency is learnt, or, balanced, nothing."""
    examples = [Example(torch.zeros(1, 4), None, 0 if number % 10 else 1) for number in range(40)]
    config = HeadTraining(epochs=60, batch_size=40, learning_rate=0.2)

    def fit(balanced: bool) -> torch.Tensor:
        head = _head()
        fit_head(head, examples, examples, config.model_copy(update={"balanced": balanced}), seed=0)
        return probabilities(head, examples[:1])[0]

    assert fit(False)[0] > 0.8
    assert fit(True)[:2].tolist() == pytest.approx([0.5, 0.5], abs=0.1)


def test_a_batch_is_padded_to_its_longest() -> None:
    examples = [Example(None, torch.ones(length, 2), length) for length in (1, 3)]
    layer, acoustic, labels = batch_of(examples)
    assert layer is None
    assert acoustic is not None
    assert acoustic.values.shape == (2, 3, 2)
    assert (acoustic.lengths.tolist(), labels.tolist()) == ([1, 3], [1, 3])
