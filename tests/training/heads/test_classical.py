"""The classical rows: chance, shares, and machines that agree with scikit-learn's own."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from affetto.errors import TrainingError
from affetto.training.heads import classical
from affetto.training.heads.classical import (
    FunctionalsSvmConfig,
    MostFrequentConfig,
    RandomConfig,
    fit_classical,
)
from affetto.training.heads.fit import ModelConfig
from affetto.training.heads.tasks import Outcome, Task

CLASSES = 3


def part(first: int, last: int) -> NDArray[np.int64]:
    return np.arange(first, last, dtype=np.int64)


def task(repeat: int = 0, fold: int = 0) -> Task:
    return Task(repeat, fold, part(0, 90), part(90, 150), part(150, 240))


@pytest.fixture
def labels(rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.choice(CLASSES, p=[0.5, 0.3, 0.2], size=240)


@pytest.fixture
def targets(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.eye(CLASSES)[labels]


@pytest.fixture
def features(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Blurred classes on very different scales; one feature never changes."""
    means = rng.normal(size=(CLASSES, 12))
    values = (means[labels] + 1.2 * rng.normal(size=(240, 12))) * np.logspace(-3, 6, 12) + 7
    values[:, 4] = 7
    return values.astype(np.float32)


def fit(config: FunctionalsSvmConfig, features: NDArray[np.float32], targets: NDArray[np.float64]) -> Outcome:
    return next(fit_classical(config, features, targets, [task()], seed=1))


def reference_decisions(
    features: NDArray[np.float32], labels: NDArray[np.int64], complexity: float, places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The same machines over the features themselves, one a class, out of a pipeline of scikit-learn."""
    columns = []
    for place in range(CLASSES):
        scaled = make_pipeline(StandardScaler(), SVC(kernel="linear", C=complexity / features.shape[1], tol=1e-6))
        scaled.fit(features[:90].astype(np.float64), labels[:90] == place)
        columns.append(scaled.decision_function(features[places].astype(np.float64)))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("complexity", [0.1, 1.0, 10.0])
def test_decisions_are_those_of_scikit_learn(
    complexity: float, features: NDArray[np.float32], labels: NDArray[np.int64], targets: NDArray[np.float64]
) -> None:
    config = FunctionalsSvmConfig(complexities=(complexity,), clip=1e6, balanced=False)
    outcome = fit(config, features, targets)
    expected = reference_decisions(features, labels, complexity, task().test)
    # Probabilities are a softmax of the decisions times one number: differences of logarithms are proportional.
    ours = np.log(outcome.test[:, 1:] / outcome.test[:, :1])
    theirs = expected[:, 1:] - expected[:, :1]
    ratio = (ours * theirs).sum() / (theirs * theirs).sum()
    assert ratio > 0
    np.testing.assert_allclose(ours, ratio * theirs, atol=0.01 * np.abs(ours).max())


def test_the_temperature_fits_the_validation_part_best(
    features: NDArray[np.float32], labels: NDArray[np.int64], targets: NDArray[np.float64]
) -> None:
    outcome = fit(FunctionalsSvmConfig(complexities=(1.0,), clip=1e6, balanced=False), features, targets)
    decisions = reference_decisions(features, labels, 1.0, task().validation)
    losses = [log_loss(labels[90:150], softmax(factor * decisions, axis=1)) for factor in np.logspace(-1.5, 1.5, 100)]
    assert log_loss(labels[90:150], outcome.validation) == pytest.approx(min(losses), abs=1e-3)


def test_the_machines_learn(
    features: NDArray[np.float32], labels: NDArray[np.int64], targets: NDArray[np.float64]
) -> None:
    outcome = fit(FunctionalsSvmConfig(), features, targets)
    assert (outcome.test.argmax(axis=1) == labels[150:]).mean() > 0.75
    assert outcome.parameters == (12 + 1) * CLASSES
    assert outcome.curve == ()
    assert (outcome.validation.shape, outcome.test.shape) == ((60, CLASSES), (90, CLASSES))
    assert outcome.test.dtype == np.float32


def test_the_test_part_chooses_nothing(features: NDArray[np.float32], targets: NDArray[np.float64]) -> None:
    before = fit(FunctionalsSvmConfig(), features, targets)
    other_targets, other_features = targets.copy(), features.copy()
    other_targets[150:] = np.roll(targets[150:], 1, axis=1)
    other_features[151:] *= -3
    after = fit(FunctionalsSvmConfig(), other_features, other_targets)
    np.testing.assert_array_equal(after.validation, before.validation)
    np.testing.assert_allclose(after.test[0], before.test[0], rtol=1e-5)


@pytest.mark.parametrize("chosen_by", ["cross_entropy", "uar"])
def test_the_validation_part_chooses_the_complexity(
    chosen_by: Literal["cross_entropy", "uar"],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    targets: NDArray[np.float64],
) -> None:
    complexities = (1e-4, 0.1, 100.0)
    single = [fit(FunctionalsSvmConfig(complexities=(each,)), features, targets) for each in complexities]
    truth = labels[90:150]
    merits = [
        balanced_accuracy_score(truth, each.validation.argmax(axis=1))
        if chosen_by == "uar"
        else -log_loss(truth, each.validation)
        for each in single
    ]
    chosen = fit(FunctionalsSvmConfig(complexities=complexities, chosen_by=chosen_by), features, targets)
    np.testing.assert_array_equal(chosen.test, single[int(np.argmax(merits))].test)
    assert min(merits) < max(merits)


def test_a_billion_is_clipped(features: NDArray[np.float32], targets: NDArray[np.float64]) -> None:
    far = features.copy()
    far[200:, 0] = 1e12
    farther = features.copy()
    farther[200:, 0] = 1e15
    config = FunctionalsSvmConfig()
    np.testing.assert_array_equal(fit(config, far, targets).test, fit(config, farther, targets).test)


def test_soft_targets_teach_their_largest_share(
    features: NDArray[np.float32], labels: NDArray[np.int64], targets: NDArray[np.float64]
) -> None:
    soft = 0.6 * targets + 0.4 / CLASSES
    config = FunctionalsSvmConfig(complexities=(1.0,))
    hard, softened = fit(config, features, targets), fit(config, features, soft)
    np.testing.assert_array_equal(hard.test.argmax(axis=1), softened.test.argmax(axis=1))
    assert softened.test.max(axis=1).mean() < hard.test.max(axis=1).mean()  # less sure, as they are


def test_what_no_chance_enters_is_fitted_once(
    features: NDArray[np.float32], targets: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Task] = []
    real = classical._fit_svm

    def count(config: FunctionalsSvmConfig, features: object, targets: object, task: Task) -> Outcome:
        fitted.append(task)
        return real(config, features, targets, task)  # type: ignore[arg-type]

    monkeypatch.setattr(classical, "_fit_svm", count)
    other = Task(0, 1, part(0, 90), part(150, 240), part(90, 150))
    tasks = [task(), other, task(repeat=1), other._replace(repeat=1)]
    outcomes = fit_classical(FunctionalsSvmConfig(complexities=(1.0,)), features, targets, tasks, seed=1)
    first = next(outcomes)
    assert len(fitted) == 1  # each is given out before the next is fitted
    others = list(outcomes)
    assert len(fitted) == 2
    np.testing.assert_array_equal(first.test, others[1].test)
    assert others[0].test.shape == (60, CLASSES)


@pytest.mark.parametrize("missing", ["features", "class"])
def test_what_cannot_be_fitted_is_named(
    missing: str, features: NDArray[np.float32], targets: NDArray[np.float64]
) -> None:
    if missing == "class":
        targets[:90] = [1, 0, 0]
    given_features = None if missing == "features" else features
    with pytest.raises(TrainingError, match=r"functionals|lacks class \[1, 2\]"):
        list(fit_classical(FunctionalsSvmConfig(), given_features, targets, [task()], seed=1))


def test_the_most_frequent_class_is_that_of_the_training_part(targets: NDArray[np.float64]) -> None:
    other = Task(0, 1, part(150, 240), part(90, 150), part(0, 90))
    outcomes = list(fit_classical(MostFrequentConfig(), None, targets, [task(), other], seed=1))
    np.testing.assert_allclose(outcomes[0].test, np.tile(targets[:90].mean(axis=0), (90, 1)), rtol=1e-6)
    np.testing.assert_allclose(outcomes[1].validation, np.tile(targets[150:].mean(axis=0), (60, 1)), rtol=1e-6)
    assert [each.parameters for each in outcomes] == [0, 0]


@settings(max_examples=20)
@given(classes=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), repeat=st.integers(0, 50), fold=st.integers(0, 50))
def test_chance_is_a_distribution_that_follows_seed_repeat_and_fold(
    classes: int, seed: int, repeat: int, fold: int
) -> None:
    def draw(seed: int, task: Task) -> Outcome:
        return next(fit_classical(RandomConfig(), None, np.zeros((240, classes)), [task], seed))

    first = draw(seed, task(repeat, fold))
    np.testing.assert_allclose(first.test.sum(axis=1), 1, rtol=1e-5)
    assert (first.test >= 0).all()
    np.testing.assert_array_equal(first.test, draw(seed, task(repeat, fold)).test)
    if classes > 1:
        for other in (draw(seed + 1, task(repeat, fold)), draw(seed, task(repeat + 1, fold))):
            assert not np.array_equal(first.test, other.test)
        assert not np.array_equal(first.test, draw(seed, task(repeat, fold + 1)).test)


def test_chance_prefers_no_class() -> None:
    many = Task(0, 0, part(0, 1), part(0, 2), part(0, 40_000))
    outcome = next(fit_classical(RandomConfig(), None, np.zeros((40_000, 4)), [many], seed=1))
    counts = np.bincount(outcome.test.argmax(axis=1), minlength=4)
    assert np.abs(counts - 10_000).max() < 400  # over four deviations
    assert outcome.parameters == 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"kind": "most_frequent"}, MostFrequentConfig),
        ({"kind": "random"}, RandomConfig),
        ({"kind": "functionals_svm", "feature_set": "eGeMAPSv02", "complexities": [0.1]}, FunctionalsSvmConfig),
    ],
)
def test_rows_are_told_apart_by_kind(values: dict[str, object], kind: type) -> None:
    assert type(TypeAdapter(ModelConfig).validate_python(values)) is kind


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "guess"},
        {"kind": "random", "seed": 1},
        {"kind": "functionals_svm", "complexities": []},
        {"kind": "functionals_svm", "complexities": [0.0]},
        {"kind": "functionals_svm", "complexities": [float("inf")]},
        {"kind": "functionals_svm", "clip": -1},
        {"kind": "functionals_svm", "feature_set": "IS09"},
    ],
)
def test_rows_that_are_none_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ModelConfig).validate_python(values)
