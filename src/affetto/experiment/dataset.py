"""From a recipe to labelled utterances and folds, and from folds to tasks."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.data.corpora import open_corpus, reasons
from affetto.data.labels import Labelled, label
from affetto.data.manifest import manifest_digest
from affetto.data.protocols import make_folds, missing_emotions
from affetto.data.splits import PARTS, Split, by_speaker
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError, LabelError, SplitError
from affetto.experiment.recipe import ExperimentRecipe
from affetto.training.heads.tasks import Task

logger = logging.getLogger(__name__)


class DataSet(NamedTuple):
    """What an experiment is about: utterances, each with the class that it counts as, and how they are divided.

    Targets are how much of each class an utterance is, (utterances, classes). A fold is places of utterances, an array
    a part, in the order of `PARTS`.
    """

    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    targets: NDArray[np.float32]
    folds: tuple[tuple[NDArray[np.int64], ...], ...]

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
    labelled = _read(recipe, data_root)
    utterances = tuple(each.utterance for each in labelled)
    splits = make_folds(utterances, recipe.protocol, group=by_speaker, seed=recipe.seed)
    targets = np.array([each.shares for each in labelled], dtype=np.float32)
    places = {each.key: place for place, each in enumerate(utterances)}
    folds = tuple(tuple(np.array([places[each.key] for each in part], np.int64) for part in split) for split in splits)
    data = DataSet(recipe.classes, utterances, targets, folds)
    data.tasks(1, np.ones(len(utterances), dtype=np.bool_))  # every class can be trained on
    lacking = missing_emotions(splits)
    if lacking:
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
        try:
            found += label(parsed.utterances, labels, recipe.classes, some=len(recipe.sources) > 1)
        except LabelError as error:
            raise LabelError(error.problem, error.remedy, error.where or parsed.root) from error
    return found


def facts(data: DataSet, fingerprint: str) -> dict[str, Any]:
    """The entries of ``run.json`` on a data set and a recogniser."""
    corpora = dict(sorted(Counter(each.corpus for each in data.utterances).items()))
    return {
        "manifest_sha256": manifest_digest(data.utterances),
        "classes": list(data.classes),
        "encoder_fingerprint": fingerprint,
        "counts": {
            "utterances": len(data.utterances),
            "speakers": data.speakers,
            "folds": len(data.folds),
            "emotions": data.counts,
            **({"corpora": corpora} if len(corpora) > 1 else {}),
        },
    }
