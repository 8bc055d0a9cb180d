"""A published model as transformers keeps it: ``config.json`` and ``model.safetensors``, perhaps in several parts.

Nothing but JSON and safetensors is read, so a model from a stranger runs no code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from affetto.errors import AffettoError, CheckpointError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
AGAIN = "copy the model again"


@contextmanager
def refused(
    kinds: type[Exception] | tuple[type[Exception], ...], problem: str, where: Path, remedy: str = AGAIN
) -> Iterator[None]:
    """Turns errors of these kinds into a CheckpointError that tells them, too."""
    try:
        yield
    except kinds as error:
        told = error.problem if isinstance(error, AffettoError) else error
        raise CheckpointError(f"{problem} ({told})", remedy, where) from error


def read_values(path: Path, remedy: str) -> Any:
    """What a file of JSON holds; CheckpointError, with a remedy if it is missing."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", remedy, path) from error
    # Of JSON, of UTF-8, of a number too long, of too deep a nesting.
    with refused((ValueError, RecursionError), "is not JSON", path):
        return json.loads(content.decode("utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """An object in JSON; CheckpointError if the file is missing or holds something else."""
    values = read_values(path, "name a whole model's folder")
    if not isinstance(values, dict):
        raise CheckpointError("is no JSON object", AGAIN, path)
    return values


def read_if_there(path: Path) -> dict[str, Any]:
    """The same; nothing of a file that is not there."""
    return read_json(path) if path.exists() else {}


def read_config(folder: Path) -> dict[str, Any]:
    """The entries of ``config.json``; see `read_json`."""
    return read_json(folder / CONFIG)


def read_card(folder: Path) -> tuple[str, str]:
    """The metadata on top of a model's card, in YAML, and the card itself; empty where there is none."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "", ""
    found = re.match(r"---\n((?:(?!---).*\n)*)---(?:\n|$)", text)
    return ("", text) if found is None else (found[1], text[found.end() :])


def licence(folder: Path) -> str | None:
    """The licence that a model's card names in its metadata, if it does."""
    found = re.search(r"^license: *[\"']?([\w.+-]+)", read_card(folder)[0], re.MULTILINE)
    return None if found is None else found[1]


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's numbers; CheckpointError if there are none, or only such as could run code."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        names = read_json(folder / INDEX).get("weight_map")
        parts = sorted({str(name) for name in names.values()}) if isinstance(names, dict) else []
        if parts and all(Path(name).name == name and name.endswith(".safetensors") for name in parts):
            return [folder / name for name in parts]
        raise CheckpointError("names no parts in safetensors", AGAIN, folder / INDEX)
    pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt"))
    if pickled:
        problem = f"holds its weights as a pickle ({pickled[0]}), which could run code"
        raise CheckpointError(problem, "name a model or a revision with model.safetensors", folder)
    raise CheckpointError(f"holds no {WEIGHTS}", "name a model's folder with its weights", folder)


def read_tensors(folder: Path, within: str = "") -> dict[str, Tensor]:
    """The tensors in whose name something stands; CheckpointError if a file is missing, cut short or no safetensors."""
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        with refused((SafetensorError, OSError), "cannot be loaded", path), safe_open(path, framework="pt") as stored:
            tensors.update({name: stored.get_tensor(name) for name in stored.keys() if within in name})  # noqa: SIM118
    return tensors
