"""Batch normalisation whose statistics may come from the batches of several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over (frames, width) or (frames, width, bins).

    While ``shared`` is set and several processes train together, the statistics are those of all their frames, each
    frame counting once: what a single process with all of them would compute. torch's own layer for this works on
    GPUs alone.
    """

    shared = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """(frames, width) or (frames, width, bins), real frames only, to the same shape."""
        if not (self.training and self.shared and torch.distributed.is_initialized()):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            exact = input if input.dtype == torch.float64 else input.float()
            return self._together(exact).to(input.dtype)

    def _together(self, inputs: Tensor) -> Tensor:
        others = (0, 2) if inputs.dim() == 3 else (0,)
        shape = (1, -1, 1) if inputs.dim() == 3 else (1, -1)
        count = inputs.new_tensor([inputs.numel() // self.num_features])
        sums = _Sum.apply(torch.cat([inputs.sum(others), count]))  # type: ignore[no-untyped-call]
        mean, total = sums[:-1] / sums[-1].detach(), sums[-1].detach()
        centred = inputs - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(others)) / total  # type: ignore[no-untyped-call]
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), self.momentum or 0.0)
        scaled: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape)


class _Sum(torch.autograd.Function):
    """The sum over all processes; each one's gradient is the sum of all theirs."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def share_statistics(module: nn.Module, shared: bool) -> None:
    """Sets ``shared`` of every batch normalisation in a network."""
    for each in module.modules():
        if isinstance(each, BatchNorm):
            each.shared = shared
