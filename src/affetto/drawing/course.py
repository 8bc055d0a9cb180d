"""The course of a recording: each stretch of speech, filled with the probability of each emotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from affetto.drawing.figures import PAPER, WIDTH_INCHES, styled
from affetto.palette import colours
from affetto.timeline import Moment, clock, strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS = 300


def draw_course(
    axes: Axes, moments: Sequence[Moment], emotions: Sequence[str], duration_s: float, base: float = 0.0
) -> None:
    """Draws the probabilities of emotions over time, stacked from ``base`` to 1 above; white is where nobody speaks."""
    palette, shown = colours(emotions), _few(moments, duration_s)
    floor = np.full(len(shown), base)
    starts, ends = (np.array([getattr(each, end) for each in shown]) for end in ("start_s", "end_s"))
    for name in emotions:
        shares = np.array([each.probabilities[name] for each in shown])
        axes.bar(starts, shares, ends - starts, floor, align="edge", color=palette[name], linewidth=0, label=name)
        floor = floor + shares
    axes.set(xlim=(0, duration_s), xlabel="seconds", ylim=(0, 1), yticks=[])
    if duration_s > 120:
        axes.set_xlabel("minutes:seconds")
        axes.xaxis.set_major_formatter(lambda value, _: clock(value).rpartition(".")[0])


def plot_course(
    axes: Axes | None,
    title: str,
    voices: Mapping[str, Sequence[tuple[Moment, bool]]],
    emotions: Sequence[str],
    duration_s: float,
) -> Axes:
    """The course of a recording on given axes, or as a figure by itself, which pyplot makes.

    Voices are those of each separate channel or speaker by name, or of all: stretches of speech, in time, and whether
    each is sure, or pale. Raises MissingExtraError where matplotlib is not installed.
    """
    with styled("notebook"):
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.subplots(figsize=(WIDTH_INCHES, 1.4 + len(voices)), layout="constrained")[1]
        for base, voice in enumerate(reversed(list(voices.values()))):
            draw_course(axes, [moment for moment, _ in voice], emotions, duration_s, base)
            unsure = [(each.start_s, each.end_s - each.start_s) for each, sure in voice if not sure]
            axes.broken_barh(unsure, (base, 1), facecolor=PAPER, alpha=0.6, linewidth=0)
        axes.set_ylim(0, len(voices))
        if len(voices) > 1:
            axes.set_yticks([base + 0.5 for base in range(len(voices))], list(voices)[::-1])
            axes.hlines(range(1, len(voices)), 0, duration_s, colors=PAPER, linewidth=4)
        pale = not all(sure for voice in voices.values() for _, sure in voice)
        axes.set_xlabel(axes.get_xlabel() + ("; pale: not sure" if pale else ""))
        axes.set_title(title)
        if any(voices.values()) and emotions:
            # In the order of what is stacked, each emotion once.
            marks = {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
            axes.legend(
                [*marks.values()][::-1], [*marks][::-1], loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1
            )
    return axes


def _few(moments: Sequence[Moment], duration_s: float) -> Sequence[Moment]:
    """Stretches of speech as they are, or, where they are more than can be seen, those that fill most of each cell."""
    if len(moments) <= _MOST_BARS:
        return moments
    cell_s = duration_s / _MOST_BARS
    return [
        Moment(cell * cell_s, (cell + 1) * cell_s, moments[place].probabilities)
        for cell, place in enumerate(strip(moments, duration_s, _MOST_BARS))
        if place is not None
    ]
