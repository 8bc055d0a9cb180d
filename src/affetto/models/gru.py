"""A bidirectional GRU whose training on a CPU does not waste the CPU.

PyTorch's own CPU backward pass multiplies and adds one small weight gradient for every time step. Here the recurrent
weights' gradient is one large product over all steps, as cuDNN does it; the numbers are those of `torch.nn.GRU`, whose
parameters are used as they are. ``benchmarks/gru.py`` measures the gain.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence


def bidirectional_gru(gru: nn.GRU, inputs: PackedSequence) -> PackedSequence:
    """Runs one bidirectional layer over packed sequences.

    Args:
        gru: one layer, bidirectional, with biases; its parameters are used.
        inputs: data (frames, in_width).

    Returns:
        Data (frames, 2 x width): both directions side by side.

    >>> from torch.nn.utils.rnn import pack_sequence
    >>> gru = nn.GRU(3, 2, bidirectional=True)
    >>> packed = pack_sequence([torch.ones(4, 3), torch.ones(2, 3)])
    >>> torch.allclose(bidirectional_gru(gru, packed).data, gru(packed)[0].data, atol=1e-6)
    True
    """
    if inputs.data.is_cuda or not torch.is_grad_enabled():
        outputs: PackedSequence = gru(inputs)[0]
        return outputs
    sizes = inputs.batch_sizes.tolist()
    directions = []
    for suffix, backwards in (("", False), ("_reverse", True)):
        weight_in, weight, bias_in, bias = (
            getattr(gru, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        gates = nn.functional.linear(inputs.data, weight_in, bias_in)
        directions.append(_Scan.apply(gates, weight, bias, sizes, backwards))  # type: ignore[no-untyped-call]
    return inputs._replace(data=torch.cat(directions, dim=-1))


def _steps(sizes: list[int], backwards: bool) -> list[tuple[int, int]]:
    """First row and rows of each time step, in the order of computation."""
    steps, start = [], 0
    for size in sizes:
        steps.append((start, size))
        start += size
    return steps[::-1] if backwards else steps


class _Scan(torch.autograd.Function):
    """The recurrence h = (1 - z) n + z h' of one direction, over packed rows.

    r, z = sigmoid(gates + W h' + b); n = tanh(gates + r (W h' + b)), with the gates in the order r, z, n.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, sizes: list[int], backwards: bool) -> Tensor:
        width = weight.shape[1]
        steps = _steps(sizes, backwards)
        active = gates.clone()  # becomes r, z, n: (rows, 3 width)
        recurrent_n = gates.new_empty(len(gates), width)
        previous = gates.new_zeros(len(gates), width)
        hidden = torch.empty_like(previous)
        transposed = weight.t()
        for index, (start, size) in enumerate(steps):
            rows = slice(start, start + size)
            if index > 0:
                last_start, last_size = steps[index - 1]
                shared = min(size, last_size)
                previous[start : start + shared] = hidden[last_start : last_start + shared]
            recurrent = torch.addmm(bias, previous[rows], transposed)
            r_and_z = active[rows, : 2 * width].add_(recurrent[:, : 2 * width]).sigmoid_()
            recurrent_n[rows] = recurrent[:, 2 * width :]
            n = active[rows, 2 * width :].addcmul_(r_and_z[:, :width], recurrent_n[rows]).tanh_()
            torch.lerp(n, previous[rows], r_and_z[:, width:], out=hidden[rows])
        ctx.steps = steps
        ctx.save_for_backward(active, recurrent_n, previous, weight)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        active, recurrent_n, previous, weight = ctx.saved_tensors
        r, z, n = active.chunk(3, dim=-1)
        by_n = (1 - z) * (1 - n * n)  # d hidden / d (input of the tanh)
        # d hidden / d (W h' + b): for all rows at once, so that a time step is one product by the rows' gradient.
        by_recurrent = torch.stack([by_n * recurrent_n * r * (1 - r), (previous - n) * z * (1 - z), by_n * r], dim=1)
        d_hidden = gradients[0].clone()
        d_recurrent = torch.empty_like(by_recurrent)  # (rows, 3, width)
        flat = d_recurrent.flatten(1)
        for (start, size), (last_start, last_size) in pairwise(reversed(ctx.steps)):
            rows = slice(start, start + size)
            torch.mul(d_hidden[rows, None], by_recurrent[rows], out=d_recurrent[rows])
            shared = slice(start, start + min(size, last_size))
            earlier = d_hidden[last_start : last_start + min(size, last_size)]
            earlier.addcmul_(d_hidden[shared], z[shared]).addmm_(flat[shared], weight)
        start, size = ctx.steps[0]
        rows = slice(start, start + size)
        torch.mul(d_hidden[rows, None], by_recurrent[rows], out=d_recurrent[rows])
        d_gates = torch.cat([flat[:, : -n.shape[1]], d_hidden * by_n], dim=-1)
        return d_gates, flat.t() @ previous, flat.sum(0), None, None
