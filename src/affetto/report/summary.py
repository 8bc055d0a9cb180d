"""What a run shows, in a paragraph for someone who was not there; every number is the table's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from affetto.drawing.words import named, several
from affetto.report.confusions import worst_confusion
from affetto.report.findings import Confusion, confusion
from affetto.report.reading import ReportData
from affetto.report.render import chance, share, signed
from affetto.report.table import CHANCE, Table, TableRow, Verdict


def summarise(material: ReportData) -> str:
    """A paragraph: which row is best, which differences are shown, and which emotions are confused."""
    table = material.table
    rows = [row for row in table.best_first().rows if not math.isnan(row.uar.mean)]
    acoustic = [row for row in rows if row.kind not in CHANCE] or rows
    whole = [row for row in acoustic if not row.unfinished] or acoustic
    best = whole[0]
    counted = material.derived.counted[best.name]
    speakers = len(set(counted.speakers.tolist()))
    parts = [
        *_best(best, len(rows), len(material.classes), speakers),
        *_differences(table, best),
        *_classes(best, confusion(counted), material.classes),
    ]
    return " ".join(parts)


def _best(best: TableRow, rows: int, classes: int, speakers: int) -> Iterator[str]:
    interval = (
        f"with other speakers it would lie between {share(best.uar.low)} and {share(best.uar.high)} "
        f"(95 % interval over {several(speakers, 'speaker')})"
        if not math.isnan(best.uar.low)
        else "with a single speaker, there is no interval"
    )
    first = f"Of {rows} rows, {best.name} has the highest UAR" if rows > 1 else f"{best.name} has a UAR"
    finished = ", so far" if best.unfinished else ""
    yield (
        f"{first}{finished}: averaged over the {classes} emotions, it recognises {share(best.uar.mean)} of each one's "
        f"utterances, where guessing gets {share(1 / classes)}; {interval}."
    )


def _differences(table: Table, best: TableRow) -> Iterator[str]:
    if table.baseline is None:
        if len(table.rows) > 1:
            yield "No row is a baseline, so no difference was tested."
        return
    compared = [row for row in table.best_first().rows if row.comparison is not None]
    verdicts: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for row in compared:
        assert row.comparison is not None
        verdicts[row.comparison.verdict].append(row.name)
    tested = len(compared) - len(verdicts[Verdict.UNTESTED])
    if not tested:
        if compared:
            yield f"No difference to the baseline, {table.baseline}, could be tested: that takes two folds in common."
        return
    base = next(row for row in table.rows if row.name == table.baseline)
    better, worse = verdicts[Verdict.BETTER], verdicts[Verdict.WORSE]
    yield (
        f"Tested against the baseline, {base.name} ({share(base.uar.mean)}), and corrected for {tested} tests: "
        f"{_counted(better, 'better')}, {_counted(worse, 'worse')}."
    )
    unshown = len(verdicts[Verdict.NOT_SHOWN])
    if unshown:
        yield (
            f"For the other {several(unshown, 'row')} a difference is not shown, which is not the same as being equal."
            if better or worse
            else "That a difference is not shown is not the same as being equal."
        )
    yield from _own(best)


def _counted(names: Sequence[str], word: str) -> str:
    if not names:
        return f"none is shown to be {word}"
    return f"{len(names)} {'is' if len(names) == 1 else 'are'} {word} ({named(names)})"


def _own(best: TableRow) -> Iterator[str]:
    found = best.comparison
    if found is None or math.isnan(found.low) or math.isnan(found.p_holm):
        return
    shown = "shown" if found.verdict in (Verdict.BETTER, Verdict.WORSE) else "not shown"
    yield (
        f"The lead of {best.name}, {signed(found.difference)} ({signed(found.low)} to {signed(found.high)} over "
        f"speakers), is {shown} by the test over folds (corrected p {chance(found.p_holm)})."
    )


def _classes(best: TableRow, found: Confusion, classes: Sequence[str]) -> Iterator[str]:
    recalls = np.diagonal(found.shares)
    there = [place for place in range(len(classes)) if not math.isnan(recalls[place])]
    if len(there) < 2:
        return
    high, low = max(there, key=lambda place: recalls[place]), min(there, key=lambda place: recalls[place])
    mixed = worst_confusion(found, classes)
    yield (
        f"{best.name} recognises {classes[high]} best ({share(float(recalls[high]), 2)}) and {classes[low]} least "
        f"({share(float(recalls[low]), 2)})" + (f"; most often it takes {mixed}." if mixed else ".")
    )
