"""What a table holds: every score with its spread and interval, every row's difference to the baseline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from affetto.report.published import Published

CHANCE = ("most_frequent", "random")  # Kinds of row that do not read the sound


@dataclass(frozen=True, slots=True)
class Figure:
    """One score of one row; what is not known is not a number."""

    mean: float  # over the runs; a run is one repeat's predictions over all folds, pooled
    over_runs: float  # standard deviation of the runs: what another initialisation changes
    over_folds: float  # of the folds, each averaged over repeats: what other test speakers change
    fold_mean: float  # over the folds, which need not be `mean`
    low: float  # the interval over speakers begins here
    high: float  # and ends here


@dataclass(frozen=True, slots=True)
class CorpusFigures:
    """The scores of one row on the test utterances of one corpus among several, and the folds that test it."""

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
    """A row's UAR less the baseline's, over the folds that both have finished."""

    difference: float  # of the means over runs
    low: float  # its interval over speakers, drawn for both rows alike, begins here
    high: float  # and ends here
    fold_difference: float  # the mean over folds, which is what the tests test
    folds: int
    p: float  # of the corrected t-test over folds
    p_signed_rank: float  # of Wilcoxon's test over folds
    p_holm: float  # `p`, corrected for the number of rows tested
    verdict: Verdict  # at `p_holm` below `stats.ALPHA`


@dataclass(frozen=True, slots=True)
class TableRow:
    """One model; its scores are means over so many runs of so many folds."""

    name: str
    kind: str
    parameters: int | None  # how many numbers are trained; None where unknown
    runs: int
    folds: int
    cells: int  # finished
    planned: int
    uar: Figure
    accuracy: Figure
    f1_macro: Figure
    comparison: Comparison | None  # None for the baseline itself, and where there is none
    published: Published | None  # the paper's figures for the same model
    corpora: dict[str, CorpusFigures] = field(default_factory=dict)  # where the data are of several

    @property
    def unfinished(self) -> bool:
        """Some of its cells are yet to come."""
        return self.cells < self.planned


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a run: rows in the recipe's order, the row they are tested against, and what helps to read it."""

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
