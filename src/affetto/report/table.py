"""What a table holds: every score with its spread and interval, every row's difference to the baseline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from affetto.report.published import Published

CHANCE = ("most_frequent", "random")
"""Kinds of row that do not read the sound."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One score of one row; what is not known is not a number.

    Attributes:
        mean: over the runs; a run is one repeat's predictions over all folds, pooled.
        over_runs: standard deviation of the runs: what another initialisation changes.
        over_folds: standard deviation of the folds, each averaged over repeats: what other test speakers change.
        fold_mean: over the folds, which need not be `mean`.
        low: lower end of the interval over speakers.
        high: its upper end.
    """

    mean: float
    over_runs: float
    over_folds: float
    fold_mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CorpusFigures:
    """The scores of one row on the test utterances of one corpus among several.

    Attributes:
        folds: those that test it.
        uar: unweighted average recall.
        accuracy: the share that is right.
        f1_macro: the mean F1 of the classes.
    """

    folds: tuple[int, ...]
    uar: Figure
    accuracy: Figure
    f1_macro: Figure


class Verdict(StrEnum):
    """Whether a row's UAR differs from the baseline's."""

    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "not shown"
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row's UAR less the baseline's, over the folds that both have finished.

    Attributes:
        difference: of the means over runs.
        low: lower end of its interval over speakers, drawn for both rows alike.
        high: its upper end.
        fold_difference: the mean over folds, which is what the tests test.
        folds: how many.
        p: of the corrected t-test over folds.
        p_signed_rank: of Wilcoxon's test over folds.
        p_holm: ``p``, corrected for the number of rows tested.
        verdict: at ``p_holm`` below `stats.ALPHA`.
    """

    difference: float
    low: float
    high: float
    fold_difference: float
    folds: int
    p: float
    p_signed_rank: float
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class TableRow:
    """One model.

    Attributes:
        name: as the recipe calls it.
        kind: of model.
        parameters: how many numbers are trained; None where unknown.
        runs: how many the means are over.
        folds: of each run.
        cells: how many cells are finished.
        planned: how many there will be.
        uar: unweighted average recall.
        accuracy: the share that is right.
        f1_macro: the mean F1 of the classes.
        comparison: with the baseline; None for the baseline itself, and where there is none.
        published: the paper's figures for the same model.
        corpora: the same by tested corpus, where the data are of several.
    """

    name: str
    kind: str
    parameters: int | None
    runs: int
    folds: int
    cells: int
    planned: int
    uar: Figure
    accuracy: Figure
    f1_macro: Figure
    comparison: Comparison | None
    published: Published | None
    corpora: dict[str, CorpusFigures] = field(default_factory=dict)

    @property
    def unfinished(self) -> bool:
        """Some of its cells are yet to come."""
        return self.cells < self.planned


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a run.

    Attributes:
        rows: in the recipe's order.
        baseline: the name of the row that the others are tested against; None where there is none.
        notes: what one has to know to read it, a sentence or two each.
    """

    rows: tuple[TableRow, ...]
    baseline: str | None
    notes: tuple[str, ...] = ()

    @property
    def unfinished(self) -> bool:
        """Some cell of some row is yet to come."""
        return any(row.unfinished for row in self.rows)

    def best_first(self) -> Table:
        """The same table, highest UAR first."""
        return replace(self, rows=tuple(sorted(self.rows, key=lambda row: -row.uar.mean)))
