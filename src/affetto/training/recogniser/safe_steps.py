"""Steps that would ruin a network are left out: a loss or a gradient that is no number, or far beyond all before it."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor, nn

from affetto.errors import TrainingError

logger = logging.getLogger(__name__)

_MEMORY = 0.02
"""How much of the usual size of a gradient the newest one replaces."""
_BEYOND = 1_000.0
"""How many times the usual size a gradient may have; it is clipped long before that."""
_AFTER = 20
"""Steps after which there is a usual size."""


class SafeSteps:
    """Judges gradients before they are followed; every process that trains comes to the same judgement.

    A step is left out by taking its gradients away. Running statistics that were spoilt on the way are put back.

    Args:
        most: so many steps left out in a row end the training.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.skipped = 0
        """Steps left out so far."""
        self.in_a_row = 0
        self._usual: float | None = None  # mean logarithm of the gradient's norm
        self._judged = 0
        self._ids: list[str] = []
        self._loss: Tensor | None = None
        self._buffers: dict[str, Tensor] = {}

    def seen(self, ids: list[str], loss: Tensor) -> None:
        """Remembers which utterances the next gradient comes from, and their loss."""
        self._ids, self._loss = ids, loss

    def judge(self, model: nn.Module, norm: Tensor) -> bool:
        """Takes the gradients away if their norm, before clipping, makes no sense.

        Returns:
            Whether they may be followed.

        Raises:
            TrainingError: too many in a row made no sense.
        """
        size = float(norm)
        good = math.isfinite(size) and (
            self._usual is None or self._judged < _AFTER or size < _BEYOND * math.exp(self._usual)
        )
        if good:
            self._remember(model, size)
            return True
        self.skipped += 1
        self.in_a_row += 1
        for parameter in model.parameters():
            parameter.grad = None
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in self._buffers and not bool(buffer.isfinite().all()):
                    buffer.copy_(self._buffers[name])
        loss = math.nan if self._loss is None else self._loss.item()
        logger.warning(
            "step left out: gradient %.3g, loss %.3g, of the utterances %s", size, loss, ", ".join(self._ids[:8])
        )
        if self.in_a_row >= self.most:
            raise TrainingError(
                f"{self.in_a_row} steps in a row had no usable gradient (now loss {loss:.3g}, gradient {size:.3g})",
                "lower learning_rate, raise warmup_steps, or train with precision = '32-true'; "
                "the same command goes on from the last epoch",
                ", ".join(self._ids[:8]),
            )
        return False

    def _remember(self, model: nn.Module, size: float) -> None:
        self.in_a_row = 0
        self._judged += 1
        logarithm = math.log(size + 1e-12)
        self._usual = logarithm if self._usual is None else (1 - _MEMORY) * self._usual + _MEMORY * logarithm
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in self._buffers:
                    self._buffers[name].copy_(buffer)
                else:
                    self._buffers[name] = buffer.clone()
