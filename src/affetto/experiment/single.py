"""One head from a recipe to a run folder: an experiment of one row and one fold, whose head is kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from affetto.config import Seed
from affetto.data.manifest import manifest_digest
from affetto.data.protocols import FixedSplit
from affetto.environment import environment
from affetto.evaluate import Scores, ValueScores, score, write_predictions
from affetto.experiment.grid import Speech
from affetto.experiment.plan import Event, Plan, Representing, make_plan, represent_plan
from affetto.experiment.recipe import ExperimentRecipe, Fitted, OnCorpora, Predicted, RowConfig
from affetto.models.heads import AnyHead, HeadConfig, save_head
from affetto.pretrained import DEFAULT, DIMENSIONS, EMOTION
from affetto.represent import Progress
from affetto.training.heads.fit import Study, fit_tasks
from affetto.training.heads.linear import FamiliarityConfig, familiarity
from affetto.training.heads.loop import HeadTraining
from affetto.training.heads.tasks import Epoch, Task

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class EmotionRecipe(OnCorpora, Predicted, Fitted):
    """All that ``affetto train`` needs."""

    seed: Seed = 1  # of initialisation, batches and dropout
    recogniser: str = DEFAULT  # whose layers are reused, see `ExperimentRecipe`
    validation_speakers: Names  # they choose the epoch; corpus/name where two corpora have a speaker of that name
    test_speakers: Names  # they choose nothing
    head: AnyHead  # which head
    # how unfamiliar sound is found, by a head that is solved; None finds none
    familiarity: FamiliarityConfig | None = None
    # by which scores are divided before they become probabilities, see `affetto.EmotionRecogniser`
    temperature: float = Field(default=1.0, gt=0)
    licence: str = "unstated"  # of the trained head, for its card

    @field_validator("head")
    @classmethod
    def _keeps_the_recogniser(cls, head: HeadConfig) -> HeadConfig:
        if head.tuned_from is not None:
            raise ValueError("a head is trained on the recogniser as it is; leave trained_from to experiments")
        return head

    @model_validator(mode="after")
    def _trained_as_fits_the_head(self) -> EmotionRecipe:
        if self.dimensions:
            self.check_for_dimensions()
        else:
            self.check_head(self.head)
        if self.familiarity is not None and isinstance(self.way, HeadTraining):
            raise ValueError("familiarity comes from a head over statistics; add [linear] or [hidden], or leave it out")
        return self

    def as_experiment(self) -> ExperimentRecipe:
        """The same as an experiment of one row and one fold."""
        shared = ("seed", "recogniser", *OnCorpora.model_fields, *Predicted.model_fields)
        mine, fitted = ({name: getattr(self, name) for name in names} for names in (shared, Fitted.model_fields))
        row = RowConfig(name=self.head.kind, model=self.head, **fitted)
        protocol = FixedSplit(validation=self.validation_speakers, test=self.test_speakers)
        return ExperimentRecipe(**mine, protocol=protocol, rows=(row,))


class EmotionRun(NamedTuple):
    """The saved head, its scores on the test speakers, and how many utterances trained, validated and tested it."""

    head: Path
    scores: Scores | ValueScores
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
        data_root: the folder that the recipe's corpora are relative to.
        folder: where recipe, environment, predictions, figures and the head go; representations go into ``cache``
            beside it, where other runs find them.
        progress: called with the utterances that are represented, and all of them.
        on_epoch: called with each epoch.

    Raises:
        AffettoError: the recipe, the corpus, the split, the sound or the recogniser is at fault; nothing was trained
            then.
    """
    recipe = EmotionRecipe.read(recipe_path)

    def tell(event: Event) -> None:
        if isinstance(event, Representing) and progress is not None:
            progress(event.done, event.total)

    experiment = recipe.as_experiment()
    plan = make_plan(experiment, data_root, experiment.rows, tell)
    folder.mkdir(parents=True, exist_ok=True)
    found = represent_plan(plan, folder, "auto", tell)
    study, unfinished = plan.study(plan.rows[0], found), folder / "unfinished.safetensors"
    tasks = plan.data.tasks(1, found.readable)
    ((task, outcome),) = fit_tasks(recipe.head, study, tasks, recipe.way, progress=on_epoch, unfinished=unfinished)
    assert outcome.head is not None, "it is trained on the recogniser as it is"
    if recipe.familiarity is not None:
        outcome.head.familiarity = familiarity(outcome.head, study.banks, task, recipe.familiarity)
    predictions = Speech.of(plan.data.utterances).predictions(study, task, "test", outcome)
    counts = (len(task.training), len(task.validation), len(task.test))
    run = EmotionRun(folder / (DIMENSIONS if recipe.dimensions else EMOTION), score(predictions), counts)
    write_predictions(folder / "predictions.csv", predictions)
    with (folder / "learning_curve.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([Epoch._fields, *outcome.curve])
    facts = _facts(recipe, plan, study, task, run)
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    save_head(run.head, outcome.head, facts)
    return run


def _facts(recipe: EmotionRecipe, plan: Plan, study: Study, task: Task, run: EmotionRun) -> dict[str, Any]:
    """What the head's description says."""
    used = np.concatenate([task.training, task.validation, task.test])
    encoder, reader = plan.encoder(plan.rows[0]), plan.readers.get(plan.rows[0].name)
    values = study.targets[torch.from_numpy(task.training)]
    ranges = zip(values.min(dim=0).values.tolist(), values.max(dim=0).values.tolist(), strict=True)
    return {
        **({"range": dict(zip(recipe.dimensions, ranges, strict=True))} if recipe.dimensions else {}),
        "licence": recipe.licence,
        "temperature": recipe.temperature,
        "speech_only": recipe.speech_only,
        "level": recipe.level,
        "encoder": str(encoder.origin),
        "encoder_fingerprint": encoder.fingerprint,
        **({} if reader is None else {"transcript": reader.facts}),
        "recipe": recipe.model_dump(mode="json"),
        "corpora": sorted({each.corpus for each in plan.data.utterances}),
        "manifest_sha256": manifest_digest([plan.data.utterances[place] for place in used]),
        "utterances": dict(zip(("train", "validation", "test"), run.counts, strict=True)),
        "test": run.scores._asdict(),
        "environment": environment(),
    }
