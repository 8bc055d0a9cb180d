"""What one has to know to read a table, in sentences: what is averaged, over what, against what, from what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from statistics import mode
from typing import Any, NamedTuple

import numpy as np

from affetto import stats
from affetto.data.utterance import Utterance
from affetto.drawing.words import several
from affetto.report.table import CORPUS, TRAINED, Table

_CHECKS = ("expected", "check_counts")  # Settings that decide whether a run starts, not what it finds
FEW_SPEAKERS = 20  # Below, intervals rest on their widening more than on the data

_RECALL = (
    "UAR is the unweighted average recall (many papers: UA), accuracy the share of utterances that are right (many "
    "papers: WA; some use the two names the other way round), F1 the mean over the classes."
)
_CONCORDANCE = (
    "CCC is Lin's concordance correlation coefficient of predicted and true values (1989): 1 where all agree, 0 where "
    "predictions are constant or have nothing to do with the truth."
)


class RunFacts(NamedTuple):
    """What notes are made of beside the table itself."""

    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    environment: Mapping[str, Any]
    classes: Sequence[str]
    baseline: str  # how it was chosen, in words
    utterances: Sequence[Utterance]  # all that are used
    counted: Sequence[stats.Counted]  # of each row


def write_notes(table: Table, run: RunFacts) -> Iterator[str]:
    """The notes of a table, most needed first."""
    about_scores = (_unfinished(table), _averages(table, run), _corpora(table), _tests(table, run), _missing(run))
    return chain(*about_scores, _paper(table), _data(run), _origin(run))


def _unfinished(table: Table) -> Iterator[str]:
    counts = ", ".join(f"{row.name} {row.cells} of {row.planned} cells" for row in table.rows if row.unfinished)
    if counts:
        yield f"* The run is not finished: {counts}. Such a row shows its whole runs, or without any the folds it has."


def _averages(table: Table, run: RunFacts) -> Iterator[str]:
    runs, folds = mode(row.runs for row in table.rows), mode(row.folds for row in table.rows)
    speakers = len({name for counted in run.counted for name in counted.speakers.tolist()})
    dimensions = run.facts.get("dimensions")
    yield (
        f"Scores are means over {several(runs, 'run')}; a run is one repeat's predictions over all its "
        f"{several(folds, 'fold')}, pooled. {_CONCORDANCE if dimensions else _RECALL}"
        + (" CCC alone is the mean over the dimensions." if len(dimensions or ()) > 1 else "")
    )
    odd = ", ".join(f"{row.name} {row.runs}" for row in table.rows if row.runs != runs and not row.unfinished)
    if odd:
        yield f"Other numbers of runs: {odd}."
    yield (
        "± runs: standard deviation over the runs, what another initialisation changes. ± folds: over the folds, each "
        "averaged over repeats, what other test speakers change."
    )
    few = f" With {speakers} speakers it is rough." if speakers < FEW_SPEAKERS else ""
    yield (
        f"{stats.LEVEL * 100:.0f} %: interval by bootstrap over the {several(speakers, 'test speaker')}, each with "
        f"all utterances and runs.{few}"
    )


def _corpora(table: Table) -> Iterator[str]:
    corpora = max((row.corpora for row in table.rows), key=len)
    if not corpora:
        return
    folds = {name: figures.folds for name, figures in corpora.items()}
    shown = {name: f"fold {each[0]}" if len(each) == 1 else several(len(each), "fold") for name, each in folds.items()}
    tested = "; ".join(f"{name} in {each}" for name, each in shown.items())
    yield (
        f"By tested corpus: {tested}. The mean is over the corpora, however large each is; the scores above pool all "
        "utterances. An interval over the few speakers of one corpus is rough."
    )


def _tests(table: Table, run: RunFacts) -> Iterator[str]:
    if table.baseline is None:
        yield f"No baseline: {run.baseline}."
        return
    yield f"Baseline: {table.baseline} ({run.baseline})."
    compared = [row.comparison for row in table.rows if row.comparison is not None]
    tested = [each for each in compared if not np.isnan(each.p)]
    if tested:
        yield (
            f"p: Nadeau and Bengio's corrected t-test of the {table.main} over the folds that both rows have, repeats "
            f"averaged; p (Holm): corrected for {several(len(tested), 'row')} tested. A difference counts as shown "
            f"where that is below {_plain(stats.ALPHA)}."
        )
    folds = max((each.folds for each in tested), default=0)
    if tested and 2 / 2**folds > stats.ALPHA:
        yield (
            f"p (Wilcoxon) cannot show anything here: over {several(folds, 'fold')} it is never below "
            f"{_plain(2 / 2**folds)}, whatever the rows."
        )
    if len(tested) < len(compared):
        yield "Untested: fewer than two folds in common; the interval of the difference speaks alone."
    most = max((each.folds for each in compared), default=0)
    found = [(row.name, row.comparison.folds) for row in table.rows if row.comparison]
    fewer = ", ".join(f"{name} over {folds}" for name, folds in found if folds < most)
    if fewer:
        yield f"Compared with the baseline over fewer folds than the {most} of the others: {fewer}."


def _missing(run: RunFacts) -> Iterator[str]:
    """Every row has the same folds, so the row with the most of them stands for all."""
    counted = max(run.counted, key=lambda counted: len(set(counted.folds.tolist())))
    missing = stats.missing_classes(counted) if isinstance(counted, stats.ConfusionCounts) else {}
    if missing:
        absent = Counter(run.classes[place] for places in missing.values() for place in places)
        names = ", ".join(f"{name} in {count}" for name, count in absent.items())
        yield (
            f"{several(len(missing), 'fold')} without an utterance of some class ({names}): UAR and F1 of a fold are "
            "over the classes that occur in it."
        )


def _paper(table: Table) -> Iterator[str]:
    given = [row.name for row in table.rows if row.published and not row.published.name]
    if given:
        yield f"Figures beside {', '.join(given)} are those that the recipe gives as published."
    matched = [(row, row.published) for row in table.rows if row.published and row.published.name]
    if not matched:
        return
    yield (
        f"Published: table 1 of Lakomkin et al. (2017), on {CORPUS}; on other data, compare the order of the rows, not "
        "their level. Its U-Acc is read as UAR and its W-Acc as accuracy, as fits the trained rows."
    )
    if not all(paper.readable for _, paper in matched):
        yield (
            "The paper's row of the most frequent class fits neither reading, so it is given under both: on its counts "
            "such an answer has a UAR of .25 and an accuracy of .389."
        )
    trained = [(row.main.mean, paper.u_acc[0]) for row, paper in matched if row.kind in TRAINED]
    tau = stats.rank_agreement([ours for ours, _ in trained], [theirs for _, theirs in trained])
    if len(trained) > 2 and not np.isnan(tau):
        yield f"Order of the {len(trained)} trained rows by UAR, here and in the paper: Kendall's tau-b {tau:.2f}."


def _data(run: RunFacts) -> Iterator[str]:
    counts = Counter(utterance.emotion for utterance in run.utterances)
    sizes = sorted(Counter(utterance.corpus for utterance in run.utterances).items())
    corpora = ", ".join(f"{name} ({count:,})" if len(sizes) > 1 else name for name, count in sizes)
    classes = ", ".join(f"{name} {counts[name]:,}" for name in run.classes) or _ranges(run)
    speakers = len({(utterance.corpus, utterance.speaker) for utterance in run.utterances})
    yield f"Data: {corpora}, {len(run.utterances):,} utterances by {several(speakers, 'speaker')}: {classes}."
    unreadable = len(run.facts.get("unreadable", ()))
    if unreadable:
        yield f"Left out, since their sound cannot be read: {several(unreadable, 'utterance')}."
    for key in ("labels", "protocol"):
        if key in run.config:
            yield f"{key.capitalize()}: {_setting(run.config[key])}."


def _ranges(run: RunFacts) -> str:
    """From the lowest to the highest value of each dimension."""
    found = []
    for name in run.facts.get("dimensions", ()):
        values = [each.dimensions[name] for each in run.utterances if each.dimensions and name in each.dimensions]
        found.append(f"{name} {min(values):.4g} to {max(values):.4g}, mean {np.mean(values):.4g}")
    return "; ".join(found)


def _origin(run: RunFacts) -> Iterator[str]:
    origin = {
        "recogniser": run.config.get("recogniser"),
        "seed": run.config.get("seed"),
        "affetto": run.environment.get("affetto"),
        "commit": run.environment.get("commit") or None,
        "manifest (SHA-256)": run.facts.get("manifest_sha256"),
    }
    known = "; ".join(f"{name} {value}" for name, value in origin.items() if value is not None)
    if known:
        yield f"From: {known}."


def _setting(value: object) -> str:
    """A config as words: its kind, and then its other values, such as grouped k fold, folds 10."""
    if not isinstance(value, Mapping):
        return str(value).replace("_", " ")
    shown = {key: each for key, each in value.items() if key not in ("kind", *_CHECKS) and each not in ({}, [], ())}
    rest = [f"{key} {_value(each)}".replace("_", " ") for key, each in shown.items()]
    return ", ".join([str(value["kind"]).replace("_", " "), *rest] if "kind" in value else rest)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "/".join(map(_value, value)) if len(value) <= 8 else f"{len(value)} names"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: float) -> str:
    return f"{value:g}".removeprefix("0")
