"""What a training keeps while it goes on: checkpoints, written whole or not at all, and models of its epochs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback

from affetto import pretrained
from affetto.errors import TrainingError
from affetto.models.network import save_recogniser


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces, which stays where writing fails."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Saves a training's state.

        Raises:
            TrainingError: it cannot be written; the checkpoint of that name is still the one before.
        """
        target = Path(path)
        draft = target.with_name(f"{target.name}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except (OSError, RuntimeError) as error:  # torch's writer turns the system's errors into RuntimeErrors
            draft.unlink(missing_ok=True)
            raise TrainingError(
                f"the checkpoint cannot be written ({getattr(error, 'strerror', None) or str(error).splitlines()[0]})",
                "make room, then give the same command: it goes on from the last checkpoint, which is whole",
                target,
            ) from error


class EpochModels(Callback):
    """Keeps the state after an epoch as a model of its own, to study how it came about.

    Args:
        folder: gets a folder for each such epoch, named by its number from 1.
        every: after so many epochs.
        facts: what the model's file holds of it, from the number of epochs and the CER on the validation speakers.
    """

    def __init__(self, folder: Path, every: int, facts: Callable[[int, float], dict[str, Any]]) -> None:
        self.folder = folder
        self.every = every
        self.facts = facts

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        if epochs % self.every == 0 and trainer.is_global_zero:
            cer = float(trainer.callback_metrics["cer"])
            path = self.folder / f"{epochs:02d}" / pretrained.RECOGNISER
            save_recogniser(path, pl_module.model, self.facts(epochs, cer), precision="float16")  # type: ignore[arg-type]
