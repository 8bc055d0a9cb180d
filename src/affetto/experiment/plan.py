"""What an experiment is about to do: data and all it needs are opened and checked before anything is computed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from affetto.data.corpora import Parsed, open_corpus, reasons
from affetto.data.labels import Labelled, label
from affetto.data.manifest import manifest_digest
from affetto.data.protocols import make_folds, missing_emotions
from affetto.data.sound import Surroundings, crowd_of
from affetto.data.splits import PARTS, Split, by_speaker
from affetto.data.utterance import Utterance
from affetto.devices import choose_device
from affetto.errors import CorpusError, LabelError, MissingExtraError, SplitError
from affetto.experiment.recipe import Augmentation, ExperimentRecipe, RowConfig
from affetto.features import functionals
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import TEXT, Encoder, bring_to
from affetto.models.heads import HeadConfig
from affetto.models.words import WordReader, open_reader
from affetto.represent import Bank, Extractor, Functionals, Layers, SpeakersOwn, Words, represent
from affetto.training.heads.fit import Study, known_layers, needs, tunes
from affetto.training.heads.linear import Prior
from affetto.training.heads.tasks import Task

logger = logging.getLogger(__name__)
CACHE = "cache"  # The folder beside a run's that representations are kept in
BankKey = tuple[str, str]  # What a bank was computed with, and its name among those of a row


class DataSet(NamedTuple):
    """What an experiment is about: utterances, each with the class that it counts as, and how they are divided.

    Targets are how much of each class an utterance is, (utterances, classes), or the values of its dimensions where
    these are predicted, (utterances, dimensions). A fold is places of utterances, an array
    a part, in the order of `PARTS`.
    """

    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    targets: NDArray[np.float32]
    folds: tuple[tuple[NDArray[np.int64], ...], ...]
    dimensions: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Utterances of each class."""
        found = Counter(each.emotion for each in self.utterances)
        return {name: found[name] for name in self.classes}

    @property
    def speakers(self) -> int:
        """How many there are."""
        return len({by_speaker(each) for each in self.utterances})

    @property
    def splits(self) -> list[Split]:
        """The folds, by utterances."""
        return [Split(*(tuple(self.utterances[place] for place in places) for places in fold)) for fold in self.folds]

    def tasks(self, repeats: int, readable: NDArray[np.bool_]) -> list[Task]:
        """Every fold of every repeat, by repeat and fold, without the utterances that cannot be read."""
        folds = [tuple(places[readable[places]] for places in fold) for fold in self.folds]
        for number, fold in enumerate(folds):
            for part, places in zip(PARTS, fold, strict=True):
                if not len(places):
                    problem = f"no sound of its {part} part can be read"
                    raise SplitError(problem, "look at the warnings above", f"fold {number}")
            known = {self.utterances[place].emotion for place in fold[0]}
            if missing := [name for name in self.classes if name not in known]:
                problem = f"no {', '.join(missing)} to train on"
                raise SplitError(problem, "ask for other folds or classes", f"fold {number}")
        return [Task(repeat, number, *fold) for repeat in range(repeats) for number, fold in enumerate(folds)]


def load_data(recipe: ExperimentRecipe, data_root: Path) -> DataSet:
    """Reads a recipe's corpora, decides what each utterance counts as, and divides the speakers."""
    labelled, dimensions = _read(recipe, data_root), recipe.dimensions
    # What an experiment does not read is no part of it.
    utterances = tuple(replace(each.utterance, dimensions=_chosen(each.utterance, dimensions)) for each in labelled)
    splits = make_folds(utterances, recipe.protocol, group=by_speaker, seed=recipe.seed, labelled=not dimensions)
    rows = [each.values(dimensions) for each in utterances] if dimensions else [each.shares for each in labelled]
    targets = np.array(rows, dtype=np.float32)
    places = {each.key: place for place, each in enumerate(utterances)}
    folds = tuple(tuple(np.array([places[each.key] for each in part], np.int64) for part in split) for split in splits)
    data = DataSet(recipe.classes, utterances, targets, folds, dimensions)
    data.tasks(1, np.ones(len(utterances), dtype=np.bool_))  # every class can be trained on
    if lacking := missing_emotions(splits):
        number, part, emotions = lacking[0]
        logger.warning(
            "no %s in the %s part of fold %d; parts that lack a class: %d; fewer folds or another protocol may keep "
            "every class in every part, and balanced = true weighs rare ones in training",
            ", ".join(emotions),
            part,
            number,
            len(lacking),
        )
    return data


def _read(recipe: ExperimentRecipe, data_root: Path) -> list[Labelled]:
    """The utterances of every corpus that count as one of the classes."""
    read: dict[str, Path] = {}
    found: list[Labelled] = []
    for source in recipe.sources:
        parsed = open_corpus(data_root / source.path)
        if missing := [each.what for each in parsed.skipped if each.reason == "audio missing"]:
            problem = f"{len(missing):,} sound file(s) missing, that of {missing[0]} among them"
            raise CorpusError(problem, "restore them, or list what is there in a manifest", parsed.root)
        if parsed.skipped:
            logger.warning("passed over in %s: %s", parsed.root, reasons(each.reason for each in parsed.skipped))
        for name in {each.corpus for each in parsed.utterances}:
            if name in read:
                remedy = "name each corpus once, or give one another name in its manifest"
                raise CorpusError(f"the corpus {name} is in {read[name]}, too", remedy, parsed.root)
            read[name] = parsed.root
        labels = source.labels or recipe.labels
        if recipe.dimensions:
            parsed = replace(parsed, utterances=_with(parsed, recipe.dimensions))
        if not recipe.classes:
            found += [Labelled(each, ()) for each in parsed.utterances]
            continue
        try:
            found += label(parsed.utterances, labels, recipe.classes, some=len(recipe.sources) > 1)
        except LabelError as error:
            raise LabelError(error.problem, error.remedy, error.where or parsed.root) from error
    return found


def _with(parsed: Parsed, dimensions: Sequence[str]) -> tuple[Utterance, ...]:
    """The utterances that have all these dimensions; raises CorpusError where none has."""
    found = tuple(each for each in parsed.utterances if _chosen(each, dimensions))
    if not found:
        known = sorted({name for each in parsed.utterances for name in each.dimensions or ()})
        problem = f"no utterance has {' and '.join(dimensions)}"
        remedy = f"name some of {', '.join(known)}" if known else "name a corpus with dimensions, or predict classes"
        raise CorpusError(problem, remedy, parsed.root)
    if len(found) < len(parsed.utterances):
        lacking = len(parsed.utterances) - len(found)
        logger.warning("left out in %s, without %s: %d", parsed.root, " and ".join(dimensions), lacking)
    return found


def _chosen(utterance: Utterance, dimensions: Sequence[str]) -> dict[str, float] | None:
    """These dimensions of an utterance, if it has them all and they were asked for."""
    known = utterance.dimensions or {}
    return {name: known[name] for name in dimensions} if dimensions and known.keys() >= set(dimensions) else None


def facts(data: DataSet, fingerprint: str) -> dict[str, Any]:
    """The entries of ``run.json`` on a data set and a recogniser."""
    corpora = dict(sorted(Counter(each.corpus for each in data.utterances).items()))
    return {
        "manifest_sha256": manifest_digest(data.utterances),
        "classes": [] if data.dimensions else list(data.classes),
        **({"dimensions": list(data.dimensions)} if data.dimensions else {}),
        "encoder_fingerprint": fingerprint,
        "counts": {
            "utterances": len(data.utterances),
            "speakers": data.speakers,
            "folds": len(data.folds),
            "emotions": data.counts,
            **({"corpora": corpora} if len(corpora) > 1 else {}),
        },
    }


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
    """A row's last cell is finished, and its scores by name, over all test utterances, mean of repeats."""

    row: str
    scores: Mapping[str, float]


class Represented(NamedTuple):
    """All that the rows of a plan need, which utterances can be read, and the same of calm speech of strangers."""

    banks: dict[BankKey, Bank]
    readable: NDArray[np.bool_]
    strangers: dict[BankKey, Bank]


Event = Read | RowSkipped | Representing | Computing | RowDone
OnEvent = Callable[[Event], None]  # An experiment's progress callback


class Plan(NamedTuple):
    """What is known before anything is computed.

    Rows can be computed, skipped ones (row -> why) cannot. Encoders go by the names that the recipe has for them, what
    reads words by the names of the rows that read any; facts are those of ``run.json``, surroundings those of the
    variants of the sound, and strangers calm speech without labels.
    """

    recipe: ExperimentRecipe
    rows: tuple[RowConfig, ...]
    skipped: dict[str, str]
    data: DataSet
    strangers: tuple[Utterance, ...]
    encoders: dict[str, Encoder]
    readers: dict[str, WordReader]
    surroundings: Surroundings
    facts: dict[str, Any]

    def encoder(self, row: RowConfig) -> Encoder:
        """Whose layers a row reads."""
        return self.encoders[row.recogniser or self.recipe.recogniser]

    def needs(self, row: RowConfig) -> list[Extractor]:
        """What has to be extracted for a row."""
        return needs(row.model, self.encoder(row), self.readers.get(row.name))

    def banks_of(self, row: RowConfig, banks: Mapping[BankKey, Bank]) -> dict[str, Bank]:
        """Those that a row needs, by the names that it has for them."""
        return {name: banks[bank_key(need, name)] for need in self.needs(row) for name in need.names}

    def study(self, row: RowConfig, found: Represented, device: str = "cpu") -> Study:
        """What a row is fitted to."""
        encoder, utterances = self.encoder(row), len(self.data.utterances)
        banks = self.banks_of(row, found.banks)
        if row.by_speaker:
            speakers = np.unique([by_speaker(each) for each in self.data.utterances], return_inverse=True)[1]
            banks = {name: SpeakersOwn.of(bank, speakers) for name, bank in banks.items()}
        return Study(
            () if self.data.dimensions else self.data.classes,
            torch.from_numpy(self.data.targets),
            float(np.mean([len(task.training) for task in self.data.tasks(1, found.readable)]) / utterances),
            banks,
            known_layers(encoder, self.readers.get(row.name)),
            encoder.network if tunes(row.model) else None,
            self.recipe.seed,
            device,
            self.banks_of(row, found.strangers) if found.strangers and needs_strangers(row) else None,
            self.data.dimensions,
        )


def make_plan(recipe: ExperimentRecipe, data_root: Path, asked: Sequence[RowConfig], on_event: OnEvent) -> Plan:
    """Opens and checks all that some rows of a recipe need; raises AffettoError where something is at fault."""
    names = dict.fromkeys([recipe.recogniser, *(row.recogniser for row in asked if row.recogniser is not None)])
    encoders = {name: bring_to(open_encoder(name, device="cpu"), recipe.level) for name in names}
    readers = _readers(recipe, asked, encoders)
    rows, skipped = [], {}
    for row in asked:
        wanted = needs(row.model, encoders[row.recogniser or recipe.recogniser], readers.get(row.name))
        if any(isinstance(need, Functionals) for need in wanted) and not functionals.available():
            skipped[row.name] = 'opensmile is not installed; pip install "affetto[classical]"'
            on_event(RowSkipped(row.name, skipped[row.name]))
        else:
            rows.append(row)
    if not rows:
        problem = "no row can be computed: opensmile is not installed"
        raise MissingExtraError(problem, 'pip install "affetto[classical]"')
    data = load_data(recipe, data_root)
    babble = recipe.augment.babble
    crowd = None if babble is None else crowd_of(open_corpus(data_root / babble).utterances)
    surroundings = Surroundings(crowd=crowd, speech_only=recipe.speech_only)
    all_facts = {
        **facts(data, encoders[recipe.recogniser].fingerprint),
        "encoders": {
            **{name: encoder.fingerprint for name, encoder in encoders.items()},
            **{f"what reads words in {name}": reader.fingerprint(TEXT) for name, reader in readers.items()},
        },
        "recogniser_cer": encoders[recipe.recogniser].facts.get("validation_cer"),
    }
    strangers = tuple(_strangers(recipe, data_root)) if any(map(needs_strangers, rows)) else ()
    if known := {each.corpus for each in strangers} & {each.corpus for each in data.utterances}:
        raise SplitError(f"the strangers are of {min(known)}, which is tested, too", "name other corpora in strangers")
    return Plan(recipe, tuple(rows), skipped, data, strangers, encoders, readers, surroundings, all_facts)


def needs_strangers(row: RowConfig) -> bool:
    """Whether a row is fitted in a way that calm speech of strangers has a say in."""
    return isinstance(row.way, Prior)


def _strangers(recipe: ExperimentRecipe, data_root: Path) -> Iterator[Utterance]:
    for path in recipe.strangers:
        everyone, count = open_corpus(data_root / path).utterances, recipe.strangers_each
        yield from (everyone[place * len(everyone) // count] for place in range(min(count, len(everyone))))


def _readers(
    recipe: ExperimentRecipe, rows: Sequence[RowConfig], encoders: Mapping[str, Encoder]
) -> dict[str, WordReader]:
    """Row -> what reads its words, for those that read any; those alike share one."""
    opened = cache(lambda name, words: open_reader(encoders[name], words))
    found = {}
    for row in rows:
        words = row.model.words if isinstance(row.model, HeadConfig) else None
        if words is not None:
            found[row.name] = opened(row.recogniser or recipe.recogniser, words)
    return found


def represent_plan(plan: Plan, folder: Path, device: str, on_event: OnEvent) -> Represented:
    """All that the rows need, kept in ``cache`` beside the run's folder; strangers as they are, where rows need any."""
    found = _represent_rows(plan, folder.parent / CACHE, device, on_event)
    if not plan.strangers:
        return found
    recipe = plan.recipe.model_copy(update={"augment": Augmentation()})
    rows, data = tuple(filter(needs_strangers, plan.rows)), plan.data._replace(utterances=plan.strangers)
    others = plan._replace(recipe=recipe, rows=rows, data=data)
    return found._replace(strangers=_represent_rows(others, folder.parent / CACHE, device, on_event).banks)


def _represent_rows(plan: Plan, folder: Path, device: str, on_event: OnEvent) -> Represented:
    for encoder in plan.encoders.values():
        encoder.to(choose_device(device))
    extractors = _joined([need for row in plan.rows for need in plan.needs(row)])
    variants = plan.recipe.augment.as_variants(plan.recipe.seed)
    banks: dict[BankKey, Bank] = {}
    readable = np.ones(len(plan.data.utterances), dtype=np.bool_)
    for number, extractor in enumerate(extractors):

        def on_shard(done: int, total: int, before: int = number) -> None:
            on_event(Representing(before * total + done, len(extractors) * total))

        # Machines are trained on speech as it was spoken.
        wanted = None if isinstance(extractor, Functionals) else variants
        found = represent(
            plan.data.utterances, extractor, folder, variants=wanted, surroundings=plan.surroundings, progress=on_shard
        )
        for bank in found.values():
            readable &= bank.readable
        banks |= {bank_key(extractor, name): bank for name, bank in found.items()}
    for encoder in plan.encoders.values():
        encoder.to("cpu")
    if not readable.all():
        logger.warning("%d utterances left out: their sound cannot be read", np.count_nonzero(~readable))
    return Represented(banks, readable, {})


def _joined(extractors: Sequence[Extractor]) -> list[Extractor]:
    """Each once, and all layers of a recogniser, or of its words, in one go."""
    layers: dict[str, list[Layers | Words]] = {}
    others: dict[BankKey, Extractor] = {}
    for each in extractors:
        if isinstance(each, Layers | Words):
            layers.setdefault(each.key(TEXT), []).append(each)  # whatever layers it has, this tells what computes them
        else:
            others[bank_key(each, each.names[0])] = each
    names = {key: tuple(sorted({name for each in some for name in each.names})) for key, some in layers.items()}
    return [*(some[0]._replace(names=names[key]) for key, some in layers.items() if names[key]), *others.values()]


def bank_key(extractor: Extractor, name: str) -> BankKey:
    """Layers of different recognisers may have one name."""
    return (extractor.key(name), name)
