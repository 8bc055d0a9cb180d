"""Several bidirectional GRU layers of one shape, each with weights and input of its own, in one computation.

A GRU of a hundred units leaves a processor idle: each time step is a product too small to be worth its call. Here the
steps of all folds of a cross-validation, and of both directions, are one batched product. The numbers are those of
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
        inputs: (time, models, batch, in_width).
        mask: True where a frame is real, (time, models, batch); padding stands at the end.

    Returns:
        (time, models, batch, 2 x width): both directions side by side. What stands at padded frames means nothing.

    >>> gru = torch.nn.GRU(3, 2, bidirectional=True)
    >>> stacked = {name: values[None] for name, values in gru.state_dict().items()}
    >>> inputs = torch.ones(5, 4, 3)
    >>> outputs = gru_stack(stacked, inputs[:, None], torch.ones(5, 1, 4, dtype=torch.bool))
    >>> torch.allclose(outputs[:, 0], gru(inputs)[0], atol=1e-6)
    True
    """
    weights = [torch.cat([parameters[f"{name}_l0"], parameters[f"{name}_l0_reverse"]]) for name in PARAMETERS]
    both = torch.cat([inputs, inputs.flip(0)], dim=1)  # forwards, then backwards: (time, 2 models, batch, in_width)
    outputs: Tensor = _Scan.apply(both, *weights, mask)  # type: ignore[no-untyped-call]
    forwards, backwards = outputs.chunk(2, dim=1)
    return torch.cat([forwards, backwards.flip(0)], dim=-1)


class _Scan(torch.autograd.Function):
    """The recurrence of every model and direction, time step by time step.

    r, z = sigmoid(W x + b + U h' + c); n = tanh(W x + b + r (U h' + c)); h = (1 - z) n + z h'.

    The second half of the models runs on time turned round, where padding stands at the start and has to keep the
    state at zero. Whatever a step writes lies together in memory, r and z apart from n: that halves the time.
    """

    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any, inputs: Tensor, weight_in: Tensor, weight: Tensor, bias_in: Tensor, bias: Tensor, mask: Tensor
    ) -> Tensor:
        time, stacked, batch, _ = inputs.shape
        width = weight.shape[2]
        cut = 2 * width
        r_and_z = inputs.new_empty(time, stacked, batch, cut)
        n, recurrent_n = inputs.new_empty(2, time, stacked, batch, width)
        states = inputs.new_zeros(time + 1, stacked, batch, width)
        by_input, by_state = (values.transpose(1, 2).contiguous() for values in (weight_in, weight))
        bias_rz, bias_n = (bias_in + bias)[:, None, :cut], bias_in[:, None, cut:]
        late = _late_steps(mask)
        for step in range(time):
            here, previous, gates, candidate = inputs[step], states[step], r_and_z[step], n[step]
            torch.baddbmm(bias_rz, here, by_input[..., :cut], out=gates)
            gates.baddbmm_(previous, by_state[..., :cut]).sigmoid_()
            torch.baddbmm(bias[:, None, cut:], previous, by_state[..., cut:], out=recurrent_n[step])
            torch.baddbmm(bias_n, here, by_input[..., cut:], out=candidate)
            candidate.addcmul_(gates[..., :width], recurrent_n[step]).tanh_()
            torch.lerp(candidate, previous, gates[..., width:], out=states[step + 1])
            if step < len(late):
                states[step + 1, stacked // 2 :] *= late[step]
        ctx.save_for_backward(inputs, weight_in, weight, r_and_z, n, recurrent_n, states, late)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_in, weight, r_and_z, n, recurrent_n, states, late = ctx.saved_tensors
        time, stacked, _, width = n.shape
        cut = 2 * width
        d_rz = torch.empty_like(r_and_z)  # by the gates' sums, of r and z
        d_n, d_recurrent_n = torch.empty_like(n), torch.empty_like(n)  # by both sums of n
        d_state = torch.zeros_like(states[0])
        for step in reversed(range(time)):
            d_state += gradients[0][step]
            if step < len(late):
                d_state[stacked // 2 :] *= late[step]
            r, z = r_and_z[step].split(width, dim=-1)
            slope = torch.addcmul(d_state, n[step], n[step] * d_state, value=-1)  # d_state (1 - n n)
            torch.addcmul(slope, slope, z, value=-1, out=d_n[step])
            torch.mul(d_n[step], r, out=d_recurrent_n[step])
            torch.mul(d_n[step], recurrent_n[step], out=d_rz[step][..., :width])
            torch.mul(states[step] - n[step], d_state, out=d_rz[step][..., width:])
            d_rz[step] *= torch.addcmul(r_and_z[step], r_and_z[step], r_and_z[step], value=-1)
            d_state *= z
            d_state.baddbmm_(d_rz[step], weight[:, :cut]).baddbmm_(d_recurrent_n[step], weight[:, cut:])
        d_in = _by_model(torch.cat([d_rz, d_n], dim=-1))  # (stacked, rows, 3 width)
        d_weight_in = d_in.transpose(1, 2) @ _by_model(inputs)
        d_recurrent = torch.cat([d_in[..., :cut], _by_model(d_recurrent_n)], dim=-1)
        d_weight = d_recurrent.transpose(1, 2) @ _by_model(states[:-1])
        d_inputs = None
        if ctx.needs_input_grad[0]:
            d_inputs = (d_in @ weight_in).view(stacked, time, -1, inputs.shape[-1]).transpose(0, 1)
        return d_inputs, d_weight_in, d_weight, d_in.sum(1), d_recurrent.sum(1), None


def _late_steps(mask: Tensor) -> Tensor:
    """For each step, with time turned round, at which some sequence has not begun: 1 where one has, else 0.

    Returns:
        (late steps, models, batch, 1).
    """
    padded = int((~mask).any(dim=(1, 2)).sum())
    return mask.flip(0)[:padded, ..., None].float()


def _by_model(values: Tensor) -> Tensor:
    """(time, models, batch, width) to (models, time x batch, width)."""
    return values.transpose(0, 1).flatten(1, 2)
