"""From the predictions of a run folder to its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from affetto import stats
from affetto.data.folds import short_names
from affetto.errors import RunError
from affetto.evaluate import Row, RunFolder
from affetto.evaluate.division import check_division, read_division
from affetto.evaluate.predictions import Answers
from affetto.report.notes import RunFacts, write_notes
from affetto.report.published import published, reported
from affetto.report.table import Comparison, CorpusFigures, Figure, Table, TableRow, Verdict

SEED = 20170912
"""Of the speakers drawn for intervals: a run folder always gives the same table."""

UAR = stats.METRICS.index("uar")
"""What rows are compared by, decided before anyone looks: testing three scores would show three times the chance."""

Progress = Callable[[float, float], None]


class _Counted(NamedTuple):
    """A row and its test predictions, counted."""

    row: Row
    counted: stats.ConfusionCounts


class _Chosen(NamedTuple):
    """The baseline, and in words how it was chosen."""

    name: str | None
    reason: str


class Derived(NamedTuple):
    """A table, and what its scores were counted from.

    Attributes:
        table: of the run.
        counted: row name -> its whole runs, or without any what there is of it.
    """

    table: Table
    counted: dict[str, stats.ConfusionCounts]


def build_table(run: RunFolder, baseline: str | None = None, progress: Progress | None = None) -> Table:
    """Derives the table from the predictions in a run folder, finished or not; see `derive`."""
    return derive(run, baseline, progress).table


def derive(run: RunFolder, baseline: str | None = None, progress: Progress | None = None) -> Derived:
    """Derives the table from the predictions in a run folder, finished or not, and keeps what it was counted from.

    Args:
        run: the folder.
        baseline: the row to test the others against. Without it, the row of kind ``baseline`` that has the highest UAR
            on its validation speakers; the test speakers do not choose it, since the others are tested against it.
        progress: receives how many rows are read.

    Raises:
        RunError: the folder is none or damaged, nothing is finished in it, or no row is called like that.
    """
    rows = run.rows()
    if not rows:
        raise RunError("no cell is finished yet", "wait for the first one, or go on with the experiment", run.root)
    facts, division = run.facts(), read_division(run)
    classes = tuple(str(name) for name in facts.get("classes", ()))
    chosen = _choose(run, rows, classes, baseline)
    counts = []
    for number, row in enumerate(rows):
        if progress:
            progress(number, len(rows))
        answers = run.answers(row.name)
        check_division(run, division, row.name, "test", answers)
        counts.append(_Counted(row, count(answers, classes)))
    repeats, folds = _design(run, counts)
    utterances = list(run.readable().values())
    everyone = run.utterances()
    homes = dict(zip(short_names(everyone, "speaker"), (each.corpus for each in everyone), strict=True))
    entries = [_entry(each, repeats[each.row.name], folds, homes) for each in counts]
    if chosen.name is not None:
        against = next(each for each in counts if each.row.name == chosen.name)
        ratio = test_to_training(run, against.row.name, against.counted, len(utterances))
        entries = [replace(entry, comparison=found) for entry, found in _compare(entries, counts, against, ratio)]
    table = Table(tuple(entries), chosen.name)
    described = RunFacts(
        run.config(), facts, run.environment(), classes, chosen.reason, utterances, [each.counted for each in counts]
    )
    return Derived(
        replace(table, notes=tuple(write_notes(table, described))),
        {each.row.name: _whole(each.counted, folds) for each in counts},
    )


def count(answers: Answers, classes: Sequence[str]) -> stats.ConfusionCounts:
    """Counts answers by cell and speaker."""
    return stats.tally(answers.cells, answers.speakers, answers.references, answers.predicted, classes)


def _choose(run: RunFolder, rows: Sequence[Row], classes: Sequence[str], wanted: str | None) -> _Chosen:
    """The row that was asked for, or the best baseline on validation speakers, over the cells all baselines have."""
    names = [row.name for row in rows]
    if wanted is not None:
        if wanted not in names:
            raise RunError(
                f"no row with a finished cell is called {wanted!r}", f"choose among {', '.join(names)}", run.root
            )
        return _Chosen(wanted, "as asked for")
    candidates = [row.name for row in rows if row.model.get("kind") == "baseline"]
    if not candidates:
        return _Chosen(None, "no row is of kind baseline; name one with --baseline to test the others against it")
    if len(candidates) == 1:
        return _Chosen(candidates[0], "the only row of kind baseline")
    counted = {name: count(run.validation_answers(name), classes) for name in candidates}
    shared = set.intersection(*(each.cells() for each in counted.values()))
    if not shared:
        return _Chosen(candidates[0], "the first of its kind, since no cell of all of them is finished")
    uars = {name: _mean(_only(each, shared))[UAR] for name, each in counted.items()}
    uars_shown = ", ".join(f"{name} {uar:.3f}".replace(" 0.", " .") for name, uar in uars.items())
    return _Chosen(
        max(uars, key=uars.__getitem__),
        f"the best of its kind on the validation speakers, not on the tested ones: {uars_shown}",
    )


def _only(counted: stats.ConfusionCounts, cells: set[tuple[int, int]]) -> stats.ConfusionCounts:
    pairs = zip(counted.repeats.tolist(), counted.folds.tolist(), strict=True)
    return counted.where(np.array([pair in cells for pair in pairs]))


def _mean(counted: stats.ConfusionCounts) -> stats.Floats:
    return stats.mean_and_deviation(stats.run_scores(counted))[0]


def _design(run: RunFolder, counts: Sequence[_Counted]) -> tuple[dict[str, int], set[int]]:
    """How many repeats each row will have, by name, and the folds: as the recipe says, or more if more are there."""
    asked = {row["name"]: row.get("repeats", 1) for row in run.config()["rows"]}
    repeats = {each.row.name: max(asked.get(each.row.name, 1), 1 + int(each.counted.repeats.max())) for each in counts}
    folds = {fold for each in counts for fold in each.counted.folds.tolist()}
    return repeats, folds | set(range(run.facts().get("counts", {}).get("folds", 0)))


def _whole(counted: stats.ConfusionCounts, folds: set[int]) -> stats.ConfusionCounts:
    """Its whole runs; without any, what is there."""
    whole = stats.whole_runs(counted, folds)
    return whole if len(whole.folds) else counted


def _entry(entry: _Counted, repeats: int, folds: set[int], homes: Mapping[str, str]) -> TableRow:
    counted = _whole(entry.counted, folds)
    figures = _figures(counted)
    cells = counted.cells()
    return TableRow(
        name=entry.row.name,
        kind=str(entry.row.model.get("kind", "")),
        parameters=entry.row.parameters,
        runs=len({repeat for repeat, _ in cells}),
        folds=len({fold for _, fold in cells}),
        cells=len(entry.counted.cells()),
        planned=repeats * len(folds),
        uar=figures[0],
        accuracy=figures[1],
        f1_macro=figures[2],
        comparison=None,
        published=reported(entry.row.published) or published(entry.row.model),
        corpora=_by_corpus(counted, homes),
    )


def _by_corpus(counted: stats.ConfusionCounts, homes: Mapping[str, str]) -> dict[str, CorpusFigures]:
    """Scores on the speakers of each corpus, ``homes``; nothing where all are of one."""
    names = sorted(set(homes.values()))
    corpora = np.array([homes.get(name, "") for name in counted.speakers.tolist()])
    parts = {name: counted.where(corpora == name) for name in names if len(names) > 1 and name in corpora}
    return {
        name: CorpusFigures(tuple(sorted(set(part.folds.tolist()))), *_figures(part)) for name, part in parts.items()
    }


def _figures(counted: stats.ConfusionCounts) -> list[Figure]:
    """In the order of `stats.METRICS`."""
    mean, over_runs = stats.mean_and_deviation(stats.run_scores(counted))
    fold_mean, over_folds = stats.mean_and_deviation(stats.fold_scores(counted)[1])
    low, high = stats.speaker_interval(counted, np.random.default_rng(SEED))
    columns = np.stack([mean, over_runs, over_folds, fold_mean, low, high], axis=1).tolist()
    return [Figure(*column) for column in columns]


def _compare(
    entries: Sequence[TableRow], counts: Sequence[_Counted], against: _Counted, ratio: float
) -> Iterable[tuple[TableRow, Comparison | None]]:
    """Each row's difference to the baseline, and which of them survive testing so many."""
    found = [None if each is against else difference(each.counted, against.counted, ratio) for each in counts]
    corrected = stats.holm([float("nan") if each is None else each.p for each in found])
    judged = [
        None if each is None else replace(each, p_holm=p, verdict=_verdict(each, p))
        for each, p in zip(found, corrected, strict=True)
    ]
    return zip(entries, judged, strict=True)


def difference(counted: stats.ConfusionCounts, against: stats.ConfusionCounts, ratio: float) -> Comparison:
    """One model less another, over the folds both have; each averages over its own repeats.

    Args:
        counted: the one.
        against: the other.
        ratio: test utterances / training utterances.
    """
    shared = set(counted.folds.tolist()) & set(against.folds.tolist())
    one, other = (each.where(np.isin(each.folds, list(shared))) for each in (counted, against))
    nothing = float("nan")
    if not shared:
        return Comparison(nothing, nothing, nothing, nothing, 0, nothing, nothing, nothing, Verdict.UNTESTED)
    by_fold = stats.fold_scores(one)[1][:, UAR] - stats.fold_scores(other)[1][:, UAR]
    tested = stats.corrected_t_test(by_fold, ratio)
    one, other = _whole(one, shared), _whole(other, shared)
    low, high = stats.speaker_interval(one, np.random.default_rng(SEED), against=other)
    return Comparison(
        difference=float((_mean(one) - _mean(other))[UAR]),
        low=float(low[UAR]),
        high=float(high[UAR]),
        fold_difference=tested.difference,
        folds=len(by_fold),
        p=tested.p,
        p_signed_rank=stats.signed_rank_test(by_fold).p,
        p_holm=nothing,
        verdict=Verdict.UNTESTED,
    )


def _verdict(found: Comparison, p: float) -> Verdict:
    if np.isnan(p):
        return Verdict.UNTESTED
    # Pooled over folds and averaged over them, a difference has the same sign, or it is too small to speak of.
    if p >= stats.ALPHA or found.difference * found.fold_difference <= 0:
        return Verdict.NOT_SHOWN
    return Verdict.BETTER if found.difference > 0 else Verdict.WORSE


def test_to_training(run: RunFolder, row: str, counted: stats.ConfusionCounts, utterances: int) -> float:
    """Utterances tested for each that is trained on, averaged over a row's folds."""
    tested = _by_cell(zip(counted.repeats, counted.folds, strict=True), counted.confusions)
    validation = Counter(run.validation_answers(row).cells)
    trained = {cell: utterances - number - validation[cell] for cell, number in tested.items()}
    ratios = [tested[cell] / number for cell, number in trained.items() if number > 0]
    if not ratios:
        raise RunError("the manifest has fewer utterances than are tested", "restore the folder", run.root)
    return float(np.mean(ratios))


def _by_cell(cells: Iterable[Any], confusions: stats.Integers) -> Mapping[tuple[int, int], int]:
    found: Counter[tuple[int, int]] = Counter()
    for cell, number in zip(cells, confusions.sum(axis=(1, 2)).tolist(), strict=True):
        found[int(cell[0]), int(cell[1])] += number
    return found
