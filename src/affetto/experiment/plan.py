"""What an experiment is about to do: all is opened and checked before anything is computed, then represented."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from affetto.data.sound import Surroundings
from affetto.devices import choose_device
from affetto.errors import MissingExtraError
from affetto.experiment.dataset import DataSet, facts, load_data
from affetto.experiment.recipe import ExperimentRecipe, RowConfig
from affetto.features import functionals
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.represent import Bank, Extractor, Functionals, Layers, represent
from affetto.training.heads.fit import Study, needs, tunes

logger = logging.getLogger(__name__)

CACHE = "cache"  # The folder beside a run's that representations are kept in
BankKey = tuple[str, str]  # What a bank was computed with, and its name among those of a row


class Read(NamedTuple):
    """The data is read, and everything is checked: how much there is of what, and how many trainings (cells).

    Cells are folds x repeats of all rows asked for; some of them an earlier run may have finished.
    """

    utterances: int
    speakers: int
    emotions: Mapping[str, int]
    folds: int
    cells: int
    finished: int


class RowSkipped(NamedTuple):
    """A row that cannot be computed here, and why."""

    row: str
    reason: str


class Representing(NamedTuple):
    """How far the representations are; recordings over all extractors."""

    done: int
    total: int


class Computing(NamedTuple):
    """How far the grid is: cells, with those that an earlier run did, and the cost of what is done now, in seconds.

    The cost is a rough guess; some cells take a thousand times as long as others.
    """

    done: int
    total: int
    cost: float
    total_cost: float


class RowDone(NamedTuple):
    """A row's last cell is finished, and its unweighted average recall, over all test utterances, mean of repeats."""

    row: str
    uar: float


Event = Read | RowSkipped | Representing | Computing | RowDone
OnEvent = Callable[[Event], None]  # An experiment's progress callback


class Plan(NamedTuple):
    """What is known before anything is computed.

    Rows can be computed, skipped ones (row -> why) cannot. Encoders go by the names that the recipe has for them, facts
    are those of ``run.json``, and surroundings those of the variants of the sound.
    """

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

    def banks_of(self, row: RowConfig, banks: Mapping[BankKey, Bank]) -> dict[str, Bank]:
        """Those that a row needs, by the names that it has for them."""
        return {
            name: banks[bank_key(need, name)] for need in needs(row.model, self.encoder(row)) for name in need.names
        }

    def study(
        self, row: RowConfig, banks: Mapping[BankKey, Bank], readable: NDArray[np.bool_], device: str = "cpu"
    ) -> Study:
        """What a row is fitted to."""
        encoder, utterances = self.encoder(row), len(self.data.utterances)
        return Study(
            self.data.classes,
            torch.from_numpy(self.data.targets),
            float(np.mean([len(task.training) for task in self.data.tasks(1, readable)]) / utterances),
            self.banks_of(row, banks),
            encoder.layers,
            encoder.network if tunes(row.model) else None,
            self.recipe.seed,
            device,
        )


def make_plan(recipe: ExperimentRecipe, data_root: Path, asked: Sequence[RowConfig], on_event: OnEvent) -> Plan:
    """Opens and checks all that some rows of a recipe need; raises AffettoError where something is at fault."""
    names = dict.fromkeys([recipe.recogniser, *(row.recogniser for row in asked if row.recogniser is not None)])
    encoders = {name: open_encoder(name, device="cpu") for name in names}
    rows, skipped = [], {}
    for row in asked:
        wanted = needs(row.model, encoders[row.recogniser or recipe.recogniser])
        if any(isinstance(need, Functionals) for need in wanted) and not functionals.available():
            skipped[row.name] = 'opensmile is not installed; pip install "affetto[classical]"'
            on_event(RowSkipped(row.name, skipped[row.name]))
        else:
            rows.append(row)
    if not rows:
        problem = "no row can be computed: opensmile is not installed"
        raise MissingExtraError(problem, 'pip install "affetto[classical]"')
    data = load_data(recipe, data_root)
    surroundings = recipe.augment.surroundings(data_root)
    all_facts = {
        **facts(data, encoders[recipe.recogniser].fingerprint),
        "encoders": {name: encoder.fingerprint for name, encoder in encoders.items()},
        "recogniser_cer": encoders[recipe.recogniser].facts.get("validation_cer"),
    }
    return Plan(recipe, tuple(rows), skipped, data, encoders, surroundings, all_facts)


def represent_rows(
    plan: Plan, cache: Path, device: str, on_event: OnEvent
) -> tuple[dict[BankKey, Bank], NDArray[np.bool_]]:
    """All that the rows need, kept in a cache folder, and which utterances can be read."""
    for encoder in plan.encoders.values():
        encoder.to(choose_device(device))
    extractors = _joined([need for row in plan.rows for need in needs(row.model, plan.encoder(row))])
    variants = plan.recipe.augment.as_variants(plan.recipe.seed)
    banks: dict[BankKey, Bank] = {}
    readable = np.ones(len(plan.data.utterances), dtype=np.bool_)
    for number, extractor in enumerate(extractors):

        def on_shard(done: int, total: int, before: int = number) -> None:
            on_event(Representing(before * total + done, len(extractors) * total))

        # Machines are trained on speech as it was spoken.
        wanted = None if isinstance(extractor, Functionals) else variants
        found = represent(
            plan.data.utterances, extractor, cache, variants=wanted, surroundings=plan.surroundings, progress=on_shard
        )
        for bank in found.values():
            readable &= bank.readable
        banks |= {bank_key(extractor, name): bank for name, bank in found.items()}
    for encoder in plan.encoders.values():
        encoder.to("cpu")
    if not readable.all():
        logger.warning("%d utterances left out: their sound cannot be read", np.count_nonzero(~readable))
    return banks, readable


def _joined(extractors: Sequence[Extractor]) -> list[Extractor]:
    """Each once, and all layers of a recogniser in one go."""
    layers: dict[str, list[Layers]] = {}
    others: dict[BankKey, Extractor] = {}
    for each in extractors:
        if isinstance(each, Layers):
            layers.setdefault(each.encoder.fingerprint, []).append(each)
        else:
            others[bank_key(each, each.names[0])] = each
    names = {key: tuple(sorted({name for each in some for name in each.names})) for key, some in layers.items()}
    return [*(Layers(some[0].encoder, names[key]) for key, some in layers.items() if names[key]), *others.values()]


def bank_key(extractor: Extractor, name: str) -> BankKey:
    """Layers of different recognisers may have one name."""
    return (extractor.key(name), name)
