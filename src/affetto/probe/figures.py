"""The figures of what a probe found inside a recogniser; each reads a probe's folder alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affetto.drawing import figures
from affetto.drawing.figures import ACCENT, INK, MUTED, PAPER, SECOND, Canvas, Picture
from affetto.drawing.words import share
from affetto.errors import ConfigError, RunError
from affetto.palette import colours
from affetto.probe.correlation import BestUnit
from affetto.probe.folder import FACTS, read_arrays
from affetto.probe.layers import LayerCurve, LayerScore, read_layers
from affetto.probe.neurons import TRACES, Neurons, followed, read_neurons
from affetto.probe.projections import Projections, read_projections

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVELS = {"frame": "frame by frame", "utterance": "by utterance"}
_WAYS = {"tsne": "t-SNE", "pca": "principal components"}


def pictures_of(root: Path, classes: Sequence[str] = ()) -> list[Picture]:
    """Every figure of a probe's folder; of a probe of projections, only of the two classes asked for.

    Raises RunError where the folder is no probe's or damaged, ConfigError where there are no such classes.
    """
    try:
        kind = json.loads((root / FACTS).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError) as error:
        raise RunError("no finished probe", "name the output folder of affetto probe", root) from error
    if classes and kind != "projections":
        raise ConfigError(f"a probe of {kind} has no classes to choose of", "leave them out", "classes")
    if kind == "layers":
        return [layers_picture(read_layers(root))]
    if kind == "projections":
        found = read_projections(root)
        return [projections_picture(found, way, classes) for way in _WAYS]
    neurons = read_neurons(root)
    targets = dict.fromkeys(each["target"] for each in neurons.facts["traces"])
    return [units_picture(neurons), *(overlay_picture(neurons, target) for target in targets)]


def write_figures(root: Path, output: Path, classes: Sequence[str] = ()) -> list[Path]:
    """Draws a probe's folder as PNG and SVG into the output, with the captions in ``captions.md``.

    Raises as `pictures_of`, RunError where nothing can be written, MissingExtraError where matplotlib is not installed.
    """
    drawn = [figures.render(picture) for picture in pictures_of(root, classes)]
    files = {name: content for each in drawn for name, content in each.files().items()}
    shown = [each.picture for each in drawn]
    captions = [f"## {each.title}\n\n![{each.alt}]({each.name}.png)\n\n{each.caption}\n" for each in shown]
    files["captions.md"] = "\n".join(captions).encode()
    return figures.write_files(output, files)


def layers_picture(found: LayerCurve) -> Picture:
    """UAR of a linear probe against the layer."""
    networks: dict[str, list[LayerScore]] = {}
    for score in found.scores:
        networks.setdefault(score.network, []).append(score)
    names = [score.layer for score in networks["trained"]]
    chance = 1 / len(found.facts["config"]["classes"])

    def draw(canvas: Canvas) -> None:
        (axes,) = canvas.panels(1, inches=3.6)
        for score in networks.get("features", ()):
            axes.axhspan(score.low, score.high, color=MUTED, alpha=0.16, linewidth=0)
            axes.axhline(score.uar, color=MUTED, linewidth=1.2, label="MFCC and pitch, averaged")
        for name, label, colour, marker, dashes, shift in (
            ("trained", "trained recogniser", ACCENT, "o", "-", -0.06),
            ("untrained", "random weights", SECOND, "s", (0, (4, 2)), 0.06),
        ):
            if name not in networks:
                continue
            uars, lows, highs = np.array([(score.uar, score.low, score.high) for score in networks[name]]).T
            places = np.arange(len(uars)) + shift
            axes.vlines(places, lows, highs, color=colour, linewidth=2)
            axes.plot(places, uars, color=colour, marker=marker, linestyle=dashes, linewidth=1.2, label=label)
        axes.axhline(chance, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="guessing")
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel("UAR of a linear probe")
        axes.grid(axis="y")
        axes.set_ylim(bottom=max(0.0, chance - 0.05))
        canvas.figure.legend(loc="outside upper left", ncols=4, handlelength=1.8)

    best = max(found.scores, key=lambda score: score.uar)
    values = "; ".join(f"{score.network} {score.layer} {_shown(score.uar, 3)}" for score in found.scores)
    caption = (
        f"UAR on {found.facts['counts']['speakers']} speakers, each tested once by a probe not trained on them, with "
        "95 % intervals over speakers: what a logistic regression reads from the mean of each layer over time. Blue: "
        "the trained recogniser; orange: the same network with random weights; grey band: features alone; dotted: "
        "guessing. Highest is "
        f"{best.network} {best.layer} ({_shown(best.uar, 3)}). Neighbouring layers were tested on the same speakers: "
        "whether they differ is in layers.csv, not in whether intervals overlap."
    )
    return Picture("layers", "Which layer carries emotion", draw, caption, f"UAR by layer: {values}.")


def units_picture(found: Neurons) -> Picture:
    """A heat map: the best unit of each layer for each target, on unseen speakers."""
    targets, layers = list(found.facts["targets"]), [layer["name"] for layer in found.facts["layers"]]

    def draw(canvas: Canvas) -> None:
        panels = canvas.panels(2, 2, inches=1.25 + 0.36 * len(layers))
        for axes, (level, title) in zip(panels, _LEVELS.items(), strict=True):
            rows = [row for row in found.by_layer if (row.level, row.method) == (level, "pearson")]
            _heat(axes, rows, targets, layers)
            axes.set_title(title)
        panels[1].set_yticks(range(len(layers)), [""] * len(layers))

    best = followed(found.best)
    values = "; ".join(f"{row.target}: {row.layer} unit {row.number}, r {_shown(row.measured)}" for row in best)
    caption = (
        "Pearson's r of the unit that follows each target best, chosen in each layer on one half of the speakers and "
        "measured on the other. Left: the mean of the correlations within utterances; right: over the means of "
        f"utterances. Pale: more often than 1 time in 20, chance alone finds a unit as good among all "
        f"{found.facts['counts']['units']:,}. Best frame by frame: {values}."
    )
    return Picture("units", "What single units follow", draw, caption, f"Heat map of correlations. {values}.")


def _heat(axes: Axes, rows: Sequence[BestUnit], targets: Sequence[str], layers: Sequence[str]) -> None:
    """Correlations, a line a layer; a dash where no unit could be compared."""
    values, p = np.full((2, len(layers), len(targets)), np.nan)
    for row in rows:
        place = layers.index(row.layer), targets.index(row.target)
        values[place], p[place] = row.measured, row.p
    shown = np.where(p > 0.05, 0.25 * values, values)
    axes.imshow(shown, cmap=figures.colour_map(figures.DIVERGING), vmin=-1, vmax=1, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        colour = MUTED if p[y, x] > 0.05 or math.isnan(value) else PAPER if value > 0.7 else INK
        axes.text(x, y, _shown(value), ha="center", va="center", fontsize=8.5, color=colour)
    axes.set_xticks(range(len(targets)), targets)
    axes.set_yticks(range(len(layers)), layers)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def overlay_picture(found: Neurons, target: str) -> Picture:
    """A unit over the time of single utterances with the target that it follows (the paper's figure 6)."""
    traces = [each for each in found.facts["traces"] if each["target"] == target]
    arrays = read_arrays(found.root / TRACES)
    best = next(row for row in followed(found.best) if row.target == target)
    sign, over = (-1.0, ", turned over") if best.measured < 0 else (1.0, "")
    name = f"unit {best.number} of {best.layer}{over}"

    def draw(canvas: Canvas) -> None:
        panels = canvas.panels(len(traces), 2, inches=1.7, margin=0.65)
        for axes, each in zip(panels, traces, strict=True):
            times_s, activation, value = arrays[f"{each['utterance']}/{target}"]
            axes.plot(times_s, _scaled(value), color=SECOND, linewidth=1.6, label=target)
            unit = sign * _scaled(activation, np.isfinite(value))
            axes.plot(times_s, unit, color=ACCENT, linewidth=1.4, linestyle=(0, (4, 1.2)), label=name)
            r = "no r" if each["r"] is None else f"r {_shown(each['r'])}"
            axes.set_title(", ".join([*([each["emotion"]] if each["emotion"] else []), r]))
            axes.set(yticks=[], xlim=(0, times_s[-1]))
        lines, labels = panels[0].get_legend_handles_labels()
        canvas.figure.legend(lines, labels, loc="outside upper left", ncols=2, handlelength=2.2)
        canvas.figure.supxlabel("seconds", fontsize=9)

    ids = ", ".join(each["utterance"] for each in traces)
    caption = (
        f"Unit {best.number} of {best.layer} (dashed, blue{over}) and {target} ({found.facts['targets'][target]}; "
        f"orange) in {ids}, each scaled to its own mean and deviation. On average over utterances of speakers who did "
        f"not choose the unit, r is {_shown(best.measured)} ({_shown(best.low)} to {_shown(best.high)})."
    )
    values = "; ".join(f"{each['utterance']} r {each['r']}" for each in traces)
    return Picture(f"overlay-{target}", f"A unit and {target} over time", draw, caption, f"Two curves each: {values}.")


def _scaled(values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Values less their mean over their deviation, in what is a number or where asked."""
    kept = np.isfinite(values) if where is None else where
    if not kept.any():
        return values
    deviation = float(values[kept].std())
    return np.asarray((values - values[kept].mean()) / (deviation if deviation > 0 else 1.0))


def projections_picture(found: Projections, way: str, chosen: Sequence[str] = ()) -> Picture:
    """Utterances as points, a panel a representation (the paper's figure 4), of all classes or of the two chosen.

    Raises ConfigError where these are not two of the classes.
    """
    every = found.facts["config"]["classes"]
    classes = _of_two(every, chosen) if chosen else every
    palette, names = colours(every), found.facts["names"]
    emotions = np.array([point.emotion for point in found.points])
    drawn = np.flatnonzero(np.isin(emotions, classes))
    scores = {score.name: score for score in found.scores if score.classes == "+".join(classes)}

    def draw(canvas: Canvas) -> None:
        from matplotlib.lines import Line2D

        panels = canvas.panels(len(names), 4, inches=2.05, margin=0.3)
        order = np.random.default_rng(0).permutation(drawn)  # so that no class lies on top
        for axes, name in zip(panels, names, strict=True):
            points = found.coordinates[f"{name}/{way}"][order]
            tints = [palette[each] for each in emotions[order]]
            axes.scatter(points[:, 0], points[:, 1], s=5, c=tints, linewidths=0, alpha=0.75, rasterized=True)
            score = scores[name]
            axes.set_title(f"{name}  UAR {_shown(score.uar, 3)}\nsilhouette {_shown(getattr(score, way))}", fontsize=8)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        marks = [Line2D([], [], linestyle="", marker="o", color=palette[name], markersize=6) for name in classes]
        canvas.figure.legend(marks, classes, loc="outside lower center", ncols=len(classes), handletextpad=0.2)

    highest = max(scores.values(), key=lambda score: -1.0 if math.isnan(score.uar) else score.uar)
    of = f" of {' or '.join(classes)}" if chosen else ""
    rest = " Other classes shaped the picture, and are left out." if len(classes) < len(every) else ""
    caption = (
        f"{len(drawn):,} utterances{of} of speakers whom nothing was fitted to, by {_WAYS[way]}. MP: the mean of a "
        "layer over time; RNN: the mean of a small GRU trained on that layer with other speakers. UAR: of a linear "
        "probe in the whole space, on the same utterances; silhouette: of the classes in the picture, 1 where they lie "
        f"apart, 0 where they lie in each other. The highest UAR is that of {highest.name}.{rest} "
        + ("Distances between clouds mean nothing in t-SNE." if way == "tsne" else "Axes: the first two components.")
    )
    values = "; ".join(f"{score.name} UAR {_shown(score.uar, 3)}" for score in scores.values())
    name = "-".join(["projections", way, *(classes if chosen else ())])
    title = f"Utterances by {_WAYS[way]}" + (f": {' and '.join(classes)}" if chosen else "")
    return Picture(name, title, draw, caption, f"Scatter plots: {values}.")


def _of_two(every: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Two classes in the order of all."""
    if len(set(chosen)) != 2 or not set(chosen) <= set(every):
        problem = f"not two of the classes: {', '.join(chosen)}"
        raise ConfigError(problem, f"choose two of {', '.join(every)}", "classes")
    return [name for name in every if name in chosen]


def _shown(value: float, digits: int = 2) -> str:
    """A share or a correlation; a dash where there is none."""
    return share(value, digits) or "–"
