"""Whether the predictions in a run folder are those of the utterances that its folds say: none lost, none twice.

A file that was cut at the end of a line reads well, and so does one that was copied into another fold's folder; every
number that follows from them would be wrong without a word.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from affetto.errors import RunError
from affetto.evaluate.predictions import Answers
from affetto.evaluate.run_folder import COMPUTE_AGAIN, FOLDS, TESTED, VALIDATED, FoldLine, RunFolder

FILES = {"test": TESTED, "validation": VALIDATED}
"""Part of a fold -> the file of what was said of it."""


class Division(NamedTuple):
    """Who is heard in which fold.

    Attributes:
        meant: (utterance, emotion) -> how often the manifest has it, without those whose sound cannot be read; more
            than once only where two corpora give the same id.
        parts: (fold, part) -> utterance -> how often; without the parts that ``folds.csv`` does not name.
    """

    meant: Counter[tuple[str, str]]
    parts: Mapping[tuple[int, str], Counter[str]]


def read_division(run: RunFolder) -> Division:
    """Reads who is heard in which fold.

    Raises:
        RunError: the manifest, ``folds.csv`` or ``run.json`` is missing or damaged.
    """
    unreadable = set(run.facts().get("unreadable") or ())
    utterances = [each for each in run.utterances() if each.id not in unreadable]
    meant = Counter((each.id, each.emotion or "") for each in utterances)
    lines = _read_folds(run.root / FOLDS)
    corpora = Counter(name for name, _ in {(each.speaker, each.corpus) for each in utterances})
    if any(count > 1 for count in corpora.values()):
        return Division(meant, {})  # folds.csv has no corpora: which of two speakers of one name is meant is not known
    said: dict[str, Counter[str]] = {}
    for each in utterances:
        said.setdefault(each.speaker, Counter())[each.id] += 1
    parts: dict[tuple[int, str], Counter[str]] = {}
    for line in dict.fromkeys(lines):
        parts.setdefault((line.fold, line.part), Counter()).update(said.get(line.speaker, Counter()))
    return Division(meant, parts)


def check_division(run: RunFolder, division: Division, row_name: str, part: str, answers: Answers) -> None:
    """Makes sure that a row was asked what its folds say, in every cell.

    Args:
        run: the folder; errors name the file in it.
        division: of the folder.
        row_name: the row.
        part: "test" or "validation".
        answers: of the row, on that part.

    Raises:
        RunError: an utterance is missing, is there twice, is unknown or counts as something else, or belongs to another
            fold.
    """
    cells: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for cell, utterance, reference in zip(answers.cells, answers.utterances, answers.references, strict=True):
        cells.setdefault(cell, []).append((utterance, reference))
    for cell, asked in cells.items():
        problem = _problem(division, (cell[1], part), Counter(asked))
        if problem:
            raise RunError(f"damaged ({problem})", COMPUTE_AGAIN, run.cell(row_name, cell) / FILES[part])


def _problem(division: Division, part: tuple[int, str], asked: Counter[tuple[str, str]]) -> str:
    """What is wrong with a cell, in words; nothing where all is well."""
    for (utterance, reference), count in asked.items():
        known = division.meant[utterance, reference]
        if not known:
            return f"the manifest has no utterance {utterance} that counts as {reference}"
        if count > known:
            return f"utterance {utterance} is in it {count} times"
    expected = division.parts.get(part)
    if expected is None:
        return ""
    found = Counter(utterance for utterance, _ in asked.elements())
    missing, strange = expected - found, found - expected
    if strange:
        return f"{next(iter(strange))} is no utterance of this fold"
    if missing:
        total = f"{missing.total():,} of the fold's {expected.total():,} utterances"
        return f"{total} are missing, {next(iter(missing))} first"
    return ""


def _read_folds(path: Path) -> list[FoldLine]:
    """Reads ``folds.csv``.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file, strict=True)) or [[]]
        if tuple(header) != FoldLine._fields:
            raise ValueError("the header is another")
        return [FoldLine(int(fold), part, speaker) for fold, part, speaker in lines]
    except (OSError, ValueError, csv.Error) as error:
        remedy = "restore the file, or run the experiment into another folder"
        raise RunError(f"cannot be read ({error})", remedy, path) from error
