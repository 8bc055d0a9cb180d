"""Several bidirectional GRU layers of one shape, each with weights and input of its own, in one computation.

A GRU of a hundred units leaves a processor idle: each time step is a product too small to be worth its call. Here the
steps of several folds of a cross-validation, and of both directions, are one batched product. The numbers are those of
`torch.nn.GRU`. ``benchmarks/heads.py`` measures the gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def gru_stack(parameters: Mapping[str, Tensor], inputs: Tensor, mask: Tensor) -> Tensor:
    """Runs one bidirectional layer of each of several models.

    Args:
        parameters: those of `torch.nn.GRU` by name ("weight_ih_l0", "weight_ih_l0_reverse", ...), stacked: each
            (models, ...).
        inputs: (models, time, batch, in_width).
        mask: True where a frame is real, (models, time, batch); padding stands at the end.

    Returns:
        (models, time, batch, 2 x width): both directions side by side. What stands at padded frames means nothing.

    >>> gru = torch.nn.GRU(3, 2, bidirectional=True)
    >>> stacked = {name: values[None] for name, values in gru.state_dict().items()}
    >>> inputs = torch.ones(5, 4, 3)
    >>> outputs = gru_stack(stacked, inputs[None], torch.ones(1, 5, 4, dtype=torch.bool))
    >>> torch.allclose(outputs[0], gru(inputs)[0], atol=1e-6)
    True
    """
    weights = [torch.cat([parameters[f"{name}_l0"], parameters[f"{name}_l0_reverse"]]) for name in PARAMETERS]
    both = torch.cat([inputs, inputs.flip(1)])  # forwards, then backwards: (2 models, time, batch, in_width)
    outputs: Tensor = _Scan.apply(both, *weights, mask)  # type: ignore[no-untyped-call]
    forwards, backwards = outputs.chunk(2)
    return torch.cat([forwards, backwards.flip(1)], dim=-1)


class _Scan(torch.autograd.Function):
    """The recurrence of every model and direction, time step by time step.

    r, z = sigmoid(W x + b + U h' + c); n = tanh(W x + b + r (U h' + c)); h = (1 - z) n + z h'.

    The second half of the models runs on time turned round, where padding stands at the start and has to keep the
    state at zero. r, z and n are kept apart, so that what a step writes of a model lies together in memory.
    """

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917
        ctx: Any, inputs: Tensor, weight_in: Tensor, weight: Tensor, bias_in: Tensor, bias: Tensor, mask: Tensor
    ) -> Tensor:
        stacked, time, batch, _ = inputs.shape
        width = weight.shape[2]
        rows = inputs.flatten(1, 2)
        biases = [*(bias_in + bias)[:, : 2 * width].chunk(2, dim=1), bias_in[:, 2 * width :]]
        r, z, n = (
            torch.baddbmm(own[:, None], rows, by_input).view(stacked, time, batch, width)
            for own, by_input in zip(biases, weight_in.transpose(1, 2).chunk(3, dim=2), strict=True)
        )
        recurrent_n = torch.empty_like(n)
        states = inputs.new_zeros(stacked, time + 1, batch, width)
        by_r, by_z, by_n = (each.contiguous() for each in weight.transpose(1, 2).chunk(3, dim=2))
        bias_n, late = bias[:, None, 2 * width :], _late_steps(mask)
        for step in range(time):
            previous, here = states[:, step], n[:, step]
            r[:, step].baddbmm_(previous, by_r).sigmoid_()
            z[:, step].baddbmm_(previous, by_z).sigmoid_()
            recurrent = torch.baddbmm(bias_n, previous, by_n)
            here.addcmul_(r[:, step], recurrent).tanh_()
            recurrent_n[:, step] = recurrent
            torch.lerp(here, previous, z[:, step], out=states[:, step + 1])
            if step < len(late):
                states[stacked // 2 :, step + 1] *= late[step]
        ctx.save_for_backward(inputs, weight_in, weight, r, z, n, recurrent_n, states, late)
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_in, weight, r, z, n, recurrent_n, states, late = ctx.saved_tensors
        stacked, time = n.shape[:2]
        # By the sums that stand in r, z and n; of those in n, by what comes from the input and from the state.
        d_r, d_z, d_n, d_recurrent_n = (torch.empty_like(n) for _ in range(4))
        from_r, from_z, from_n = (each.contiguous() for each in weight.chunk(3, dim=1))
        d_state = torch.zeros_like(states[:, 0])
        for step in reversed(range(time)):
            r_here, z_here, n_here = r[:, step], z[:, step], n[:, step]
            d_state += gradients[0][:, step]
            if step < len(late):
                d_state[stacked // 2 :] *= late[step]
            by_n = torch.addcmul(d_state, d_state * n_here, n_here, value=-1)  # d_state (1 - n n)
            by_n.addcmul_(by_n, z_here, value=-1)
            by_recurrent = by_n * r_here
            by_r = by_recurrent * recurrent_n[:, step]
            by_r.addcmul_(by_r, r_here, value=-1)
            d_state *= z_here
            by_z = (states[:, step] - n_here).mul_(d_state)
            by_z.addcmul_(by_z, z_here, value=-1)
            d_state.baddbmm_(by_r, from_r).baddbmm_(by_z, from_z).baddbmm_(by_recurrent, from_n)
            d_r[:, step], d_z[:, step], d_n[:, step], d_recurrent_n[:, step] = by_r, by_z, by_n, by_recurrent
        rows, previous = inputs.flatten(1, 2), states[:, :-1].flatten(1, 2)
        from_gates = [each.flatten(1, 2) for each in (d_r, d_z, d_n)]
        d_weight_in = torch.cat([each.transpose(1, 2) @ rows for each in from_gates], dim=1)
        d_bias_in = torch.cat([each.sum(1) for each in from_gates], dim=1)
        d_inputs = None
        if ctx.needs_input_grad[0]:
            by_input = weight_in.chunk(3, dim=1)
            d_inputs = from_gates[0] @ by_input[0]
            for gate, own in zip(from_gates[1:], by_input[1:], strict=True):
                d_inputs.baddbmm_(gate, own)
            d_inputs = d_inputs.view_as(inputs)
        from_gates[2] = d_recurrent_n.flatten(1, 2)
        d_weight = torch.cat([each.transpose(1, 2) @ previous for each in from_gates], dim=1)
        d_bias = torch.cat([each.sum(1) for each in from_gates], dim=1)
        return d_inputs, d_weight_in, d_weight, d_bias_in, d_bias, None


def _late_steps(mask: Tensor) -> Tensor:
    """For each step, with time turned round, at which some sequence has not begun: 1 where one has, else 0.

    Returns:
        (late steps, models, batch, 1).
    """
    padded = int((~mask).any(dim=(0, 2)).sum())
    return mask.flip(1)[:, :padded, :, None].transpose(0, 1).float()
