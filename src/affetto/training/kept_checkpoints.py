"""Checkpoints of a training: written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from affetto.errors import TrainingError


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
