"""The folder that an experiment leaves: enough to recompute every figure, and for a stopped run to go on.

::

    config.toml        the recipe with every default filled in
    run.json           version, digest of the manifest, classes (or dimensions), fingerprint and CER of the recogniser,
                       counts
    environment.json   versions, commit, machine
    manifest.jsonl     the utterances, each with the emotion that it counts as, or its dimensions
    folds.csv          which speakers are in which part of which fold
    rows/ROW/row.json  the row of the table: name, model, training, number of parameters
    rows/ROW/repeat-00-fold-03/{predictions,validation,curve}.csv
    rows/ROW/unfinished-00-00.safetensors   how far the training that begins with a fold has come; gone in the end

A cell, one fold of one repeat of a row, is written as a hidden folder and then renamed: it is finished exactly when
its folder exists.
"""

from __future__ import annotations

import csv
import json
import logging
import re
import shutil
import tomllib
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from pydantic import Field

from affetto.config import Config
from affetto.data.folds import FOLDS, full_name, read_folds, short_names, write_folds
from affetto.data.manifest import read_manifest, write_manifest
from affetto.data.splits import Split
from affetto.data.utterance import Utterance
from affetto.errors import ConfigError, ManifestError, RunError, SharedNameError, SplitError
from affetto.evaluate.predictions import COMPUTE_AGAIN, AnyAnswers, AnyPrediction, read_cells, write_predictions
from affetto.files import write_text
from affetto.training.heads.tasks import Epoch

logger = logging.getLogger(__name__)

VERSION = 1
CONFIG, FACTS, ENVIRONMENT = "config.toml", "run.json", "environment.json"
MANIFEST, ROWS = "manifest.jsonl", "rows"
TESTED, VALIDATED = "predictions.csv", "validation.csv"
_KINDS: dict[str, type[Any]] = {"classes": list, "dimensions": list, "counts": dict, "unreadable": list}
Plain = Mapping[str, Any]
_CELL = re.compile(r"repeat-(\d{2,})-fold-(\d{2,})")
_REMEDY = "restore the file, or run the experiment into another folder"
FILES = {"test": TESTED, "validation": VALIDATED}  # Part of a fold -> the file of what is predicted of it


class Row(Config):
    """``row.json``: a row of a table, and how it is trained."""

    name: str  # as the recipe calls it
    model: dict[str, Any]  # its config
    training: dict[str, Any]
    parameters: int | None = None  # how many numbers are trained; None where that is not known
    published: dict[str, float] = Field(default_factory=dict)  # as a paper reports it


def slug(name: str) -> str:
    """A row's name as the name of its folder.

    >>> slug("Progressive net-2 (GRU 96)")
    'progressive-net-2-gru-96'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class RunFolder:
    """Reads and writes a run folder; nothing is looked at before it is asked for.

    Whatever is missing or damaged, or cannot be written, is a `RunError` that names the file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def begun(self) -> bool:
        """Whether a run was begun here: all but the rows is written."""
        return (self.root / FACTS).is_file()

    def facts(self) -> dict[str, Any]:
        """``run.json``; a folder without it, or of another version of affetto, is none."""
        if not self.begun:
            raise RunError("no run folder", "name the output folder of affetto experiment run", self.root)
        facts = _read_json(self.root / FACTS)
        if facts.get("version") != VERSION:
            problem = f"version {facts.get('version')!r} of the layout; this affetto knows {VERSION}"
            raise RunError(problem, "use the affetto that wrote it", self.root / FACTS)
        for name, kind in _KINDS.items():
            if not isinstance(facts.get(name, kind()), kind):
                raise RunError(f"damaged ({name} is {facts[name]!r})", _REMEDY, self.root / FACTS)
        return facts

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What is predicted in the place of classes, if anything."""
        return tuple(self.facts().get("dimensions") or ())

    def config(self) -> dict[str, Any]:
        """``config.toml``: the recipe with every default filled in."""
        self.facts()
        path = self.root / CONFIG
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RunError(f"cannot be read ({error})", _REMEDY, path) from error

    def environment(self) -> dict[str, Any]:
        """``environment.json``."""
        self.facts()
        return _read_json(self.root / ENVIRONMENT)

    def utterances(self) -> list[Utterance]:
        """``manifest.jsonl``: each utterance's ``emotion`` is the class that it counts as."""
        self.facts()
        try:
            return read_manifest(self.root / MANIFEST)
        except ManifestError as error:
            raise RunError(f"cannot be read ({error.problem})", _REMEDY, error.where) from error

    def named(self) -> dict[str, Utterance]:
        """The utterances by the names that predictions give them: with their corpus where two have such an id."""
        utterances = self.utterances()
        return dict(zip(short_names(utterances, "id"), utterances, strict=True))

    def readable(self) -> dict[str, Utterance]:
        """As `named`, without those whose sound could not be read."""
        unreadable = set(self.facts().get("unreadable") or ())
        return {name: each for name, each in self.named().items() if name not in unreadable}

    def folds(self) -> dict[int, Split]:
        """``folds.csv``: number -> fold, with the utterances that could not be read.

        Raises SharedNameError, see `affetto.data.folds.read_folds`.
        """
        try:
            return read_folds(self.root / FOLDS, self.utterances())
        except SharedNameError:
            raise
        except SplitError as error:
            raise RunError(f"cannot be read ({error.problem})", _REMEDY, error.where) from error

    def rows(self) -> list[Row]:
        """The rows with at least one finished cell, in the recipe's order."""
        return [_read_row(self._row(name) / "row.json") for name in self._names() if self._cells(name)]

    def finished(self, row_name: str) -> set[tuple[int, int]]:
        """The (repeat, fold) of a row that are finished; none for a row that was never begun."""
        return set(self._cells(row_name))

    def answers(self, row_name: str) -> AnyAnswers:
        """What every finished cell predicts of its test utterances, by repeat and fold."""
        return self._columns(row_name, TESTED)

    def validation_answers(self, row_name: str) -> AnyAnswers:
        """What every finished cell predicts of its validation utterances, by repeat and fold."""
        return self._columns(row_name, VALIDATED)

    def curves(self, row_name: str) -> dict[tuple[int, int], list[Epoch]]:
        """(repeat, fold) -> learning curve, empty where nothing is trained in epochs."""
        return {cell: _read_curve(folder / "curve.csv") for cell, folder in self._known_cells(row_name).items()}

    def begin(
        self, config: Plain, facts: Plain, environment: Plain, utterances: Sequence[Utterance], folds: Sequence[Split]
    ) -> None:
        """Writes all but the rows; ``run.json`` comes last, so that a folder that has it is complete."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            write_manifest(self.root / MANIFEST, utterances)
            write_folds(self.root / FOLDS, utterances, folds)
            write_text(self.root / CONFIG, tomli_w.dumps(dict(config), multiline_strings=True))
            write_text(self.root / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
            write_text(self.root / FACTS, json.dumps({"version": VERSION, **facts}, indent=2) + "\n")
        except OSError as error:
            raise _unwritable(self.root, error) from error

    def write_cell(
        self, row: Row, tested: Sequence[AnyPrediction], validated: Sequence[AnyPrediction], curve: Sequence[Epoch]
    ) -> None:
        """Adds a finished cell, whole or not at all; one that is finished already stays as it is.

        Predictions are those on the test utterances, of which the first has the cell's repeat and fold, and on the
        validation utterances; the curve may be empty.
        """
        cell = self.cell(row.name, (tested[0].repeat, tested[0].fold))
        draft = cell.with_name(f".{cell.name}.{uuid.uuid4().hex}")
        try:
            draft.mkdir(parents=True, exist_ok=True)
            write_text(cell.with_name("row.json"), json.dumps(row.model_dump(mode="json"), indent=2) + "\n")
            write_predictions(draft / TESTED, tested)
            write_predictions(draft / VALIDATED, validated)
            with (draft / "curve.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([Epoch._fields, *curve])
            if not cell.exists():
                draft.rename(cell)
        except OSError as error:
            raise _unwritable(cell, error) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def unfinished(self, row_name: str, repeat: int, fold: int) -> Path:
        """Where the training that begins with a fold may keep how far it has come."""
        return self._row(row_name) / f"unfinished-{repeat:02d}-{fold:02d}.safetensors"

    def cell(self, row_name: str, cell: tuple[int, int]) -> Path:
        """The folder of a (repeat, fold) of a row, finished or not."""
        return self._row(row_name) / f"repeat-{cell[0]:02d}-fold-{cell[1]:02d}"

    def sweep(self) -> None:
        """Removes what a run that was killed left half written; only while no other run writes here."""
        for draft in self.root.glob(f"{ROWS}/*/.*"):
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)

    def _names(self) -> list[str]:
        config = self.config()
        try:
            return [str(row["name"]) for row in config["rows"]]
        except (KeyError, TypeError) as error:
            raise RunError("lists no rows", _REMEDY, self.root / CONFIG) from error

    def _row(self, name: str) -> Path:
        return self.root / ROWS / slug(name)

    def _cells(self, row_name: str) -> dict[tuple[int, int], Path]:
        """(repeat, fold) -> folder of the finished cells, in order."""
        row = self._row(row_name)
        matches = ((_CELL.fullmatch(path.name), path) for path in (row.iterdir() if row.is_dir() else ()))
        return dict(sorted(((int(match[1]), int(match[2])), path) for match, path in matches if match))

    def _known_cells(self, row_name: str) -> dict[tuple[int, int], Path]:
        cells = self._cells(row_name)
        if not cells:
            known = ", ".join(name for name in self._names() if self._cells(name)) or "none yet"
            raise RunError(f"nothing finished of a row {row_name!r}", f"choose among {known}", self.root)
        return cells

    def _columns(self, row_name: str, file: str) -> AnyAnswers:
        facts = self.facts()
        files = {cell: folder / file for cell, folder in self._known_cells(row_name).items()}
        return read_cells(files, facts.get("classes") or [], facts.get("dimensions") or [])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error
    if not isinstance(found, dict):
        raise RunError("holds no JSON object", _REMEDY, path)
    return found


def _read_row(path: Path) -> Row:
    try:
        return Row.parse(_read_json(path))
    except ConfigError as error:
        raise RunError(f"damaged ({error.problem})", _REMEDY, path) from error


def _read_curve(path: Path) -> list[Epoch]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file, strict=True)) or [[]]
        if tuple(header) != Epoch._fields:
            raise ValueError("the header is another")
        return [Epoch(int(epoch), *map(float, losses)) for epoch, *losses in lines]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise RunError(f"cannot be read ({error})", COMPUTE_AGAIN, path) from error


def _unwritable(path: Path, error: OSError) -> RunError:
    remedy = "make room or give another place; what is finished stays, and the same command goes on from there"
    return RunError(f"cannot be written ({error.strerror or error})", remedy, path)


class Division(NamedTuple):
    """Which utterances each part of a fold has."""

    # utterance -> the emotion that it counts as, or its dimensions, without those that cannot be read
    labels: Mapping[str, str | tuple[float, ...]]
    parts: Mapping[tuple[int, str], frozenset[str]]  # of a fold, without those that ``folds.csv`` does not name


def read_division(run: RunFolder) -> Division:
    """Reads which utterances each part of a fold has."""
    readable, dimensions = run.readable(), run.dimensions
    labels = {name: each.values(dimensions) if dimensions else each.emotion or "" for name, each in readable.items()}
    names = {full_name(each, "id"): name for name, each in readable.items()}
    try:
        folds = run.folds()
    except SharedNameError as error:  # older versions wrote every name without its corpus
        logger.warning("%s; which utterances a fold has is not checked", error)
        return Division(labels, {})
    parts = {(fold, part): getattr(split, part) for fold, split in folds.items() for part in FILES}
    found = {key: [names.get(full_name(each, "id")) for each in part] for key, part in parts.items() if part}
    return Division(labels, {key: frozenset(filter(None, part)) for key, part in found.items()})


def check_division(run: RunFolder, division: Division, row_name: str, part: str, answers: AnyAnswers) -> None:
    """Makes sure that a row has predictions of what its folds say, in every cell, for the part "test" or "validation".

    A file that was cut at the end of a line reads well, and so does one that was copied into another fold's folder.
    Raises RunError where an utterance is missing, is there twice, is unknown or counts as something else, or belongs to
    another fold.
    """
    cells: dict[tuple[int, int], list[tuple[str, object]]] = defaultdict(list)
    for cell, utterance, reference in zip(answers.cells, answers.utterances, answers.truths, strict=True):
        cells[cell].append((utterance, reference))
    for cell, predicted in cells.items():
        problem = _problem(division, (cell[1], part), predicted)
        if problem:
            raise RunError(f"damaged ({problem})", COMPUTE_AGAIN, run.cell(row_name, cell) / FILES[part])


def _problem(division: Division, part: tuple[int, str], predicted: Sequence[tuple[str, object]]) -> str:
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
    total = f"{len(missing):,} of the fold's {len(expected):,} utterances"
    return f"{total} are missing, {missing[0]} first" if missing else ""
