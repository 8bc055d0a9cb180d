"""Trains a recogniser with Lightning: progress, devices, logs and resuming come from it."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from affetto import metrics, text
from affetto.data.batching import LengthSortedBatches
from affetto.data.corpora import open_corpus
from affetto.data.splits import Split, by_speaker, check_disjoint, held_out_groups
from affetto.data.transcribed import Transcribed, TranscribedBatch, batch_loader, select
from affetto.data.utterance import Utterance
from affetto.environment import environment
from affetto.errors import TrainingError
from affetto.models.decoding import greedy
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.recogniser_checkpoint import save_recogniser
from affetto.training.augmentation import mask_spectrogram
from affetto.training.memory import keep_freed_memory
from affetto.training.recogniser_recipe import RecogniserRecipe, RecogniserTraining, SpeechSource

logger = logging.getLogger(__name__)


class SpeechData(NamedTuple):
    """What a recogniser is trained on.

    Attributes:
        training: utterances to learn from.
        validation: utterances of other speakers.
        left_out: how many were left out for which reason.
    """

    training: list[Transcribed]
    validation: list[Transcribed]
    left_out: Counter[str]


def gather(recipe: RecogniserRecipe, data_root: Path) -> SpeechData:
    """Reads the recipe's corpora and divides their speakers.

    Raises:
        CorpusError: a corpus is missing or is none.
        SplitError: a validation speaker is also one to train on.
        TrainingError: a corpus has no such official part, or nothing is left to train or validate on.
    """
    training: list[Utterance] = []
    validation: list[Utterance] = []
    for source in recipe.corpora:
        learnt, held_out = _divide(source, data_root / source.path, recipe.seed)
        training += learnt
        validation += held_out
    check_disjoint(Split(tuple(training), tuple(validation), ()), by_speaker)
    alphabet = text.Alphabet(recipe.shape.symbols)
    limits: dict[str, Any] = {
        "max_duration_s": recipe.training.max_duration_s,
        "frame_rate_hz": DeepSpeech2(recipe.shape).output_rate_hz,
    }
    kept, left_out = select(training, alphabet, **limits)
    held, left_out_too = select(validation, alphabet, **limits)
    if not kept or not held:
        raise TrainingError(
            f"{len(kept)} utterances to train on and {len(held)} to validate on",
            "name corpora with transcripts, and hold some speakers out",
        )
    return SpeechData(kept, held, left_out + left_out_too)


def _divide(source: SpeechSource, path: Path, seed: int) -> tuple[list[Utterance], list[Utterance]]:
    """What one corpus gives to train and to validate on."""
    utterances = open_corpus(path).utterances
    held, wanted = source.validation_partition, source.training_partitions
    known = {item.partition for item in utterances if item.partition is not None}
    unknown = {*wanted, *([] if held is None else [held])} - known
    if unknown:
        raise TrainingError(
            f"the corpus has no part {', '.join(sorted(unknown))}",
            f"choose among {', '.join(sorted(known))}" if known else "hold out speakers: it has no official parts",
            path,
        )
    held_out = [item for item in utterances if held is not None and item.partition == held]
    learnt = [
        item for item in utterances if (item.partition in wanted if wanted else held is None or item.partition != held)
    ]
    if source.validation_speakers > 0:
        learnt, more = held_out_groups(
            learnt, group=lambda item: item.speaker, share=source.validation_speakers, seed=seed
        )
        held_out += more
    return learnt, held_out


class RecogniserTask(lightning.LightningModule):
    """One step of CTC training, and greedy decoding for validation."""

    def __init__(self, model: DeepSpeech2, training: RecogniserTraining) -> None:
        super().__init__()
        self.model = model
        self.training_config = training
        self.alphabet = text.Alphabet(model.config.symbols)
        self._references: list[str] = []
        self._hypotheses: list[str] = []

    def _loss(self, inputs: Any, batch: TranscribedBatch) -> tuple[Tensor, Any]:
        log_probs = self.model.recognise(inputs).log_probs
        losses = torch.nn.functional.ctc_loss(
            log_probs.values.transpose(0, 1).float(),
            batch.targets,
            log_probs.lengths,
            batch.target_lengths,
            reduction="none",
            zero_infinity=True,
        )
        return (losses / batch.target_lengths).mean(), log_probs

    def training_step(self, batch: TranscribedBatch | None, batch_index: int) -> Tensor | None:
        if batch is None:
            return None
        inputs = self.model.features(batch.waves)
        if self.current_epoch >= self.training_config.augment.from_epoch:
            inputs = mask_spectrogram(inputs, self.training_config.augment)
        loss, _ = self._loss(inputs, batch)
        if not torch.isfinite(loss):
            logger.warning("batch %d skipped: its loss is %s", batch_index, loss.item())
            return None
        self.log("loss", loss, prog_bar=True, batch_size=len(batch.texts))
        return loss

    def validation_step(self, batch: TranscribedBatch | None, batch_index: int) -> None:
        if batch is None:
            return
        loss, log_probs = self._loss(self.model.features(batch.waves), batch)
        self.log("validation_loss", loss, batch_size=len(batch.texts))
        self._references += batch.texts
        self._hypotheses += greedy(log_probs, self.alphabet)

    def on_validation_epoch_end(self) -> None:
        if not self._references:
            raise TrainingError("no validation utterance could be read", "look at the warnings above")
        self.log("cer", metrics.cer(self._references, self._hypotheses), prog_bar=True)
        self.log("wer", metrics.wer(self._references, self._hypotheses), prog_bar=True)
        self._references, self._hypotheses = [], []

    def configure_optimizers(self) -> Any:
        config = self.training_config
        optimiser: torch.optim.Optimizer
        if config.optimiser == "sgd":
            optimiser = torch.optim.SGD(self.parameters(), config.learning_rate, momentum=0.9, nesterov=True)
        else:
            optimiser = torch.optim.AdamW(self.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        epoch_steps = int(self.trainer.estimated_stepping_batches) // config.epochs
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(config, step, epoch_steps)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def learning_rate_factor(config: RecogniserTraining, step: int, epoch_steps: int) -> float:
    """What the learning rate is multiplied by: warm-up, annealing after every epoch, and a linear end.

    >>> config = RecogniserTraining(epochs=4, anneal=2.0, warmup_steps=1, cooldown_epochs=1)
    >>> [learning_rate_factor(config, step, epoch_steps=2) for step in range(8)]
    [0.5, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.0625]
    """
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    epochs_left = config.epochs - step / epoch_steps
    cooldown = min(1.0, epochs_left / config.cooldown_epochs) if config.cooldown_epochs else 1.0
    return float(warmup * cooldown / config.anneal ** (step // epoch_steps))


class _StayStopped(Callback):
    """A training that is resumed after early stopping ended it trains no further."""

    def __init__(self, stopping: EarlyStopping) -> None:
        self.stopping = stopping

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.stopping.wait_count >= self.stopping.patience:
            trainer.should_stop = True


def fit_recogniser(recipe: RecogniserRecipe, data_root: Path, folder: Path, *, devices: int | str = "auto") -> Path:
    """Trains a recogniser, or goes on where the same command was stopped.

    Args:
        recipe: what and how.
        data_root: the folder that the recipe's paths are relative to.
        folder: keeps the checkpoints of the best and of the last epoch, logs and the result.
        devices: how many, or "auto"; GPUs where there are any.

    Returns:
        The saved recogniser: the epoch with the lowest CER on the validation speakers. The same command over a
        finished training only saves it again.

    Raises:
        AffettoError: the recipe's data cannot be used, see `gather`.
    """
    keep_freed_memory()
    lightning.seed_everything(recipe.seed, verbose=False)
    data = gather(recipe, data_root)
    hours = sum(item.duration_s for item in data.training) / 3600
    logger.info("training on %d utterances, %.2f h; left out: %s", len(data.training), hours, dict(data.left_out))
    task = RecogniserTask(DeepSpeech2(recipe.shape), recipe.training)
    # At the end of the training epoch: after validation the epoch would not count as done, and be validated again.
    kept: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(folder / "checkpoints", "best", monitor="cer", **kept)
    newest = ModelCheckpoint(folder / "checkpoints", "last", **kept)  # save_last would keep improvements only
    stopping = EarlyStopping("cer", patience=recipe.training.patience, check_on_train_epoch_end=True)
    callbacks: list[Callback] = [
        best,
        newest,  # after the best, which is part of its state
        stopping,
        _StayStopped(stopping),
        LearningRateMonitor("epoch"),
        TQDMProgressBar(refresh_rate=10),
    ]
    trainer = lightning.Trainer(
        devices=devices,
        max_epochs=recipe.training.epochs,
        gradient_clip_val=recipe.training.clip_norm,
        callbacks=callbacks,
        logger=[CSVLogger(folder, "csv"), TensorBoardLogger(folder, "tensorboard")],
        use_distributed_sampler=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
    )
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(
        task,
        _loader(data.training, task.alphabet, recipe, sorted_first=True),
        _loader(_sample(data.validation, recipe), task.alphabet, recipe, sorted_first=False),
        ckpt_path=last if last.exists() else None,
        weights_only=False,  # our own file, with the optimiser's state
    )
    state = torch.load(folder / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    task.load_state_dict(state)
    result = folder / "recogniser.safetensors"
    facts = {
        "licence": recipe.licence,
        "recipe": recipe.model_dump(mode="json"),
        "training_hours": round(hours, 2),
        "epochs": trainer.current_epoch,
        "validation_cer": None if best.best_model_score is None else float(best.best_model_score),
        "environment": environment(),
    }
    save_recogniser(result, task.model, facts)
    return result


def _sample(items: list[Transcribed], recipe: RecogniserRecipe) -> list[Transcribed]:
    count = min(len(items), recipe.training.validation_utterances)
    chosen = np.random.default_rng(recipe.seed).choice(len(items), count, replace=False)
    return sorted((items[index] for index in chosen), key=lambda item: item.duration_s)


def _loader(
    items: list[Transcribed], alphabet: text.Alphabet, recipe: RecogniserRecipe, *, sorted_first: bool
) -> DataLoader[Transcribed]:
    """Batches for training (shuffled after the first epoch) or, always sorted, for validation."""
    size = recipe.training.batch_size
    if sorted_first:
        batches = LengthSortedBatches([item.duration_s for item in items], size, recipe.seed)
        return DataLoader(items, batch_sampler=batches, collate_fn=batch_loader(alphabet))  # type: ignore[arg-type]
    return DataLoader(items, batch_size=size, collate_fn=batch_loader(alphabet))  # type: ignore[arg-type]
