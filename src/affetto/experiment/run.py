"""Runs an experiment: everything is checked, then represented, then computed row by row, fold by fold.

A run folder belongs to one recipe, and to one process at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from affetto.data.folds import FOLDS, short_names
from affetto.devices import choose_device
from affetto.engine import Engine, compute, workers
from affetto.environment import environment
from affetto.errors import ConfigError, RunError
from affetto.evaluate import RunFolder
from affetto.evaluate.run_folder import CONFIG, ENVIRONMENT, MANIFEST
from affetto.experiment.grid import Speech, Unit, do, in_order, row_chunks
from affetto.experiment.plan import Computing, OnEvent, Plan, Read, Represented, RowDone, make_plan, represent_plan
from affetto.experiment.recipe import ExperimentRecipe, RowConfig
from affetto.stats import run_scores, score_names

logger = logging.getLogger(__name__)

_LOCK = ".lock"
_FACTS = {
    "manifest_sha256": "the utterances or their labels",
    "classes": "the classes",
    "dimensions": "the dimensions",
    "encoder_fingerprint": "the recogniser's weights",
    "unreadable": "which sound can be read",
}


class RowScores(NamedTuple):
    """A row that is finished as far as it was asked for: scores over all test utterances, the mean of the repeats."""

    name: str
    scores: dict[str, float]  # by their names: "uar" and "accuracy", or "ccc_intensity"
    repeats: int


class ExperimentRun(NamedTuple):
    """What an experiment left: rows asked for, in the recipe's order; those skipped, and why; utterances left out."""

    folder: Path
    rows: tuple[RowScores, ...]
    skipped: Mapping[str, str]
    unreadable: int


def run_experiment(  # noqa: PLR0913
    recipe_path: Path,
    data_root: Path,
    folder: Path,
    *,
    recogniser: str | None = None,
    engine: Engine | None = None,
    only: Collection[str] = (),
    progress: OnEvent = lambda _: None,
) -> ExperimentRun:
    """Runs an experiment, or goes on with one: what is finished in the run folder is not computed again.

    Args:
        recipe_path: a TOML file, see `ExperimentRecipe`.
        data_root: the folder that the recipe's corpora are relative to.
        folder: the run's; representations go into ``cache`` beside it, where other runs find them.
        recogniser: whose layers are reused, instead of the recipe's.
        engine: where to compute; None is all cores of this machine.
        only: names of rows; none are all rows.
        progress: called with what goes on, see `affetto.experiment.Event`.

    Raises:
        AffettoError: the recipe, the corpus, its labels, the recogniser or the run folder is at fault, and nothing was
            computed; or a worker died, or the disk is full, and what is finished stays.
    """
    engine = engine or Engine()
    engine.check()
    recipe = ExperimentRecipe.read(recipe_path)
    if recogniser is not None:
        recipe = recipe.model_copy(update={"recogniser": recogniser})
    plan = make_plan(recipe, data_root, _asked(recipe, only, recipe_path), progress)
    check_same(RunFolder(folder), plan.recipe, plan.facts)
    with alone(folder) as run:
        run.sweep()
        progress(_read(plan, run))
        found = represent_plan(plan, folder, engine.device, progress)
        everyone = zip(short_names(plan.data.utterances, "id"), found.readable, strict=True)
        names = [name for name, readable in everyone if not readable]
        all_facts = {**plan.facts, "unreadable": names}
        check_same(run, plan.recipe, all_facts)
        _begin(run, plan, all_facts)
        units = list(_units(plan, found, str(choose_device(engine.device)), run))
        _compute(units, engine, run, plan, progress)
        rows = tuple(_scores(run, row) for row in plan.rows)
    return ExperimentRun(folder, rows, plan.skipped, len(names))


def _asked(recipe: ExperimentRecipe, only: Collection[str], where: Path) -> list[RowConfig]:
    known = [row.name for row in recipe.rows]
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise ConfigError(f"no row {', '.join(unknown)}", f"choose among {', '.join(known)}", where)
    return [row for row in recipe.rows if not only or row.name in only]


def _read(plan: Plan, run: RunFolder) -> Read:
    data = plan.data
    cells = sum(row.repeats for row in plan.rows) * len(data.folds)
    finished = sum(len(_finished(run, row)) for row in plan.rows)
    return Read(len(data.utterances), data.speakers, data.counts, len(data.folds), cells, finished)


def _finished(run: RunFolder, row: RowConfig) -> set[tuple[int, int]]:
    return {cell for cell in run.finished(row.name) if cell[0] < row.repeats}


def _begin(run: RunFolder, plan: Plan, all_facts: Mapping[str, Any]) -> None:
    """Writes the run folder, or into it that the recipe has more rows or repeats now."""
    here, known = environment(), (run.environment() if run.begun else {})
    differing = {name: value for name, value in here.items() if known.get(name, value) != value}
    changed = [f"{name} {known[name]} then, {value} now" for name, value in differing.items()]
    if changed:
        logger.warning("begun in another environment: %s", ", ".join(changed))
    config = plan.recipe.resolved()
    if not run.begun or run.config() != config:
        run.begin(config, all_facts, known or here, plan.data.utterances, plan.data.splits)


def _units(plan: Plan, found: Represented, device: str, run: RunFolder) -> Iterator[Unit]:
    speech = Speech.of(plan.data.utterances)
    for row in plan.rows:
        study, finished = plan.study(row, found, device), _finished(run, row)
        for tasks in row_chunks(row.model, plan.data.tasks(row.repeats, found.readable), plan.recipe.stack):
            missing = frozenset((task.repeat, task.fold) for task in tasks) - finished
            if missing:
                yield Unit(row, tasks, missing, study, speech, run.root)


def _compute(units: Sequence[Unit], engine: Engine, run: RunFolder, plan: Plan, on_event: OnEvent) -> None:
    total = sum(row.repeats for row in plan.rows) * len(plan.data.folds)
    left = {row.name: sum(len(unit.missing) for unit in units if unit.row is row) for row in plan.rows}
    cost, total_cost = 0.0, sum(unit.cost for unit in units)
    on_event(Computing(total - sum(left.values()), total, cost, total_cost))
    if not units:
        return
    with workers(engine, len(units)) as those:
        for name, cells, done_cost in compute(do, in_order(units), those):
            cost += done_cost
            left[name] -= cells
            on_event(Computing(total - sum(left.values()), total, cost, total_cost))
            if not left[name]:
                row = next(row for row in plan.rows if row.name == name)
                on_event(RowDone(name, _scores(run, row).scores))


def _scores(run: RunFolder, row: RowConfig) -> RowScores:
    answers = run.answers(row.name).of(_finished(run, row))
    values = run_scores(answers.tally(run.facts()["classes"])).mean(axis=0).tolist()
    return RowScores(row.name, dict(zip(score_names(run.dimensions), values, strict=True)), row.repeats)


def check_same(run: RunFolder, recipe: ExperimentRecipe, facts: Mapping[str, Any]) -> None:
    """Makes sure that a run folder is new, or was begun with the same recipe, data and recogniser, or raises RunError.

    More rows, and more repeats of a row, are no other experiment: what is finished stays true. Of facts that are
    missing, nothing is checked.
    """
    if not run.begun:
        _check_free(run.root)
        return
    try:
        config = ExperimentRecipe.parse(run.config()).resolved()  # with defaults of settings that came later
    except ConfigError:
        config = run.config()
    found = differences(config, recipe.resolved())
    known = run.facts()
    found += [meaning for key, meaning in _FACTS.items() if key in facts and known.get(key) != facts[key]]
    before, now = known.get("encoders", {}), facts.get("encoders", {})
    found += [f"the weights of {name}" for name in before if name in now and before[name] != now[name]]
    if found:
        shown = "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
        remedy = "give another --output, or the recipe and data that it was begun with"
        raise RunError(f"belongs to another experiment; other than there: {shown}", remedy, run.root)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a resolved recipe says otherwise than the one that a run was begun with."""
    before, after = _flat(old), _flat(new)
    gone = sorted(_names(old) - _names(new))
    only_in_one = {("rows", name) for name in _names(old) ^ _names(new)}
    keys = [key for key in {**before, **after} if key[:2] not in only_in_one]
    pairs = {key: (before.get(key), after.get(key)) for key in keys}
    changed = [
        f"{'.'.join(key)} ({_shown(now)}, was {_shown(then)})"
        for key, (then, now) in pairs.items()
        if then != now and not _more_repeats(key, then, now)
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
