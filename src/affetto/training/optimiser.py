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
        self.steps = torch.zeros(len(next(iter(parameters.values()))))
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
        names = list(self.first)
        gradients = {name: parameters[name].grad for name in names}
        squares = sum(gradients[name].flatten(1).square().sum(dim=1) for name in names)  # type: ignore[union-attr]
        assert isinstance(squares, Tensor)
        clip = (clip_norm / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        self.steps += active
        steps = self.steps.clamp(min=1.0)
        correction = (1 - SECOND**steps).sqrt()
        size = rates / (1 - FIRST**steps)
        moving = None if bool(active.all()) else active
        for name in names:
            gradient = gradients[name]
            assert gradient is not None
            values, first, second = parameters[name], self.first[name], self.second[name]
            if moving is not None:
                gradient, values, first, second = (each[moving] for each in (gradient, values, first, second))
            shape = (-1, *(1,) * (gradient.dim() - 1))
            own = (each if moving is None else each[moving] for each in (clip, rates, correction, size))
            factor, rate, root, pace = (each.view(shape) for each in own)
            gradient = gradient * factor
            first.lerp_(gradient, 1 - FIRST)
            second.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
            values.mul_(1 - rate * self.weight_decay)
            values.addcdiv_(first * pace, (second.sqrt() / root).add_(EPSILON), value=-1.0)
            if moving is not None:
                parameters[name][moving], self.first[name][moving], self.second[name][moving] = values, first, second
        for name in names:
            parameters[name].grad = None

    def select(self, places: Sequence[int]) -> None:
        """Forgets all models but some."""
        chosen = list(places)
        self.steps = self.steps[chosen]
        self.first = {name: values[chosen] for name, values in self.first.items()}
        self.second = {name: values[chosen] for name, values in self.second.items()}
