"""Confusion matrices (the paper's figure 5): once in shares of the true class, once in utterances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from affetto.drawing.figures import INK, MUTED, PAPER, Canvas, Picture, shades
from affetto.drawing.words import share
from affetto.report.findings import Confusion, Floats
from affetto.report.plots import folded, hide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAT = "A line of a matrix is a true class, a column a predicted one"


def confusion_picture(found: Mapping[str, Confusion], classes: Sequence[str]) -> Picture:
    """Shares of the true class, a matrix a row of the table, side by side."""
    worst = {name: worst_confusion(each, classes) for name, each in found.items()}
    mixed = "; ".join(f"{name}: {text}" for name, text in worst.items() if text)
    caption = (
        f"{_HEAT}; a line adds up to 1. The diagonal is each class's recall, and its mean the table's UAR. "
        f"Mixed up most: {mixed}."
    )
    recalls = "; ".join(f"{name}: {_diagonal(each, classes)}" for name, each in found.items())
    alt = f"Confusion matrices in shares. Recalls on their diagonals: {recalls}. Mixed up most: {mixed}."

    def draw(canvas: Canvas) -> None:
        _matrices(canvas, {name: each.shares for name, each in found.items()}, classes, counts=False)

    return Picture("confusion", "What is taken for what", draw, caption, alt)


def counts_picture(found: Mapping[str, Confusion], classes: Sequence[str]) -> Picture:
    """Utterances of a fold, averaged over folds and repeats."""
    lines = np.mean([each.counts.sum(axis=1) for each in found.values()], axis=0).tolist()
    spoken = ", ".join(f"{name} {_few(count)}" for name, count in zip(classes, lines, strict=True))
    caption = (
        f"{_HEAT}, in utterances of a test fold, averaged over folds and repeats. Shades are by count: a class with "
        f"many utterances is dark even where its recall is low. Utterances of a fold: {spoken}."
    )
    alt = f"Confusion matrices in utterances of a fold, averaged over folds and repeats. Utterances: {spoken}."

    def draw(canvas: Canvas) -> None:
        _matrices(canvas, {name: each.counts for name, each in found.items()}, classes, counts=True)

    return Picture("counts", "The same in utterances", draw, caption, alt)


def _matrices(canvas: Canvas, found: Mapping[str, Floats], classes: Sequence[str], *, counts: bool) -> None:
    columns = min(len(found), 3 if len(classes) <= 5 else 2)
    rows = math.ceil(len(found) / columns)
    size = min(6.7 / columns, 3.2)  # inches, about
    canvas.height(rows * (size + 1.0))
    panels = canvas.panels(rows, columns)
    highest = max(1e-9, *(float(np.nanmax(each, initial=0)) for each in found.values())) if counts else 1.0
    for number, (axes, (name, values)) in enumerate(zip(panels, found.items(), strict=False)):
        _matrix(axes, values, highest, counts=counts)
        _label(axes, classes, first=number % columns == 0, crowded=columns * len(classes) > 12)
        axes.set_title(folded(name, 30 if columns == 1 else 54 // columns))
    hide(panels[len(found) :])


def _matrix(axes: Axes, values: Floats, highest: float, *, counts: bool) -> None:
    axes.imshow(np.nan_to_num(values), cmap=shades(), vmin=0, vmax=highest, aspect="equal")
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
    axes.set_xlabel("predicted")
    if first:
        axes.set_ylabel("true class")


def _diagonal(found: Confusion, classes: Sequence[str]) -> str:
    recalls = zip(classes, np.diagonal(found.shares).tolist(), strict=True)
    return ", ".join(
        f"{name} {'has no utterance' if math.isnan(value) else share(value, 2)}" for name, value in recalls
    )


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
    """A mean count.

    >>> _few(0.0), _few(3.25), _few(117.4)
    ('0', '3.2', '117')
    """
    return f"{count:.1f}" if 0 < count < 99.95 else f"{count:.0f}"
