"""Any collection of recordings that a manifest describes: ``manifest.jsonl``, see `affetto.data.manifest`, or a table.

``manifest.csv`` and ``manifest.tsv`` have a header, then an utterance a row::

    audio,speaker,emotion,text,votes_anger,votes_neutral,rating_E1
    wav/a1.wav,anna,anger,"Well, no.",4,1,anger;frustration

``audio`` (relative to the file, or absolute) and ``speaker`` are required. The other columns are keys of Utterance:
``id``, ``corpus``, ``start_s``, ``end_s``, ``text``, ``emotion``, ``group``, ``partition``, ``sex``, ``age``;
``votes_<label>``, how many raters chose a label; ``rating_<rater>``, what one rater chose, several labels parted by
``;``; ``dimension_<name>``, emotion in a number. Their case does not count, other usual names (`ALIASES`) are taken for
them, and other columns are passed over.
An empty cell is a key left out. Cells are parted by commas, semicolons or tabs, whichever the header has most of, and
quoted as spreadsheets do; the file is UTF-8.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("path", "file", "filename", "file_name", "filepath", "file_path", "wav", "audio_path"), "audio"
        ),
        **dict.fromkeys(("audio_file", "audio_filepath", "recording"), "audio"),
        **dict.fromkeys(("speaker_id", "speakerid", "spk", "spk_id", "spkr", "client_id", "actor"), "speaker"),
        **dict.fromkeys(("label", "emotion_label", "class", "category"), "emotion"),
        **dict.fromkeys(("transcript", "transcription", "sentence", "utterance"), "text"),
        **dict.fromkeys(("utterance_id", "utt_id", "segment_id"), "id"),
        **dict.fromkeys(("start", "start_time", "begin"), "start_s"),
        **dict.fromkeys(("end", "end_time"), "end_s"),
        **dict.fromkeys(("split", "subset"), "partition"),
        **dict.fromkeys(("session", "dialogue"), "group"),
        "gender": "sex",
    }
)
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
    columns = [
        name if name is not None else alias if alias not in own else None
        for name, alias in zip(own, (ALIASES.get(_plain(each)) for each in header), strict=True)
    ]
    missing = [name for name in REQUIRED if name not in columns]
    twice = [name for name, count in Counter(columns).items() if name is not None and count > 1]
    if missing:
        found = f" (there are {', '.join(map(repr, header))})" if header else ""
        raise ManifestError(f"no column {', '.join(missing)}{found}", _HEADER_REMEDY, where)
    if twice:
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
