"""Any collection of recordings that a manifest describes: ``manifest.jsonl``, see `affetto.data.manifest`, or a table.

The columns of ``manifest.csv`` and ``manifest.tsv`` are in docs/corpora.md. An empty cell is a key left out. Cells are
parted by whichever of comma, semicolon and tab the header has most of, and quoted as spreadsheets do; UTF-8.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.manifest import manifest_content, read_manifest, read_records
from affetto.data.utterance import Utterance
from affetto.errors import ManifestError

REQUIRED = ("audio", "speaker")
COLUMNS = (*REQUIRED, "id", "corpus", "start_s", "end_s", "text", "emotion", "group", "partition", "sex", "age")
_ALSO = {
    "audio": "path file filename file_name filepath file_path wav audio_path audio_file audio_filepath recording",
    "speaker": "speaker_id speakerid spk spk_id spkr client_id actor",
    "emotion": "label emotion_label class category",
    "text": "transcript transcription sentence utterance",
    "id": "utterance_id utt_id segment_id",
    "start_s": "start start_time begin",
    "end_s": "end end_time",
    "partition": "split subset",
    "group": "session dialogue",
    "sex": "gender",
}
ALIASES = MappingProxyType({alias: name for name, aliases in _ALSO.items() for alias in aliases.split()})
"""Usual name of a column -> ours, which goes first where both are there."""
TIMES = ("start_s", "end_s")
VOTES, RATING, DIMENSION = "votes_", "rating_", "dimension_"
_JSONL, _CSV = (".jsonl",), (".csv", ".tsv")

_REMEDY = "give every row audio and speaker, times in seconds and votes as whole numbers"
_HEADER_REMEDY = f"name columns among {', '.join(COLUMNS)}, {VOTES}<label>, {RATING}<rater> and {DIMENSION}<name>"


def read_csv_manifest(path: Path, skipped: list[Skipped] | None = None) -> list[Utterance]:
    """Reads a table, in its own order, or raises ManifestError; columns passed over are added to ``skipped``."""
    rows = _rows(path)
    number, header = next(rows, (1, []))
    columns = _columns([cell.strip() for cell in header], f"{path}:{number}")
    if skipped is not None:
        skipped += (
            Skipped(f"{path.name}:{number} {name.strip()}", "column not known")
            for name, column in zip(header, columns, strict=True)
            if column is None and name.strip()
        )
    records = ((number, json.dumps(_record(columns, cells, f"{path}:{number}"))) for number, cells in rows)
    return read_records(records, path, _REMEDY)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the number of the line that it begins in."""
    try:
        text = manifest_content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(f"not UTF-8 text ({error.reason})", "save the file as CSV in UTF-8", path) from error
    header = text.lstrip().partition("\n")[0]
    comma = max(",;\t", key=header.count)
    # The reader takes no spaces around a cell in quotation marks.
    text = re.sub(rf'(\A|[{comma}\r\n]) *("(?:[^"]|"")*+") *(?=[{comma}\r\n]|\Z)', r"\1\2", text)
    reader = csv.reader(StringIO(text, newline=""), delimiter=comma, strict=True)
    begin = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(f"not CSV ({error})", "close every quotation mark", f"{path}:{begin}") from error


def _columns(header: Sequence[str], where: str) -> list[str | None]:
    """What each column is; None where it is none of ours."""
    own = [_own_name(name) for name in header]
    others = [alias if alias not in own else None for alias in (ALIASES.get(_plain(name)) for name in header)]
    columns = [name or other for name, other in zip(own, others, strict=True)]
    if missing := [name for name in REQUIRED if name not in columns]:
        found = f" (there are {', '.join(map(repr, header))})" if header else ""
        raise ManifestError(f"no column {', '.join(missing)}{found}", _HEADER_REMEDY, where)
    if twice := [name for name, count in Counter(columns).items() if name is not None and count > 1]:
        raise ManifestError(f"twice the column {', '.join(twice)}", _HEADER_REMEDY, where)
    return columns


def _own_name(name: str) -> str | None:
    plain = _plain(name)
    if plain in COLUMNS:
        return plain
    return next((part + name[len(part) :] for part in (VOTES, RATING, DIMENSION) if _belongs(plain, part)), None)


def _plain(name: str) -> str:
    """Without regard to case and to how words are parted."""
    return re.sub(r"[\s-]+", "_", name.lower())


def _record(columns: Sequence[str | None], cells: Sequence[str], where: str) -> dict[str, Any]:
    """A row as the object that a line of a JSONL manifest would be."""
    if len(cells) != len(columns):
        problem = f"{len(cells)} cells where the header has {len(columns)}"
        raise ManifestError(problem, "put quotation marks around cells that hold what parts them", where)
    record: dict[str, Any] = {}
    for name, cell in zip(columns, (cell.strip() for cell in cells), strict=True):
        if not cell or name is None:
            continue
        if _belongs(name, VOTES):
            record.setdefault("votes", {})[name.removeprefix(VOTES)] = _number(cell, int)
        elif _belongs(name, DIMENSION):
            record.setdefault("dimensions", {})[name.removeprefix(DIMENSION)] = _number(cell, float)
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


def _manifest(path: Path, *suffixes: str) -> Path | None:
    """A path that is a manifest, or the manifest in a folder."""
    if path.suffix.lower() in suffixes and not path.is_dir():
        return path if path.is_file() else None
    return next((file for file in (path / f"manifest{suffix}" for suffix in suffixes) if file.is_file()), None)


def _read_csv(path: Path) -> list[Found]:
    skipped: list[Skipped] = []
    return [*read_csv_manifest(_manifest(path, *_CSV) or path / "manifest.csv", skipped), *skipped]


JSONL = Corpus(
    name="jsonl",
    title="JSONL manifest",
    licence="that of the corpus described",
    citation="that of the corpus described",
    detect=lambda path: _manifest(path, *_JSONL) is not None,
    read=lambda path: read_manifest(_manifest(path, *_JSONL) or path / "manifest.jsonl"),
)
CSV = Corpus(
    name="csv",
    title="CSV manifest",
    licence="that of the corpus described",
    citation="that of the corpus described",
    detect=lambda path: _manifest(path, *_CSV) is not None,
    read=_read_csv,
)
