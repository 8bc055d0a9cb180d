"""Whether the predictions in a run folder are those of the utterances that its folds say: none lost, none twice.

A file that was cut at the end of a line reads well, and so does one that was copied into another fold's folder; every
number that follows from them would be wrong without a word.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from affetto.data.folds import full_name
from affetto.errors import RunError, SharedNameError
from affetto.evaluate.predictions import Answers
from affetto.evaluate.run_folder import COMPUTE_AGAIN, TESTED, VALIDATED, RunFolder

logger = logging.getLogger(__name__)

FILES = {"test": TESTED, "validation": VALIDATED}  # Part of a fold -> the file of what is predicted of it


class Division(NamedTuple):
    """Which utterances each part of a fold has."""

    labels: Mapping[str, str]  # utterance -> the emotion that it counts as, without those that cannot be read
    parts: Mapping[tuple[int, str], frozenset[str]]  # of a fold, without those that ``folds.csv`` does not name


def read_division(run: RunFolder) -> Division:
    """Reads which utterances each part of a fold has.

    Raises:
        RunError: the manifest, ``folds.csv`` or ``run.json`` is missing or damaged.
    """
    readable = run.readable()
    labels = {name: each.emotion or "" for name, each in readable.items()}
    names = {full_name(each, "id"): name for name, each in readable.items()}
    try:
        folds = run.folds()
    except SharedNameError as error:  # older versions wrote every name without its corpus
        logger.warning("%s; which utterances a fold has is not checked", error)
        return Division(labels, {})
    parts = {(fold, part): getattr(split, part) for fold, split in folds.items() for part in FILES}
    found = {key: [names.get(full_name(each, "id")) for each in part] for key, part in parts.items() if part}
    return Division(labels, {key: frozenset(filter(None, part)) for key, part in found.items()})


def check_division(run: RunFolder, division: Division, row_name: str, part: str, answers: Answers) -> None:
    """Makes sure that a row has predictions of what its folds say, in every cell, for the part "test" or "validation".

    Raises:
        RunError: an utterance is missing, is there twice, is unknown or counts as something else, or belongs to another
            fold.
    """
    cells: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for cell, utterance, reference in zip(answers.cells, answers.utterances, answers.references, strict=True):
        cells.setdefault(cell, []).append((utterance, reference))
    for cell, predicted in cells.items():
        problem = _problem(division, (cell[1], part), predicted)
        if problem:
            raise RunError(f"damaged ({problem})", COMPUTE_AGAIN, run.cell(row_name, cell) / FILES[part])


def _problem(division: Division, part: tuple[int, str], predicted: Sequence[tuple[str, str]]) -> str:
    """What is wrong with a cell, in words; nothing where all is well."""
    for utterance, reference in predicted:
        if division.labels.get(utterance) != reference:
            return f"the manifest has no utterance {utterance} that counts as {reference}"
    (utterance, times), *_ = Counter(utterance for utterance, _ in predicted).most_common(1)
    if times > 1:
        return f"utterance {utterance} is in it {times} times"
    expected, found = division.parts.get(part), {utterance: None for utterance, _ in predicted}
    if expected is None:
        return ""
    if not expected.issuperset(found):
        return f"{next(name for name in found if name not in expected)} is no utterance of this fold"
    missing = [name for name in division.labels if name in expected and name not in found]
    if missing:
        total = f"{len(missing):,} of the fold's {len(expected):,} utterances"
        return f"{total} are missing, {missing[0]} first"
    return ""
