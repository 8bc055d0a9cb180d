"""From a recipe to labelled utterances and folds, and from folds to tasks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.data.corpora import Skipped, open_corpus, reasons
from affetto.data.folds import PARTS, full_name
from affetto.data.labels import Labelled, label
from affetto.data.manifest import manifest_digest
from affetto.data.protocols import make_folds, missing_emotions
from affetto.data.splits import Split, by_speaker
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError, LabelError, SplitError
from affetto.experiment.recipe import ExperimentRecipe
from affetto.training.heads.tasks import Task

logger = logging.getLogger(__name__)


class DataSet(NamedTuple):
    """What an experiment is about.

    Attributes:
        classes: the emotions to distinguish.
        utterances: each one's emotion is the class that it counts as.
        targets: how much of each class an utterance is, (utterances, classes).
        folds: places of utterances, one array a part, in the order of `PARTS`.
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
    def digest(self) -> str:
        """Of the manifest."""
        return manifest_digest(self.utterances)

    @property
    def splits(self) -> list[Split]:
        """The folds, by utterances."""
        return [Split(*(tuple(self.utterances[place] for place in places) for places in fold)) for fold in self.folds]

    def tasks(self, repeats: int, readable: NDArray[np.bool_]) -> list[Task]:
        """Every fold of every repeat, by repeat and fold, without the utterances that cannot be read.

        Raises:
            SplitError: no utterance of a part can be read, or none of a class that is to be trained on.
        """
        folds = [tuple(places[readable[places]] for places in fold) for fold in self.folds]
        for number, fold in enumerate(folds):
            for part, places in zip(PARTS, fold, strict=True):
                if not len(places):
                    raise SplitError(
                        f"no sound of its {part} part can be read", "look at the warnings above", f"fold {number}"
                    )
            self._check_training(number, fold[0])
        return [Task(repeat, number, *fold) for repeat in range(repeats) for number, fold in enumerate(folds)]

    def _check_training(self, number: int, places: NDArray[np.int64]) -> None:
        known = {self.utterances[place].emotion for place in places}
        missing = [name for name in self.classes if name not in known]
        if missing:
            raise SplitError(f"no {', '.join(missing)} to train on", "ask for other folds or classes", f"fold {number}")


def load_data(recipe: ExperimentRecipe, data_root: Path) -> DataSet:
    """Reads the corpora, decides what each utterance counts as, and divides the speakers.

    Args:
        recipe: says how.
        data_root: the folder that the recipe's corpora are relative to.

    Raises:
        AffettoError: there is no such corpus, sound files of it are missing, its labels are others, two corpora have
            one name, or they cannot be divided as the recipe says.
    """
    labelled = _read(recipe, data_root)
    utterances = tuple(each.utterance for each in labelled)
    splits = make_folds(utterances, recipe.protocol, group=by_speaker, seed=recipe.seed)
    targets = np.array([each.shares for each in labelled], dtype=np.float32)
    data = DataSet(recipe.classes, utterances, targets, _places(utterances, splits))
    data.tasks(1, np.ones(len(utterances), dtype=np.bool_))  # every class can be trained on
    lacking = missing_emotions(splits)
    if lacking:
        first = f"no {', '.join(lacking[0].emotions)} in the {lacking[0].part} part of fold {lacking[0].fold}"
        logger.warning(
            "%s, and %d other parts that lack a class; fewer folds or another protocol may keep every class in every "
            "part, and balanced = true weighs rare ones in training",
            first,
            len(lacking) - 1,
        )
    return data


def _read(recipe: ExperimentRecipe, data_root: Path) -> list[Labelled]:
    """The utterances of every corpus that count as one of the classes."""
    read: dict[str, Path] = {}
    found: list[Labelled] = []
    for source in recipe.sources:
        parsed = open_corpus(data_root / source.path)
        _check_skipped(parsed.skipped, parsed.root)
        for name in {each.corpus for each in parsed.utterances}:
            if name in read:
                problem = f"the corpus {name} is in {read[name]}, too"
                raise CorpusError(
                    problem, "name each corpus once, or give one another name in its manifest", parsed.root
                )
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
        "manifest_sha256": data.digest,
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


def _places(utterances: Sequence[Utterance], splits: Sequence[Split]) -> tuple[tuple[NDArray[np.int64], ...], ...]:
    places = {full_name(each, "id"): place for place, each in enumerate(utterances)}

    def of(part: Collection[Utterance]) -> NDArray[np.int64]:
        return np.array([places[full_name(each, "id")] for each in part], dtype=np.int64)

    return tuple(tuple(of(getattr(split, part)) for part in PARTS) for split in splits)


def _check_skipped(skipped: Sequence[Skipped], root: Path) -> None:
    """Sound that is not there is a faulty copy of the corpus; what else its reader passes over is logged."""
    missing = [each.what for each in skipped if each.reason == "audio missing"]
    if missing:
        raise CorpusError(
            f"{len(missing):,} sound file(s) missing, that of {missing[0]} among them",
            "restore them, or list what is there in a manifest",
            root,
        )
    if skipped:
        logger.warning("passed over in %s: %s", root, reasons(each.reason for each in skipped))
