"""Batch normalisation whose statistics may come from the batches of several processes."""

from __future__ import annotations

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
            return self._together(input.float()).to(input.dtype)

    def _together(self, inputs: Tensor) -> Tensor:
        others = (0, 2) if inputs.dim() == 3 else (0,)
        shape = (1, -1, 1) if inputs.dim() == 3 else (1, -1)
        count = inputs.new_tensor([inputs.numel() // self.num_features])
        sums = _sum(torch.cat([inputs.sum(others), count]))
        mean, total = sums[:-1] / sums[-1].detach(), sums[-1].detach()
        centred = inputs - mean.view(shape)
        variance = _sum(centred.square().sum(others)) / total
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), self.momentum or 0.0)
        scaled: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape)


def _sum(values: Tensor) -> Tensor:
    """Over all processes; gradients are added up, too."""
    from torch.distributed.nn.functional import all_reduce

    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def share_statistics(module: nn.Module, shared: bool) -> None:
    """Sets ``shared`` of every batch normalisation in a network."""
    for each in module.modules():
        if isinstance(each, BatchNorm):
            each.shared = shared
