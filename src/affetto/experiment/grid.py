"""The grid of an experiment, rows x folds x repeats, in units of work that finish on their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from affetto.data.folds import short_names
from affetto.data.utterance import Utterance
from affetto.evaluate import Prediction, Row, RunFolder, ValuePrediction
from affetto.evaluate.predictions import AnyPrediction
from affetto.experiment.recipe import RowConfig
from affetto.models.heads import HeadConfig
from affetto.training.heads.fit import ModelConfig, Study, fit_tasks, tunes
from affetto.training.heads.tasks import Outcome, Task

MOST_POOLED = 100  # Heads whose repeats are trained together, too
CHEAP_SHARE = 0.02  # Rows that cost less of the whole grid are computed first, for something to be seen early
TUNED_S = 600.0  # What a fold takes, about, where layers of the recogniser are trained along


class Unit(NamedTuple):
    """What one worker does at a time: some folds of a row, which are trained together.

    What they come to depends on which are trained together, in the last digits. So a unit of which some (repeat, fold)
    are missing is trained as a whole, and what was finished before stays as it is.
    """

    row: RowConfig
    tasks: tuple[Task, ...]
    missing: frozenset[tuple[int, int]]
    study: Study
    speech: Speech
    folder: Path

    @property
    def cost(self) -> float:
        """Roughly how many seconds it takes; only the relations matter."""
        model = self.row.model
        return len(self.tasks) * (TUNED_S if tunes(model) else model.fold_s)


class Speech(NamedTuple):
    """What of the utterances goes into predictions: ids and speakers, see `short_names`, and classes or dimensions."""

    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    references: tuple[str, ...]
    dimensions: tuple[dict[str, float], ...] = ()

    @classmethod
    def of(cls, utterances: Sequence[Utterance]) -> Speech:
        """Of utterances that have an emotion or dimensions."""
        ids, speakers = (tuple(short_names(utterances, of)) for of in ("id", "speaker"))
        dimensions = tuple(dict(each.dimensions or {}) for each in utterances)
        return cls(ids, speakers, tuple(each.emotion or "" for each in utterances), dimensions)

    def predictions(
        self, study: Study, task: Task, part: Literal["test", "validation"], outcome: Outcome
    ) -> list[AnyPrediction]:
        """What a trained model predicts for a part of its fold."""
        rows = zip(getattr(task, part).tolist(), getattr(outcome, part).tolist(), strict=True)
        return [self._prediction(study, task, place, row) for place, row in rows]

    def _prediction(self, study: Study, task: Task, place: int, row: list[float]) -> AnyPrediction:
        fixed = (task.repeat, task.fold, self.ids[place], self.speakers[place])
        if study.dimensions:
            return ValuePrediction(*fixed, self.dimensions[place], dict(zip(study.dimensions, row, strict=True)))
        likeliest = study.classes[row.index(max(row))]
        return Prediction(*fixed, self.references[place], likeliest, dict(zip(study.classes, row, strict=True)))


def row_chunks(model: ModelConfig, tasks: Sequence[Task], stack: int) -> list[tuple[Task, ...]]:
    """Tasks of a row as they are trained together: of heads that read frames, at most ``stack`` folds of a repeat."""
    if model.together == "repeats":
        return chunks(tasks, MOST_POOLED, mixed=True)
    return chunks(tasks, stack if model.together == "folds" else 1)


def chunks(tasks: Sequence[Task], stack: int, *, mixed: bool = False) -> list[tuple[Task, ...]]:
    """Tasks in portions of at most so many, of one repeat each unless they may be mixed."""
    found: list[list[Task]] = []
    for task in tasks:
        if found and (mixed or found[-1][0].repeat == task.repeat) and len(found[-1]) < stack:
            found[-1].append(task)
        else:
            found.append([task])
    return [tuple(chunk) for chunk in found]


def in_order(units: Sequence[Unit]) -> list[Unit]:
    """Rows that cost next to nothing first, then the longest first, so that all workers end at about one time."""
    costs: dict[str, float] = defaultdict(float)
    for unit in units:
        costs[unit.row.name] += unit.cost
    total = sum(costs.values())

    def key(unit: Unit) -> tuple[bool, float]:
        cheap = costs[unit.row.name] < CHEAP_SHARE * total
        return not cheap, 0.0 if cheap else -unit.cost

    return sorted(units, key=key)  # it is stable: else rows and repeats stay in order


def do(unit: Unit) -> tuple[str, int, float]:
    """Trains what a unit holds, and writes what is missing into the run folder.

    Gives the row, the cells that were missing, and the cost.
    """
    folder, row = RunFolder(unit.folder), unit.row
    unfinished = folder.unfinished(row.name, unit.tasks[0].repeat, unit.tasks[0].fold)
    for task, outcome in fit_tasks(row.model, unit.study, unit.tasks, row.way, unfinished=unfinished):
        if (task.repeat, task.fold) not in unit.missing:
            continue
        model, how = (each.model_dump(mode="json") for each in (row.model, row.way))
        how = how if isinstance(row.model, HeadConfig) else {}
        trained = Row(name=row.name, model=model, training=how, parameters=outcome.parameters, published=row.published)
        test = unit.speech.predictions(unit.study, task, "test", outcome)
        validation = unit.speech.predictions(unit.study, task, "validation", outcome)
        folder.write_cell(trained, test, validation, outcome.curve)
    return row.name, len(unit.missing), unit.cost
