"""AdamW for several models at once, each with a learning rate, a gradient norm and a step count of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8
"""Adam's decay rates and the number that keeps it from dividing by zero (Kingma and Ba 2014)."""


class StackedAdamW:
    """What `torch.optim.AdamW` does after `torch.nn.utils.clip_grad_norm_`, for models stacked along the first axis.

    Args:
        parameters: name -> (models, ...).
        weight_decay: decoupled.
    """

    def __init__(self, parameters: Mapping[str, Tensor], weight_decay: float) -> None:
        self.weight_decay = weight_decay
        some = next(iter(parameters.values()))
        self.steps = torch.zeros(len(some), device=some.device)
        self.first = {name: torch.zeros_like(values) for name, values in parameters.items()}
        self.second = {name: torch.zeros_like(values) for name, values in parameters.items()}

    @torch.no_grad()
    def step(self, parameters: Mapping[str, Tensor], rates: Tensor, clip_norm: float, active: Tensor) -> None:
        """Moves every active model against its gradient.

        Args:
            parameters: with gradients.
            rates: learning rate of each model, (models,).
            clip_norm: the norm to which each model's gradient is clipped.
            active: which models move, (models,), booleans; the others stay as they are, momentum included.
        """
        gradients = {name: _gradient(parameters[name]) for name in self.first}
        squares = torch.stack([each.flatten(1).square().sum(dim=1) for each in gradients.values()])
        clip = (clip_norm / (squares.sum(dim=0).sqrt() + 1e-6)).clamp(max=1.0)
        self.steps += active
        steps = self.steps.clamp(min=1.0)
        correction = (1 - SECOND**steps).sqrt()
        size = rates / (1 - FIRST**steps)
        own = torch.stack([clip, rates, correction, size])
        moving = slice(None) if bool(active.all()) else active
        for name, gradient in gradients.items():
            parts = [each[moving] for each in (parameters[name], self.first[name], self.second[name])]
            self._move(parts, gradient[moving], own[:, moving])
            if moving is active:  # what a mask picks is a copy
                parameters[name][moving], self.first[name][moving], self.second[name][moving] = parts
        for name in gradients:
            parameters[name].grad = None

    def _move(self, parts: Sequence[Tensor], gradient: Tensor, own: Tensor) -> None:
        """Changes values, first and second moments in place; own: (4, models)."""
        values, first, second = parts
        clip, rate, correction, size = own.view(4, -1, *(1,) * (gradient.dim() - 1))
        clipped = gradient * clip
        first.lerp_(clipped, 1 - FIRST)
        second.mul_(SECOND).addcmul_(clipped, clipped, value=1 - SECOND)
        values.mul_(1 - rate * self.weight_decay)
        values.addcdiv_(first * size, (second.sqrt() / correction).add_(EPSILON), value=-1.0)

    def select(self, places: Sequence[int]) -> None:
        """Forgets all models but some."""
        chosen = list(places)
        self.steps = self.steps[chosen]
        self.first = {name: values[chosen] for name, values in self.first.items()}
        self.second = {name: values[chosen] for name, values in self.second.items()}


def _gradient(values: Tensor) -> Tensor:
    assert values.grad is not None, "to be called after backward()"
    return values.grad
