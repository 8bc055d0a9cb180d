"""Fits any row of a table to its folds: one contract over heads, tuned heads and classical models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BeforeValidator, SerializeAsAny
from torch import Tensor

from affetto.config import stable_seed
from affetto.errors import TrainingError
from affetto.models.encoders.encoder import WORD_LAYERS, Encoder, LayerInfo
from affetto.models.heads import ACOUSTIC, EmotionHead, HeadConfig, head_config
from affetto.models.heads.training import INPUT, TunedHead, below
from affetto.models.network import Network
from affetto.models.words import WordReader
from affetto.represent import Acoustics, Bank, Extractor, Functionals, Inputs, Layers, Words
from affetto.represent.cache import layers_of
from affetto.training.heads.classical import CLASSICAL, ClassicalConfig, FunctionalsSvmConfig, fit_classical
from affetto.training.heads.linear import HiddenTraining, LinearTraining, solve, train_hidden
from affetto.training.heads.loop import HeadTraining, fit_head, predictions
from affetto.training.heads.stack import StackTraining
from affetto.training.heads.tasks import Epoch, HeadData, Outcome, Task, measure
from affetto.training.heads.unfinished import Unfinished


def _of_its_kind(values: Any) -> Any:
    kind = CLASSICAL.get(str(values.get("kind"))) if isinstance(values, dict) else None
    return head_config(values) if kind is None else kind.model_validate(values)


ModelConfig = Annotated[SerializeAsAny[HeadConfig | ClassicalConfig], BeforeValidator(_of_its_kind)]
"""Every kind of row."""

Training = HeadTraining | LinearTraining | HiddenTraining
"""How a head is fitted."""


class Study(NamedTuple):
    """The data set that all rows of a table share.

    Targets are each class's share in what an utterance counts as, (utterances, classes); the share is the mean one that
    a fold trains on of all utterances. Banks go by their names, see `needs`. Layers are the encoder's and those of
    words, and its network is there where some are trained along. Strangers are banks of calm speech, for heads that are
    solved. Where heads predict dimensions, there are no classes, and targets are their values.
    """

    classes: tuple[str, ...]
    targets: Tensor
    share: float
    banks: Mapping[str, Bank]
    layers: tuple[LayerInfo, ...]
    network: Network | None
    seed: int
    device: str = "cpu"
    strangers: Mapping[str, Bank] | None = None
    dimensions: tuple[str, ...] = ()


def needs(model: ModelConfig, encoder: Encoder, reader: WordReader | None = None) -> list[Extractor]:
    """What has to be extracted before a row can be fitted, of an encoder whose layers it reuses and of its words."""
    if isinstance(model, ClassicalConfig):
        return [Functionals(model.feature_set)] if isinstance(model, FunctionalsSvmConfig) else []
    extractors: list[Extractor] = [] if model.acoustic is None else [Acoustics(model.acoustic)]
    known = known_layers(encoder, reader)
    names = {*model.inputs(model.choose(known)), *_read(model, known)}
    if model.tuned_from is not None and encoder.network is None:
        raise TrainingError("layers of this recogniser cannot be trained along", "leave out trained_from")
    if INPUT in names:
        extractors.append(Inputs(encoder))
    words = {name for name in names if not layers_of([name]).isdisjoint(WORD_LAYERS)}
    if words:
        assert reader is not None, "it chose among layers of words"
        extractors.append(Words(encoder, reader, tuple(sorted(words))))
    sound = names - words - {INPUT}
    return [*extractors, *([Layers(encoder, tuple(sorted(sound)))] if sound else [])]


def known_layers(encoder: Encoder, reader: WordReader | None) -> tuple[LayerInfo, ...]:
    """All that a head can read of an encoder and of the words that it writes."""
    return encoder.layers if reader is None else (*encoder.layers, *reader.layers)


def tunes(model: ModelConfig) -> bool:
    """Whether layers of the encoder are trained along with a row."""
    return isinstance(model, HeadConfig) and model.tuned_from is not None


def _read(model: HeadConfig, layers: Sequence[LayerInfo]) -> list[str]:
    """What is read of an encoder in training."""
    chosen = model.choose(layers)
    if model.tuned_from is None:
        return model.inputs(chosen)
    frozen = below(layers, model.tuned_from)
    apart = model.inputs([name for name in chosen if name in frozen])
    return [frozen[-1], *(name for name in apart if name != frozen[-1])]


def new_head(model: HeadConfig, study: Study, *seed: int | str) -> EmotionHead:
    """A head with random weights that depend on the study's seed and these alone."""
    with seeded(study.seed, *seed):
        return EmotionHead(model, study.classes, model.choose(study.layers), study.dimensions)


@contextmanager
def seeded(*seed: int | str) -> Iterator[None]:
    """Draws random numbers that depend on these alone; afterwards they go on as if none had been drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(stable_seed(*seed))
        yield


def fit_tasks(
    model: ModelConfig,
    study: Study,
    tasks: Sequence[Task],
    training: Training,
    *,
    progress: Callable[[Epoch], None] | None = None,
    unfinished: Path | None = None,
) -> Iterator[tuple[Task, Outcome]]:
    """Fits a row to folds, those of a repeat standing together, and gives each task and what came of it, in order.

    Heads on a frozen recogniser are trained together; how far they have come is kept in a file (``unfinished``), from
    which they go on after a kill. Progress is called as each head's epochs end. Raises TrainingError where there is
    nothing to train on, or a loss is not a number, and MissingExtraError where what the row needs is not installed.
    """
    if isinstance(model, ClassicalConfig):
        features = None
        if isinstance(model, FunctionalsSvmConfig):
            features = study.banks[Functionals(model.feature_set).names[0]].dense[0].numpy()
        outcomes = fit_classical(model, features, study.targets.numpy(), tasks, study.seed)
        yield from zip(tasks, outcomes, strict=True)
    elif model.together == "alone" or not isinstance(training, HeadTraining):
        for task in tasks:
            yield task, _fit_alone(model, study, task, training, progress)
    else:
        cells = [f"{task.repeat}/{task.fold}" for task in tasks]
        key = str(stable_seed(model.model_dump_json(), training.model_dump_json(), study.seed, *cells))
        yield from _fit_together(model, study, tasks, training, progress, Unfinished(unfinished, key))


def material_of(model: HeadConfig, study: Study, *, tuned: bool = False) -> HeadData:
    """What a head reads of a study: of the frozen encoder, or where layers of it are trained along (``tuned``)."""
    names = _read(model, study.layers) if tuned else model.inputs(model.choose(study.layers))
    banks = {name: study.banks[name] for name in names}
    if model.acoustic is not None:
        banks[ACOUSTIC] = study.banks[Acoustics(model.acoustic).names[0]]
    return HeadData(banks, study.targets, study.share, torch.device(study.device))


def _fit_together(
    model: HeadConfig,
    study: Study,
    tasks: Sequence[Task],
    training: HeadTraining,
    progress: Callable[[Epoch], None] | None,
    unfinished: Unfinished,
) -> Iterator[tuple[Task, Outcome]]:
    heads = [new_head(model, study, task.repeat, task.fold) for task in tasks]
    stack = StackTraining(heads, tasks, material_of(model, study), training, study.seed)
    kept = unfinished.load()
    if kept is not None:
        stack.resume(kept)
    while not stack.done:
        live = list(stack.live)
        stack.run_epoch()
        unfinished.keep(stack.snapshot)
        if progress is not None:
            for place in live:
                progress(stack.curves[place][-1])
    stack.finish()
    parts = zip(*(stack.predictions(part) for part in ("validation", "test")), strict=True)
    for task, head, curve, (validation, test) in zip(tasks, heads, stack.curves, parts, strict=True):
        yield task, Outcome(validation, test, tuple(curve), _trained(head), head)
    unfinished.forget()


def _fit_alone(
    model: HeadConfig, study: Study, task: Task, training: Training, progress: Callable[[Epoch], None] | None
) -> Outcome:
    head = new_head(model, study, task.repeat, task.fold)
    material = material_of(model, study)
    measure(head, material, task.training)
    network: EmotionHead | TunedHead = head
    if model.tuned_from is not None:
        assert study.network is not None, "its layers are trained along"
        material = material_of(model, study, tuned=True)
        with seeded(study.seed, task.repeat, task.fold, "rank"):
            network = TunedHead(study.network, head, model.tuned_from, model.tuned_rank)
    curve: tuple[Epoch, ...] = ()
    if isinstance(training, LinearTraining):
        solve(head, material, task, training, study.strangers)
    elif isinstance(training, HiddenTraining):
        curve = train_hidden(head, material, task, training, study.strangers, seed=study.seed, progress=progress)
    else:
        curve = fit_head(network.to(study.device), material, task, training, study.seed, progress=progress)
    validation, test = (predictions(network, material, part).numpy() for part in (task.validation, task.test))
    return Outcome(validation, test, curve, _trained(network), None if network is not head else head)


def _trained(network: torch.nn.Module) -> int:
    return sum(each.numel() for each in network.parameters() if each.requires_grad)
