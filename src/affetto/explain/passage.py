"""One stretch of speech over time, panel under panel: sound, words, voice, emotion, and what decided."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from affetto.audio import SAMPLE_RATE
from affetto.drawing.figures import ACCENT, DIVERGING, INK, MUTED, PAPER, SECOND, SEQUENCE, Canvas, colour_map
from affetto.explain.explanation import Floats, Passage
from affetto.features.spectrogram import FRAME_RATE_HZ, WINDOW_SAMPLES
from affetto.palette import colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LETTER_INCHES = 0.079  # A letter of a word, about
_QUIETEST = 8.0  # Nepers (natural logarithms of power) below the loudest that still show
_PALE = "#a9c4dc"  # What speaks for the emotion, but did not decide
_WIDTH = 6.6  # Inches of the axis of time, about


def _panels(passage: Passage) -> dict[Callable[[Axes, Passage], None], float]:
    """What draws each panel of a passage, from the top, and its height in inches."""
    rows = 1 + max((row for row, _ in word_places(passage, _WIDTH)), default=0)
    return {
        _draw_sound: 0.4,
        _draw_spectrogram: 1.25,
        _draw_words: 0.19 * rows + 0.1,
        _draw_pitch: 0.55,
        _draw_loudness: 0.45,
        _draw_emotion: 1.05,
        _draw_decision: 0.95,
        _draw_parts: 0.165 * len(passage.decision.parts),
    }


def inches(passage: Passage) -> float:
    """How high the picture of a passage is."""
    found = _panels(passage)
    return sum(found.values()) + 0.24 * len(found) + 0.45


def word_places(passage: Passage, width: float) -> list[tuple[int, float]]:
    """The row, from 0, and the middle in seconds of each word, so that none runs into another or out of the picture."""
    inches_a_second = width / (passage.until_s - passage.since_s)
    ends: list[float] = []  # of each row, inches
    found = []
    for word in passage.words:
        half = min(_LETTER_INCHES * (len(word.text) + 1), width) / 2
        middle = ((word.start_s + word.end_s) / 2 - passage.since_s) * inches_a_second
        middle = min(max(middle, half), width - half)
        row = next((row for row, end in enumerate(ends) if end <= middle - half), len(ends))
        ends[row : row + 1] = [middle + half]
        found.append((row, passage.since_s + middle / inches_a_second))
    return found


def draw_passage(canvas: Canvas, passage: Passage) -> None:
    """Draws a passage onto a figure as high as `inches` says."""
    heights = _panels(passage)
    grid = canvas.figure.subplots(len(heights), 1, sharex=True, height_ratios=list(heights.values()))
    for axes, draw in zip(grid, heights, strict=True):
        draw(axes, passage)
    grid[-1].set(xlim=(passage.since_s, passage.until_s), xlabel="seconds")
    for upper in grid[:-1]:
        upper.tick_params(axis="x", length=0)


def _draw_sound(axes: Axes, passage: Passage) -> None:
    wave = passage.sight.wave
    columns = min(1500, len(wave))
    starts = np.arange(columns) * len(wave) // columns
    times_s = passage.since_s + (starts + len(wave) / columns / 2) / SAMPLE_RATE
    axes.fill_between(
        times_s, np.minimum.reduceat(wave, starts), np.maximum.reduceat(wave, starts), color=MUTED, linewidth=0.3
    )
    highest = max(1e-4, float(np.abs(wave).max()))
    axes.set(ylim=(-1.05 * highest, 1.05 * highest), yticks=[])
    axes.set_title("sound")
    axes.spines[:].set_visible(False)


def _draw_spectrogram(axes: Axes, passage: Passage) -> None:
    spectrum = passage.sight.spectrum
    highest = float(np.quantile(spectrum, 0.999))
    start_s = _times_s(passage)[0] - 0.5 / FRAME_RATE_HZ
    axes.imshow(
        spectrum.T, cmap=colour_map(SEQUENCE), vmin=highest - _QUIETEST, vmax=highest, aspect="auto", origin="lower",
        extent=(start_s, start_s + len(spectrum) / FRAME_RATE_HZ, -0.025, 8.025), interpolation="antialiased",
    )  # fmt: skip
    edges_s = passage.since_s + passage.decision.edges_s
    deciding = passage.decision.deciding
    for first, last in runs(~deciding):
        axes.axvspan(edges_s[first], edges_s[last], color=PAPER, alpha=0.42, linewidth=0, zorder=2)
    for first, last in runs(deciding):
        axes.axvspan(edges_s[first], edges_s[last], fill=False, edgecolor=INK, linewidth=1.3, zorder=3)
    axes.set(ylim=(0, 8), yticks=(0, 4, 8))
    axes.set_title("spectrogram (kHz); framed: the moments that decided")
    axes.spines["bottom"].set_visible(False)


def runs(chosen: np.ndarray) -> list[tuple[int, int]]:
    """Where stretches of what is chosen begin and end.

    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    steps = np.diff(np.concatenate([[0], chosen.astype(int), [0]]))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def _draw_words(axes: Axes, passage: Passage) -> None:
    places = word_places(passage, _WIDTH)
    for word, (row, middle_s) in zip(passage.words, places, strict=True):
        axes.plot([word.start_s, word.end_s], [row - 0.42] * 2, color=MUTED, linewidth=1.5, solid_capstyle="butt")
        axes.text(middle_s, row + 0.12, word.text, ha="center", va="center", fontsize=8.5, clip_on=True)
    if not passage.words:
        middle_s = (passage.moment.start_s + passage.moment.end_s) / 2
        axes.text(middle_s, 0, "no words recognised", ha="center", va="center", fontsize=8.5, color=MUTED)
    axes.set(ylim=(max((row for row, _ in places), default=0) + 0.55, -0.55), yticks=[])
    axes.spines[:].set_visible(False)


def _draw_pitch(axes: Axes, passage: Passage) -> None:
    f0_hz = passage.sight.f0_hz
    voiced = not np.isnan(f0_hz).all()
    axes.plot(_times_s(passage), f0_hz, ".", color=ACCENT, markersize=2.5)
    axes.set_yscale("log")
    low, high = (np.nanmin(f0_hz), np.nanmax(f0_hz)) if voiced else (100.0, 300.0)
    low, high = min(low / 1.1, high / 1.6), max(high * 1.1, low * 1.6)
    ticks = [value for value in (50, 75, 100, 150, 200, 300, 400, 500) if low <= value <= high]
    axes.set(ylim=(low, high), yticks=ticks[:: 1 + (len(ticks) - 1) // 3])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_title("pitch (Hz)" if voiced else "pitch (Hz): no voiced sound")


def _draw_loudness(axes: Axes, passage: Passage) -> None:
    values = passage.sight.loudness
    axes.fill_between(_times_s(passage), values, color=ACCENT, alpha=0.3, linewidth=0)
    axes.plot(_times_s(passage), values, color=ACCENT, linewidth=1)
    axes.set_ylim(0, max(1.0, 1.1 * float(values.max())))
    axes.locator_params(axis="y", nbins=2)
    axes.set_title("loudness")


def _times_s(passage: Passage) -> Floats:
    """The middles of its spectrogram's frames."""
    return passage.since_s + WINDOW_SAMPLES / SAMPLE_RATE / 2 + np.arange(len(passage.sight.f0_hz)) / FRAME_RATE_HZ


def _draw_emotion(axes: Axes, passage: Passage) -> None:
    names = list(passage.moment.probabilities)
    palette = colours(names)
    dashes = ("-", (0, (5, 1.2)), (0, (2, 1)), (0, (6, 1.2, 1.2, 1.2)))
    times_s = passage.since_s + passage.course.times_s
    for name, values, style in zip(names, passage.course.probabilities.T, cycle(dashes), strict=False):
        axes.plot(times_s, values, color=palette[name], linestyle=style, linewidth=1.8, label=name)
        if len(times_s) == 1:
            axes.plot(times_s, values, "o", color=palette[name])
    axes.set(ylim=(-0.03, 1.03), yticks=(0, 0.5, 1))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="y")
    axes.set_title("emotion over time")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=min(len(names), 5), fontsize=8, handlelength=1.8,
                borderpad=0.2, columnspacing=1.2, handletextpad=0.4)  # fmt: skip


def _draw_decision(axes: Axes, passage: Passage) -> None:
    decision = passage.decision
    edges_s = passage.since_s + decision.edges_s
    steps, middles_s = decision.steps, (edges_s[1:] + edges_s[:-1]) / 2
    tints = np.where(steps < 0, SECOND, np.where(decision.deciding, ACCENT, _PALE)).tolist()
    axes.bar(edges_s[:-1], steps, np.diff(edges_s) * 0.92, align="edge", linewidth=0, color=tints)
    axes.plot(middles_s, decision.occluded, "o", color=INK, markersize=2.6, markerfacecolor=PAPER, markeredgewidth=0.9)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.locator_params(axis="y", nbins=4)
    axes.grid(axis="y")
    axes.set_title(f"what speaks for {decision.emotion}; dots: the fall without that moment")


def _draw_parts(axes: Axes, passage: Passage) -> None:
    decision = passage.decision
    edges_s = passage.since_s + decision.edges_s
    values: Floats = np.array([part.steps for part in decision.parts])
    roots = np.sign(values) * np.sqrt(np.abs(values))  # a single unit adds little beside all the others
    reach = max(1e-6, float(np.abs(roots).max()))
    axes.imshow(roots, cmap=colour_map(DIVERGING), vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest",
                extent=(edges_s[0], edges_s[-1], len(values) - 0.5, -0.5))  # fmt: skip
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_yticks(range(len(values)), [part.name for part in decision.parts], fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    for row, part in enumerate(decision.parts):
        axes.annotate(signed(part.total), (1.005, row), xycoords=("axes fraction", "data"), va="center", fontsize=7.5)
    named = " and ".join(decision.layers) if len(decision.layers) <= 2 else f"{len(decision.layers)} layers"
    what = [f"unit of {named}" if kind == "unit" else kind for kind in decision.kinds]
    axes.set_title(f"the same by {' and '.join(what)}; right: the sum")


def signed(value: float) -> str:
    """A sum of logits.

    >>> signed(1.304), signed(-0.5), signed(-0.001)
    ('+1.30', '−0.50', '0.00')
    """
    text = f"{value:+.2f}"
    return "0.00" if text in {"+0.00", "-0.00"} else text.replace("-", "−")
