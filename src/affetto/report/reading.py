"""What a report is made of: a run folder, each file of which is read once, its table, and the rows it looks into."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affetto import stats
from affetto.data.utterance import Utterance
from affetto.errors import RunError
from affetto.evaluate import RunFolder
from affetto.evaluate.division import check_division, read_division
from affetto.evaluate.predictions import Answers
from affetto.report.build import UAR, Derived, Progress, count, derive
from affetto.report.table import CHANCE, Table, TableRow

KINDS = {
    "baseline": "baseline",
    "mean_pooling": "MP",
    "recurrent": "RNN",
    "progressive": "progressive net",
    "functionals_svm": "classical row",
}
"""Kinds of model that a report looks into, and what they are called."""

MOST = 5
"""Rows looked into where none is of a kind above."""


class ReadOnce(RunFolder):
    """A run folder that remembers predictions, so that figures agree with the table though the run goes on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._tested = lru_cache(None)(super().answers)
        self._validating = lru_cache(None)(self._checked_validation)
        self._division = lru_cache(None)(lambda: read_division(self))

    def answers(self, row_name: str) -> Answers:
        """See `RunFolder.answers`."""
        return self._tested(row_name)

    def validation_answers(self, row_name: str) -> Answers:
        """See `RunFolder.validation_answers`."""
        return self._validating(row_name)

    def _checked_validation(self, row_name: str) -> Answers:
        answers = super().validation_answers(row_name)
        check_division(self, self._division(), row_name, "validation", answers)
        return answers


class Choice(NamedTuple):
    """The rows that a report looks into, and in words how they were chosen."""

    names: tuple[str, ...]
    reason: str


class ReportData:
    """A run as a report needs it.

    Args:
        run: its folder.
        derived: its table.
        choice: the rows to look into.
    """

    def __init__(self, run: ReadOnce, derived: Derived, choice: Choice) -> None:
        self.run = run
        self.derived = derived
        self.choice = choice

    @property
    def table(self) -> Table:
        """The table of the run."""
        return self.derived.table

    @cached_property
    def facts(self) -> dict[str, Any]:
        """``run.json``."""
        return self.run.facts()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The emotions, in the order of the probabilities."""
        return tuple(str(name) for name in self.facts["classes"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.toml``."""
        return self.run.config()

    @cached_property
    def utterances(self) -> dict[str, Utterance]:
        """Id -> utterance, see `RunFolder.named`."""
        return self.run.named()

    def chosen(self) -> dict[str, stats.ConfusionCounts]:
        """The rows to look into, counted."""
        return {name: self.derived.counted[name] for name in self.choice.names}

    def acoustic_rows(self) -> list[TableRow]:
        """The rows that read the sound, rather than guess."""
        return [row for row in self.table.rows if row.kind not in CHANCE]

    def missing(self) -> dict[str, str]:
        """Row -> what of it is yet to come, in words; rows that are whole are left out."""
        found = {row.name: row for row in self.table.rows}
        missing = {}
        for name in (str(row["name"]) for row in self.config["rows"]):
            if name not in found:
                missing[name] = "nothing is finished"
            elif found[name].unfinished:
                missing[name] = f"{found[name].cells} of {found[name].planned} cells are finished"
        return missing


def read(root: Path, baseline: str | None, wanted: Sequence[str], progress: Progress | None) -> ReportData:
    """Reads a run folder and derives its table.

    Args:
        root: the folder.
        baseline: see `affetto.report.build.derive`.
        wanted: the rows to look into; without any, the best of each of `KINDS`.
        progress: receives how many rows are read.

    Raises:
        RunError: the folder is none or damaged, nothing is finished in it, or no row is called like that.
    """
    run = ReadOnce(root)
    derived = derive(run, baseline, progress)
    names = [row.name for row in derived.table.rows]
    for name in wanted:
        if name not in names:
            raise RunError(f"no row with a finished cell is called {name!r}", f"choose among {', '.join(names)}", root)
    choice = Choice(tuple(dict.fromkeys(wanted)), "as asked for") if wanted else _choose(run, derived.table)
    return ReportData(run, derived, choice)


def _choose(run: ReadOnce, table: Table) -> Choice:
    """The best of each kind on validation speakers: who is tested chooses nothing, not even what is looked into."""
    classes = [str(name) for name in run.facts()["classes"]]
    names = []
    for kind in KINDS:
        rows = [row for row in table.rows if row.kind == kind]
        rows = [row for row in rows if not row.unfinished] or rows
        if kind == "baseline" and table.baseline in [row.name for row in rows]:
            names.append(str(table.baseline))
        elif rows:
            names.append(max(rows, key=lambda row: _validated(run, row.name, classes) if len(rows) > 1 else 0.0).name)
    if names:
        return Choice(
            tuple(names), "the best of each kind on the validation speakers, whole rows before unfinished ones"
        )
    best = tuple(row.name for row in table.best_first().rows[:MOST])
    return Choice(best, "the highest by UAR")


def _validated(run: ReadOnce, name: str, classes: Sequence[str]) -> float:
    """UAR on validation speakers, averaged over repeats; the lowest there is where they cannot be read."""
    try:
        counted = count(run.validation_answers(name), classes)
    except RunError:
        return -1.0
    return float(np.mean(stats.run_scores(counted)[:, UAR]))
