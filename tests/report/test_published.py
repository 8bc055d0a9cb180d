"""The paper's table 1, found by what a model is; its numbers against the text of the paper's own table."""

from __future__ import annotations

from typing import Any

import pytest

from affetto.report.table import PAPER, Published, published, reported

BRANCH = {"units": 96, "depth": 2}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"kind": "most_frequent"}, "Most frequent class"),
        ({"kind": "random"}, "Random prediction"),
        ({"kind": "baseline", "branch": BRANCH}, "Baseline 96 units"),
        ({"kind": "mean_pooling", "layer": "gru3", "dropout": 0.5}, "Fine-tuning MP-3"),
        ({"kind": "recurrent", "layer": "gru1", "units": 17}, "Fine-tuning RNN-1"),
        ({"kind": "progressive", "layer": "gru2", "branch": BRANCH}, "Progressive net-2"),
    ],
)
def test_rows_of_the_paper_are_found(model: dict[str, Any], name: str) -> None:
    found = published(model)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"kind": "functionals_svm", "feature_set": "eGeMAPSv02"},
        {"kind": "baseline"},
        {"kind": "baseline", "branch": {"units": 32, "depth": 2}},
        {"kind": "baseline", "branch": {"units": 96, "depth": 1}},
        {"kind": "baseline", "branch": {"units": "96"}},
        {"kind": "baseline", "branch": 96},
        {"kind": "mean_pooling", "layer": "gru5"},
        {"kind": "mean_pooling", "layer": "layer3"},
        {"kind": "mean_pooling", "layer": "gru31"},
        {"kind": "recurrent", "layer": "gru2", "trained_from": "gru2"},
    ],
)
def test_other_models_are_none_of_them(model: dict[str, Any]) -> None:
    assert published(model) is None


def test_what_the_paper_says_of_its_own_table() -> None:
    """Section 4: MP-3 is the best MP with 55 % and 56 %, the best progressive net has 58 % and 61 %."""
    best = {
        kind: max((row for key, row in PAPER.items() if key[0] == kind), key=lambda row: row.u_acc[0])
        for kind in ("mean_pooling", "progressive")
    }
    assert (best["mean_pooling"].u_acc[0], best["mean_pooling"].w_acc[0]) == (0.55, 0.56)
    assert (best["progressive"].u_acc[0], best["progressive"].w_acc[0]) == (0.58, 0.61)
    assert len(PAPER) == 14


def test_only_the_most_frequent_class_cannot_be_read() -> None:
    assert [row.name for row in PAPER.values() if not row.readable] == ["Most frequent class"]


def test_what_a_recipe_reports() -> None:
    found = reported({"uar": 0.571, "accuracy": 0.6})
    assert isinstance(found, Published)
    assert (found.u_acc[0], found.w_acc[0]) == (0.571, 0.6)
    assert reported({}) is None
