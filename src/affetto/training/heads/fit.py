"""Fits any row of a table to its folds: one contract over heads, tuned heads and classical models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from affetto.config import stable_seed
from affetto.errors import TrainingError
from affetto.models.encoders.encoder import Encoder, LayerInfo
from affetto.models.heads import (
    BaselineConfig,
    EmotionHead,
    HeadConfig,
    MeanPoolingConfig,
    ProgressiveConfig,
    RecurrentConfig,
)
from affetto.models.network import Network
from affetto.models.tuned import INPUT, TunedHead, below
from affetto.represent import Acoustics, Bank, Extractor, Functionals, Inputs, Layers
from affetto.represent.extractors import pooled
from affetto.training.heads.classical import (
    ClassicalConfig,
    FunctionalsSvmConfig,
    MostFrequentConfig,
    RandomConfig,
    fit_classical,
)
from affetto.training.heads.data import HeadData, measure
from affetto.training.heads.loop import HeadTraining, fit_head, probabilities
from affetto.training.heads.stack import StackTraining
from affetto.training.heads.tasks import Outcome, Task
from affetto.training.heads.unfinished import Unfinished

ModelConfig = Annotated[
    BaselineConfig
    | MeanPoolingConfig
    | RecurrentConfig
    | ProgressiveConfig
    | MostFrequentConfig
    | RandomConfig
    | FunctionalsSvmConfig,
    Field(discriminator="kind"),
]
"""Every kind of row."""

_HEADS = (BaselineConfig, MeanPoolingConfig, RecurrentConfig, ProgressiveConfig)


class Study(NamedTuple):
    """The data set that all rows of a table share.

    Attributes:
        classes: the emotions.
        targets: each class's share in what an utterance should be taken for, (utterances, classes).
        share: of all utterances, the mean share that a fold trains on.
        banks: name -> representation, see `needs`.
        network: of which layers are trained along; None where none are.
        seed: of the experiment.
        device: where heads are trained.
    """

    classes: tuple[str, ...]
    targets: Tensor
    share: float
    banks: Mapping[str, Bank]
    network: Network | None
    seed: int
    device: str = "cpu"


def needs(model: ModelConfig, encoder: Encoder) -> list[Extractor]:
    """What has to be extracted before a row can be fitted.

    Args:
        model: the row.
        encoder: whose layers it reuses.

    Raises:
        TrainingError: the encoder has no such layer, or the layers are in the wrong order or cannot be trained along.
    """
    if isinstance(model, FunctionalsSvmConfig):
        return [Functionals(model.feature_set)]
    extractors: list[Extractor] = []
    if isinstance(model, BaselineConfig | ProgressiveConfig):
        extractors.append(Acoustics(model.branch.acoustic))
    if isinstance(model, MeanPoolingConfig | RecurrentConfig | ProgressiveConfig):
        _check_layers(model, encoder)
        names = {_read_name(model, encoder.layers), _measured_name(model)}
        if INPUT in names and encoder.network is not None:
            extractors.append(Inputs(encoder.network))
        extractors.append(Layers(encoder, tuple(sorted(names - {INPUT}))))
    return extractors


def _check_layers(model: MeanPoolingConfig | RecurrentConfig | ProgressiveConfig, encoder: Encoder) -> None:
    names = [layer.name for layer in encoder.layers]
    for layer in (model.layer, model.trained_from or model.layer):
        if layer not in names:
            raise TrainingError(f"the recogniser has no layer {layer!r}", f"choose one of {', '.join(names)}")
    if model.trained_from is not None and encoder.network is None:
        raise TrainingError("the layers of this recogniser cannot be trained along", "leave trained_from out")
    if model.trained_from is not None and names.index(model.trained_from) > names.index(model.layer):
        raise TrainingError(
            f"{model.trained_from} stands above {model.layer}", "train from the head's layer or from one below it"
        )


def _measured_name(model: MeanPoolingConfig | RecurrentConfig | ProgressiveConfig) -> str:
    """The bank that the head's scaling is measured on: what it reads while the recogniser is frozen."""
    return model.layer if isinstance(model, RecurrentConfig) else pooled(model.layer)


def _read_name(model: MeanPoolingConfig | RecurrentConfig | ProgressiveConfig, layers: Sequence[LayerInfo]) -> str:
    """The bank that is read in training."""
    return _measured_name(model) if model.trained_from is None else below(layers, model.trained_from)


def new_head(model: HeadConfig, classes: tuple[str, ...], layer_width: int, seed: int) -> EmotionHead:
    """A head with random weights that depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return EmotionHead(model, classes, layer_width)


def fit_tasks(
    model: ModelConfig,
    study: Study,
    tasks: Sequence[Task],
    training: HeadTraining,
    *,
    progress: Callable[[int], None] | None = None,
    unfinished: Path | None = None,
) -> Iterator[tuple[Task, Outcome]]:
    """Fits a row to folds; heads on a frozen recogniser are trained together.

    Args:
        model: the row.
        study: the data set.
        tasks: folds, those of a repeat standing together.
        training: how heads are trained; of no meaning to classical rows.
        progress: is told the number of each epoch that ended.
        unfinished: where heads that are trained together keep how far they have come, and go on from after a kill.

    Yields:
        Each task and what came of it, in order.

    Raises:
        TrainingError: there is nothing to train on, or a loss is not a number.
        MissingExtraError: what the row needs is not installed.
    """
    if not isinstance(model, _HEADS):
        yield from _fit_classical(model, study, tasks)
    elif getattr(model, "trained_from", None) is not None:
        for task in tasks:
            yield task, _fit_tuned(model, study, task, training)
    else:
        key = str(stable_seed(model.model_dump_json(), training.model_dump_json(), study.seed, *_cells(tasks)))
        yield from _fit_frozen(model, study, tasks, training, progress, Unfinished(unfinished, key))


def _fit_classical(model: ClassicalConfig, study: Study, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
    features = None
    if isinstance(model, FunctionalsSvmConfig):
        features = study.banks[Functionals(model.feature_set).names[0]].dense[0].numpy()
    outcomes = fit_classical(model, features, study.targets.numpy(), tasks, study.seed)
    yield from zip(tasks, outcomes, strict=True)


def material_of(model: HeadConfig, study: Study, name: str | None = None) -> HeadData:
    """What a head reads of a study.

    Args:
        model: the head.
        study: the data set.
        name: the bank of the layer; None takes the one that the head reads on a frozen recogniser.
    """
    acoustic = None
    if isinstance(model, BaselineConfig | ProgressiveConfig):
        acoustic = study.banks[Acoustics(model.branch.acoustic).names[0]]
    layer = None if isinstance(model, BaselineConfig) else study.banks[name or _measured_name(model)]
    return HeadData(layer, acoustic, study.targets, study.share, torch.device(study.device))


def _fit_frozen(
    model: HeadConfig,
    study: Study,
    tasks: Sequence[Task],
    training: HeadTraining,
    progress: Callable[[int], None] | None,
    unfinished: Unfinished,
) -> Iterator[tuple[Task, Outcome]]:
    material = material_of(model, study)
    width = 0 if material.layer is None else material.layer.width
    heads = [new_head(model, study.classes, width, stable_seed(study.seed, task.repeat, task.fold)) for task in tasks]
    stack = StackTraining(heads, tasks, material, training, study.seed)
    kept = unfinished.load()
    if kept is not None:
        stack.resume(kept)
    while not stack.done:
        stack.run_epoch()
        unfinished.keep(stack.snapshot)
        if progress is not None:
            progress(stack.epoch)
    stack.finish()
    said = zip(*(stack.probabilities(part) for part in ("validation", "test")), strict=True)
    for task, head, curve, (validation, test) in zip(tasks, heads, stack.curves, said, strict=True):
        yield task, Outcome(validation, test, tuple(curve), _trained(head))
    unfinished.forget()


def _cells(tasks: Sequence[Task]) -> list[str]:
    return [f"{task.repeat}/{task.fold}" for task in tasks]


def _fit_tuned(model: HeadConfig, study: Study, task: Task, training: HeadTraining) -> Outcome:
    assert not isinstance(model, BaselineConfig)
    assert study.network is not None
    assert model.trained_from is not None
    head = new_head(
        model,
        study.classes,
        next(layer.width for layer in study.network.layers if layer.name == model.layer),
        stable_seed(study.seed, task.repeat, task.fold),
    )
    measure(head, material_of(model, study), task.training)
    network = TunedHead(study.network, head, model.trained_from).to(study.device)
    material = material_of(model, study, _read_name(model, study.network.layers))
    curve = fit_head(network, material, task, training, study.seed)
    validation, test = (probabilities(network, material, part).numpy() for part in (task.validation, task.test))
    return Outcome(validation, test, curve, _trained(network))


def _trained(network: torch.nn.Module) -> int:
    return sum(each.numel() for each in network.parameters() if each.requires_grad)
