"""Manifests: a JSON object a line, each an `Utterance`; the format that every corpus can be written in.

``audio`` (relative to the manifest, or absolute) and ``speaker`` are required; the other keys are those of Utterance.
``ratings`` is a list of objects: ``[{"rater": "C-E2", "labels": ["neutral", "frustration"]}]``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from affetto.data.utterance import Rating, Utterance
from affetto.errors import ManifestError
from affetto.files import write_text

_Name = Annotated[str, StringConstraints(pattern=r"\S")]
_Start = Annotated[float, Field(ge=0)]
_Votes = Annotated[int, Field(ge=0)]
_Record_T = TypeVar("_Record_T")

_REMEDY = "write a JSON object with audio and speaker, and of the other keys only those of an utterance"


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Rating(_Checked):
    rater: _Name
    labels: Annotated[tuple[_Name, ...], Field(min_length=1)]


class _Record(_Checked):
    audio: _Name
    speaker: _Name
    id: _Name | None = None
    corpus: _Name | None = None
    start_s: _Start | None = None
    end_s: _Start | None = None
    text: str | None = None
    emotion: _Name | None = None
    votes: dict[_Name, _Votes] | None = None
    ratings: tuple[_Rating, ...] | None = None
    dimensions: dict[_Name, float] | None = None
    group: _Name | None = None
    partition: _Name | None = None
    sex: _Name | None = None
    age: _Name | None = None


def read_manifest(path: Path) -> list[Utterance]:
    """Reads a manifest, in its own order.

    An ``id`` left out is the stem of the audio, or its path where others have this stem, followed by the start in
    milliseconds where times are given; a ``corpus`` left out is the name of the manifest's folder. Whether the sound
    files exist is not looked at. Raises ManifestError where the file cannot be read, or a line is not JSON, lacks a
    key, has one that is unknown or of the wrong kind, or repeats an id.
    """
    lines = enumerate(manifest_content(path).split(b"\n"), start=1)
    return read_records(((number, line) for number, line in lines if line.strip()), path)


def manifest_content(path: Path) -> bytes:
    """The bytes of a manifest, without a byte order mark; raises ManifestError."""
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ManifestError(error.strerror or str(error), "check the manifest's path", path) from error


def read_records(records: Iterable[tuple[int, bytes | str]], path: Path, remedy: str = _REMEDY) -> list[Utterance]:
    """The utterances that records, each the number of a line and a JSON object, describe, in whatever manifest."""
    checked = [(number, _check_record(record, f"{path}:{number}", remedy)) for number, record in records]
    stems = Counter(Path(file).stem for file in {values.audio for _, values in checked})
    found, utterances = dict[tuple[str, str], int](), list[Utterance]()
    for number, values in checked:
        utterance = _utterance(values, path, alone=stems[Path(values.audio).stem] == 1)
        first = found.setdefault(utterance.key, number)
        if first != number:
            problem = f"the id {utterance.id!r} is that of line {first}"
            raise ManifestError(problem, "give every line an id of its own", f"{path}:{number}")
        utterances.append(utterance)
    return utterances


def _check_record(record: bytes | str, where: str, remedy: str) -> _Record:
    try:
        values = _Record.model_validate_json(record)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the line'}: {fault['msg']}" for fault in error.errors()]
        raise ManifestError("; ".join(faults), remedy, where) from error
    start_s = values.start_s or 0.0
    if values.end_s is not None and values.end_s <= start_s:
        raise ManifestError(f"end_s {values.end_s} is not after start_s {start_s}", "mend the times (seconds)", where)
    return values


def _utterance(values: _Record, path: Path, *, alone: bool) -> Utterance:
    """The utterance of a record; its sound is named by its stem where that of no other record has it."""
    start_s = values.start_s or 0.0
    audio = path.parent / values.audio
    name = audio.stem if alone else Path(values.audio).as_posix()
    cut = values.start_s is not None or values.end_s is not None
    known: dict[str, Any] = {
        **values.model_dump(exclude_none=True),
        "id": values.id or (f"{name}-{round(start_s * 1000):08d}" if cut else name),
        "audio": audio,
        "corpus": values.corpus or path.absolute().parent.name or path.stem,
        "ratings": tuple(Rating(each.rater, each.labels) for each in values.ratings or ()),
    }
    return Utterance(**known)


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Writes a manifest, whole or not at all; audio below the manifest's folder is written relative to it.

    Raises ManifestError where an id is used twice, or the file cannot be written.
    """
    folder = path.absolute().parent
    lines: dict[tuple[str, str], str] = {}
    for utterance in utterances:
        if utterance.key in lines:
            raise ManifestError(f"the id {utterance.id!r} is used twice", "give every utterance its own", path)
        audio = utterance.audio.absolute()
        shown = audio.relative_to(folder) if audio.is_relative_to(folder) else audio
        lines[utterance.key] = json.dumps(_record(utterance, shown.as_posix()), ensure_ascii=False) + "\n"
    try:
        write_text(path, "".join(lines.values()))
    except (OSError, UnicodeEncodeError) as error:
        raise ManifestError(f"cannot be written ({error})", "give a place that can be written to", path) from error


def read_journal(path: Path, kind: type[_Record_T]) -> Iterator[_Record_T]:
    """The records of a journal, JSON a line, perhaps none; lines that a sudden end has torn are passed over."""
    adapter = TypeAdapter(kind)
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield adapter.validate_json(line)
        except ValidationError:
            continue


def manifest_digest(utterances: Sequence[Utterance]) -> str:
    """A SHA-256 (hex) of a manifest's records, whatever their order and wherever the corpora lie.

    Sound files count by their path below the folder that all those of their corpus share.
    """
    folders: dict[str, list[str]] = {}
    for utterance in utterances:
        folders.setdefault(utterance.corpus, []).append(str(utterance.audio.absolute().parent))
    roots = {corpus: os.path.commonpath(paths) for corpus, paths in folders.items()}
    records = [
        _record(utterance, utterance.audio.absolute().relative_to(roots[utterance.corpus]).as_posix())
        for utterance in sorted(utterances, key=lambda each: each.key)
    ]
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()


def _record(utterance: Utterance, audio: str) -> dict[str, Any]:
    """An utterance as JSON values, without what is not known."""
    values = {
        **{field.name: getattr(utterance, field.name) for field in fields(utterance)},
        "audio": audio,
        "start_s": utterance.start_s or None,
        "votes": None if utterance.votes is None else dict(utterance.votes),
        "dimensions": None if utterance.dimensions is None else dict(utterance.dimensions),
        "ratings": [{"rater": rater, "labels": list(labels)} for rater, labels in utterance.ratings] or None,
    }
    return {key: value for key, value in values.items() if value is not None}
