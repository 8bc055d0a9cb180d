"""Bidirectional GRU layers that train quickly on a CPU: one, or several of one shape at once, as folds have them.

PyTorch's own CPU backward pass multiplies one small weight gradient a time step; here it is one large product over all
steps, as cuDNN does it, and both directions (each sequence is also read from its end) and all layers step together.
What is slow then is memory: frames are packed, and gradients overwrite what the forward pass kept. Under autocast
products run in its precision, states in float32. The numbers are `torch.nn.GRU`'s; ``benchmarks/gru.py`` has the gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import PackedSequence

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Packing(NamedTuple):
    """How batches of sequences, one a model, lie in rows: all first frames, all second frames, and so on.

    A time step has as many rows as the model with most sequences of that length needs, so that all models have the
    same rows. Least is wasted where each model's sequences stand from the longest to the shortest.
    """

    sizes: list[int]  # rows of each time step, falling
    steps: Tensor  # the time step of each row, (rows,)
    sequences: Tensor  # its place in the batch, (rows,)
    real: Tensor  # whether a model has a frame there, (models, rows)
    turned: Tensor  # the row that is as far from its sequence's end as this one is from the beginning, (models, rows)
    lengths: Tensor  # of each sequence, (models, batch)

    def both_ways(self, rows: Tensor) -> Tensor:
        """Each model's rows, then the same with each sequence read from its end: (2 models, rows) of (models, rows)."""
        return torch.cat([rows, rows.gather(1, self.turned)])

    def averages(self, states: Tensor) -> Tensor:
        """Each sequence's mean over its frames, (2 models, rows, width) to (models, batch, 2 x width)."""
        share = self.real / self.lengths.gather(1, self.sequences.expand_as(self.turned))
        means: Tensor = _Sums.apply(states, torch.cat([share, share])[..., None], self)  # type: ignore[no-untyped-call]
        return torch.cat(means.chunk(2), dim=-1)


def pack(lengths: Tensor) -> Packing:
    """Arranges sequences of some lengths, (models, batch), each at least 1."""
    batch, time = lengths.shape[1], int(lengths.max())
    reached = torch.arange(time, device=lengths.device)[:, None] < lengths.amax(dim=0)  # (time, batch)
    places = torch.arange(1, batch + 1, device=lengths.device)
    sizes = (reached * places).amax(dim=1)
    steps, sequences = (places <= sizes[:, None]).nonzero().unbind(dim=1)
    own = lengths[:, sequences]
    real = steps < own
    starts = sizes.cumsum(0) - sizes
    turned = starts[torch.where(real, own - 1 - steps, steps)] + sequences
    return Packing(sizes.tolist(), steps, sequences, real, turned, lengths)


def bidirectional_gru(gru: nn.GRU, inputs: PackedSequence) -> PackedSequence:
    """Runs one bidirectional layer over packed sequences: data (frames, in_width) to (frames, 2 x width)."""
    if inputs.data.is_cuda or not torch.is_grad_enabled():
        outputs: PackedSequence = gru(inputs)[0]
        return outputs
    sizes = inputs.batch_sizes
    packing = pack((sizes > torch.arange(int(sizes[0]))[:, None]).sum(dim=1)[None])
    data = inputs.data[None]
    stacked = {name: parameter[None] for name, parameter in gru.named_parameters()}
    found = gru_stack(stacked, torch.cat([data, _turn(data, packing.turned)]), packing)
    return inputs._replace(data=side_by_side(found, packing)[0])


def gru_stack(parameters: Mapping[str, Tensor], inputs: Tensor, packing: Packing) -> Tensor:
    """Runs one bidirectional layer of each of several models, with `torch.nn.GRU`'s parameters by name, (models, ...).

    Of each model's rows, then the same read from each sequence's end, (2 models, rows, in_width), it makes (2 models,
    rows, width): what the forward directions give, then what the backward directions give as they read. What stands in
    rows without a frame is of no use.
    """
    weights = [torch.cat([parameters[f"{name}_l0"], parameters[f"{name}_l0_reverse"]]) for name in PARAMETERS]
    outputs: Tensor = _Scan.apply(inputs, *weights, packing.sizes)  # type: ignore[no-untyped-call]
    return outputs


def side_by_side(outputs: Tensor, packing: Packing) -> Tensor:
    """Both directions of each frame, (2 models, rows, width) to (models, rows, 2 x width)."""
    forwards, backwards = outputs.chunk(2)
    return torch.cat([forwards, _turn(backwards, packing.turned)], dim=-1)


def read_both_ways(outputs: Tensor, packing: Packing) -> Tensor:
    """What a layer gave, as the next one reads it: (2 models, rows, width) to (2 models, rows, 2 x width)."""
    frames = side_by_side(outputs, packing)
    return torch.cat([frames, _turn(frames, packing.turned)])


def _steps(sizes: list[int]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size


class _Scan(torch.autograd.Function):
    """The recurrence of every model and direction, time step by time step."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917
        ctx: Any, inputs: Tensor, weight_in: Tensor, weight: Tensor, bias_in: Tensor, bias: Tensor, sizes: list[int]
    ) -> Tensor:
        coarse = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
        with torch.autocast("cpu", enabled=False):
            width = weight.shape[2]
            gates = _product(inputs, weight_in.transpose(1, 2), coarse)  # (stacked, rows, 3 width), becomes r, z, n
            recurrent_n, previous, states = (gates.new_empty(*gates.shape[:2], width) for _ in range(3))
            by_state, bias_n = weight.to(coarse).transpose(1, 2).contiguous(), bias_in[:, None, 2 * width :]
            offset = torch.cat([(bias_in + bias)[:, : 2 * width], bias[:, 2 * width :]], dim=1)[:, None].to(coarse)
            last = states.new_zeros(len(states), sizes[0], width)
            for here, size in zip(_steps(sizes), sizes, strict=True):
                before = previous[:, here].copy_(last[:, :size])
                recurrent = torch.baddbmm(offset, before.to(coarse), by_state)
                r_and_z = gates[:, here, : 2 * width].add_(recurrent[..., : 2 * width]).sigmoid_()
                kept = recurrent_n[:, here].copy_(recurrent[..., 2 * width :])
                n = torch.addcmul(gates[:, here, 2 * width :], r_and_z[..., :width], kept).add_(bias_n).tanh_()
                gates[:, here, 2 * width :] = n
                last = torch.lerp(n, before, r_and_z[..., width:], out=states[:, here])
        ctx.sizes, ctx.coarse = sizes, coarse
        ctx.save_for_backward(inputs, weight_in, weight, gates, recurrent_n, previous)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_in, weight, gates, recurrent_n, previous = ctx.saved_tensors
        width, coarse = weight.shape[2], ctx.coarse
        by_state = weight.to(coarse)
        d_last = None
        for here in reversed(list(_steps(ctx.sizes))):
            (r, z, n), of_n, before = gates[:, here].chunk(3, dim=2), recurrent_n[:, here], previous[:, here]
            d_state = gradients[0][:, here].clone(memory_format=torch.contiguous_format)
            if d_last is not None:
                d_state[:, : d_last.shape[1]] += d_last
            by_n = torch.addcmul(d_state, d_state, z, value=-1)  # d_state (1 - z)
            by_z = torch.sub(before, n).mul_(z).mul_(by_n)
            by_n.addcmul_(by_n * n, n, value=-1)
            d_state.mul_(z)
            # From here on, what the forward pass kept is overwritten: by the gradients of the sums that stand in r and
            # z and of what r is multiplied by, and in recurrent_n by the gradient of the sum in n.
            z.copy_(by_z)
            torch.mul(by_n, r, out=n)
            by_r = of_n.mul_(n)
            torch.addcmul(by_r, by_r, r, value=-1, out=r)
            of_n.copy_(by_n)
            d_last = d_state.add_(torch.bmm(gates[:, here].to(coarse), by_state))
        d_weight, d_bias = _product(gates.transpose(1, 2), previous, coarse), gates.sum(1)
        gates[..., 2 * width :] = recurrent_n
        d_inputs = _product(gates, weight_in, coarse).to(inputs.dtype) if ctx.needs_input_grad[0] else None
        d_weight_in = _product(gates.transpose(1, 2), inputs, coarse)
        d_bias_in = torch.cat([d_bias[:, : 2 * width], recurrent_n.sum(1)], dim=1)
        return d_inputs, d_weight_in, d_weight, d_bias_in, d_bias, None


def _product(first: Tensor, second: Tensor, coarse: torch.dtype) -> Tensor:
    """Of batches of matrices, computed as coarsely as asked, in the precision of the finer of the two."""
    exact = torch.promote_types(first.dtype, second.dtype)
    return torch.bmm(first.to(coarse), second.to(coarse)).to(exact)


class _Sums(torch.autograd.Function):
    """The weighted sum of each sequence's rows, (stacked, rows, width) to (stacked, batch, width)."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weights: Tensor, packing: Packing) -> Tensor:
        sums = states.new_zeros(len(states), packing.sizes[0], states.shape[2])
        for here, size in zip(_steps(packing.sizes), packing.sizes, strict=True):
            sums[:, :size].addcmul_(states[:, here], weights[:, here])
        ctx.sizes = packing.sizes
        ctx.save_for_backward(weights)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = ctx.saved_tensors
        d_states = weights.new_empty(*weights.shape[:2], gradients[0].shape[2])
        for here, size in zip(_steps(ctx.sizes), ctx.sizes, strict=True):
            torch.mul(gradients[0][:, :size], weights[:, here], out=d_states[:, here])
        return d_states, None, None


class _Turned(torch.autograd.Function):
    """Rows in an order that is its own reverse: turning the gradient, too, is faster than scattering it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, turned: Tensor) -> Tensor:
        ctx.save_for_backward(turned)
        return _pick(rows, turned)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _pick(gradients[0], *ctx.saved_tensors), None


def _pick(rows: Tensor, order: Tensor) -> Tensor:
    """Each model's rows in an order of its own, (models, rows, width) by (models, rows)."""
    first = torch.arange(len(rows), device=rows.device)[:, None] * rows.shape[1]
    return rows.flatten(0, 1).index_select(0, (first + order).flatten()).view_as(rows)


def _turn(rows: Tensor, turned: Tensor) -> Tensor:
    result: Tensor = _Turned.apply(rows, turned)  # type: ignore[no-untyped-call]
    return result
