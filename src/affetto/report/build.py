"""From a run folder, each file of which is read once, to its table, and the rows that a report looks into."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from affetto import stats
from affetto.data.folds import short_names
from affetto.errors import RunError
from affetto.evaluate import Row, RunFolder
from affetto.evaluate.predictions import Answers, AnyAnswers
from affetto.evaluate.run_folder import check_division, read_division
from affetto.report.notes import RunFacts, write_notes
from affetto.report.table import Comparison, CorpusFigures, Figure, Table, TableRow, Verdict, published, reported

SEED = 20170912  # Of the speakers drawn for intervals: a run folder always gives the same table
MAIN = stats.MAIN  # Decided before anyone looks: testing three scores would show three times the chance
Progress = Callable[[float, float], None]
KINDS = ("baseline", "mean_pooling", "recurrent", "progressive", "functionals_svm")  # that a report looks into
MOST = 5  # Rows looked into where none is of a kind above


class Derived(NamedTuple):
    """A table, and what its scores were counted from: of each row its whole runs, or without any what there is."""

    table: Table
    counted: dict[str, stats.Counted]


def build_table(run: RunFolder, baseline: str | None = None, progress: Progress | None = None) -> Table:
    """Derives the table from the predictions in a run folder, finished or not.

    The others are tested against the row ``baseline``. Without it, against the row of kind ``baseline`` that has the
    highest UAR on its validation speakers; the test speakers do not choose it, since the others are tested against it.
    Progress receives how many rows are read. Raises RunError where the folder is none or damaged, nothing is finished
    in it, or no row is called like that.
    """
    return derive(run, baseline, progress).table


def derive(run: RunFolder, baseline: str | None = None, progress: Progress | None = None) -> Derived:
    """Derives the table as `build_table` does, and keeps what it was counted from."""
    rows = run.rows()
    if not rows:
        raise RunError("no cell is finished yet", "wait for the first one, or go on with the experiment", run.root)
    facts, division = run.facts(), read_division(run)
    classes = tuple(str(name) for name in facts.get("classes", ()))
    against, reason = _choose_baseline(run, rows, classes, baseline)
    counted: dict[str, stats.Counted] = {}
    for number, row in enumerate(rows):
        if progress:
            progress(number, len(rows))
        answers = run.answers(row.name)
        check_division(run, division, row.name, "test", answers)
        counted[row.name] = answers.tally(classes)
    repeats = {row["name"]: row.get("repeats", 1) for row in run.config()["rows"]}
    folds = {fold for each in counted.values() for fold in each.folds.tolist()}
    folds |= set(range(facts.get("counts", {}).get("folds", 0)))
    everyone, utterances = run.utterances(), list(run.readable().values())
    homes = dict(zip(short_names(everyone, "speaker"), (each.corpus for each in everyone), strict=True))
    entry = partial(_entry, folds=folds, homes=homes, dimensions=run.dimensions)
    entries = [entry(row, counted[row.name], repeats.get(row.name, 1)) for row in rows]
    if against is not None:
        ratio = test_to_training(run, against, counted[against], len(utterances))
        entries = _compared(entries, counted, against, ratio)
    table = Table(tuple(entries), against)
    described = RunFacts(run.config(), facts, run.environment(), classes, reason, utterances, list(counted.values()))
    table = replace(table, notes=tuple(write_notes(table, described)))
    return Derived(table, {name: _whole(each, folds) for name, each in counted.items()})


def check_rows(run: RunFolder, wanted: Sequence[str], rows: Sequence[str]) -> None:
    """Makes sure that there are rows of these names."""
    for name in wanted:
        if name not in rows:
            problem = f"no row with a finished cell is called {name!r}"
            raise RunError(problem, f"choose among {', '.join(rows)}", run.root)


def _choose_baseline(
    run: RunFolder, rows: Sequence[Row], classes: Sequence[str], wanted: str | None
) -> tuple[str | None, str]:
    """The row asked for, or the best baseline on validation speakers over the cells all baselines have; and why."""
    if wanted is not None:
        check_rows(run, [wanted], [row.name for row in rows])
        return wanted, "as asked for"
    candidates = [row.name for row in rows if row.model.get("kind") == "baseline"]
    if not candidates:
        return None, "no row is of kind baseline; name one with --baseline to test the others against it"
    if len(candidates) == 1:
        return candidates[0], "the only row of kind baseline"
    answers = {name: run.validation_answers(name) for name in candidates}
    shared = set.intersection(*(set(each.cells) for each in answers.values()))
    if not shared:
        return candidates[0], "the first of its kind, since no cell of all of them is finished"
    means = {name: _mean(each.of(shared).tally(classes))[MAIN] for name, each in answers.items()}
    shown = ", ".join(f"{name} {mean:.3f}".replace(" 0.", " .") for name, mean in means.items())
    reason = f"the best of its kind on the validation speakers, not on the tested ones: {shown}"
    return max(means, key=means.__getitem__), reason


def _mean(counted: stats.Counted) -> stats.Floats:
    return stats.mean_and_deviation(stats.run_scores(counted))[0]


def _whole(counted: stats.Counted, folds: set[int]) -> stats.Counted:
    """Its whole runs; without any, what is there."""
    whole = stats.whole_runs(counted, folds)
    return whole if len(whole.folds) else counted


def _entry(
    row: Row, every: stats.Counted, repeats: int, *, folds: set[int], homes: dict[str, str], dimensions: Sequence[str]
) -> TableRow:
    """A row without its comparison; of so many repeats, or of more if more are there; homes: speaker -> corpus."""
    counted = _whole(every, folds)
    cells = counted.cells()
    return TableRow(
        name=row.name,
        kind=str(row.model.get("kind", "")),
        parameters=row.parameters,
        runs=len({repeat for repeat, _ in cells}),
        folds=len({fold for _, fold in cells}),
        cells=len(every.cells()),
        planned=max(repeats, 1 + int(every.repeats.max())) * len(folds),
        scores=_figures(counted, dimensions),
        comparison=None,
        published=None if dimensions else reported(row.published) or published(row.model),
        corpora=_by_corpus(counted, homes, dimensions),
    )


def _by_corpus(counted: stats.Counted, homes: Mapping[str, str], dimensions: Sequence[str]) -> dict[str, CorpusFigures]:
    """Scores on the speakers of each corpus; nothing where all are of one."""
    names = sorted(set(homes.values()))
    corpora = np.array([homes.get(name, "") for name in counted.speakers.tolist()])
    found = {}
    for name in names if len(names) > 1 else ():
        if name in corpora:
            part = counted.where(corpora == name)
            found[name] = CorpusFigures(tuple(np.unique(part.folds).tolist()), _figures(part, dimensions))
    return found


def _figures(counted: stats.Counted, dimensions: Sequence[str]) -> dict[str, Figure]:
    """By the names of scores."""
    mean, over_runs = stats.mean_and_deviation(stats.run_scores(counted))
    fold_mean, over_folds = stats.mean_and_deviation(stats.fold_scores(counted)[1])
    low, high = stats.speaker_interval(counted, np.random.default_rng(SEED))
    columns = np.stack([mean, over_runs, over_folds, fold_mean, low, high], axis=1).tolist()
    return {name: Figure(*column) for name, column in zip(stats.score_names(dimensions), columns, strict=True)}


def _compared(
    entries: Sequence[TableRow], counted: Mapping[str, stats.Counted], against: str, ratio: float
) -> list[TableRow]:
    """Rows with their difference to the baseline, and which of them survive testing so many."""
    names = [each.name for each in entries if each.name != against]
    found = [difference(counted[name], counted[against], ratio) for name in names]
    corrected = stats.holm([each.p for each in found])
    judged = [replace(each, p_holm=p, verdict=_verdict(each, p)) for each, p in zip(found, corrected, strict=True)]
    comparisons = dict(zip(names, judged, strict=True))
    return [replace(entry, comparison=comparisons.get(entry.name)) for entry in entries]


def difference(counted: stats.Counted, against: stats.Counted, ratio: float) -> Comparison:
    """One model less another, over the folds both have; each averages over its own repeats.

    The ratio is that of test utterances to training utterances.
    """
    shared = set(counted.folds.tolist()) & set(against.folds.tolist())
    if not shared:
        nothing = math.nan
        return Comparison(nothing, nothing, nothing, nothing, 0, nothing, nothing)
    one, other = (each.where(np.isin(each.folds, list(shared))) for each in (counted, against))
    by_fold = stats.fold_scores(one)[1][:, MAIN] - stats.fold_scores(other)[1][:, MAIN]
    tested = stats.corrected_t_test(by_fold, ratio)
    one, other = _whole(one, shared), _whole(other, shared)
    low, high = stats.speaker_interval(one, np.random.default_rng(SEED), against=other)
    return Comparison(
        difference=float((_mean(one) - _mean(other))[MAIN]),
        low=float(low[MAIN]),
        high=float(high[MAIN]),
        fold_difference=tested.difference,
        folds=len(by_fold),
        p=tested.p,
        p_signed_rank=stats.signed_rank_test(by_fold).p,
    )


def _verdict(found: Comparison, p: float) -> Verdict:
    if np.isnan(p):
        return Verdict.UNTESTED
    # Pooled over folds and averaged over them, a difference has the same sign, or it is too small to speak of.
    if p >= stats.ALPHA or found.difference * found.fold_difference <= 0:
        return Verdict.NOT_SHOWN
    return Verdict.BETTER if found.difference > 0 else Verdict.WORSE


def test_to_training(run: RunFolder, row: str, counted: stats.Counted, utterances: int) -> float:
    """Utterances tested for each that is trained on, averaged over a row's folds."""
    tested: Counter[tuple[int, int]] = Counter()
    cells = zip(counted.repeats.tolist(), counted.folds.tolist(), strict=True)
    for cell, number in zip(cells, counted.utterances.tolist(), strict=True):
        tested[cell] += number
    validation = Counter(run.validation_answers(row).cells)
    pairs = [(number, utterances - number - validation[cell]) for cell, number in tested.items()]
    ratios = [number / trained for number, trained in pairs if trained > 0]
    if not ratios:
        raise RunError("the manifest has fewer utterances than are tested", "restore the folder", run.root)
    return float(np.mean(ratios))


class ReadOnce(RunFolder):
    """A run folder that remembers predictions, so that figures agree with the table though the run goes on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._tested = cache(super().answers)
        self._validating = cache(self._checked_validation)
        self._division = cache(lambda: read_division(self))

    def answers(self, row_name: str) -> AnyAnswers:
        """See `RunFolder.answers`."""
        return self._tested(row_name)

    def validation_answers(self, row_name: str) -> AnyAnswers:
        """See `RunFolder.validation_answers`; they are those of the run's folds."""
        return self._validating(row_name)

    def _checked_validation(self, row_name: str) -> AnyAnswers:
        answers = super().validation_answers(row_name)
        check_division(self, self._division(), row_name, "validation", answers)
        return answers


@dataclass(frozen=True, slots=True)
class ReportData:
    """A run as a report needs it."""

    run: ReadOnce
    table: Table
    counted: dict[str, stats.Counted]  # what the table's scores were counted from
    classes: tuple[str, ...]  # in the order of the probabilities; none where dimensions are predicted
    names: tuple[str, ...]  # of the rows to look into
    reason: str  # how they were chosen, in words

    def confusions(self, names: Iterable[str]) -> dict[str, stats.ConfusionCounts]:
        """Some rows, counted, where classes are predicted."""
        found = {name: self.counted[name] for name in names}
        return {name: each for name, each in found.items() if isinstance(each, stats.ConfusionCounts)}

    def answers(self, name: str) -> Answers:
        """What a row predicts of test utterances, where classes are predicted, in the cells that the table counts."""
        answers = self.run.answers(name).of(self.counted[name].cells())
        assert isinstance(answers, Answers)
        return answers

    def missing(self) -> dict[str, str]:
        """Row -> what of it is yet to come, in words; rows that are whole are left out."""
        missing = {str(row["name"]): "nothing is finished" for row in self.run.config()["rows"]}
        for row in self.table.rows:
            if row.unfinished:
                missing[row.name] = f"{row.cells} of {row.planned} cells are finished"
            else:
                del missing[row.name]
        return missing


def read(root: Path, baseline: str | None, wanted: Sequence[str], progress: Progress | None) -> ReportData:
    """Reads a run folder, derives its table, and chooses the rows to look into unless some are wanted.

    Raises RunError as `build_table`.
    """
    run = ReadOnce(root)
    table, counted = derive(run, baseline, progress)
    classes = tuple(str(name) for name in run.facts()["classes"])
    check_rows(run, wanted, [row.name for row in table.rows])
    names, reason = (tuple(dict.fromkeys(wanted)), "as asked for") if wanted else _choose(run, table, classes)
    return ReportData(run, table, counted, classes, names, reason)


def _choose(run: ReadOnce, table: Table, classes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The best of each kind on validation speakers: who is tested chooses nothing, not even what is looked into."""
    chosen = []
    for kind in KINDS:
        names = [row.name for row in table.rows if row.kind == kind]
        names = [row.name for row in table.rows if row.kind == kind and not row.unfinished] or names
        if kind == "baseline" and table.baseline in names:
            chosen.append(str(table.baseline))
        elif names:
            chosen.append(max(names, key=lambda name: _validated(run, name, classes)) if len(names) > 1 else names[0])
    if chosen:
        return tuple(chosen), "the best of each kind on the validation speakers, whole rows before unfinished ones"
    return tuple(row.name for row in table.best_first().rows[:MOST]), f"the highest by {table.main}"


def _validated(run: ReadOnce, name: str, classes: Sequence[str]) -> float:
    """UAR on validation speakers, averaged over repeats; the lowest there is where they cannot be read."""
    try:
        counted = run.validation_answers(name).tally(classes)
    except RunError:
        return -1.0
    return float(np.mean(stats.run_scores(counted)[:, MAIN]))
