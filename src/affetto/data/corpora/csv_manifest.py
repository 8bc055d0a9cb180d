"""Any collection of recordings that a ``manifest.csv`` describes: a header, then an utterance a row.

::

    audio,speaker,emotion,text,votes_anger,votes_neutral,rating_E1
    wav/a1.wav,anna,anger,"Well, no.",4,1,anger;frustration

``audio`` (relative to the file, or absolute) and ``speaker`` are required. The other columns are keys of Utterance:
``id``, ``corpus``, ``start_s``, ``end_s``, ``text``, ``emotion``, ``group``, ``partition``, ``sex``, ``age``;
``votes_<label>``, how many raters chose a label; ``rating_<rater>``, what one rater chose, several labels parted by
``;``. An empty cell is a key left out. Cells are parted by commas and quoted as spreadsheets do; the file is UTF-8.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from affetto.data.corpora.corpus import Corpus, Parsed, collect_with_sound
from affetto.data.manifest import manifest_content, read_records
from affetto.data.utterance import Utterance
from affetto.errors import ManifestError

REQUIRED = ("audio", "speaker")
COLUMNS = (*REQUIRED, "id", "corpus", "start_s", "end_s", "text", "emotion", "group", "partition", "sex", "age")
TIMES = ("start_s", "end_s")
VOTES, RATING = "votes_", "rating_"

_REMEDY = "give every row audio and speaker, times in seconds and votes as whole numbers"
_HEADER_REMEDY = f"name columns among {', '.join(COLUMNS)}, {VOTES}<label> and {RATING}<rater>, parted by commas"


def detect(path: Path) -> bool:
    """Whether a path is a ``.csv`` file, or a folder with one named ``manifest.csv``."""
    return _manifest(path).is_file()


def parse(path: Path) -> Parsed:
    """Reads a manifest and looks for its sound files.

    Raises:
        ManifestError: the header or a row is faulty.
    """
    return collect_with_sound(CORPUS.name, path, read_csv_manifest(_manifest(path)))


def read_csv_manifest(path: Path) -> list[Utterance]:
    """Reads a CSV manifest, in its own order, with the checks of `affetto.data.manifest.read_manifest`.

    Raises:
        ManifestError: the file cannot be read or is no CSV in UTF-8, a column is missing, unknown or there twice, or a
            row is faulty or repeats an id.
    """
    rows = _rows(path)
    number, header = next(rows, (1, []))
    columns = [cell.strip() for cell in header]
    _check_columns(columns, f"{path}:{number}")
    records = ((number, json.dumps(_record(columns, cells, f"{path}:{number}"))) for number, cells in rows)
    return read_records(records, path, _REMEDY)


def _manifest(path: Path) -> Path:
    return path if path.suffix.lower() == ".csv" and not path.is_dir() else path / "manifest.csv"


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of the line that it begins in."""
    try:
        text = manifest_content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(f"not UTF-8 text ({error.reason})", "save the file as CSV in UTF-8", path) from error
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(f"not CSV ({error})", "close every quotation mark", f"{path}:{begin}") from error


def _check_columns(columns: Sequence[str], where: str) -> None:
    unknown = [name for name in columns if not (name in COLUMNS or _belongs(name, VOTES) or _belongs(name, RATING))]
    faults = {
        "no column": [name for name in REQUIRED if name not in columns],
        "unknown column": [repr(name) for name in unknown],
        "twice the column": [name for name, count in Counter(columns).items() if count > 1],
    }
    for fault, names in faults.items():
        if names:
            raise ManifestError(f"{fault} {', '.join(names)}", _HEADER_REMEDY, where)


def _record(columns: Sequence[str], cells: Sequence[str], where: str) -> dict[str, Any]:
    """A row as the object that a line of a JSONL manifest would be."""
    if len(cells) != len(columns):
        problem = f"{len(cells)} cells where the header has {len(columns)}"
        raise ManifestError(problem, "put quotation marks around cells with commas in them", where)
    record: dict[str, Any] = {}
    for name, cell in zip(columns, (cell.strip() for cell in cells), strict=True):
        if not cell:
            continue
        if _belongs(name, VOTES):
            record.setdefault("votes", {})[name.removeprefix(VOTES)] = _number(cell, int)
        elif _belongs(name, RATING):
            labels = [label.strip() for label in cell.split(";") if label.strip()]
            record.setdefault("ratings", []).append({"rater": name.removeprefix(RATING), "labels": labels})
        else:
            record[name] = _number(cell, float) if name in TIMES else cell
    return record


def _belongs(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name != prefix


def _number(cell: str, kind: type[float] | type[int]) -> float | int | str:
    """The number in a cell; what is none stays as it is, and is refused with all other faults of the row."""
    try:
        return cell if "_" in cell else kind(cell)  # "1_000" is a number to Python alone
    except ValueError:
        return cell


CORPUS = Corpus(
    name="csv",
    title="CSV manifest",
    licence="that of the corpus described",
    citation="that of the corpus described",
    detect=detect,
    parse=parse,
)
