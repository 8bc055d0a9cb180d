"""Predictions as tests look at them: one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from affetto.evaluate import Prediction, RunFolder
from affetto.evaluate.predictions import Answers, AnyAnswers, read_columns


def read_tested(run: RunFolder, row: str) -> list[Prediction]:
    """Of every finished cell's test utterances, by repeat and fold."""
    return _one_by_one(run.answers(row), run.facts()["classes"])


def read_validated(run: RunFolder, row: str) -> list[Prediction]:
    """Of every finished cell's validation utterances, by repeat and fold."""
    return _one_by_one(run.validation_answers(row), run.facts()["classes"])


def read_predictions(path: Path) -> list[Prediction]:
    """A file's."""
    classes, answers = read_columns(path)
    return _one_by_one(answers, classes)


def _one_by_one(answers: AnyAnswers, classes: Sequence[str]) -> list[Prediction]:
    assert isinstance(answers, Answers)
    rows = zip(answers.cells, *answers[1:-1], answers.probabilities.tolist(), strict=True)
    return [Prediction(*cell, *named, dict(zip(classes, shares, strict=True))) for cell, *named, shares in rows]
