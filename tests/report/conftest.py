"""Run folders of models that never were: each says what is right with a chance of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from affetto.data.splits import Split
from affetto.data.utterance import Utterance
from affetto.evaluate import Prediction, Row, RunFolder
from affetto.training.heads.tasks import Epoch

CLASSES = ("anger", "happiness", "neutral", "sadness")
BRANCH = {"units": 64, "depth": 2}


class Model(NamedTuple):
    """A row: its name, its config, and how often it is right."""

    name: str
    model: dict[str, Any]
    skill: float
    parameters: int | None = 12_345
    repeats: int | None = None
    published: dict[str, float] = {}  # noqa: RUF012  never changed


MODELS = (
    Model("Most frequent class", {"kind": "most_frequent"}, 0.25, 0),
    Model("Small", {"kind": "baseline", "branch": BRANCH}, 0.45, 98_308),
    Model("Large", {"kind": "baseline", "branch": {**BRANCH, "units": 96}}, 0.5, 1_234_567),
    Model("MP_3", {"kind": "mean_pooling", "layer": "gru3"}, 0.52, 2_052),
    Model("Progressive net-2", {"kind": "progressive", "layer": "gru2", "branch": BRANCH}, 0.7),
    Model("SVM | eGeMAPS*", {"kind": "functionals_svm", "feature_set": "eGeMAPSv02"}, 0.3, None),
)


class Design(NamedTuple):
    """How much there is of everything."""

    repeats: int = 3
    folds: int = 5
    speakers: int = 10
    each: int = 24


DESIGN = Design()
Make = Callable[..., RunFolder]


def predictions(
    utterances: Sequence[Utterance], cell: tuple[int, int], skill: float, rng: np.random.Generator
) -> list[Prediction]:
    """What a model of some skill says."""
    found = []
    for each, right, other in zip(
        utterances, rng.random(len(utterances)) < skill, rng.integers(0, 4, len(utterances)), strict=True
    ):
        said = str(each.emotion) if right else CLASSES[other]
        shares = {name: 0.7 if name == said else 0.1 for name in CLASSES}
        found.append(Prediction(*cell, each.id, each.speaker, str(each.emotion), said, shares))
    return found


@pytest.fixture
def models() -> tuple[Model, ...]:
    return MODELS


@pytest.fixture
def make_run(tmp_path: Path, make_run_in: Callable[..., RunFolder]) -> Make:
    """Makes a run folder in which all but some cells are finished."""
    return partial(make_run_in, tmp_path)


@pytest.fixture(scope="session")
def make_run_in() -> Callable[..., RunFolder]:
    """The same, in a folder of one's own."""

    def make(
        tmp_path: Path,
        models: Sequence[Model] = MODELS,
        *,
        design: Design = DESIGN,
        unfinished: Mapping[str, set[tuple[int, int]]] | None = None,
        validation: Mapping[str, float] | None = None,
        emotions: Callable[[int, int], str] = lambda _, number: CLASSES[number % 4],
        curve: Callable[[int], Sequence[Epoch]] = lambda _: [],
    ) -> RunFolder:
        """Speakers are dealt to folds in turn; ``emotions`` says what a speaker's utterance counts as, ``curve``
        how a row, by its place, learns in each cell."""
        utterances = [
            Utterance(
                id=f"s{speaker}-{number}",
                audio=tmp_path / "audio" / f"s{speaker}-{number}.wav",
                speaker=f"s{speaker}",
                corpus="mine",
                emotion=emotions(speaker, number),
            )
            for speaker in range(design.speakers)
            for number in range(design.each)
        ]
        parts = [
            [each for each in utterances if int(each.speaker[1:]) % design.folds == fold]
            for fold in range(design.folds)
        ]
        run = RunFolder(tmp_path / "run")
        rows = [{"name": each.name, "model": each.model, "repeats": each.repeats or design.repeats} for each in models]
        folds = [Split(train=(), validation=(), test=tuple(part)) for part in parts]
        config = {
            "seed": 7,
            "repeats": design.repeats,
            "protocol": {"kind": "grouped_k_fold", "folds": design.folds},
            "labels": {"source": "votes", "merge": {"excited": "happiness"}, "expected": {}, "check_counts": "error"},
            "rows": rows,
        }
        counts = {"folds": design.folds}
        facts = {"classes": list(CLASSES), "manifest_sha256": "0123abcd", "counts": counts, "unreadable": []}
        run.begin(config, facts, {"affetto": "0.1.0", "commit": "abc123"}, utterances, folds)
        for place, each in enumerate(models):
            card = Row(
                name=each.name, model=each.model, training={}, parameters=each.parameters, published=each.published
            )
            left_out = (unfinished or {}).get(each.name, set())
            heard = (validation or {}).get(each.name, each.skill)
            for cell in (
                (repeat, fold) for repeat in range(each.repeats or design.repeats) for fold in range(design.folds)
            ):
                if cell in left_out:
                    continue
                rng = np.random.default_rng([place, *cell])
                tested = predictions(parts[cell[1]], cell, each.skill, rng)
                following = parts[(cell[1] + 1) % design.folds]
                run.write_cell(card, tested, predictions(following, cell, heard, rng), curve(place))
        return run

    return make


@pytest.fixture(scope="session")
def two_models() -> Callable[..., tuple[Model, ...]]:
    """Two rows of given skill."""

    def make(gains: float, stays: float, *, layer: str = "gru3") -> tuple[Model, ...]:
        return (
            Model("Gains", {"kind": "mean_pooling", "layer": layer}, gains),
            Model("Stays", {"kind": "progressive", "layer": "gru3", "branch": BRANCH}, stays),
        )

    return make
