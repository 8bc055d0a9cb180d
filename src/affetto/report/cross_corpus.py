"""Scores on any corpora under any conditions, as tables and in a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from affetto.evaluate.cross_corpus import SCHEMA_VERSION, ClipPrediction, CorpusScores
from affetto.report.render import Sheet, markdown_of
from affetto.text import harmless
from affetto.timeline import NO_SPEECH

SCORES, TABLES, PREDICTIONS = "scores.json", "scores.md", "predictions.csv"


def score_sheets(scores: Sequence[CorpusScores], *, details: bool) -> list[Sheet]:
    """Tables of scores, of which there is at least one; in detail with each one's confusion and speakers."""
    dimensions = list(dict.fromkeys(name for each in scores for name in each.ccc))
    figures = ("clips", "UAR", "accuracy", "F1", "ECE", "right if sure", *(f"CCC {name}" for name in dimensions))
    stated = list(scores[0].stated)
    shares = tuple((_name(each), *(f"{each.stated[name]:.1%}" for name in stated)) for each in scores)
    found = [
        Sheet("Scores", ("corpus, condition", *figures), tuple(_row(each, dimensions) for each in scores)),
        Sheet("Stated, share of clips", ("corpus, condition", *stated), shares),
    ]
    if details:
        found += [_confusion(each) for each in scores if each.confusion]
        for name in dict.fromkeys(each.corpus for each in scores):
            group = [each for each in scores if each.corpus == name]
            found += [_speakers(name, group)] if group[0].speakers else []
    return found


def score_notes(scores: Sequence[CorpusScores]) -> list[str]:
    """What was left out of each corpus, and what could not be read, in a line each."""
    lines = {each.corpus: ("left out, of no class of the model", each.left_out) for each in scores}
    lines |= {_name(each): ("not read", each.failed) for each in scores}
    return [
        f"{name}: {what}: " + ", ".join(f"{label} {count:,}" for label, count in counts.items())
        for name, (what, counts) in lines.items()
        if counts
    ]


def scores_to_markdown(scores: Sequence[CorpusScores]) -> str:
    """All tables, for a Markdown page."""
    return markdown_of(score_sheets(scores, details=True), score_notes(scores))


def scores_to_values(about: Mapping[str, Any], scores: Iterable[CorpusScores]) -> dict[str, Any]:
    """Plain values for JSON; ``about`` says what was scored: the model and the like."""
    return {"version": SCHEMA_VERSION, **about, "scores": [each.as_dict() for each in scores]}


def write_scores(folder: Path, about: Mapping[str, Any], scores: Sequence[CorpusScores]) -> None:
    """Writes at least one score as JSON and Markdown, and what was predicted of each clip as CSV.

    The folder is made if need be, and files of an earlier evaluation in it are replaced; see `scores_to_values`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = json.dumps(scores_to_values(about, scores), indent=2)
    (folder / SCORES).write_text(values + "\n", encoding="utf-8")
    (folder / TABLES).write_text(scores_to_markdown(scores), encoding="utf-8")
    with (folder / PREDICTIONS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        classes = list(scores[0].predictions[0].probabilities)
        fixed = [name for name in ClipPrediction._fields if name not in {"probabilities", "dimensions"}]
        names = list(scores[0].predictions[0].dimensions)
        dimensions = [f"{kind}_{name}" for name in names for kind in ("true", "predicted")]
        writer.writerow(["corpus", "condition", *fixed, *(f"p_{name}" for name in classes), *dimensions])
        for each in scores:
            for clip in each.predictions:
                cells = [each.corpus, each.condition, *(getattr(clip, name) for name in fixed)]
                shares = (f"{clip.probabilities[name]:.6f}" for name in classes)
                pairs = [value for name in names for value in clip.dimensions[name]]
                writer.writerow([*harmless(cells), *shares, *("" if each is None else f"{each:.6f}" for each in pairs)])


def _row(scores: CorpusScores, dimensions: Sequence[str]) -> tuple[str, ...]:
    figures = [scores.uar, scores.accuracy, scores.f1_macro, scores.ece, scores.stated_accuracy]
    figures += [scores.ccc.get(name) for name in dimensions]
    return (_name(scores), f"{scores.utterances:,}", *map(_figure, figures))


def _confusion(scores: CorpusScores) -> Sheet:
    columns = list(next(iter(scores.confusion.values())))
    kept = [name for name in columns if name != NO_SPEECH or scores.no_speech]
    rows = tuple((name, *(str(row[each]) for each in kept)) for name, row in scores.confusion.items())
    return Sheet(f"Confusion: {_name(scores)}", ("true class, predicted", *kept), rows)


def _speakers(corpus: str, group: Sequence[CorpusScores]) -> Sheet:
    """UAR of each speaker, a column a condition."""
    names = sorted({name for each in group for name in each.speakers})
    uars = [{name: _figure(speaker.uar) for name, speaker in each.speakers.items()} for each in group]
    rows = tuple((name, *(each.get(name, "-") for each in uars)) for name in names)
    return Sheet(f"UAR by speaker: {corpus}", ("speaker", *(each.condition for each in group)), rows)


def _name(scores: CorpusScores) -> str:
    return f"{scores.corpus}, {scores.condition}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
