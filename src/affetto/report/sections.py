"""The parts of a report, in the order that they are read: words, tables and pictures; what is missing is named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from affetto import metrics
from affetto.drawing.figures import Picture
from affetto.drawing.words import named, several, share
from affetto.errors import RunError
from affetto.evaluate.run_folder import CONFIG
from affetto.palette import colours
from affetto.report import confusions, findings, plots
from affetto.report.findings import Calibration, Learning
from affetto.report.reading import ReportData
from affetto.report.render import Sheet, sheets
from affetto.stats import rank_agreement

SUREST = 12
"""Mistakes shown of each row."""

T = TypeVar("T")


class Words(NamedTuple):
    """A paragraph."""

    text: str
    form: str = "words"


class Gap(NamedTuple):
    """Something that is not there, and why."""

    text: str
    form: str = "gap"


class Grid(NamedTuple):
    """A table.

    Attributes:
        sheet: its cells.
        texts: how many columns hold words, from the left; the rest are numbers.
        shades: a colour and a strength between 0 and 1 behind each cell but the first; none where empty.
        folded: shown when asked for.
    """

    sheet: Sheet
    texts: int = 1
    shades: tuple[tuple[tuple[str, float], ...], ...] = ()
    folded: bool = False
    form: str = "grid"


class Listing(NamedTuple):
    """A text in lines, such as a recipe; shown when asked for."""

    title: str
    text: str
    form: str = "listing"


class Notes(NamedTuple):
    """A list of remarks; shown when asked for."""

    title: str
    items: tuple[str, ...]
    form: str = "notes"


Part = Words | Gap | Grid | Listing | Notes | Picture


class Section(NamedTuple):
    """A part of a report with a heading.

    Attributes:
        anchor: to link to it.
        title: the heading.
        parts: what stands in it.
    """

    anchor: str
    title: str
    parts: tuple[Part, ...]


def sections(material: ReportData) -> Iterator[Section]:
    """All sections of a report."""
    for anchor, title, parts in (
        ("scores", "Scores", _scores),
        ("classes", "Confusions and recall", _classes),
        ("speakers", "From speaker to speaker", _speakers),
        ("learning", "Learning curves", _learning),
        ("calibration", "Calibration", _calibration),
        ("mistakes", "The most confident errors", _mistakes),
        ("origin", "What this was made from", _origin),
    ):
        yield Section(anchor, title, tuple(parts(material)))


def _scores(material: ReportData) -> Iterator[Part]:
    yield plots.scores_picture(material.table, len(material.classes))
    for sheet in sheets(material.table, wide=True):
        yield Grid(sheet)
    yield Notes("How to read these tables", material.table.notes)


def _classes(material: ReportData) -> Iterator[Part]:
    chosen = material.chosen()
    yield Words(f"The rows looked into here and below: {named(list(chosen), most=12)} ({material.choice.reason}).")
    found = {name: findings.confusion(counted) for name, counted in chosen.items()}
    spoken = sum(each.confusions.sum(axis=(0, 2)) for each in material.derived.counted.values())
    silent = [label for label, count in zip(material.classes, np.asarray(spoken).tolist(), strict=True) if not count]
    if silent:
        yield Gap(
            f"No utterance tested so far is of {named(silent)}: there is no recall, and UAR is over the other classes."
        )
    yield confusions.confusion_picture(found, material.classes)
    yield confusions.counts_picture(found, material.classes)
    yield plots.recall_picture(
        {name: findings.class_recalls(counted) for name, counted in chosen.items()}, material.classes
    )
    yield _recalls(material)


def _recalls(material: ReportData) -> Grid:
    palette = colours(material.classes)
    rows, shades = [], []
    for row in material.table.rows:
        found = findings.class_recalls(material.derived.counted[row.name], intervals=False)
        values = found.mean.tolist()
        rows.append((row.name, *(share(value) for value in values)))
        shades.append(
            tuple(
                ("", 0.0) if math.isnan(value) else (palette[label], round(0.45 * value, 3))
                for label, value in zip(material.classes, values, strict=True)
            )
        )
    return Grid(Sheet("Recall of each class, every row", ("row", *material.classes), tuple(rows)), shades=tuple(shades))


def _speakers(material: ReportData) -> Iterator[Part]:
    found = {name: findings.speaker_scores(counted) for name, counted in material.chosen().items()}
    speakers = {name for each in found.values() for name in each.names.tolist()}
    if len(speakers) == 1:
        yield Gap("There is a single test speaker, so how speakers differ is not known.")
    first = next(iter(found.values()))
    known = dict(zip(first.names.tolist(), first.uars.tolist(), strict=True))
    order = sorted(speakers, key=lambda name: (known.get(name, math.inf), name))
    yield plots.speaker_picture(found, order)
    header = ("row", "lowest", "lower quarter", "median", "upper quarter", "highest", "speakers", "order shared")
    rows = [
        (
            name,
            *(share(value) for value in np.quantile(each.uars, [0, 0.25, 0.5, 0.75, 1]).tolist()),
            str(len(each.uars)),
            "" if each is first else share(_shared_order(first, each), 2),
        )
        for name, each in found.items()
    ]
    yield Grid(Sheet("UAR from speaker to speaker", header, tuple(rows)))
    if len(rows) > 1:
        yield Words(
            f"Order shared: Kendall's tau-b of the speakers' UARs with those of {material.choice.names[0]}; 1 where "
            "both find the same speakers hard, 0 where they have nothing in common."
        )


def _shared_order(one: findings.SpeakerScores, other: findings.SpeakerScores) -> float:
    """Kendall's tau-b over the speakers that both were tested on."""
    _, places, others = np.intersect1d(one.names, other.names, return_indices=True)
    return rank_agreement(one.uars[places].tolist(), other.uars[others].tolist())


def _learning(material: ReportData) -> Iterator[Part]:
    found: dict[str, Learning] = {}
    none: list[str] = []
    for name in material.choice.names:
        curves = _try(lambda name=name: material.run.curves(name))  # type: ignore[misc]
        if isinstance(curves, Gap):
            yield Gap(f"{name} has no learning curve here: {curves.text}.")
            continue
        averaged = findings.learning(curves)
        if averaged is None and any(curves.values()):
            yield Gap(f"{name}: every learning curve holds losses that are no numbers; its training went astray.")
        elif averaged is None:
            none.append(name)
        else:
            found[name] = averaged
            if averaged.broken:
                yield Gap(
                    f"{name}: {several(averaged.broken, 'learning curve')} with losses that are no numbers left out."
                )
    if none:
        yield Words(f"Without a learning curve, since nothing is trained in epochs: {named(none)}.")
    if found:
        yield plots.learning_picture(found)


def _calibration(material: ReportData) -> Iterator[Part]:
    found: dict[str, Calibration] = {}
    for row in material.acoustic_rows():
        calibrated = _try(lambda name=row.name: _calibrated(material, name))  # type: ignore[misc]
        if isinstance(calibrated, Gap):
            yield Gap(f"{row.name} could not be calibrated: {calibrated.text}.")
        else:
            found[row.name] = calibrated
    shown = {name: found[name] for name in material.choice.names if name in found}
    if shown:
        yield plots.calibration_picture(shown)
    if found:
        yield _calibration_grid(found)
        yield Words(
            "ECE: expected calibration error, the mean distance of confidence and accuracy over "
            f"{metrics.BINS} bins of equal width. Cross-entropy: in nats; lower is better, and guessing among "
            f"{len(material.classes)} classes has {math.log(len(material.classes)):.3f}. Each is averaged over runs. A "
            "temperature above 1 makes a model less sure; that of each fold is fitted on its validation speakers, who "
            "also chose the epoch, and judged on its test speakers, who chose nothing. Whether these differences are "
            "more than chance was not tested."
        )
    else:
        yield Gap("No row that reads the sound can be calibrated.")


def _calibrated(material: ReportData, name: str) -> Calibration:
    cells = material.derived.counted[name].cells()
    tested, validating = material.run.answers(name), material.run.validation_answers(name)
    return findings.calibrate(tested.of(cells), validating, material.classes)


def _calibration_grid(found: Mapping[str, Calibration]) -> Grid:
    header = (
        "row", "ECE", "ECE scaled", "cross-entropy", "cross-entropy scaled", "temperature (median)", "lowest to highest"
    )  # fmt: skip
    rows = [
        (
            name,
            share(each.before.error),
            share(each.after.error),
            f"{each.before.cross_entropy:.3f}",
            f"{each.after.cross_entropy:.3f}",
            f"{np.median(each.temperatures):.2f}",
            f"{each.temperatures.min():.2f} to {each.temperatures.max():.2f}",
        )
        for name, each in found.items()
    ]
    return Grid(Sheet("Calibration on test speakers", header, tuple(rows)))


def _mistakes(material: ReportData) -> Iterator[Part]:
    chosen = material.choice.names
    found = {
        name: findings.mistakes(material.run.answers(name).of(material.derived.counted[name].cells()), material.classes)
        for name in chosen
    }
    if not any(found.values()):
        yield Gap("None of these rows makes a mistake.")
        return
    yield Words(
        "Utterances that are wrong, the surest first; probabilities are averaged over repeats. Listen to these: the "
        "speaker may have missed the emotion, the label may be wrong, or the model may rely on something else."
    )
    same = {name: {(each.utterance, each.predicted) for each in wrong} for name, wrong in found.items()}
    for place, (name, wrong) in enumerate(found.items()):
        if not wrong:
            yield Gap(f"{name} makes no mistake.")
            continue
        yield _mistake_grid(name, wrong[:SUREST], list(same.values()), material)._replace(folded=place > 0)


def _mistake_grid(
    name: str, wrong: Sequence[findings.Mistake], same: Sequence[set[tuple[str, str]]], material: ReportData
) -> Grid:
    utterances = [material.utterances.get(each.utterance) for each in wrong]
    words = any(each is not None and each.text for each in utterances)
    header = ["utterance", "speaker", "true class", "predicted", *(["words"] if words else [])]
    numbers = ["probability", "of the true class", f"same prediction, of {several(len(same), 'row')}"]
    rows = [
        (
            each.utterance,
            each.speaker,
            each.true_class,
            each.predicted,
            *([(utterance.text or "") if utterance else ""] if words else []),
            share(each.probability),
            share(each.true_probability),
            str(sum((each.utterance, each.predicted) in others for others in same)),
        )
        for each, utterance in zip(wrong, utterances, strict=True)
    ]
    title = f"{name}: the most confident errors"
    return Grid(Sheet(title, (*header, *numbers), tuple(rows)), texts=len(header))


def _origin(material: ReportData) -> Iterator[Part]:
    facts, environment = material.facts, material.run.environment()
    pairs: list[tuple[str, object]] = [
        ("manifest (SHA-256)", facts.get("manifest_sha256")),
        *((str(key).replace("_", " "), value) for key, value in facts.get("counts", {}).items()),
        *((f"environment: {key}", value) for key, value in environment.items()),
    ]
    rows = tuple((key, _plain(value)) for key, value in pairs if value is not None)
    yield Grid(Sheet("Facts", ("what", "value"), rows), texts=2)
    recipe = (material.run.root / CONFIG).read_text(encoding="utf-8")
    yield Listing("The recipe, with every default filled in", recipe)
    yield Words(
        "Every number on this page is derived from the predictions in the run folder; affetto experiment table gives "
        "the tables as CSV, JSON, Markdown and LaTeX."
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _try(compute: Callable[[], T]) -> T | Gap:
    """What is computed, or why it cannot be."""
    try:
        return compute()
    except RunError as error:
        place = "" if error.where is None else f"{error.where}: "
        return Gap(f"{place}{error.problem}")
    except ValueError as error:
        return Gap(str(error))
