"""The folder that a probe leaves: what was found, and all that it depends on.

::

    probe.json         version, kind, config, environment, digest of the manifest, counts, what was left out
    *.csv              tables, a line an entry
    *.safetensors      arrays

It is written as a hidden folder and then renamed: it is finished exactly when it exists.
"""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from affetto.errors import RunError

VERSION = 1
FACTS = "probe.json"
_REMEDY = "restore the file, or run the probe into another folder"
N = TypeVar("N", bound=NamedTuple)


@contextmanager
def writing(root: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``root`` when all is done, and is removed if something fails."""
    check_free(root)
    draft = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.rename(root)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot be written ({reason})", "make room or give another place", root) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free(root: Path) -> None:
    """Makes sure before the work that there is nothing yet."""
    if root.exists():
        raise RunError("is there already", "give another --output, or remove it", root)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes ``probe.json``."""
    text = json.dumps({"version": VERSION, **facts}, indent=2, allow_nan=False)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")


def read_facts(root: Path, kind: str) -> dict[str, Any]:
    """Reads ``probe.json`` of a kind of probe."""
    path = root / FACTS
    if not path.is_file():
        raise RunError("no probe's folder", f"name the output folder of affetto probe {kind}", root)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error
    if not isinstance(facts, dict) or facts.get("version") != VERSION:
        raise RunError(f"not of version {VERSION}", "use the affetto that wrote it", path)
    if facts.get("kind") != kind:
        raise RunError(f"a probe of {facts.get('kind')}", f"name the folder of a probe of {kind}", root)
    return facts


def write_rows(path: Path, rows: Iterable[NamedTuple], fields: Sequence[str]) -> None:
    """Writes a CSV; what is not a number is left empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(fields)
        writer.writerows([_written(value) for value in row] for row in rows)


def _written(value: object) -> object:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value


def read_rows(path: Path, kind: type[N]) -> list[N]:
    """Reads what `write_rows` wrote."""
    types = list(get_type_hints(kind).values())
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file, strict=True)) or [[]]
        if header != list(kind._fields):
            raise ValueError("the header is another")
        return [
            kind(
                *(
                    type_("nan" if type_ is float and not text else text)
                    for text, type_ in zip(line, types, strict=True)
                )
            )
            for line in lines
        ]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name."""
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads what `write_arrays` wrote."""
    try:
        found: dict[str, NDArray[Any]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error
    return found
