"""The figures of a report: each function takes what is found and gives a `Picture` with its caption and alt text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from affetto.drawing.figures import ACCENT, INK, MUTED, PAPER, RULE, SECOND, Canvas, Picture
from affetto.drawing.words import named, several, share
from affetto.palette import colours
from affetto.report.findings import Calibration, Learning, Recalls, SpeakerScores
from affetto.report.table import CHANCE, Table, TableRow, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RARE = 0.005
"""A line leads through bins that hold at least this share of the utterances; what a few do is chance."""

_FLOOR = 0.25
"""An axis of shares is at least this long, so that small differences look small."""


def scores_picture(table: Table, classes: int) -> Picture:
    """UAR of each row with its interval, the highest first."""
    rows = [row for row in table.best_first().rows if row.kind not in CHANCE] or table.best_first().rows
    baseline = next((row for row in rows if row.name == table.baseline), None)
    ends = [each for row in rows for each in (row.uar.low, row.uar.high, row.uar.mean) if not math.isnan(each)]
    seen = min(ends) < 1 / classes + _FLOOR / 2

    def draw(canvas: Canvas) -> None:
        canvas.height(0.75 + 0.235 * len(rows))
        axes = canvas.panels(1, 1)[0]
        for place, row in enumerate(rows):
            _dot(axes, place, row)
        _guides(axes, baseline, 1 / classes if seen else None)
        _share_axis(axes, [*ends, *([1 / classes] if seen else [])])
        axes.set_yticks(range(len(rows)), [_starred(row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("UAR (unweighted average recall)")

    dotted = (
        "" if baseline is None else f"The dotted line is the baseline, {baseline.name} ({share(baseline.uar.mean)}). "
    )
    guessing = "is the dashed line" if seen else "lies far to the left"
    caption = (
        "Dots are means over runs, lines the 95 % intervals over speakers. Filled: the difference to the baseline is "
        f"shown (see the table), or the row is the baseline itself. {dotted}Guessing ({share(1 / classes)}) "
        f"{guessing}; rows that only guess are in the table alone. Two rows whose lines overlap may differ all the "
        "same, since both were tested on the same speakers."
    )
    values = "; ".join(f"{row.name} {share(row.uar.mean)}{_interval(row)}" for row in rows)
    return Picture("uar", "UAR of every row", draw, caption, f"Dots and intervals of UAR, highest first: {values}.")


def _interval(row: TableRow) -> str:
    return "" if math.isnan(row.uar.low) else f" ({share(row.uar.low)} to {share(row.uar.high)})"


def _starred(row: TableRow) -> str:
    return row.name + ("*" if row.unfinished else "")


def _dot(axes: Axes, place: int, row: TableRow) -> None:
    shown = row.comparison is None or row.comparison.verdict in (Verdict.BETTER, Verdict.WORSE)
    if not math.isnan(row.uar.low):
        axes.plot([row.uar.low, row.uar.high], [place, place], color=ACCENT, solid_capstyle="round", zorder=2)
    axes.plot(row.uar.mean, place, "o", color=ACCENT, markerfacecolor=ACCENT if shown else PAPER, markersize=6.5)
    axes.annotate(
        share(row.uar.mean), (1, place), xycoords=("axes fraction", "data"), va="center", ha="right", fontsize=8.5,
        color=MUTED,
    )  # fmt: skip
    axes.axhline(place, color=RULE, linewidth=0.5, zorder=0)


def _guides(axes: Axes, baseline: TableRow | None, chance: float | None) -> None:
    if chance is not None:
        axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    if baseline is not None:
        axes.axvline(baseline.uar.mean, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)


def _share_axis(axes: Axes, values: Sequence[float], *, margin: float = 0.14) -> None:
    """A horizontal axis of shares around some values, with a margin, in parts of its length, at its right."""
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max((high - low) / 2, _FLOOR / 2)
    low, high = max(0.0, middle - 1.08 * half), min(1.02, middle + 1.08 * half)
    axes.set_xlim(low, high + margin * (high - low))
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: share(value, 2) if value <= 1 else "")
    axes.grid(axis="x")


def recall_picture(found: Mapping[str, Recalls], classes: Sequence[str]) -> Picture:
    """Recall of each class, a panel a class, a line a row."""
    palette, names = colours(classes), list(found)
    ends = [value for each in found.values() for part in each for value in part.tolist() if not math.isnan(value)]

    def draw(canvas: Canvas) -> None:
        columns = min(2, len(classes))
        rows = math.ceil(len(classes) / columns)
        canvas.height(rows * (0.55 + 0.2 * len(names)) + 0.35)
        panels = canvas.panels(rows, columns, sharey=True)
        for place, (axes, label) in enumerate(zip(panels, classes, strict=False)):
            for line, each in enumerate(found.values()):
                _recall(axes, line, [float(part[place]) for part in each], palette[label])
            axes.set_title(label, color=INK)
            axes.set_yticks(range(len(names)), [_short(name, 28) for name in names])
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.axvline(1 / len(classes), color=MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
            _share_axis(axes, [*ends, 1 / len(classes)], margin=0.02)
        hide(panels[len(classes) :])
        canvas.figure.supxlabel("recall", fontsize=9)

    values = "; ".join(
        f"{label}: " + ", ".join(f"{name} {_known(float(each.mean[place]))}" for name, each in found.items())
        for place, label in enumerate(classes)
    )
    caption = (
        "Of all utterances of a class, the share that is predicted as it, with the 95 % interval over speakers. "
        "A row that is high in one panel and low in another leans towards that emotion. The dashed line is guessing "
        f"({share(1 / len(classes))})."
    )
    return Picture("recall", "Recall of each class", draw, caption, f"Recall of each class. {values}.")


def _known(value: float) -> str:
    return "has no utterance" if math.isnan(value) else share(value, 2)


def _recall(axes: Axes, line: int, ends: Sequence[float], colour: str) -> None:
    mean, low, high = ends
    if math.isnan(mean):
        axes.text(0.02, line, "no utterance", va="center", fontsize=8, color=MUTED)
        return
    if not math.isnan(low):
        axes.plot([low, high], [line, line], color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot(mean, line, "o", color=colour, markersize=6.5, markeredgecolor=PAPER, markeredgewidth=0.8)


def speaker_picture(found: Mapping[str, SpeakerScores], order: Sequence[str]) -> Picture:
    """UAR of each speaker, a panel a row, speakers in the same order in all of them."""
    place = {name: number for number, name in enumerate(order)}

    def draw(canvas: Canvas) -> None:
        canvas.height(0.5 + 1.05 * len(found))
        panels = canvas.panels(len(found), 1, sharex=True, sharey=True)
        for axes, (name, each) in zip(panels, found.items(), strict=True):
            low, middle, high = np.quantile(each.uars, [0.25, 0.5, 0.75])
            axes.axhspan(low, high, color=ACCENT, alpha=0.12, linewidth=0)
            axes.axhline(middle, color=ACCENT, linewidth=1)
            spots = [place[speaker] for speaker in each.names.tolist()]
            axes.plot(spots, each.uars, "o", color=ACCENT, markersize=4 if len(order) > 40 else 5.5, alpha=0.85)
            axes.set_title(_short(name, 90))
            axes.grid(axis="y")
            axes.yaxis.set_major_formatter(lambda value, _: share(value, 2))
        axes = panels[-1]
        few = len(order) <= 24
        axes.set_xticks(range(len(order)) if few else [], order if few else [], rotation=90 if len(order) > 8 else 0)
        axes.set_xlim(-0.7, len(order) - 0.3)
        axes.set_xlabel(f"speakers, hardest to easiest for {_short(next(iter(found)), 30)}")
        canvas.figure.supylabel("UAR", fontsize=9)

    spread = "; ".join(f"{name} {_range(each)}" for name, each in found.items())
    first = next(iter(found))
    ends = "" if len(order) < 2 else f" Hardest for {first}: {named(order[:3])}; easiest: {named(order[:-4:-1])}."
    others = (
        " The first panel climbs because it gives the order; where others climb, the same speakers are hard for them."
        if len(found) > 1 and len(order) > 1
        else ""
    )
    caption = (
        "Each dot is a speaker, over the classes that he or she has; the line is the median, the band the middle half. "
        f"Speakers stand in the same order in every panel, sorted by {first}.{others}{ends}"
    )
    alt = f"UAR of {several(len(order), 'speaker')}, lowest, median and highest: {spread}."
    return Picture("speakers", "From speaker to speaker", draw, caption, alt)


def _range(found: SpeakerScores) -> str:
    return ", ".join(share(float(value), 2) for value in np.quantile(found.uars, [0, 0.5, 1]))


def learning_picture(found: Mapping[str, Learning]) -> Picture:
    """Training and validation loss by epoch, a panel a row."""

    def draw(canvas: Canvas) -> None:
        columns = min(len(found), 3 if len(found) in (3, 5, 6) else 2)
        rows = math.ceil(len(found) / columns)
        canvas.height(rows * 1.95 + 0.3)
        panels = canvas.panels(rows, columns, sharey=True)
        for axes, (name, each) in zip(panels, found.items(), strict=False):
            best = float(np.median(each.best))
            axes.axvline(best, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
            for (mean, deviation), colour, label, dashes in (
                (each.training, SECOND, "training", (0, (4, 1.5))),
                (each.validation, ACCENT, "validation", "-"),
            ):
                axes.fill_between(
                    each.epochs, mean - deviation, mean + deviation, color=colour, alpha=0.18, linewidth=0
                )
                axes.plot(each.epochs, mean, color=colour, linestyle=dashes, label=label)
            axes.set_title(folded(name, 84 // columns))
            axes.set_xlabel("epoch")
            axes.locator_params(axis="x", integer=True)
            axes.grid(axis="y")
        panels[0].legend(loc="upper right")  # to look for the best place takes long, and matplotlib warns of it
        for axes in panels[::columns]:
            axes.set_ylabel("cross-entropy")
        hide(panels[len(found) :])

    values = "; ".join(
        f"{name}: validation loss {each.validation[0].min():.2f} at its lowest, best epoch {np.median(each.best):g}"
        for name, each in found.items()
    )
    caption = (
        "Mean and standard deviation over folds and repeats, as long as at least half of them still train. The dotted "
        "line is the epoch that was kept (the median). Where training goes on falling while validation rises, the row "
        "learns its speakers by heart. Training losses are those of noisy training (dropout, changed recordings)."
    )
    return Picture("learning", "Learning curves", draw, caption, f"Learning curves. {values}.")


def calibration_picture(found: Mapping[str, Calibration]) -> Picture:
    """Reliability diagrams before and after temperature scaling, a panel a row."""

    def draw(canvas: Canvas) -> None:
        columns = min(len(found), 3)
        rows = math.ceil(len(found) / columns)
        canvas.height(rows * (3.2 if columns == 1 else 2.75))
        panels = canvas.panels(rows, columns, sharey=True)
        for axes, (name, each) in zip(panels, found.items(), strict=False):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (5, 3)))
            for (_, _, bins), colour, label, marker in (
                (each.before, SECOND, "as trained", "s"),
                (each.after, ACCENT, "scaled", "o"),
            ):
                parts = bins.counts / bins.counts.sum()
                many = parts >= _RARE
                axes.plot(bins.confidence[many], bins.accuracy[many], color=colour, linewidth=1.2, label=label)
                sizes = 8 + 90 * parts
                axes.scatter(bins.confidence, bins.accuracy, sizes, color=colour, marker=marker, linewidths=0, zorder=3)
            axes.set_title(folded(name, 72 // columns))
            axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xlabel="confidence")
            axes.grid()
            axes.xaxis.set_major_formatter(lambda value, _: share(value, 2))
            axes.yaxis.set_major_formatter(lambda value, _: share(value, 2))
        panels[0].legend(loc="upper left", handlelength=1.2)
        for axes in panels[::columns]:
            axes.set_ylabel("share that is right")
        hide(panels[len(found) :])

    values = "; ".join(
        f"{name} {share(each.before.error)} as trained, {share(each.after.error)} scaled"
        for name, each in found.items()
    )
    caption = (
        "Test utterances by the probability of the predicted class; larger marks hold more of them, and the line "
        "passes over those that hold hardly any. On the dashed line, a model that gives .7 is right 7 times in 10; "
        "below it, it is overconfident, above it underconfident. Scaled: "
        "each fold's probabilities with one temperature, fitted on its validation speakers."
    )
    alt = f"Reliability diagrams. Expected calibration error on test speakers: {values}."
    return Picture("calibration", "Confidence and truth", draw, caption, alt)


def _short(name: str, letters: int) -> str:
    """A name that fits.

    >>> _short("Fine-tuning MP-3, layer 3 trained along", 22)
    'Fine-tuning MP-3, lay…'
    """
    return name if len(name) <= letters else name[: letters - 1] + "…"


def folded(name: str, letters: int) -> str:
    r"""A title of at most two lines.

    >>> folded("Fine-tuning MP-3, layer 3 trained along", 22)
    'Fine-tuning MP-3,\nlayer 3 trained along'
    """
    return "\n".join(textwrap.wrap(name, letters, max_lines=2, placeholder=" …", break_on_hyphens=False)) or name


def hide(panels: Sequence[Axes]) -> None:
    """Leaves panels empty."""
    for axes in panels:
        axes.set_visible(False)
