"""What a report is made of: a run folder, each file of which is read once, its table, and the rows it looks into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from affetto import stats
from affetto.errors import RunError
from affetto.evaluate import RunFolder
from affetto.evaluate.division import check_division, read_division
from affetto.evaluate.predictions import Answers
from affetto.report.build import UAR, Progress, check_rows, derive
from affetto.report.table import Table

KINDS = ("baseline", "mean_pooling", "recurrent", "progressive", "functionals_svm")
"""Kinds of model that a report looks into."""

MOST = 5  # Rows looked into where none is of a kind above


class ReadOnce(RunFolder):
    """A run folder that remembers predictions, so that figures agree with the table though the run goes on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._tested = cache(super().answers)
        self._validating = cache(self._checked_validation)
        self._division = cache(lambda: read_division(self))

    def answers(self, row_name: str) -> Answers:
        """See `RunFolder.answers`."""
        return self._tested(row_name)

    def validation_answers(self, row_name: str) -> Answers:
        """See `RunFolder.validation_answers`; they are those of the run's folds."""
        return self._validating(row_name)

    def _checked_validation(self, row_name: str) -> Answers:
        answers = super().validation_answers(row_name)
        check_division(self, self._division(), row_name, "validation", answers)
        return answers


@dataclass(frozen=True, slots=True)
class ReportData:
    """A run as a report needs it."""

    run: ReadOnce
    table: Table
    counted: dict[str, stats.ConfusionCounts]  # what the table's scores were counted from
    classes: tuple[str, ...]  # in the order of the probabilities
    names: tuple[str, ...]  # of the rows to look into
    reason: str  # how they were chosen, in words

    def chosen(self) -> dict[str, stats.ConfusionCounts]:
        """The rows to look into, counted."""
        return {name: self.counted[name] for name in self.names}

    def missing(self) -> dict[str, str]:
        """Row -> what of it is yet to come, in words; rows that are whole are left out."""
        found = {row.name: row for row in self.table.rows}
        missing = {}
        for name in (str(row["name"]) for row in self.run.config()["rows"]):
            if name not in found:
                missing[name] = "nothing is finished"
            elif found[name].unfinished:
                missing[name] = f"{found[name].cells} of {found[name].planned} cells are finished"
        return missing


def read(root: Path, baseline: str | None, wanted: Sequence[str], progress: Progress | None) -> ReportData:
    """Reads a run folder, derives its table as `derive` does, and chooses the rows to look into unless some are wanted.

    Raises:
        RunError: the folder is none or damaged, nothing is finished in it, or no row is called like that.
    """
    run = ReadOnce(root)
    table, counted = derive(run, baseline, progress)
    classes = tuple(str(name) for name in run.facts()["classes"])
    check_rows(run, wanted, [row.name for row in table.rows])
    if wanted:
        return ReportData(run, table, counted, classes, tuple(dict.fromkeys(wanted)), "as asked for")
    names, reason = _choose(run, table, classes)
    return ReportData(run, table, counted, classes, names, reason)


def _choose(run: ReadOnce, table: Table, classes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The best of each kind on validation speakers: who is tested chooses nothing, not even what is looked into."""
    names = []
    for kind in KINDS:
        rows = [row for row in table.rows if row.kind == kind]
        rows = [row for row in rows if not row.unfinished] or rows
        if kind == "baseline" and table.baseline in [row.name for row in rows]:
            names.append(str(table.baseline))
        elif rows:
            names.append(max(rows, key=lambda row: _validated(run, row.name, classes) if len(rows) > 1 else 0.0).name)
    if names:
        return tuple(names), "the best of each kind on the validation speakers, whole rows before unfinished ones"
    return tuple(row.name for row in table.best_first().rows[:MOST]), "the highest by UAR"


def _validated(run: ReadOnce, name: str, classes: Sequence[str]) -> float:
    """UAR on validation speakers, averaged over repeats; the lowest there is where they cannot be read."""
    try:
        counted = run.validation_answers(name).tally(classes)
    except RunError:
        return -1.0
    return float(np.mean(stats.run_scores(counted)[:, UAR]))
