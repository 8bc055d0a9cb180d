"""``affetto report``: a run folder as one page that needs nothing else, and its figures as files beside it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from affetto import metrics, stats
from affetto.drawing.figures import Picture, render, write_files
from affetto.drawing.page import asset, template
from affetto.drawing.words import named, several, share
from affetto.errors import RunError
from affetto.evaluate.predictions import Answers
from affetto.evaluate.run_folder import CONFIG
from affetto.palette import colours
from affetto.report import findings, plots
from affetto.report.build import Progress, ReportData, read
from affetto.report.findings import Calibration, Learning
from affetto.report.render import Sheet, sheets
from affetto.report.table import CHANCE
from affetto.stats import rank_agreement

PAGE = "index.html"
FIGURES = ("uar", "confusion", "counts", "recall", "speakers", "learning", "calibration")
"""Every figure that there may be; those of an older report that this one lacks are removed."""

SUREST = 12  # Mistakes shown of each row


class Written(NamedTuple):
    """What a report left: the page, the figures beside it, and row -> what of it is yet to come."""

    page: Path
    figures: tuple[Path, ...]
    missing: Mapping[str, str]


def write_report(
    root: Path,
    output: Path | None = None,
    *,
    baseline: str | None = None,
    rows: Sequence[str] = (),
    progress: Progress | None = None,
) -> Written:
    """Writes the report of a run folder, finished or not, to ``output``, or to ``report`` in the run folder.

    Everything is computed before anything is written, and the page is written last. For the baseline see
    `affetto.report.build_table`; rows are those to look into, without any the best of each kind; progress receives how
    many steps are done. Raises RunError as `affetto.report.build_table` or where the output cannot be written,
    MissingExtraError where jinja2 or matplotlib is not installed.
    """
    fill = template("page.html.jinja")
    material = read(root, baseline, rows, _part(progress, 0, 60))
    found = list(_sections(material))
    pictures = [part for section in found for part in section.parts if isinstance(part, Picture)]
    drawn, advance = {}, _part(progress, 70, 100)
    for number, picture in enumerate(pictures):
        advance(number, len(pictures))
        drawn[picture.name] = render(picture)
    files = {name: content for each in drawn.values() for name, content in each.files().items()}
    missing = material.missing()
    page = fill(name=root.resolve().name, missing=missing, sections=found, drawn=drawn, style=asset("page.css"))
    folder = output or root / "report"
    _write(folder, {**files, PAGE: page.encode()})
    return Written(folder / PAGE, tuple(folder / name for name in files), missing)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a report and removes the figures of an older one that it lacks."""
    write_files(folder, files, "the report")
    for name in (f"{figure}{kind}" for figure in FIGURES for kind in (".png", ".svg", "-narrow.svg")):
        if name not in files:
            (folder / name).unlink(missing_ok=True)


def _part(progress: Progress | None, first: float, last: float) -> Progress:
    """A part of the whole, in hundredths."""

    def advance(done: float, total: float) -> None:
        if progress:
            progress(first + (last - first) * done / total, 100)

    return advance


class Words(NamedTuple):
    """A paragraph, or what is not there, and why."""

    text: str
    gap: bool = False


class Grid(NamedTuple):
    """A table."""

    sheet: Sheet
    texts: int = 1  # columns that hold words, from the left; the rest are numbers
    shades: tuple[tuple[tuple[str, float], ...], ...] = ()  # a colour and its strength behind each cell but the first
    folded: bool = False  # shown when asked for


class Folded(NamedTuple):
    """A text in lines, such as a recipe, or a list of remarks; shown when asked for."""

    title: str
    lines: str | tuple[str, ...]


Part = Words | Grid | Folded | Picture


class Section(NamedTuple):
    """A part of a report with a heading, and an anchor to link to it."""

    anchor: str
    title: str
    parts: tuple[Part, ...]


def _sections(material: ReportData) -> Iterator[Section]:
    """All sections of a report, in the order in which they are read."""
    of_classes = (_classes, _calibration, _mistakes)  # what there is to say where classes are predicted
    for anchor, title, parts in (
        ("scores", "Scores", _scores),
        ("classes", "Confusions and recall", _classes),
        ("speakers", "From speaker to speaker", _speakers),
        ("learning", "Learning curves", _learning),
        ("calibration", "Calibration", _calibration),
        ("mistakes", "The most confident errors", _mistakes),
        ("origin", "What this was made from", _origin),
    ):
        if material.classes or parts not in of_classes:
            yield Section(anchor, title, tuple(parts(material)))


def _scores(material: ReportData) -> Iterator[Part]:
    yield plots.scores_picture(material.table, 1 / len(material.classes) if material.classes else 0.0)
    for sheet in sheets(material.table, wide=True):
        yield Grid(sheet)
    yield Folded("How to read these tables", material.table.notes)


def _classes(material: ReportData) -> Iterator[Part]:
    chosen, every = material.confusions(material.names), material.confusions(material.counted)
    yield _looked_into(material)
    found = {name: findings.confusion(counted) for name, counted in chosen.items()}
    tested = np.sum([each.confusions.sum(axis=(0, 2)) for each in every.values()], axis=0).tolist()
    absent = [label for label, count in zip(material.classes, tested, strict=True) if not count]
    if absent:
        yield Words(
            f"No utterance tested so far is of {named(absent)}: there is no recall, and UAR is over the other classes.",
            gap=True,
        )
    yield plots.confusion_picture(found, material.classes)
    yield plots.counts_picture(found, material.classes)
    recalls = {name: findings.class_recalls(counted) for name, counted in chosen.items()}
    yield plots.recall_picture(recalls, material.classes)
    yield _recalls(material, every)


def _looked_into(material: ReportData) -> Words:
    return Words(f"The rows looked into here and below: {named(list(material.names), most=12)} ({material.reason}).")


def _recalls(material: ReportData, every: Mapping[str, stats.ConfusionCounts]) -> Grid:
    palette = colours(material.classes)
    rows, shades = [], []
    for row in material.table.rows:
        values = findings.class_recalls(every[row.name], intervals=False).mean.tolist()
        rows.append((row.name, *map(share, values)))
        strengths = [(palette[name], round(0.45 * value, 3)) for name, value in zip(palette, values, strict=True)]
        shades.append(tuple(("", 0.0) if math.isnan(each[1]) else each for each in strengths))
    return Grid(Sheet("Recall of each class, every row", ("row", *material.classes), tuple(rows)), shades=tuple(shades))


def _speakers(material: ReportData) -> Iterator[Part]:
    if not material.classes:
        yield _looked_into(material)
    score = material.table.main
    found = {name: findings.speaker_scores(material.counted[name]) for name in material.names}
    speakers = {name for each in found.values() for name in each.names.tolist()}
    if len(speakers) == 1:
        yield Words("There is a single test speaker, so how speakers differ is not known.", gap=True)
    first = next(iter(found.values()))
    known = dict(zip(first.names.tolist(), first.scores.tolist(), strict=True))
    order = sorted(speakers, key=lambda name: (known.get(name, math.inf), name))
    yield plots.speaker_picture(found, order, score)
    header = ("row", "lowest", "lower quarter", "median", "upper quarter", "highest", "speakers", "order shared")
    rows = []
    for name, each in found.items():
        quartiles = map(share, np.quantile(each.scores, [0, 0.25, 0.5, 0.75, 1]).tolist())
        same = "" if each is first else share(_shared_order(first, each), 2)
        rows.append((name, *quartiles, str(len(each.scores)), same))
    yield Grid(Sheet(f"{score} from speaker to speaker", header, tuple(rows)))
    if len(rows) > 1:
        yield Words(
            f"Order shared: Kendall's tau-b of the speakers' {score}s with those of {material.names[0]}; 1 where "
            "both find the same speakers hard, 0 where they have nothing in common."
        )


def _shared_order(one: findings.SpeakerScores, other: findings.SpeakerScores) -> float:
    """Kendall's tau-b over the speakers that both were tested on."""
    _, places, others = np.intersect1d(one.names, other.names, return_indices=True)
    return rank_agreement(one.scores[places].tolist(), other.scores[others].tolist())


def _learning(material: ReportData) -> Iterator[Part]:
    found: dict[str, Learning] = {}
    none: list[str] = []
    for name in material.names:
        try:
            curves = material.run.curves(name)
        except RunError as error:
            yield Words(f"{name} has no learning curve here: {error.where}: {error.problem}.", gap=True)
            continue
        averaged = findings.learning(curves)
        if averaged is None and any(curves.values()):
            yield Words(
                f"{name}: every learning curve holds losses that are no numbers; its training went astray.", gap=True
            )
        elif averaged is None:
            none.append(name)
        else:
            found[name] = averaged
            if averaged.broken:
                yield Words(
                    f"{name}: {several(averaged.broken, 'learning curve')} with losses that are no numbers left out.",
                    gap=True,
                )
    if none:
        yield Words(f"Without a learning curve, since nothing is trained in epochs: {named(none)}.")
    if found:
        yield plots.learning_picture(found)


def _calibration(material: ReportData) -> Iterator[Part]:
    found: dict[str, Calibration] = {}
    for row in material.table.rows:
        if row.kind in CHANCE:
            continue
        try:
            validating = material.run.validation_answers(row.name)
            assert isinstance(validating, Answers)
            found[row.name] = findings.calibrate(material.answers(row.name), validating, material.classes)
        except RunError as error:
            yield Words(f"{row.name} could not be calibrated: {error.where}: {error.problem}.", gap=True)
        except ValueError as error:
            yield Words(f"{row.name} could not be calibrated: {error}.", gap=True)
    shown = {name: found[name] for name in material.names if name in found}
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
        yield Words("No row that reads the sound can be calibrated.", gap=True)


def _calibration_grid(found: Mapping[str, Calibration]) -> Grid:
    header = (
        "row", "ECE", "ECE scaled", "cross-entropy", "cross-entropy scaled", "temperature (median)", "lowest to highest"
    )  # fmt: skip
    rows = []
    for name, (before, after, temperatures) in found.items():
        losses = (f"{before.cross_entropy:.3f}", f"{after.cross_entropy:.3f}")
        spread = (f"{np.median(temperatures):.2f}", f"{temperatures.min():.2f} to {temperatures.max():.2f}")
        rows.append((name, share(before.error), share(after.error), *losses, *spread))
    return Grid(Sheet("Calibration on test speakers", header, tuple(rows)))


def _mistakes(material: ReportData) -> Iterator[Part]:
    found = {name: findings.mistakes(material.answers(name), material.classes) for name in material.names}
    if not any(found.values()):
        yield Words("None of these rows makes a mistake.", gap=True)
        return
    yield Words(
        "Utterances that are wrong, the surest first; probabilities are averaged over repeats. Listen to these: the "
        "speaker may have missed the emotion, the label may be wrong, or the model may rely on something else."
    )
    same = Counter((each.utterance, each.predicted) for wrong in found.values() for each in wrong)
    texts = {name: each.text or "" for name, each in material.run.named().items()}
    for place, (name, wrong) in enumerate(found.items()):
        if not wrong:
            yield Words(f"{name} makes no mistake.", gap=True)
            continue
        surest = wrong[:SUREST]
        words = any(texts.get(each.utterance) for each in surest)
        header = ("utterance", "speaker", "true class", "predicted", *(("words",) if words else ()))
        numbers = ("probability", "of the true class", f"same prediction, of {several(len(found), 'row')}")
        rows = []
        for each in surest:
            text = (texts.get(each.utterance, ""),) if words else ()
            shares = (share(each.probability), share(each.true_probability))
            rows.append((*each[:4], *text, *shares, str(same[each.utterance, each.predicted])))
        sheet = Sheet(f"{name}: the most confident errors", (*header, *numbers), tuple(rows))
        yield Grid(sheet, texts=len(header), folded=place > 0)


def _origin(material: ReportData) -> Iterator[Part]:
    facts, environment = material.run.facts(), material.run.environment()
    pairs: list[tuple[str, object]] = [
        ("manifest (SHA-256)", facts.get("manifest_sha256")),
        *((str(key).replace("_", " "), value) for key, value in facts.get("counts", {}).items()),
        *((f"environment: {key}", value) for key, value in environment.items()),
    ]
    known = [(key, value) for key, value in pairs if value is not None]
    rows = tuple((key, value if isinstance(value, str) else json.dumps(value)) for key, value in known)
    yield Grid(Sheet("Facts", ("what", "value"), rows), texts=2)
    recipe = (material.run.root / CONFIG).read_text(encoding="utf-8")
    yield Folded("The recipe, with every default filled in", recipe)
    yield Words(
        "Every number on this page is derived from the predictions in the run folder; affetto experiment table gives "
        "the tables as CSV, JSON, Markdown and LaTeX."
    )
