"""Whose run folder it is: one recipe's, and one process's at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from affetto.data.folds import FOLDS
from affetto.errors import RunError
from affetto.evaluate import RunFolder
from affetto.evaluate.run_folder import CONFIG, ENVIRONMENT, MANIFEST
from affetto.experiment.recipe import ExperimentRecipe

_LOCK = ".lock"
_FACTS = {
    "manifest_sha256": "the utterances or their labels",
    "classes": "the classes",
    "encoder_fingerprint": "the recogniser's weights",
    "unreadable": "which sound can be read",
}


def check_same(run: RunFolder, recipe: ExperimentRecipe, facts: Mapping[str, Any]) -> None:
    """Makes sure that a run folder is new, or was begun with the same recipe, data and recogniser, or raises RunError.

    More rows, and more repeats of a row, are no other experiment: what is finished stays true. Of facts that are
    missing, nothing is checked.
    """
    if not run.begun:
        _check_free(run.root)
        return
    found = differences(run.config(), recipe.resolved())
    known = run.facts()
    found += [meaning for key, meaning in _FACTS.items() if key in facts and known.get(key) != facts[key]]
    before, now = known.get("encoders", {}), facts.get("encoders", {})
    found += [f"the weights of {name}" for name in before if name in now and before[name] != now[name]]
    if found:
        shown = "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
        raise RunError(
            f"belongs to another experiment; other than there: {shown}",
            "give another --output, or the recipe and data that it was begun with",
            run.root,
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a resolved recipe says otherwise than the one that a run was begun with.

    >>> old = {"seed": 1, "rows": [{"name": "MP-1", "repeats": 2}]}
    >>> differences(old, {"seed": 2, "rows": [{"name": "MP-1", "repeats": 3}, {"name": "MP-2", "repeats": 3}]})
    ['seed (2, was 1)']
    """
    before, after = _flat(old), _flat(new)
    gone = sorted(_names(old) - _names(new))
    only_in_one = {("rows", name) for name in _names(old) ^ _names(new)}
    keys = [key for key in {**before, **after} if key[:2] not in only_in_one]
    changed = [
        f"{'.'.join(key)} ({_shown(after.get(key))}, was {_shown(before.get(key))})"
        for key in keys
        if before.get(key) != after.get(key) and not _more_repeats(key, before.get(key), after.get(key))
    ]
    return [*changed, *(f"rows.{name} (gone)" for name in gone)]


def _more_repeats(key: tuple[str, ...], before: object, after: object) -> bool:
    """The recipe's own number of repeats says nothing that its rows do not."""
    if key == ("repeats",):
        return True
    grown = isinstance(before, int) and isinstance(after, int) and after > before
    return grown and key[0] == "rows" and key[2:] == ("repeats",)


def _names(config: Mapping[str, Any]) -> set[str]:
    return {row["name"] for row in config.get("rows", ())}


def _flat(values: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Nested tables by the keys that lead to each value; rows by their names."""
    found: dict[tuple[str, ...], Any] = {}
    for key, value in values.items():
        table = {row["name"]: row for row in value} if (*prefix, key) == ("rows",) else value
        if isinstance(table, Mapping) and table:
            found |= _flat(table, (*prefix, key))
        else:
            found[*prefix, key] = value
    return found


def _shown(value: object) -> str:
    return "not set" if value is None else str(value)


def _check_free(root: Path) -> None:
    """What was begun and not finished may be there, and nothing else."""
    try:
        strangers = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"no folder to write to ({error.strerror})", "give another --output", root) from error
    strangers = [name for name in strangers if name not in {CONFIG, ENVIRONMENT, FOLDS, MANIFEST}]
    if strangers:
        raise RunError(f"holds other things ({', '.join(strangers[:3])})", "give an empty or new --output", root)


@contextmanager
def alone(root: Path) -> Iterator[RunFolder]:
    """Keeps other processes out of a run folder, until this one leaves it or is gone; raises RunError."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / _LOCK).open("w")
    except OSError as error:
        raise RunError(f"cannot be written ({error.strerror})", "make room, or give another --output", root) from error
    with file:
        _lock(file, root)
        yield RunFolder(root)


def _lock(file: IO[str], root: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two runs in one folder only do the same work twice
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError("another run is at work in it", "wait for it to end, or give another --output", root) from error
    except OSError:
        return  # a file system without locks: the same
