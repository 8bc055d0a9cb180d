"""The figures of a report: each function takes what is found and gives a `Picture` with its caption and alt text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from affetto.drawing.figures import ACCENT, INK, MUTED, PAPER, RULE, SECOND, SEQUENCE, Canvas, Picture, colour_map
from affetto.drawing.words import named, several, share
from affetto.palette import colours
from affetto.report.findings import Calibration, Confusion, Floats, Learning, Recalls, SpeakerScores
from affetto.report.render import extent
from affetto.report.table import CHANCE, Table, TableRow, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RARE = 0.005  # A line leads through bins that hold at least this share of the utterances; what a few do is chance
_HEAT = "A line of a matrix is a true class, a column a predicted one"
_AXES = {"UAR": "UAR (unweighted average recall)"}
_FLOOR = 0.25  # An axis of shares is at least this long, so that small differences look small


def scores_picture(table: Table, guessing: float) -> Picture:
    """UAR or CCC of each row with its interval, the highest first, and what guessing comes to."""
    rows = [row for row in table.best_first().rows if row.kind not in CHANCE] or table.best_first().rows
    baseline = next((row for row in rows if row.name == table.baseline), None)
    ends = [each for row in rows for each in (row.main.low, row.main.high, row.main.mean) if not math.isnan(each)]
    seen = min(ends) < guessing + _FLOOR / 2

    def draw(canvas: Canvas) -> None:
        (axes,) = canvas.panels(1, inches=0.75 + 0.235 * len(rows))
        for place, row in enumerate(rows):
            _dot(axes, place, row)
        if seen:
            axes.axvline(guessing, color=MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
        if baseline is not None:
            axes.axvline(baseline.main.mean, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        _share_axis(axes, [*ends, *([guessing] if seen else [])])
        axes.set_yticks(range(len(rows)), [row.name + "*" * row.unfinished for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(_AXES.get(table.main, table.main))

    dotted = f"The dotted line is the baseline, {baseline.name} ({share(baseline.main.mean)}). " if baseline else ""
    where = "is the dashed line" if seen else "lies far to the left"
    caption = (
        "Dots are means over runs, lines the 95 % intervals over speakers. Filled: the difference to the baseline is "
        f"shown (see the table), or the row is the baseline itself. {dotted}Guessing ({share(guessing)}) "
        f"{where}; rows that only guess are in the table alone. Two rows whose lines overlap may differ all the "
        "same, since both were tested on the same speakers."
    )
    shown = [(row.name, share(row.main.mean), extent(row.main.low, row.main.high)) for row in rows]
    values = "; ".join(f"{name} {mean}" + (f" ({ends})" if ends else "") for name, mean, ends in shown)
    alt = f"Dots and intervals of {table.main}, highest first: {values}."
    return Picture("uar", f"{table.main} of every row", draw, caption, alt)


def _dot(axes: Axes, place: int, row: TableRow) -> None:
    shown = row.comparison is None or row.comparison.verdict in (Verdict.BETTER, Verdict.WORSE)
    if not math.isnan(row.main.low):
        axes.plot([row.main.low, row.main.high], [place, place], color=ACCENT, solid_capstyle="round", zorder=2)
    axes.plot(row.main.mean, place, "o", color=ACCENT, markerfacecolor=ACCENT if shown else PAPER, markersize=6.5)
    axes.annotate(share(row.main.mean), (1, place), xycoords=("axes fraction", "data"), va="center", ha="right",
                  fontsize=8.5, color=MUTED)  # fmt: skip
    axes.axhline(place, color=RULE, linewidth=0.5, zorder=0)


def _share_axis(axes: Axes, values: Sequence[float], *, margin: float = 0.14) -> None:
    """A horizontal axis of shares around some values, with a margin, in parts of its length, at its right."""
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max((high - low) / 2, _FLOOR / 2)
    low, high = max(0.0, middle - 1.08 * half), min(1.02, middle + 1.08 * half)
    axes.set_xlim(low, high + margin * (high - low))
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: share(value, 2) if value <= 1 else "")
    axes.grid(axis="x")


def confusion_picture(found: Mapping[str, Confusion], classes: Sequence[str]) -> Picture:
    """Shares of the true class, a matrix a row of the table, side by side."""
    worst = {name: worst_confusion(each, classes) for name, each in found.items()}
    mixed = "; ".join(f"{name}: {text}" for name, text in worst.items() if text)
    caption = (
        f"{_HEAT}; a line adds up to 1. The diagonal is each class's recall, and its mean the table's UAR. "
        f"Mixed up most: {mixed}."
    )
    recalls = {name: map(_known, np.diagonal(each.shares).tolist()) for name, each in found.items()}
    listed = "; ".join(f"{name}: {_listed(classes, each)}" for name, each in recalls.items())
    alt = f"Confusion matrices in shares. Recalls on their diagonals: {listed}. Mixed up most: {mixed}."
    draw = partial(_matrices, found={name: each.shares for name, each in found.items()}, classes=classes, counts=False)
    return Picture("confusion", "What is taken for what", draw, caption, alt)


def counts_picture(found: Mapping[str, Confusion], classes: Sequence[str]) -> Picture:
    """Utterances of a fold, averaged over folds and repeats."""
    lines = np.mean([each.counts.sum(axis=1) for each in found.values()], axis=0).tolist()
    spoken = _listed(classes, map(_few, lines))
    caption = (
        f"{_HEAT}, in utterances of a test fold, averaged over folds and repeats. Shades are by count: a class with "
        f"many utterances is dark even where its recall is low. Utterances of a fold: {spoken}."
    )
    alt = f"Confusion matrices in utterances of a fold, averaged over folds and repeats. Utterances: {spoken}."
    draw = partial(_matrices, found={name: each.counts for name, each in found.items()}, classes=classes, counts=True)
    return Picture("counts", "The same in utterances", draw, caption, alt)


def _matrices(canvas: Canvas, found: Mapping[str, Floats], classes: Sequence[str], *, counts: bool) -> None:
    columns = min(len(found), 3 if len(classes) <= 5 else 2)
    panels = canvas.panels(len(found), columns, inches=min(6.7 / columns, 3.2) + 1.0)
    highest = max(1e-9, *(float(np.nanmax(each, initial=0)) for each in found.values())) if counts else 1.0
    for number, (axes, (name, values)) in enumerate(zip(panels, found.items(), strict=True)):
        _matrix(axes, values, highest, counts=counts)
        _label(axes, classes, first=number % columns == 0, crowded=columns * len(classes) > 12)
        axes.set_title(_folded(name, 30 if columns == 1 else 54 // columns))


def _matrix(axes: Axes, values: Floats, highest: float, *, counts: bool) -> None:
    axes.imshow(np.nan_to_num(values), cmap=colour_map(SEQUENCE), vmin=0, vmax=highest, aspect="equal")
    size = 9.0 if len(values) <= 4 else 7.5 if len(values) <= 6 else 6.0
    for (row, column), value in np.ndenumerate(values):
        text = "–" if math.isnan(value) else _few(value) if counts else share(value, 2)
        colour = MUTED if math.isnan(value) else PAPER if value > 0.45 * highest else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def _label(axes: Axes, classes: Sequence[str], *, first: bool, crowded: bool) -> None:
    axes.set_xticks(range(len(classes)), classes)
    if crowded or len(classes) > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes if first else [""] * len(classes))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="true class" if first else "")


def worst_confusion(found: Confusion, classes: Sequence[str]) -> str:
    """The largest share beside the diagonal, in words; empty where nothing is mixed up.

    >>> worst_confusion(Confusion(np.zeros((2, 2)), np.array([[0.7, 0.3], [0.1, 0.9]])), ["anger", "fear"])
    'anger as fear (.30)'
    """
    beside = np.nan_to_num(found.shares - np.diag(np.diagonal(found.shares)))
    true, predicted = divmod(int(beside.argmax()), len(classes))
    if beside[true, predicted] <= 0:
        return ""
    return f"{classes[true]} as {classes[predicted]} ({share(float(beside[true, predicted]), 2)})"


def _few(count: float) -> str:
    """A mean count, such as 0, 3.2 or 117."""
    return f"{count:.1f}" if 0 < count < 99.95 else f"{count:.0f}"


def recall_picture(found: Mapping[str, Recalls], classes: Sequence[str]) -> Picture:
    """Recall of each class, a panel a class, a line a row."""
    palette = colours(classes)
    ends = [value for each in found.values() for part in each for value in part.tolist() if not math.isnan(value)]

    def draw(canvas: Canvas) -> None:
        inches = 0.55 + 0.2 * len(found)
        panels = canvas.panels(len(classes), min(2, len(classes)), inches=inches, margin=0.35, sharey=True)
        for place, (axes, label) in enumerate(zip(panels, classes, strict=True)):
            for line, each in enumerate(found.values()):
                _recall(axes, line, [float(part[place]) for part in each], palette[label])
            axes.set_title(label, color=INK)
            axes.set_yticks(range(len(found)), [_short(name, 28) for name in found])
            axes.set_ylim(len(found) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.axvline(1 / len(classes), color=MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
            _share_axis(axes, [*ends, 1 / len(classes)], margin=0.02)
        canvas.figure.supxlabel("recall", fontsize=9)

    means = np.stack([each.mean for each in found.values()], axis=1).tolist()  # (classes, rows)
    values = "; ".join(f"{name}: {_listed(found, map(_known, row))}" for name, row in zip(classes, means, strict=True))
    caption = (
        "Of all utterances of a class, the share that is predicted as it, with the 95 % interval over speakers. "
        "A row that is high in one panel and low in another leans towards that emotion. The dashed line is guessing "
        f"({share(1 / len(classes))})."
    )
    return Picture("recall", "Recall of each class", draw, caption, f"Recall of each class. {values}.")


def _listed(names: Iterable[str], values: Iterable[str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


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


def speaker_picture(found: Mapping[str, SpeakerScores], order: Sequence[str], score: str) -> Picture:
    """UAR or CCC of each speaker, a panel a row, speakers in the same order in all of them."""
    first, place = next(iter(found)), {name: number for number, name in enumerate(order)}

    def draw(canvas: Canvas) -> None:
        panels = canvas.panels(len(found), inches=1.05, margin=0.5, sharex=True, sharey=True)
        for axes, (name, each) in zip(panels, found.items(), strict=True):
            low, middle, high = np.quantile(each.scores, [0.25, 0.5, 0.75])
            axes.axhspan(low, high, color=ACCENT, alpha=0.12, linewidth=0)
            axes.axhline(middle, color=ACCENT, linewidth=1)
            spots = [place[speaker] for speaker in each.names.tolist()]
            axes.plot(spots, each.scores, "o", color=ACCENT, markersize=4 if len(order) > 40 else 5.5, alpha=0.85)
            axes.set_title(_short(name, 90))
            axes.grid(axis="y")
            axes.yaxis.set_major_formatter(lambda value, _: share(value, 2))
        names = order if len(order) <= 24 else []
        panels[-1].set_xticks(range(len(names)), names, rotation=90 if len(names) > 8 else 0)
        panels[-1].set_xlim(-0.7, len(order) - 0.3)
        panels[-1].set_xlabel(f"speakers, hardest to easiest for {_short(first, 30)}")
        canvas.figure.supylabel(score, fontsize=9)

    spans = {name: np.quantile(each.scores, [0, 0.5, 1]).tolist() for name, each in found.items()}
    spread = "; ".join(f"{name} {', '.join(share(value, 2) for value in span)}" for name, span in spans.items())
    ends = "" if len(order) < 2 else f" Hardest for {first}: {named(order[:3])}; easiest: {named(order[:-4:-1])}."
    others = (
        " The first panel climbs because it gives the order; where others climb, the same speakers are hard for them."
        if len(found) > 1 and len(order) > 1
        else ""
    )
    over = ", over the classes that he or she has" if score == "UAR" else ""
    caption = (
        f"Each dot is a speaker{over}; the line is the median, the band the middle half. "
        f"Speakers stand in the same order in every panel, sorted by {first}.{others}{ends}"
    )
    alt = f"{score} of {several(len(order), 'speaker')}, lowest, median and highest: {spread}."
    return Picture("speakers", "From speaker to speaker", draw, caption, alt)


def learning_picture(found: Mapping[str, Learning]) -> Picture:
    """Training and validation loss by epoch, a panel a row."""

    def draw(canvas: Canvas) -> None:
        columns = min(len(found), 3 if len(found) in (3, 5, 6) else 2)
        panels = canvas.panels(len(found), columns, inches=1.95, margin=0.3, sharey=True)
        for axes, (name, each) in zip(panels, found.items(), strict=True):
            axes.axvline(float(np.median(each.best)), color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
            for (mean, deviation), colour, label, dashes in (
                (each.training, SECOND, "training", (0, (4, 1.5))),
                (each.validation, ACCENT, "validation", "-"),
            ):
                low, high = mean - deviation, mean + deviation
                axes.fill_between(each.epochs, low, high, color=colour, alpha=0.18, linewidth=0)
                axes.plot(each.epochs, mean, color=colour, linestyle=dashes, label=label)
            axes.set(title=_folded(name, 84 // columns), xlabel="epoch")
            axes.locator_params(axis="x", integer=True)
            axes.grid(axis="y")
        panels[0].legend(loc="upper right")  # to look for the best place takes long, and matplotlib warns of it
        for axes in panels[::columns]:
            axes.set_ylabel("loss")

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
        panels = canvas.panels(len(found), columns, inches=3.2 if columns == 1 else 2.75, sharey=True)
        for axes, (name, each) in zip(panels, found.items(), strict=True):
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
            axes.set_title(_folded(name, 72 // columns))
            axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xlabel="confidence")
            axes.grid()
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(lambda value, _: share(value, 2))
        panels[0].legend(loc="upper left", handlelength=1.2)
        for axes in panels[::columns]:
            axes.set_ylabel("share that is right")

    errors = {name: (share(each.before.error), share(each.after.error)) for name, each in found.items()}
    values = "; ".join(f"{name} {before} as trained, {after} scaled" for name, (before, after) in errors.items())
    caption = (
        "Test utterances by the probability of the predicted class; larger marks hold more of them, and the line "
        "passes over those that hold hardly any. On the dashed line, a model that gives .7 is right 7 times in 10; "
        "below it, it is overconfident, above it underconfident. Scaled: "
        "each fold's probabilities with one temperature, fitted on its validation speakers."
    )
    alt = f"Reliability diagrams. Expected calibration error on test speakers: {values}."
    return Picture("calibration", "Confidence and truth", draw, caption, alt)


def _short(name: str, letters: int) -> str:
    """A name that fits."""
    return name if len(name) <= letters else name[: letters - 1] + "…"


def _folded(name: str, letters: int) -> str:
    """A title of at most two lines."""
    return "\n".join(textwrap.wrap(name, letters, max_lines=2, placeholder=" …", break_on_hyphens=False)) or name
