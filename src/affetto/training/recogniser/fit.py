"""Trains a recogniser with Lightning: progress, devices, logs and resuming come from it.

It may begin with the numbers of a saved recogniser, or of a public encoder. What it keeps while it goes on,
checkpoints and models of its epochs, is written whole or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from affetto import pretrained
from affetto.environment import environment
from affetto.errors import TrainingError
from affetto.files import draft
from affetto.memory import keep_freed_memory
from affetto.models.encoders import locate, open_encoder
from affetto.models.network import RecogniserNetwork, load_recogniser, make_recogniser, save_recogniser
from affetto.models.whisper_ctc import WhisperCtc
from affetto.training.recogniser.frozen import FrozenLayers
from affetto.training.recogniser.processes import ANYWHERE, OwnHandlers, Placement, first_process
from affetto.training.recogniser.recipe import PublicEncoder, RecogniserRecipe, RecogniserTraining
from affetto.training.recogniser.speech import SpeechModule, gather
from affetto.training.recogniser.task import RecogniserTask

logger = logging.getLogger(__name__)

_FREE = {"dropout": True, "head": {"dropout"}}  # What two networks of one shape may differ in
_PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def begin_with(model: RecogniserNetwork, initial: str) -> Mapping[str, Any] | None:
    """Copies the weights of a saved recogniser, by its embedded model's name or its folder, into a network.

    Gives what its description holds of a public recogniser that it began with itself.
    """
    folder = pretrained.find(initial)
    saved, description = load_recogniser(folder / pretrained.RECOGNISER)
    _compare(model.config.model_dump(exclude=_FREE), saved.config.model_dump(exclude=_FREE), folder)
    model.load_state_dict(saved.state_dict())
    origin: Mapping[str, Any] | None = description.facts.get("origin")
    return origin


def begin_with_encoder(model: RecogniserNetwork, encoder: PublicEncoder, data_root: Path) -> dict[str, Any]:
    """Copies the weights of a public recogniser's encoder (perhaps in a folder below the data's) into a network's.

    Gives where they come from, for the trained model's description.
    """
    if not isinstance(model, WhisperCtc):
        problem = f"a network of kind {model.config.kind!r} cannot begin with a public encoder"
        raise TrainingError(problem, "take the key 'encoder' out, or train a network of kind 'whisper_ctc'")
    here = data_root / encoder.name
    folder, origin = locate(here if here.is_dir() else encoder.name)
    saved: Any = open_encoder(folder, device="cpu").network
    theirs = getattr(saved, "config", None)
    shape = {} if theirs is None else theirs.model_dump(exclude={"level"})
    _compare(model.config.encoder.model_dump(exclude={"level"}), shape, folder)
    model.encoder.load_state_dict(saved.state_dict())
    return {"name": encoder.name, "revision": origin.revision, "licence": encoder.licence}


def _compare(mine: Mapping[str, Any], theirs: Mapping[str, Any], folder: Path) -> None:
    differing = [f"{key} ({theirs.get(key)!r}, not {mine[key]!r})" for key in mine if mine[key] != theirs.get(key)]
    if differing:
        remedy = "give the recipe the initial model's shape, or begin with another one"
        raise TrainingError(f"the initial model is of another shape: {', '.join(differing)}", remedy, folder)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces, which stays where writing fails."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Saves a training's state, or raises TrainingError; the checkpoint of that name is then the one before."""
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft(target, synced=True) as unfinished:
                torch.save(checkpoint, unfinished)
        except (OSError, RuntimeError) as error:  # torch's writer turns the system's errors into RuntimeErrors
            why = getattr(error, "strerror", None) or str(error).splitlines()[0]
            remedy = "make room, then give the same command: it goes on from the last checkpoint, which is whole"
            raise TrainingError(f"the checkpoint cannot be written ({why})", remedy, target) from error


class EpochModels(Callback):
    """Keeps the state after every so many epochs as a model of its own, in a folder named by the epoch, from 1.

    What its file holds beside it is made from the number of epochs and the CER on the validation speakers.
    """

    def __init__(self, folder: Path, every: int, facts: Callable[[int, float], dict[str, Any]]) -> None:
        self.folder, self.every, self.facts = folder, every, facts

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        if epochs % self.every == 0 and trainer.is_global_zero:
            cer = float(trainer.callback_metrics["cer"])
            path = self.folder / f"{epochs:02d}" / pretrained.RECOGNISER
            save_recogniser(path, pl_module.model, self.facts(epochs, cer), precision="float16")  # type: ignore[arg-type]


def weights_of(path: Path) -> dict[str, Tensor]:
    """The weights in a training's checkpoint."""
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return weights


def mean_of(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights after several epochs, which often generalises better than any of them.

    Whole numbers (counters) are those of the last.

    >>> mean_of([{"a": torch.tensor([1.0])}, {"a": torch.tensor([4.0])}])
    {'a': tensor([2.5000])}
    """
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if last.is_floating_point() else last
        for name, last in states[-1].items()
    }


class _StayStopped(Callback):
    """A training that is resumed after early stopping ended it trains no further."""

    def __init__(self, stopping: EarlyStopping) -> None:
        self.stopping = stopping

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.stopping.wait_count >= self.stopping.patience:
            trainer.should_stop = True


class _Keeper(ModelCheckpoint):
    """The key of its state holds where its checkpoints lie, too."""

    @property
    def state_key(self) -> str:
        return f"{super().state_key} {Path(str(self.dirpath)).name}"


def fit_recogniser(recipe: RecogniserRecipe, data_root: Path, folder: Path, *, placement: Placement = ANYWHERE) -> Path:
    """Trains a recogniser, or goes on where the same command was stopped.

    The recipe's paths are relative to ``data_root``. The folder, which all machines see, keeps the checkpoints of the
    best and of the last epoch, logs and the result; what a first recipe keeps is in its folder "first". Each process
    reads batches of the recipe's size. Gives the saved recogniser: the epoch, or the mean of epochs, with the lowest
    CER on the validation speakers.

    Raises:
        AffettoError: the recipe's data, initial model or public encoder cannot be used; a checkpoint cannot be written;
            or step after step has no usable gradient.
    """
    keep_freed_memory()
    initial = _beginning(recipe, data_root, folder, placement)
    lightning.seed_everything(recipe.seed, verbose=False)
    data = gather(recipe, data_root)
    hours = sum(item.duration_s for item in data.training) / 3600
    if first_process():
        logger.info("training on %d utterances, %.2f h; left out: %s", len(data.training), hours, dict(data.left_out))
    model = make_recogniser(recipe.shape)
    origin = None if initial is None else begin_with(model, initial)
    if recipe.encoder is not None:
        origin = begin_with_encoder(model, recipe.encoder, data_root)
    precision = _PRECISIONS[recipe.training.precision]
    frozen = None if recipe.training.frozen is None else FrozenLayers(model, recipe.training.frozen, precision)
    task = RecogniserTask(model, recipe.training, recipe.seed, frozen)
    cache = folder / ("sound" if frozen is None else "layers")
    speech = SpeechModule(data, recipe, cache if frozen or recipe.training.cache_sound else None, frozen)
    best, callbacks = _callbacks(recipe.training, folder / "checkpoints")

    def facts(epochs: int, cer: float | None) -> dict[str, Any]:
        return {
            "licence": recipe.licence,
            **({} if origin is None else {"origin": origin}),
            "recipe": recipe.model_dump(mode="json"),
            "training_hours": round(hours, 2),
            "epochs": epochs,
            "validation_cer": cer,
            "environment": environment(),
        }

    if recipe.training.keep_every:
        callbacks.append(EpochModels(folder / "epochs", recipe.training.keep_every, facts))
    trainer = lightning.Trainer(
        **placement.arguments(),
        precision=recipe.training.precision,
        max_epochs=recipe.training.epochs,
        accumulate_grad_batches=recipe.training.accumulate,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=[CSVLogger(folder, "csv"), TensorBoardLogger(folder, "tensorboard")],
        use_distributed_sampler=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
    )
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(task, speech, ckpt_path=last if last.exists() else None, weights_only=False)  # our own file
    epochs = trainer.current_epoch
    found, cer = _best_of(trainer, task, speech, best)
    task.load_state_dict(found)
    result = folder / pretrained.RECOGNISER
    if first_process():
        save_recogniser(result, task.model, facts(epochs, cer))
    trainer.strategy.barrier()  # what comes next may begin with it
    return result


def _beginning(recipe: RecogniserRecipe, data_root: Path, folder: Path, placement: Placement) -> str | None:
    """The model to begin with, if any; a first recipe that is not trained yet is trained now."""
    if recipe.first is None:
        return recipe.initial
    first = folder / "first" / pretrained.RECOGNISER
    if not first.exists():
        fit_recogniser(recipe.first, data_root, first.parent, placement=placement)
    return str(first.parent)


def _callbacks(training: RecogniserTraining, folder: Path) -> tuple[ModelCheckpoint, list[Callback]]:
    """The keeper of the best epoch, and all callbacks together."""
    # At the end of the training epoch: after validation the epoch would not count as done, and be validated again.
    kept: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(folder, "best", monitor="cer", **kept)
    newest = ModelCheckpoint(folder, "last", **kept)  # save_last would keep improvements only
    stopping = EarlyStopping("cer", patience=training.patience, check_on_train_epoch_end=True)
    averaged: list[Callback] = []
    for name, count, monitor, mode in (
        ("late", training.average_last, "epoch", "max"),
        ("good", training.average_best, "cer", "min"),
    ):
        if count > 1:
            many = {"save_top_k": count, "monitor": monitor, "mode": mode, "save_weights_only": True}
            averaged.append(_Keeper(folder / name, "{epoch}", **many, **kept))  # type: ignore[arg-type]
    watching = [_StayStopped(stopping), LearningRateMonitor("epoch"), TQDMProgressBar(refresh_rate=10), OwnHandlers()]
    return best, [best, *averaged, newest, stopping, *watching]  # the newest after those that are part of its state


def _best_of(
    trainer: lightning.Trainer, task: RecogniserTask, speech: SpeechModule, best: ModelCheckpoint
) -> tuple[dict[str, Tensor], float | None]:
    """The weights that the validation speakers are decoded best by, and their CER."""
    folder = Path(str(best.dirpath))
    found = weights_of(folder / "best.ckpt")
    lowest = None if best.best_model_score is None else float(best.best_model_score)
    for name in ("late", "good"):
        paths = sorted((folder / name).glob("*.ckpt"))
        if len(paths) > 1:
            mean = mean_of([weights_of(path) for path in paths])
            task.load_state_dict(mean)
            cer = trainer.validate(task, speech, verbose=False)[0]["cer"]
            if first_process():
                logger.info("mean of %d epochs (%s): CER %.4f; the best epoch: %.4f", len(paths), name, cer, lowest)
            if lowest is None or cer < lowest:
                found, lowest = mean, cer
    return found, lowest
