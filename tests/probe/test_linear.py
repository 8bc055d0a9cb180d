"""The linear probe against scikit-learn's own pipeline, and that test speakers choose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from affetto.errors import TrainingError
from affetto.probe.layers import linear_probe
from affetto.training.heads.tasks import Task


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Task]:
    """Three classes that overlap, in ten columns of which two tell something and one never changes."""
    labels = rng.integers(0, 3, 240)
    vectors = rng.standard_normal((240, 10))
    vectors[:, 0] += 1.5 * labels
    vectors[:, 1] *= 100
    vectors[:, 1] += 80 * (labels == 1)
    vectors[:, 9] = 3.0
    return vectors, labels, Task(0, 0, np.arange(120), np.arange(120, 180), np.arange(180, 240))


@pytest.mark.parametrize("complexity", [1e-3, 1e-1])
def test_it_is_the_pipeline_of_scikit_learn(complexity: float, data: tuple[np.ndarray, np.ndarray, Task]) -> None:
    vectors, labels, task = data
    machine = LogisticRegression(C=complexity, class_weight="balanced", tol=1e-6, max_iter=1000)
    expected = make_pipeline(StandardScaler(), machine).fit(vectors[task.training], labels[task.training])
    found = linear_probe(vectors, labels, task, [complexity])
    np.testing.assert_allclose(found.test, expected.predict_proba(vectors[task.test]), atol=0.01)


def test_validation_chooses(data: tuple[np.ndarray, np.ndarray, Task]) -> None:
    vectors, labels, task = data
    tried = {each: linear_probe(vectors, labels, task, [each]).validation_uar for each in (1e-4, 1e-2, 1.0)}
    found = linear_probe(vectors, labels, task, list(tried))
    assert found.validation_uar == pytest.approx(max(tried.values()), abs=0.02)
    assert found.complexity in tried


def test_test_labels_and_vectors_change_nothing_but_themselves(data: tuple[np.ndarray, np.ndarray, Task]) -> None:
    vectors, labels, task = data
    other, others = vectors.copy(), labels.copy()
    other[task.test[1:]] *= 50
    others[task.test] = (labels[task.test] + 1) % 3
    first, second = linear_probe(vectors, labels, task), linear_probe(other, others, task)
    np.testing.assert_array_equal(first.test[0], second.test[0])
    assert first[1:] == second[1:]


def test_what_cannot_be_learnt_is_refused(data: tuple[np.ndarray, np.ndarray, Task]) -> None:
    vectors, labels, task = data
    fewer = task._replace(training=task.training[labels[task.training] != 1])
    with pytest.raises(TrainingError, match="lacks class 1"):
        linear_probe(vectors, labels, fewer)
    with pytest.raises(TrainingError, match="not numbers"):
        linear_probe(np.where(np.arange(240)[:, None] == 7, np.nan, vectors), labels, task)
