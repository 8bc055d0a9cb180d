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
        norms = torch.stack([torch.linalg.vector_norm(each.flatten(1), dim=1) for each in gradients.values()])
        clip = (clip_norm / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
        self.steps += active
        steps = self.steps.clamp(min=1.0)
        correction = (1 - SECOND**steps).sqrt()
        # size * first / (sqrt(second) / correction + EPSILON), with the correction taken out of the fraction.
        own = torch.stack([clip, 1 - rates * self.weight_decay, EPSILON * correction])
        sizes = -rates * correction / (1 - FIRST**steps)
        moving = slice(None) if bool(active.all()) else active
        for name, gradient in gradients.items():
            parts = [each[moving] for each in (parameters[name], self.first[name], self.second[name])]
            self._move(parts, gradient[moving], own[:, moving], sizes[moving])
            if moving is active:  # what a mask picks is a copy
                parameters[name][moving], self.first[name][moving], self.second[name][moving] = parts
        for name in gradients:
            parameters[name].grad = None

    def _move(self, parts: Sequence[Tensor], gradient: Tensor, own: Tensor, sizes: Tensor) -> None:
        """Changes values, first and second moments in place; own: (3, models), sizes: (models,)."""
        values, first, second = parts
        alike = (*(1,) * (gradient.dim() - 1),)
        clip, decay, epsilon = own.view(3, -1, *alike)
        gradient.mul_(clip)
        first.lerp_(gradient, 1 - FIRST)
        second.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        if self.weight_decay:
            values.mul_(decay)
        values.addcmul_(first / second.sqrt().add_(epsilon), sizes.view(-1, *alike))

    def select(self, places: Sequence[int]) -> None:
        """Forgets all models but some."""
        chosen = list(places)
        self.steps = self.steps[chosen]
        self.first = {name: values[chosen] for name, values in self.first.items()}
        self.second = {name: values[chosen] for name, values in self.second.items()}


def _gradient(values: Tensor) -> Tensor:
    assert values.grad is not None, "to be called after backward()"
    return values.grad
