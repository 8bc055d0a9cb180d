"""Runs an experiment: everything is checked, then represented, then computed row by row, fold by fold."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from affetto.data.folds import short_names
from affetto.data.sound import Surroundings
from affetto.devices import choose_device
from affetto.environment import environment
from affetto.errors import ConfigError, MissingExtraError
from affetto.evaluate import RunFolder, Scores, score
from affetto.experiment.dataset import DataSet, facts, load_data
from affetto.experiment.engine import Engine, compute, workers
from affetto.experiment.grid import Speech, Unit, do, in_order, row_chunks
from affetto.experiment.ownership import alone, check_same
from affetto.experiment.progress import Clock, Computing, Event, Read, Representing, RowDone, RowSkipped, Tell
from affetto.experiment.recipe import ExperimentRecipe, RowConfig
from affetto.features import functionals
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.represent import Bank, Extractor, Functionals, Layers, represent
from affetto.training.heads.fit import Study, needs, tunes

logger = logging.getLogger(__name__)

CACHE = "cache"

_BankKey = tuple[str, str]
"""What a bank was computed with, and its name among those of a row."""


class RowScores(NamedTuple):
    """A row of an experiment that is finished as far as it was asked for.

    Attributes:
        name: of the row.
        uar: unweighted average recall over all test utterances, the mean of the repeats.
        accuracy: the same of the accuracy.
        repeats: how many.
    """

    name: str
    uar: float
    accuracy: float
    repeats: int


class ExperimentRun(NamedTuple):
    """What an experiment left.

    Attributes:
        folder: of the run.
        rows: those asked for, in the recipe's order.
        skipped: row -> why it could not be computed here.
        unreadable: utterances that were left out.
    """

    folder: Path
    rows: tuple[RowScores, ...]
    skipped: Mapping[str, str]
    unreadable: int


class _Plan(NamedTuple):
    """What is known before anything is computed."""

    recipe: ExperimentRecipe
    rows: tuple[RowConfig, ...]
    skipped: dict[str, str]
    data: DataSet
    encoders: dict[str, Encoder]
    surroundings: Surroundings
    facts: dict[str, Any]

    def encoder(self, row: RowConfig) -> Encoder:
        """Whose layers a row reads."""
        return self.encoders[row.recogniser or self.recipe.recogniser]


def run_experiment(  # noqa: PLR0913
    recipe_path: Path,
    data_root: Path,
    folder: Path,
    *,
    recogniser: str | None = None,
    engine: Engine | None = None,
    only: Collection[str] = (),
    progress: Tell | None = None,
) -> ExperimentRun:
    """Runs an experiment, or goes on with one: what is finished in the run folder is not computed again.

    Args:
        recipe_path: a TOML file, see `ExperimentRecipe`.
        data_root: the folder that the recipe's corpus is relative to.
        folder: the run's; representations go into ``cache`` beside it, where other runs find them.
        recogniser: whose layers are reused, instead of the recipe's.
        engine: where to compute; None is all cores of this machine.
        only: names of rows; none are all rows.
        progress: is told of what goes on, see `affetto.experiment.progress`.

    Raises:
        AffettoError: the recipe, the corpus, its labels, the recogniser or the run folder is at fault, and nothing was
            computed; or a worker died, or the disk is full, and what is finished stays.
    """
    engine, tell = engine or Engine(), progress or _silent
    engine.check()
    recipe = ExperimentRecipe.read(recipe_path)
    if recogniser is not None:
        recipe = recipe.model_copy(update={"recogniser": recogniser})
    plan = _plan(recipe, data_root, _asked(recipe, only, recipe_path), tell)
    check_same(RunFolder(folder), plan.recipe, plan.facts)
    with alone(folder) as run:
        run.sweep()
        tell(_read(plan, run))
        banks, unreadable = _represent(plan, folder.parent / CACHE, engine.device, tell)
        names = [name for name, bad in zip(short_names(plan.data.utterances, "id"), unreadable, strict=True) if bad]
        all_facts = {**plan.facts, "unreadable": names}
        check_same(run, plan.recipe, all_facts)
        _begin(run, plan, all_facts)
        units = list(_units(plan, banks, ~unreadable, run, str(choose_device(engine.device))))
        _compute(units, engine, run, plan, tell)
        rows = tuple(_scores(run, row) for row in plan.rows)
    return ExperimentRun(folder, rows, plan.skipped, len(names))


def _silent(event: Event) -> None:
    del event


def _plan(recipe: ExperimentRecipe, data_root: Path, asked: Sequence[RowConfig], tell: Tell) -> _Plan:
    names = dict.fromkeys([recipe.recogniser, *(row.recogniser for row in asked if row.recogniser is not None)])
    encoders = {name: open_encoder(name, device="cpu") for name in names}
    rows, skipped = [], {}
    for row in asked:
        wanted = needs(row.model, encoders[row.recogniser or recipe.recogniser])
        if any(isinstance(need, Functionals) for need in wanted) and not functionals.available():
            skipped[row.name] = 'opensmile is not installed; pip install "affetto[classical]"'
            tell(RowSkipped(row.name, skipped[row.name]))
        else:
            rows.append(row)
    if not rows:
        raise MissingExtraError(
            "no row can be computed: opensmile is not installed", 'pip install "affetto[classical]"'
        )
    data = load_data(recipe, data_root)
    surroundings = recipe.augment.surroundings(data_root)
    all_facts = {
        **facts(data, encoders[recipe.recogniser].fingerprint),
        "encoders": {name: encoder.fingerprint for name, encoder in encoders.items()},
        "recogniser_cer": encoders[recipe.recogniser].facts.get("validation_cer"),
    }
    return _Plan(recipe, tuple(rows), skipped, data, encoders, surroundings, all_facts)


def _asked(recipe: ExperimentRecipe, only: Collection[str], where: Path) -> list[RowConfig]:
    known = [row.name for row in recipe.rows]
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise ConfigError(f"no row {', '.join(unknown)}", f"choose among {', '.join(known)}", where)
    return [row for row in recipe.rows if not only or row.name in only]


def _read(plan: _Plan, run: RunFolder) -> Read:
    data = plan.data
    cells = sum(row.repeats for row in plan.rows) * len(data.folds)
    finished = sum(len(_finished(run, row)) for row in plan.rows)
    return Read(len(data.utterances), data.speakers, data.counts, len(data.folds), cells, finished)


def _finished(run: RunFolder, row: RowConfig) -> set[tuple[int, int]]:
    return {cell for cell in run.finished(row.name) if cell[0] < row.repeats}


def _represent(plan: _Plan, cache: Path, device: str, tell: Tell) -> tuple[dict[_BankKey, Bank], NDArray[np.bool_]]:
    """All that the rows need, and which utterances cannot be read."""
    for encoder in plan.encoders.values():
        encoder.to(choose_device(device))
    extractors = _joined([need for row in plan.rows for need in needs(row.model, plan.encoder(row))])
    variants = plan.recipe.augment.as_variants(plan.recipe.seed)
    banks: dict[_BankKey, Bank] = {}
    unreadable = np.zeros(len(plan.data.utterances), dtype=np.bool_)
    for number, extractor in enumerate(extractors):

        def on_shard(done: int, total: int, before: int = number) -> None:
            tell(Representing(before * total + done, len(extractors) * total))

        heard = None if isinstance(extractor, Functionals) else variants  # machines learn from speech as it was spoken
        found = represent(
            plan.data.utterances, extractor, cache, variants=heard, surroundings=plan.surroundings, progress=on_shard
        )
        for bank in found.values():
            unreadable |= ~bank.readable
        banks |= {_bank_key(extractor, name): bank for name, bank in found.items()}
    for encoder in plan.encoders.values():
        encoder.to("cpu")
    if unreadable.any():
        logger.warning("%d utterances left out: their sound cannot be read", unreadable.sum())
    return banks, unreadable


def _joined(extractors: Sequence[Extractor]) -> list[Extractor]:
    """Each once, and all layers of a recogniser in one go."""
    layers: dict[str, list[Layers]] = {}
    others: dict[_BankKey, Extractor] = {}
    for each in extractors:
        if isinstance(each, Layers):
            layers.setdefault(each.encoder.fingerprint, []).append(each)
        else:
            others[_bank_key(each, each.names[0])] = each
    names = {key: tuple(sorted({name for each in some for name in each.names})) for key, some in layers.items()}
    return [*(Layers(some[0].encoder, names[key]) for key, some in layers.items() if names[key]), *others.values()]


def _bank_key(extractor: Extractor, name: str) -> _BankKey:
    """Layers of different recognisers may have one name."""
    return (extractor.key(name), name)


def _begin(run: RunFolder, plan: _Plan, all_facts: Mapping[str, Any]) -> None:
    """Writes the run folder, or into it that the recipe has more rows or repeats now."""
    here, known = environment(), (run.environment() if run.begun else {})
    changed = [
        f"{name} {known[name]} then, {value} now" for name, value in here.items() if known.get(name, value) != value
    ]
    if changed:
        logger.warning("begun in another environment: %s", ", ".join(changed))
    config = plan.recipe.resolved()
    if not run.begun or run.config() != config:
        run.begin(config, all_facts, known or here, plan.data.utterances, plan.data.splits)


def _units(
    plan: _Plan, banks: Mapping[_BankKey, Bank], readable: NDArray[np.bool_], run: RunFolder, device: str
) -> Iterator[Unit]:
    data = plan.data
    speech = Speech.of(data.utterances)
    folds = data.tasks(1, readable)
    share = float(np.mean([len(task.training) for task in folds]) / len(data.utterances))
    targets = torch.from_numpy(data.targets)
    for row in plan.rows:
        encoder = plan.encoder(row)
        own = {name: banks[_bank_key(need, name)] for need in needs(row.model, encoder) for name in need.names}
        network = encoder.network if tunes(row.model) else None
        study = Study(data.classes, targets, share, own, encoder.layers, network, plan.recipe.seed, device)
        finished = _finished(run, row)
        for tasks in row_chunks(row.model, data.tasks(row.repeats, readable), plan.recipe.stack):
            missing = frozenset((task.repeat, task.fold) for task in tasks) - finished
            if missing:
                yield Unit(row, tasks, missing, study, speech, run.root)


def _compute(units: Sequence[Unit], engine: Engine, run: RunFolder, plan: _Plan, tell: Tell) -> None:
    total = sum(row.repeats for row in plan.rows) * len(plan.data.folds)
    left = {row.name: sum(len(unit.missing) for unit in units if unit.row is row) for row in plan.rows}
    tell(Computing(total - sum(left.values()), total, None))
    if not units:
        return
    with workers(engine, len(units)) as those:
        clock = Clock([unit.work for unit in units], those.jobs)
        for done in compute(do, in_order(units), those):
            clock.done(done.work, done.seconds)
            left[done.work.row] -= done.work.cells
            tell(Computing(total - sum(left.values()), total, clock.left_s()))
            if not left[done.work.row]:
                row = next(row for row in plan.rows if row.name == done.work.row)
                tell(RowDone(row.name, _scores(run, row).uar))


def _scores(run: RunFolder, row: RowConfig) -> RowScores:
    predictions = run.predictions(row.name)
    repeats: list[Scores] = [
        score([each for each in predictions if each.repeat == repeat]) for repeat in range(row.repeats)
    ]
    uar, accuracy = (float(np.mean([getattr(each, name) for each in repeats])) for name in ("uar", "accuracy"))
    return RowScores(row.name, uar, accuracy, row.repeats)
