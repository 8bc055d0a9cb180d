"""What better recognition does to emotion: one recipe's rows over recognisers of different CER.

If what a recogniser learns serves to recognise emotions (the paper's section 1), one with fewer errors serves better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from affetto import stats
from affetto.drawing.figures import ACCENT, SECOND, Canvas, Picture, colour_map
from affetto.drawing.words import several, share
from affetto.errors import RunError
from affetto.evaluate import RunFolder
from affetto.report.build import derive, difference, test_to_training
from affetto.report.render import VERSION, Sheet, chance, extent, plain, signed
from affetto.report.table import CHANCE, Comparison, Figure


@dataclass(frozen=True, slots=True)
class Point:
    """One row over one recogniser: the run folder's name, the recogniser as its recipe calls it, and both results."""

    run: str
    recogniser: str
    cer: float
    uar: Figure


@dataclass(frozen=True, slots=True)
class Line:
    """One row over all recognisers."""

    name: str
    points: tuple[Point, ...]  # highest CER first
    agreement: float  # Kendall's tau-b of UAR and lower CER; 1 where each better recogniser recognises emotion better
    gain: Comparison  # UAR over the best recogniser less that over the worst


@dataclass(frozen=True, slots=True)
class RecogniserComparison:
    """What the runs of several recognisers have in common, and the rows that every run has finished, in order."""

    lines: tuple[Line, ...]
    utterances: int
    speakers: int
    folds: int


_MAY_DIFFER = {"recogniser", "repeats", "stack", "training", "rows"}
"""Keys of a recipe in which compared runs may differ: rows, with how each is trained, are compared one by one."""


class _Run(NamedTuple):
    folder: RunFolder
    recogniser: str
    cer: float
    figures: dict[str, Figure]
    counted: dict[str, stats.Counted]


def compare_recognisers(folders: Sequence[Path]) -> RecogniserComparison:
    """Compares the runs of one recipe over several recognisers.

    Raises RunError where there are fewer than two runs; a folder is none, does not know its recogniser's CER, or was
    run on other utterances, folds or models than the first; or no row is finished in all of them.
    """
    if len(folders) < 2:
        raise RunError("one run compares no recognisers", "name two or more run folders", *folders)
    read = [_read(RunFolder(folder)) for folder in folders]
    first, runs = read[0], sorted(read, key=lambda run: -run.cer)
    for run in runs:
        _check_like(run.folder, first.folder)
    names = [name for name in first.figures if all(name in run.figures for run in runs)]
    if not names:
        raise RunError("no row is finished in every run", "finish them, or name runs of one recipe", first.folder.root)
    utterances = first.folder.utterances()
    counted = first.counted[names[0]]
    ratio = test_to_training(first.folder, names[0], counted, len(utterances))
    lines = tuple(_line(name, runs, ratio) for name in names)
    speakers = len({each.speaker for each in utterances})
    return RecogniserComparison(lines, len(utterances), speakers, len(set(counted.folds.tolist())))


def _line(name: str, runs: Sequence[_Run], ratio: float) -> Line:
    points = tuple(Point(run.folder.root.name, run.recogniser, run.cer, run.figures[name]) for run in runs)
    agreement = stats.rank_agreement([-each.cer for each in points], [each.uar.mean for each in points])
    return Line(name, points, agreement, difference(runs[-1].counted[name], runs[0].counted[name], ratio))


def _read(folder: RunFolder) -> _Run:
    facts = folder.facts()
    if folder.dimensions:
        raise RunError("predicts dimensions, not classes", "compare runs that predict classes", folder.root)
    cer = facts.get("recogniser_cer")
    if not isinstance(cer, int | float) or not math.isfinite(cer):
        remedy = "run it with a recogniser that affetto asr train made, and this version of affetto"
        raise RunError("does not record its recogniser's CER", remedy, folder.root)
    found = derive(folder)
    figures = {row.name: row.main for row in found.table.rows if not row.unfinished and row.kind not in CHANCE}
    return _Run(folder, str(folder.config().get("recogniser", "")), float(cer), figures, found.counted)


def _check_like(run: RunFolder, first: RunFolder) -> None:
    mine, theirs = run.config(), first.config()
    differs = [
        f"was run with {what} than"
        for key, what in (("manifest_sha256", "other utterances or labels"), ("classes", "other classes"))
        if run.facts().get(key) != first.facts().get(key)
    ]
    keys = sorted((mine.keys() | theirs.keys()) - _MAY_DIFFER)
    differs += [f"was run with another {key} than" for key in keys if mine.get(key) != theirs.get(key)]
    rows, known = ({row["name"]: {**row, "repeats": None} for row in config["rows"]} for config in (mine, theirs))
    differs += [f"{name} is another model in" for name in rows if rows[name] != known.get(name, rows[name])]
    if differs:
        raise RunError(f"{differs[0]} {first.root}", "compare runs of one recipe", run.root)


def recognition_sheets(found: RecogniserComparison) -> list[Sheet]:
    """What a terminal or a page shows: UAR of each row over each recogniser, and how the two go together."""
    points = found.lines[0].points
    uars = tuple((line.name, *(share(each.uar.mean) for each in line.points)) for line in found.lines)
    corrected = stats.holm([line.gain.p for line in found.lines])
    gains = []
    for line, p in zip(found.lines, corrected, strict=True):
        interval = extent(line.gain.low, line.gain.high, signed)
        chances = chance(line.gain.p), chance(p)
        gains.append((line.name, signed(line.gain.difference), interval, *chances, signed(line.agreement)))
    title = f"UAR at a CER of {share(points[-1].cer)} less that at {share(points[0].cer)}"
    return [
        Sheet("UAR of each row, by the recogniser's CER", ("row", *(share(each.cer) for each in points)), uars),
        Sheet(title, ("row", "difference", "95 %", "p", "p (Holm)", "tau-b"), tuple(gains)),
    ]


def recognition_notes(found: RecogniserComparison) -> list[str]:
    """What one has to know to read the sheets."""
    runs = ", ".join(f"{each.run} ({each.recogniser}) {share(each.cer)}" for each in found.lines[0].points)
    return [
        f"{several(found.utterances, 'utterance')}, {several(found.speakers, 'speaker')}, "
        f"{several(found.folds, 'fold')}, the same in every run. CER: on speakers held out of the recogniser's own "
        f"training, as that training measured it: {runs}.",
        "95 %: interval by bootstrap over speakers. p: Nadeau and Bengio's corrected t-test over folds; Holm: "
        "corrected for the rows. tau-b: Kendall's, between UAR and lower CER; 1 where each better "
        "recogniser recognises emotion better. Epochs of one training are not independent recognisers.",
    ]


def recognition_values(found: RecogniserComparison) -> dict[str, Any]:
    """All of it, as JSON has it."""
    return {"version": VERSION, **plain(asdict(found))}


def recognition_picture(found: RecogniserComparison) -> Picture:
    """UAR against the recogniser's CER, a line a row; recognition gets better from left to right."""
    cers = [each.cer for each in found.lines[0].points]

    def draw(canvas: Canvas) -> None:
        (axes,) = canvas.panels(1, inches=3.6)
        shown = sorted(found.lines, key=lambda line: -line.points[-1].uar.mean)
        tints = colour_map((ACCENT, SECOND))(np.linspace(0, 1, len(shown)))  # apart in grey as well
        for line, colour, marker in zip(shown, tints, cycle("osD^vP"), strict=False):
            means, lows, highs = np.array([(each.uar.mean, each.uar.low, each.uar.high) for each in line.points]).T
            axes.fill_between(cers, lows, highs, color=colour, alpha=0.07, linewidth=0)
            axes.plot(cers, means, color=colour, marker=marker, markersize=4.5, label=line.name)
        axes.invert_xaxis()
        axes.grid()
        axes.xaxis.set_major_formatter(lambda value, _: share(value, 2))
        axes.yaxis.set_major_formatter(lambda value, _: share(value))
        axes.set(xlabel="CER of the recogniser on held-out speakers; better to the right", ylabel="UAR of emotions")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)

    caption = (
        "Each mark is a run of the same rows on the same folds over another recogniser; bands are 95 % intervals over "
        "the speakers, who are the same in every mark, so that neighbours may differ though their bands overlap."
    )
    ends = "; ".join(
        f"{line.name} from {share(line.points[0].uar.mean)} to {share(line.points[-1].uar.mean)}"
        for line in found.lines
    )
    alt = f"UAR against CER, from a CER of {share(cers[0])} to {share(cers[-1])}: {ends}."
    return Picture("recognition", "Better recognition, better emotion?", draw, caption, alt)
