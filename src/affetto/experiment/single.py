"""One head from a recipe to a run folder: data, split, representations, training, predictions, figures."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import Field, field_validator

from affetto import pretrained
from affetto.config import Config, Seed
from affetto.data.corpora import open_corpus
from affetto.data.manifest import manifest_digest
from affetto.data.splits import Split, fixed_split
from affetto.data.utterance import Utterance
from affetto.environment import environment
from affetto.errors import TrainingError
from affetto.evaluate import Prediction, Scores, score, write_predictions
from affetto.models import checkpoint
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.encoders.deepspeech2 import DeepSpeech2Encoder
from affetto.models.head_checkpoint import save_head
from affetto.models.heads import EmotionHead, HeadConfig
from affetto.models.recogniser_checkpoint import load_recogniser
from affetto.represent import Acoustics, Extractor, PooledLayers, Progress, Representation, represent
from affetto.training.heads import Epoch, Example, HeadTraining, fit_head, probabilities

logger = logging.getLogger(__name__)


class EmotionRecipe(Config):
    """All that ``affetto train`` needs.

    Attributes:
        seed: of initialisation, batches and dropout.
        recogniser: whose layers are reused: an embedded model's name, or a folder with ``recogniser.safetensors``,
            relative to where the command runs.
        corpus: its folder or manifest, relative to the data folder.
        classes: the emotions to tell apart; other utterances are left out.
        validation_speakers: they choose the epoch.
        test_speakers: they choose nothing.
        head: which head.
        training: how.
        licence: of the trained head, for its card.
    """

    seed: Seed = 1
    recogniser: str = "small"
    corpus: Path
    classes: tuple[str, ...] = Field(default=("anger", "happiness", "neutral", "sadness"), min_length=2)
    validation_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    head: HeadConfig
    training: HeadTraining = HeadTraining()
    licence: str = "unstated"

    @field_validator("classes")
    @classmethod
    def _each_once(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) != len(classes):
            raise ValueError("name each emotion once")
        return classes


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
    recogniser, _ = load_recogniser(pretrained.find(recipe.recogniser) / pretrained.RECOGNISER)
    split = _split(recipe, data_root)
    head = _new_head(recipe, recogniser)
    folder.mkdir(parents=True, exist_ok=True)
    parts = (split.train, split.validation, split.test)
    # In the order of the corpus, not of the split: another split of it finds the same work in the cache.
    utterances = sorted((each for part in parts for each in part), key=lambda each: each.id)
    gathered = _gather(head, recogniser, utterances, folder.parent / "cache", progress)
    kept = [[each for each in part if each.id in gathered] for part in parts]
    if not all(kept):
        raise TrainingError("a part of the split has no sound that can be read", "look at the warnings above")
    examples = [[_example(recipe, each, gathered[each.id]) for each in part] for part in kept]
    curve = fit_head(head, examples[0], examples[1], recipe.training, recipe.seed, progress=on_epoch)
    predictions = predict(head, kept[2], examples[2])
    run = EmotionRun(folder / "emotion.safetensors", score(predictions), _counts(kept))
    write_predictions(folder / "predictions.csv", predictions)
    _write_curve(folder / "learning_curve.csv", curve)
    facts = {
        "licence": recipe.licence,
        "encoder_fingerprint": checkpoint.fingerprint(recogniser),
        "recipe": recipe.model_dump(mode="json"),
        "manifest_sha256": manifest_digest([each for part in kept for each in part]),
        "utterances": dict(zip(("train", "validation", "test"), run.counts, strict=True)),
        "test": run.scores._asdict(),
        "environment": environment(),
    }
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    save_head(run.head, head, facts)
    return run


def predict(head: EmotionHead, utterances: Sequence[Utterance], examples: Sequence[Example]) -> list[Prediction]:
    """What a head says of test utterances.

    Args:
        head: trained.
        utterances: who and what.
        examples: their representations, in the same order.
    """
    predictions = []
    rows = probabilities(head, examples).tolist()
    for utterance, example, row in zip(utterances, examples, rows, strict=True):
        shares = dict(zip(head.classes, row, strict=True))
        likeliest = max(shares, key=shares.__getitem__)
        reference = head.classes[example.label]
        predictions.append(Prediction(0, 0, utterance.id, utterance.speaker, reference, likeliest, shares))
    return predictions


def _split(recipe: EmotionRecipe, data_root: Path) -> Split:
    parsed = open_corpus(data_root / recipe.corpus)
    split = fixed_split(
        [each for each in parsed.utterances if each.emotion in recipe.classes],
        group=lambda each: each.speaker,
        validation=recipe.validation_speakers,
        test=recipe.test_speakers,
    )
    missing = set(recipe.classes) - {each.emotion for each in split.train}
    if missing:
        raise TrainingError(
            f"no utterance of {', '.join(sorted(missing))} to train on", "correct the classes", recipe.corpus
        )
    return split


def _new_head(recipe: EmotionRecipe, recogniser: DeepSpeech2) -> EmotionHead:
    layer = getattr(recipe.head, "layer", None)
    if layer is not None and layer not in recogniser.layer_widths:
        raise TrainingError(
            f"the recogniser has no layer {layer!r}", f"choose one of {', '.join(recogniser.layer_widths)}"
        )
    width = 0 if layer is None else recogniser.layer_widths[layer]
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return EmotionHead(recipe.head, recipe.classes, width)


def _gather(
    head: EmotionHead,
    recogniser: DeepSpeech2,
    utterances: Sequence[Utterance],
    cache: Path,
    progress: Progress | None,
) -> dict[str, Representation]:
    """Utterance id -> what the head reads of it; utterances that cannot be read are missing."""
    extractors: list[Extractor] = []
    if head.layer is not None:
        extractors.append(PooledLayers(DeepSpeech2Encoder(recogniser), (head.layer,)))
    if head.acoustic is not None:
        extractors.append(Acoustics(head.acoustic))
    found: dict[str, Representation] = {each.id: {} for each in utterances}
    unreadable: set[str] = set()
    for extractor in extractors:
        for each, representation in zip(utterances, represent(utterances, extractor, cache, progress), strict=True):
            if representation is None:
                unreadable.add(each.id)
            else:
                found[each.id].update(representation)
    if unreadable:
        logger.warning("%d utterances left out: their sound cannot be read", len(unreadable))
    return {name: representation for name, representation in found.items() if name not in unreadable}


def _example(recipe: EmotionRecipe, utterance: Utterance, representation: Representation) -> Example:
    layer = getattr(recipe.head, "layer", None)
    label = recipe.classes.index(utterance.emotion or "")
    return Example(None if layer is None else representation[layer], representation.get("acoustic"), label)


def _counts(parts: Sequence[Sequence[Utterance]]) -> tuple[int, int, int]:
    training, validation, test = (len(part) for part in parts)
    return training, validation, test


def _write_curve(path: Path, curve: Sequence[Epoch]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Epoch._fields)
        writer.writerows(curve)
