"""One head from a recipe to a run folder: data, split, representations, training, predictions, figures."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from affetto.config import Config, Seed
from affetto.data.corpora import open_corpus, reasons
from affetto.data.labels import warn_left_out
from affetto.data.manifest import manifest_digest
from affetto.data.splits import Split, fixed_split
from affetto.data.utterance import Utterance
from affetto.environment import environment
from affetto.errors import TrainingError
from affetto.evaluate import Prediction, Scores, score, write_predictions
from affetto.experiment.recipe import Augmentation, Classes
from affetto.models.encoders import open_encoder
from affetto.models.head_checkpoint import save_head
from affetto.models.heads import AnyHead, EmotionHead, HeadConfig
from affetto.pretrained import DEFAULT
from affetto.represent import Bank, Progress, Variants, represent
from affetto.streaming.segments import BEFORE_S
from affetto.training.heads.data import HeadData, measure
from affetto.training.heads.fit import Study, material_of, needs, new_head
from affetto.training.heads.linear import LinearTraining, solve
from affetto.training.heads.loop import HeadTraining, fit_head, probabilities
from affetto.training.heads.tasks import Epoch, Task

logger = logging.getLogger(__name__)


class EmotionRecipe(Config):
    """All that ``affetto train`` needs.

    Attributes:
        seed: of initialisation, batches and dropout.
        recogniser: whose layers are reused, see `ExperimentRecipe`.
        corpus: its folder or manifest, relative to the data folder.
        classes: the emotions to tell apart; other utterances are left out.
        augment: variants of the recordings that are trained on, beside the recordings themselves.
        validation_speakers: they choose the epoch.
        test_speakers: they choose nothing.
        head: which head.
        training: how, in epochs.
        linear: how a softmax regression is solved, instead of trained in epochs.
        strangers: corpora of calm speech without labels, relative to the data folder, see `training.heads.linear`.
        strangers_each: so many utterances of each, spread evenly over it.
        around_s: hear only the speech that is found, with so much of the pauses around it; None hears whole recordings.
        temperature: by which scores are divided before they become probabilities, see `affetto.EmotionRecogniser`.
        licence: of the trained head, for its card.
    """

    seed: Seed = 1
    recogniser: str = DEFAULT
    corpus: Path
    classes: Classes = ("anger", "happiness", "neutral", "sadness")
    augment: Augmentation = Augmentation()
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    head: AnyHead
    training: HeadTraining = HeadTraining()
    linear: LinearTraining | None = None
    strangers: tuple[Path, ...] = ()
    strangers_each: int = Field(default=80, ge=2)
    around_s: float | None = Field(default=None, ge=0, le=BEFORE_S)
    temperature: float = Field(default=1.0, gt=0)
    licence: str = "unstated"

    @field_validator("head")
    @classmethod
    def _keeps_the_recogniser(cls, head: HeadConfig) -> HeadConfig:
        if head.tuned_from is not None:
            raise ValueError("a head is trained on the recogniser as it is; leave trained_from to experiments")
        return head


class EmotionRun(NamedTuple):
    """What a training left.

    Attributes:
        head: the saved head.
        scores: on the test speakers.
        counts: utterances to train on, to validate on and to test on.
    """

    head: Path
    scores: Scores
    counts: tuple[int, int, int]


def train_emotion(
    recipe_path: Path,
    data_root: Path,
    folder: Path,
    *,
    progress: Progress | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> EmotionRun:
    """Trains and tests one head, and keeps all about it in a run folder.

    Args:
        recipe_path: a TOML file, see `EmotionRecipe`.
        data_root: the folder that the recipe's corpus is relative to.
        folder: where recipe, environment, predictions, figures and the head go; representations go into ``cache``
            beside it, where other runs find them.
        progress: is told how many utterances are represented.
        on_epoch: is told of each epoch.

    Raises:
        AffettoError: the recipe, the corpus, the split, the sound or the recogniser is at fault; nothing was trained
            then.
    """
    recipe = EmotionRecipe.read(recipe_path)
    encoder = open_encoder(recipe.recogniser)
    split = _split(recipe, data_root)
    extractors = needs(recipe.head, encoder)
    folder.mkdir(parents=True, exist_ok=True)
    # In the order of the corpus, not of the split: another split of it finds the same work in the cache.
    utterances = sorted((*split.train, *split.validation, *split.test), key=lambda each: each.id)
    variants = recipe.augment.as_variants(recipe.seed)
    surroundings = recipe.augment.surroundings(data_root)._replace(around_s=recipe.around_s)

    def banks_of(some: Sequence[Utterance], variants: Variants | None) -> dict[str, Bank]:
        found: dict[str, Bank] = {}
        for each in extractors:
            found |= represent(
                some, each, folder.parent / "cache", variants=variants, surroundings=surroundings, progress=progress
            )
        return found

    banks = banks_of(utterances, variants)
    task = _task(split, utterances, banks)
    share = len(task.training) / len(utterances)
    study = Study(recipe.classes, _targets(recipe, utterances), share, banks, encoder.layers, None, recipe.seed)
    material = material_of(recipe.head, study)
    head = new_head(recipe.head, study, 0, 0)
    measure(head, material, task.training)
    curve: Sequence[Epoch] = ()
    if recipe.linear is None:
        curve = fit_head(head, material, task, recipe.training, recipe.seed, progress=on_epoch)
    else:
        strangers = _strangers(recipe, data_root)
        solve(head, material, task, recipe.linear, banks_of(strangers, None) if strangers else None)
    predictions = predict(head, material, utterances, task.test)
    counts = (len(task.training), len(task.validation), len(task.test))
    run = EmotionRun(folder / "emotion.safetensors", score(predictions), counts)
    write_predictions(folder / "predictions.csv", predictions)
    _write_curve(folder / "learning_curve.csv", curve)
    used = np.concatenate([task.training, task.validation, task.test])
    facts = {
        "licence": recipe.licence,
        "temperature": recipe.temperature,
        **({} if recipe.around_s is None else {"around_s": recipe.around_s}),
        "encoder": encoder.origin.name,
        "encoder_fingerprint": encoder.fingerprint,
        "recipe": recipe.model_dump(mode="json"),
        "corpora": sorted({each.corpus for each in utterances}),
        "manifest_sha256": manifest_digest([utterances[place] for place in used]),
        "utterances": dict(zip(("train", "validation", "test"), run.counts, strict=True)),
        "test": run.scores._asdict(),
        "environment": environment(),
    }
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    save_head(run.head, head, facts)
    return run


def predict(
    head: EmotionHead, material: HeadData, utterances: Sequence[Utterance], places: NDArray[np.int64]
) -> list[Prediction]:
    """What a head says of some utterances.

    Args:
        head: trained.
        material: what it reads.
        utterances: all of them; each has an emotion.
        places: whose.
    """
    predictions = []
    for place, row in zip(places.tolist(), probabilities(head, material, places).tolist(), strict=True):
        said, shares = utterances[place], dict(zip(head.classes, row, strict=True))
        likeliest = max(shares, key=shares.__getitem__)
        predictions.append(Prediction(0, 0, said.id, said.speaker, said.emotion or "", likeliest, shares))
    return predictions


def _strangers(recipe: EmotionRecipe, data_root: Path) -> list[Utterance]:
    found: list[Utterance] = []
    for path in recipe.strangers:
        everyone, count = open_corpus(data_root / path).utterances, recipe.strangers_each
        found += [everyone[place * len(everyone) // count] for place in range(min(count, len(everyone)))]
    return found


def _split(recipe: EmotionRecipe, data_root: Path) -> Split:
    parsed = open_corpus(data_root / recipe.corpus)
    labelled = [each for each in parsed.utterances if each.emotion in recipe.classes]
    warn_left_out(parsed.utterances, labelled)
    split = fixed_split(
        labelled,
        group=lambda each: each.speaker,
        validation=recipe.validation_speakers,
        test=recipe.test_speakers,
    )
    missing = set(recipe.classes) - {each.emotion for each in split.train}
    if missing:
        left_out = f" (passed over: {reasons(each.reason for each in parsed.skipped)})" if parsed.skipped else ""
        raise TrainingError(
            f"no utterance of {', '.join(sorted(missing))} to train on{left_out}", "correct the classes", recipe.corpus
        )
    return split


def _task(split: Split, utterances: Sequence[Utterance], banks: Mapping[str, Bank]) -> Task:
    """The places of each part's utterances, without those that cannot be read."""
    readable = np.all([bank.readable for bank in banks.values()], axis=0)
    if not readable.all():
        logger.warning("%d utterances left out: their sound cannot be read", np.count_nonzero(~readable))
    places = {each.id: place for place, each in enumerate(utterances) if readable[place]}
    parts = [
        np.array([places[each.id] for each in part if each.id in places], dtype=np.int64)
        for part in (split.train, split.validation, split.test)
    ]
    if not all(len(part) for part in parts):
        raise TrainingError("a part of the split has no sound that can be read", "look at the warnings above")
    return Task(0, 0, *parts)


def _targets(recipe: EmotionRecipe, utterances: Sequence[Utterance]) -> Tensor:
    """One-hot: (utterances, classes)."""
    labels = torch.tensor([recipe.classes.index(each.emotion or "") for each in utterances])
    return torch.nn.functional.one_hot(labels, len(recipe.classes)).float()


def _write_curve(path: Path, curve: Sequence[Epoch]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Epoch._fields)
        writer.writerows(curve)
