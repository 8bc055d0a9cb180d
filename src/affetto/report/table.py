"""What a table holds: every score with its spread, its interval and its difference to the baseline; what is published.

How the paper's U-Acc, W-Acc and ± are read, and why its row of the most frequent class is shown under both readings:
docs/statistics.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

CORPUS = "IEMOCAP, 6,416 utterances, 10 speakers"


class Published(NamedTuple):
    """A row of the paper's table 1 as printed, each score with its ±; or of figures that a recipe gives, unnamed."""

    name: str
    u_acc: tuple[float, float]
    w_acc: tuple[float, float]
    f1: tuple[float, float] | None  # None where it says NaN
    readable: bool = True  # U-Acc as unweighted average recall and W-Acc as accuracy


PAPER: dict[tuple[str, int | None], Published] = {
    ("most_frequent", None): Published("Most frequent class", (0.39, 0.04), (0.33, 0.2), None, readable=False),
    ("random", None): Published("Random prediction", (0.25, 0.02), (0.25, 0.02), (0.24, 0.02)),
    ("baseline", 64): Published("Baseline 64 units", (0.52, 0.04), (0.54, 0.06), (0.48, 0.05)),
    ("baseline", 96): Published("Baseline 96 units", (0.53, 0.01), (0.55, 0.03), (0.51, 0.02)),
    ("baseline", 128): Published("Baseline 128 units", (0.50, 0.04), (0.51, 0.06), (0.47, 0.05)),
    ("mean_pooling", 1): Published("Fine-tuning MP-1", (0.46, 0.05), (0.52, 0.07), (0.31, 0.11)),
    ("mean_pooling", 2): Published("Fine-tuning MP-2", (0.54, 0.04), (0.54, 0.06), (0.52, 0.04)),
    ("mean_pooling", 3): Published("Fine-tuning MP-3", (0.55, 0.02), (0.56, 0.03), (0.53, 0.03)),
    ("recurrent", 1): Published("Fine-tuning RNN-1", (0.53, 0.04), (0.57, 0.04), (0.48, 0.08)),
    ("recurrent", 2): Published("Fine-tuning RNN-2", (0.57, 0.03), (0.59, 0.05), (0.56, 0.03)),
    ("recurrent", 3): Published("Fine-tuning RNN-3", (0.56, 0.02), (0.57, 0.04), (0.55, 0.03)),
    ("progressive", 1): Published("Progressive net-1", (0.56, 0.02), (0.57, 0.04), (0.55, 0.03)),
    ("progressive", 2): Published("Progressive net-2", (0.58, 0.03), (0.61, 0.04), (0.57, 0.03)),
    ("progressive", 3): Published("Progressive net-3", (0.57, 0.03), (0.59, 0.03), (0.56, 0.04)),
}
"""(kind, units of a baseline or else the recogniser's layer) -> the paper's row."""

TRAINED = ("baseline", "mean_pooling", "recurrent", "progressive")
"""Kinds that learn something; the order of the others is known beforehand."""


def reported(figures: Mapping[str, float]) -> Published | None:
    """What a recipe says that somebody reports for a row: ``uar``, ``accuracy`` and ``f1_macro``, as far as given."""
    if not figures:
        return None
    uar, accuracy, f1 = ((figures.get(name, math.nan), math.nan) for name in ("uar", "accuracy", "f1_macro"))
    return Published("", uar, accuracy, f1)


def published(model: Mapping[str, Any]) -> Published | None:
    """The paper's row for the config of a model, or None where the paper has none.

    The units of RNN-x and of the progressive branch are not given, so any match. The paper's baselines have two layers,
    and it never trains the recogniser's layers along.
    """
    kind = str(model.get("kind"))
    if model.get("trained_from") is not None:
        return None
    if kind == "baseline":
        branch = model.get("branch")
        if not isinstance(branch, Mapping) or branch.get("depth", 2) != 2:
            return None
        return PAPER.get((kind, branch.get("units")))
    if "layer" not in model:
        return PAPER.get((kind, None))
    if model.get("statistics", ["mean"]) != ["mean"]:
        return None
    layer = re.fullmatch(r"gru([1-9])", str(model["layer"]))
    return PAPER.get((kind, int(layer[1]))) if layer else None


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


_LABELS = {"uar": "UAR", "f1_macro": "F1", "ccc": "CCC"}


def score_label(name: str) -> str:
    """What a score is called where people read.

    >>> score_label("uar"), score_label("accuracy"), score_label("ccc_valence"), score_label("ccc")
    ('UAR', 'accuracy', 'CCC valence', 'CCC')
    """
    return _LABELS.get(name, name.replace("ccc_", "CCC "))


@dataclass(frozen=True, slots=True)
class CorpusFigures:
    """The scores of one row on the test utterances of one corpus among several, and the folds that test it."""

    folds: tuple[int, ...]
    scores: dict[str, Figure]

    @property
    def main(self) -> Figure:
        """What rows are compared by."""
        return next(iter(self.scores.values()))


class Verdict(StrEnum):
    """Whether a row's main score differs from the baseline's."""

    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "not shown"
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row's main score (UAR or CCC) less the baseline's, over the folds that both have finished."""

    difference: float  # of the means over runs
    low: float  # its interval over speakers, drawn for both rows alike, begins here
    high: float  # and ends here
    fold_difference: float  # the mean over folds, which is what the tests test
    folds: int
    p: float  # of the corrected t-test over folds
    p_signed_rank: float  # of Wilcoxon's test over folds
    p_holm: float = math.nan  # `p`, corrected for the number of rows tested
    verdict: Verdict = Verdict.UNTESTED  # at `p_holm` below `stats.ALPHA`


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
    scores: dict[str, Figure]  # by their names, see `affetto.stats.score_names`; the first is what rows are compared by
    comparison: Comparison | None  # None for the baseline itself, and where there is none
    published: Published | None  # the paper's figures for the same model
    corpora: dict[str, CorpusFigures] = field(default_factory=dict)  # where the data are of several

    @property
    def main(self) -> Figure:
        """UAR, or of dimensions CCC."""
        return next(iter(self.scores.values()))

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
    def main(self) -> str:
        """What rows are compared by, by its label."""
        return score_label(next(iter(self.rows[0].scores)))

    @property
    def unfinished(self) -> bool:
        """Some cell of some row is yet to come."""
        return any(row.unfinished for row in self.rows)

    def best_first(self) -> Table:
        """The same table, highest UAR or CCC first."""
        return replace(self, rows=tuple(sorted(self.rows, key=lambda row: -row.main.mean)))
