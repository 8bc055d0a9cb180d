"""A bidirectional GRU whose training on a CPU does not waste the CPU.

PyTorch's own CPU backward pass multiplies and adds one small weight gradient for every time step. Here the recurrent
weights' gradient is one large product over all steps, as cuDNN does it, and both directions take their steps together:
each sequence is also read from its end, so that the two are equally long at every step. Under autocast the products
run in its precision, and the states stay in float32. The numbers are those of `torch.nn.GRU`, whose parameters are
used as they are. ``benchmarks/gru.py`` measures the gain.
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
    turned = from_the_end(inputs.batch_sizes)
    late = _turn(inputs.data, turned)
    gates = [
        nn.functional.linear(data, getattr(gru, f"weight_ih_l0{suffix}"), getattr(gru, f"bias_ih_l0{suffix}"))
        for data, suffix in ((inputs.data, ""), (late, "_reverse"))
    ]
    weight, bias = (
        torch.stack([getattr(gru, f"{name}_l0"), getattr(gru, f"{name}_l0_reverse")])
        for name in ("weight_hh", "bias_hh")
    )
    forwards, backwards = _Scan.apply(*gates, weight, bias, inputs.batch_sizes.tolist())  # type: ignore[no-untyped-call]
    return inputs._replace(data=torch.cat([forwards, _turn(backwards, turned)], dim=-1))


def from_the_end(batch_sizes: Tensor) -> Tensor:
    """For each packed row, the row that is as far from its sequence's end as this one is from the beginning.

    Args:
        batch_sizes: sequences that reach each time step, (time,), falling.

    Returns:
        (rows,).

    >>> from_the_end(torch.tensor([2, 2, 1])).tolist()  # a b a b a: sequences of 3 and of 2 frames
    [4, 3, 2, 1, 0]
    """
    steps = torch.arange(len(batch_sizes)).repeat_interleave(batch_sizes)
    starts = batch_sizes.cumsum(0) - batch_sizes
    sequences = torch.arange(len(steps)) - starts[steps]
    lengths = (batch_sizes[None] > torch.arange(int(batch_sizes[0]))[:, None]).sum(1)
    return starts[lengths[sequences] - 1 - steps] + sequences


def _steps(sizes: list[int]) -> list[tuple[int, int]]:
    """First row and rows of each time step."""
    steps, start = [], 0
    for size in sizes:
        steps.append((start, size))
        start += size
    return steps


class _Turned(torch.autograd.Function):
    """Rows in an order that is its own reverse: turning the gradient, too, is faster than scattering it."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, turned: Tensor) -> Tensor:
        ctx.save_for_backward(turned)
        return data[turned]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (turned,) = ctx.saved_tensors
        return gradients[0][turned], None


def _turn(data: Tensor, turned: Tensor) -> Tensor:
    rows: Tensor = _Turned.apply(data, turned)  # type: ignore[no-untyped-call]
    return rows


_BLOCK = 128
"""Rows whose derivatives are computed together: few enough to stay in the cache."""


def _derivatives(active: Tensor, recurrent_n: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
    """What a change of a row's inputs does to its state.

    For all rows at once, so that a time step of the backward pass is one product by the rows' gradient.

    Returns:
        d hidden / d (W h' + b), (2, rows, 3, width), and d hidden / d (input of the tanh), (2, rows, width).
    """
    directions, rows, width = previous.shape
    by_recurrent, by_n = active.new_empty(directions, rows, 3, width), torch.empty_like(previous)
    one = active.new_ones(())
    for start in range(0, rows, _BLOCK):
        here = slice(start, start + _BLOCK)
        r, z, n = active[:, here].chunk(3, dim=-1)
        to_r, to_z, to_n = by_recurrent[:, here].unbind(2)
        by_tanh = torch.addcmul(one, n, n, value=-1, out=by_n[:, here])
        by_tanh.addcmul_(by_tanh, z, value=-1)  # (1 - n n) (1 - z)
        torch.mul(by_tanh, r, out=to_n)
        torch.mul(to_n, recurrent_n[:, here], out=to_r)
        to_r.addcmul_(to_r, r, value=-1)
        torch.sub(previous[:, here], n, out=to_z).mul_(z)
        to_z.addcmul_(to_z, z, value=-1)
    return by_recurrent, by_n


class _Scan(torch.autograd.Function):
    """The recurrence h = (1 - z) n + z h' of two directions, over packed rows.

    r, z = sigmoid(gates + W h' + b); n = tanh(gates + r (W h' + b)), with the gates in the order r, z, n.
    """

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, late_gates: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]
    ) -> tuple[Tensor, Tensor]:
        coarse = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
        with torch.autocast("cpu", enabled=False):
            rows, width = len(gates), weight.shape[2]
            active = weight.new_empty(2, rows, 3 * width)  # becomes r, z, n
            active[0], active[1] = gates, late_gates
            recurrent_n, hidden = (weight.new_empty(2, rows, width) for _ in range(2))
            by_state, offset = weight.to(coarse).transpose(1, 2).contiguous(), bias.to(coarse)[:, None]
            last = weight.new_zeros(2, sizes[0], width)
            for start, size in _steps(sizes):
                here = slice(start, start + size)
                last = last[:, :size]
                recurrent = torch.baddbmm(offset, last.to(coarse), by_state)
                r_and_z = active[:, here, : 2 * width].add_(recurrent[..., : 2 * width]).sigmoid_()
                kept = recurrent_n[:, here].copy_(recurrent[..., 2 * width :])
                n = active[:, here, 2 * width :].addcmul_(r_and_z[..., :width], kept).tanh_()
                last = torch.lerp(n, last, r_and_z[..., width:], out=hidden[:, here])
        ctx.sizes, ctx.coarse, ctx.gates = sizes, coarse, gates.dtype
        ctx.save_for_backward(active, recurrent_n, hidden, weight)
        return hidden[0], hidden[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        active, recurrent_n, hidden, weight = ctx.saved_tensors
        sizes, coarse = ctx.sizes, ctx.coarse
        previous = torch.zeros_like(hidden)
        before = torch.arange(sizes[0], hidden.shape[1])
        before -= torch.tensor(sizes[:-1], dtype=torch.int64).repeat_interleave(
            torch.tensor(sizes[1:], dtype=torch.int64)
        )
        torch.index_select(hidden, 1, before, out=previous[:, sizes[0] :])
        z, width = active[..., hidden.shape[2] : 2 * hidden.shape[2]], hidden.shape[2]
        by_recurrent, by_n = _derivatives(active, recurrent_n, previous)
        d_hidden = torch.stack(gradients)
        d_recurrent = torch.empty_like(by_recurrent, dtype=coarse)  # (2, rows, 3, width)
        flat = d_recurrent.flatten(2)
        by_state = weight.to(coarse)
        steps = _steps(sizes)
        for (start, size), (last_start, _) in pairwise(reversed(steps)):
            here, earlier = slice(start, start + size), d_hidden[:, last_start : last_start + size]
            torch.mul(d_hidden[:, here, None], by_recurrent[:, here], out=d_recurrent[:, here])
            earlier.addcmul_(d_hidden[:, here], z[:, here]).add_(torch.bmm(flat[:, here], by_state))
        first = slice(0, sizes[0])
        torch.mul(d_hidden[:, first, None], by_recurrent[:, first], out=d_recurrent[:, first])
        d_gates = torch.empty_like(flat, dtype=ctx.gates)
        d_gates[..., : 2 * width] = flat[..., : 2 * width]
        torch.mul(d_hidden, by_n, out=d_gates[..., 2 * width :])
        d_weight = torch.bmm(flat.transpose(1, 2), previous.to(coarse)).to(weight.dtype)
        return d_gates[0], d_gates[1], d_weight, flat.sum(1, dtype=weight.dtype), None
