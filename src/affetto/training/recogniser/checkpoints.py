"""What a training keeps while it goes on: checkpoints, written whole or not at all, and models of its epochs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from affetto import pretrained
from affetto.errors import TrainingError
from affetto.models.network import save_recogniser


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces, which stays where writing fails."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Saves a training's state, or raises TrainingError; the checkpoint of that name is then the one before."""
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
    """Keeps the state after every so many epochs as a model of its own, to study how it came about.

    The folder gets one for each such epoch, named by its number from 1. What the model's file holds of it is made from
    the number of epochs and the CER on the validation speakers.
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
