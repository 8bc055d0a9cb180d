"""The order and the extent of units of work, and what comes of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.evaluate import Prediction
from affetto.experiment import ExperimentRecipe
from affetto.experiment.grid import Speech, Unit, chunks, in_order, row_chunks
from affetto.training.heads.fit import Study
from affetto.training.heads.tasks import Outcome, Task

MODELS = {
    "random": {"kind": "random"},
    "svm": {"kind": "functionals_svm"},
    "pooling": {"kind": "mean_pooling", "layer": "gru1"},
    "sum": {"kind": "weighted_sum"},
    "small": {"kind": "baseline", "branch": {"units": 48, "depth": 1}},
    "large": {"kind": "progressive", "layer": "gru1"},
    "tuned": {"kind": "mean_pooling", "layer": "gru2", "trained_from": "gru1"},
}
RECIPE = ExperimentRecipe.parse(
    {"corpus": "c", "rows": [{"name": name, "model": model} for name, model in MODELS.items()]}
)
ROWS = {row.name: row for row in RECIPE.rows}
STUDY = Study(("anger", "sadness"), torch.empty(0, 2), 0.5, {}, (), None, 1)
NOBODY = np.zeros(0, np.int64)


def _tasks(repeats: int, folds: int) -> list[Task]:
    return [Task(repeat, fold, NOBODY, NOBODY, NOBODY) for repeat in range(repeats) for fold in range(folds)]


def _unit(name: str, repeat: int = 0) -> Unit:
    task = Task(repeat, 0, NOBODY, NOBODY, NOBODY)
    return Unit(ROWS[name], (task,), frozenset({(repeat, 0)}), STUDY, Speech((), (), ()), Path("run"))


@given(repeats=st.integers(0, 5), folds=st.integers(1, 12), stack=st.integers(1, 13))
def test_chunks_are_all_tasks_once_in_order(repeats: int, folds: int, stack: int) -> None:
    tasks = _tasks(repeats, folds)
    found = chunks(tasks, stack)
    assert [task for chunk in found for task in chunk] == tasks
    assert all(len(chunk) <= stack for chunk in found)
    assert all(len({task.repeat for task in chunk}) == 1 for chunk in found)
    assert len(found) == repeats * -(-folds // stack)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("pooling", [100, 20]), ("sum", [100, 20]), ("large", [5] * 24), ("tuned", [1] * 120), ("svm", [1] * 120)],
)
def test_rows_are_cut_as_they_are_trained(name: str, sizes: list[int]) -> None:
    found = row_chunks(ROWS[name].model, _tasks(12, 10), stack=5)
    assert [len(chunk) for chunk in found] == sizes
    assert [task for chunk in found for task in chunk] == _tasks(12, 10)


def test_the_cheap_first_then_the_longest_first() -> None:
    units = [_unit(name, repeat) for name in ("small", "random", "large", "tuned", "svm") for repeat in (0, 1)]
    found = [(unit.row.name, unit.tasks[0].repeat) for unit in in_order(units)]
    assert found == [(name, repeat) for name in ("random", "tuned", "large", "small", "svm") for repeat in (0, 1)]


def test_guesses_grow_with_the_model() -> None:
    guesses = [_unit(name).cost for name in ("random", "pooling", "svm", "small", "large", "tuned")]
    assert all(less < more for less, more in pairwise(guesses))


@pytest.mark.parametrize("part", ["test", "validation"])
def test_probabilities_stand_under_the_names_of_their_classes(part: Literal["test", "validation"]) -> None:
    speech = Speech(("x", "y"), ("ann", "bob"), ("anger", "sadness"))
    task = Task(2, 3, NOBODY, np.array([0]), np.array([1, 0]))
    outcome = Outcome(np.array([[0.9, 0.1]]), np.array([[0.2, 0.8], [0.7, 0.3]]), (), 0)
    first, *rest = speech.predictions(STUDY._replace(classes=("sadness", "anger")), task, part, outcome)
    if part == "test":
        assert first == Prediction(2, 3, "y", "bob", "sadness", "anger", {"sadness": 0.2, "anger": 0.8})
        assert rest == [Prediction(2, 3, "x", "ann", "anger", "sadness", {"sadness": 0.7, "anger": 0.3})]
    else:
        assert first == Prediction(2, 3, "x", "ann", "anger", "sadness", {"sadness": 0.9, "anger": 0.1})
