"""Trains a recogniser with Lightning: progress, devices, logs and resuming come from it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from affetto import pretrained
from affetto.environment import environment
from affetto.memory import keep_freed_memory
from affetto.models.network import make_recogniser, save_recogniser
from affetto.training.recogniser.checkpoints import EpochModels, WholeCheckpoints, mean_of, weights_of
from affetto.training.recogniser.frozen import FrozenLayers
from affetto.training.recogniser.processes import ANYWHERE, OwnHandlers, Placement, first_process
from affetto.training.recogniser.recipe import RecogniserRecipe, RecogniserTraining
from affetto.training.recogniser.speech import SpeechModule, gather
from affetto.training.recogniser.task import RecogniserTask
from affetto.training.recogniser.warm_start import begin_with, begin_with_encoder

logger = logging.getLogger(__name__)

_PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


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

    Args:
        recipe: what and how.
        data_root: the folder that the recipe's paths are relative to.
        folder: keeps the checkpoints of the best and of the last epoch, logs and the result; all machines see it. What
            a first recipe keeps is in its folder "first".
        placement: on how many devices and machines. Each process reads batches of the recipe's size.

    Returns:
        The saved recogniser: the epoch, or the mean of epochs, with the lowest CER on the validation speakers.

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
