"""Trains several heads of one shape together: the folds and repeats of one row of a table.

Each head ends as it would if it were trained alone by `affetto.training.heads.loop.fit_head`, within the noise of
floating point: the same order of utterances, the same dropout, a learning rate and an end of its own. What differs is
how much work goes into one call of the linear algebra below. ``benchmarks/heads.py`` measures the gain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.memory import keep_freed_memory
from affetto.models.heads import EmotionHead
from affetto.models.heads.training import HeadStack
from affetto.training.heads.batches import OwnBatches, SharedBatches
from affetto.training.heads.loop import HeadTraining, finite, loss_of
from affetto.training.heads.plan import StackEpoch, plan_epoch
from affetto.training.heads.tasks import Epoch, HeadData, Task, measure
from affetto.training.heads.unfinished import Snapshot

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8
"""Adam's decay rates and the number that keeps it from dividing by zero (Kingma and Ba 2014)."""
_STATE = ("epoch", "live", "rates", "stalled", "best_losses", "curves")
"""What of a training is no tensor."""


class StackTraining:
    """The training of several heads of one config, freshly made, in place, epoch by epoch.

    Each has its task, those of one repeat standing together. The seed is that of the order of utterances and of
    dropout.
    """

    def __init__(
        self, heads: Sequence[EmotionHead], tasks: Sequence[Task], material: HeadData, config: HeadTraining, seed: int
    ) -> None:
        for head, task in zip(heads, tasks, strict=True):
            task.check()
            measure(head, material, task.training)
            head.to(material.device)
        keep_freed_memory()
        self.heads, self.material, self.config, self.seed = heads, material, config, seed
        self.stack = HeadStack(heads)
        self.batches = _batches(self.stack, material)
        self.optimiser = StackedAdamW(self._parameters, config.weight_decay)
        self.tasks = list(tasks)
        self.live = list(range(len(heads)))
        self.rates = [config.learning_rate] * len(heads)
        self.stalled = [0] * len(heads)
        self.best_losses = [float("inf")] * len(heads)
        self.best = [self.stack.state(place) for place in range(len(heads))]
        self.curves: list[list[Epoch]] = [[] for _ in heads]
        self.epoch = 0

    @property
    def _parameters(self) -> dict[str, Tensor]:
        return {name: self.stack.values[name] for name in self.stack.trained}

    def run_epoch(self) -> None:
        """Trains every head that is not done for one epoch, and lets its validation speakers judge it."""
        tasks = [self.tasks[head] for head in self.live]
        training = self._train(tasks)
        validation = self._validate(tasks)
        going = []
        for place, (head, loss, judged) in enumerate(zip(self.live, training, validation, strict=True)):
            self.curves[head].append(Epoch(self.epoch, self.rates[head], loss, judged))
            if judged < self.best_losses[head]:
                self.best_losses[head], self.stalled[head] = judged, 0
                self.best[head] = self.stack.state(place)
            else:
                self.stalled[head] += 1
            if self.stalled[head] >= self.config.patience:
                self.rates[head] /= self.config.anneal
                self.stalled[head] = 0
            if self.rates[head] >= self.config.stop_learning_rate:
                going.append(place)
        self.epoch += 1
        if len(going) < len(self.live):
            self.live = [self.live[place] for place in going]
            self.select(going)

    def select(self, places: Sequence[int]) -> None:
        """Goes on with some of the heads that are not done."""
        self.stack.select(places)
        self.optimiser.select(places)

    def snapshot(self) -> Snapshot:
        """All that the next epoch depends on."""
        groups = {
            "value": self.stack.values,
            "first": self.optimiser.first,
            "second": self.optimiser.second,
            **{f"best {head}": state for head, state in enumerate(self.best)},
        }
        numbers = {f"{group}/{name}": each.detach() for group, some in groups.items() for name, each in some.items()}
        facts = {name: getattr(self, name) for name in _STATE}
        return Snapshot({**numbers, "steps": self.optimiser.steps}, facts)

    def resume(self, snapshot: Snapshot) -> None:
        """Goes on to the bit from what `snapshot` gave, in a training of the same heads, tasks and material."""
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, values in snapshot.numbers.items():
            group, _, own = name.partition("/")
            groups[group][own] = values.to(self.material.device)
        for name, value in snapshot.facts.items():
            setattr(self, name, value)
        self.curves = [[Epoch(*each) for each in curve] for curve in self.curves]
        self.select(self.live)
        self.best = [groups[f"best {head}"] for head in range(len(self.heads))]
        self.stack.load(groups["value"])
        self.optimiser.steps = groups["steps"][""]
        for moments, group in ((self.optimiser.first, "first"), (self.optimiser.second, "second")):
            moments.update({name: groups[group][name] for name in moments})  # sums follow their order

    @property
    def done(self) -> bool:
        """Whether every head has stopped."""
        return not self.live or self.epoch >= self.config.epochs

    def finish(self) -> None:
        """Leaves every head as it was when its validation loss was lowest."""
        for head, state in zip(self.heads, self.best, strict=True):
            head.load_state_dict(state)
            head.eval()

    def predictions(self, part: Literal["validation", "test"]) -> list[NDArray[np.float32]]:
        """What each finished head predicts for a part of its fold: (utterances, outputs)."""
        scores = _batches(HeadStack(self.heads), self.material).scores(self.tasks, part)
        return [self.stack.head.predict(each).cpu().numpy() for each in scores]

    def _train(self, tasks: Sequence[Task]) -> list[float]:
        """The mean training loss of every live head."""
        rates = torch.tensor([self.rates[head] for head in self.live], device=self.material.device)
        totals = torch.zeros_like(rates)
        for losses, counts in self.batches.train(self._plan(tasks)):
            totals += losses * counts
            self.optimiser.step(self._parameters, rates, self.config.clip_norm, counts > 0)
        means = [total / len(task.training) for total, task in zip(totals.tolist(), tasks, strict=True)]
        return [finite(mean, "training") for mean in means]

    def _plan(self, tasks: Sequence[Task]) -> StackEpoch:
        member = np.zeros((len(tasks), len(self.material.targets)), dtype=bool)
        for row, task in zip(member, tasks, strict=True):
            row[task.training] = True
        chunk, durations = self.material.chunk(self.config.batch_size), self.material.durations
        repeats = [task.repeat for task in tasks]
        plans = [plan_epoch(durations, chunk, self.seed, repeat, self.epoch) for repeat, _ in groupby(repeats)]
        weights = (
            torch.stack([self.material.class_weights(task.training) for task in tasks])
            if self.config.balanced
            else None
        )
        return StackEpoch(plans, repeats, member, weights)

    def _validate(self, tasks: Sequence[Task]) -> list[float]:
        """The mean validation loss of every live head."""
        losses = []
        for task, scores in zip(tasks, self.batches.scores(tasks, "validation"), strict=True):
            targets = self.material.targets_of(task.validation)
            weights = self.material.class_weights(task.training) if self.config.balanced else None
            losses.append(finite(loss_of(self.stack.head, scores, targets, weights).item(), "validation"))
        return losses


def _batches(stack: HeadStack, material: HeadData) -> SharedBatches | OwnBatches:
    """Heads that only pool layers can all score one batch at little more than the cost of one."""
    return SharedBatches(stack, material) if stack.head.linear else OwnBatches(stack, material)


class StackedAdamW:
    """What `torch.optim.AdamW` does after `torch.nn.utils.clip_grad_norm_`, for models stacked along the first axis."""

    def __init__(self, parameters: Mapping[str, Tensor], weight_decay: float) -> None:
        self.weight_decay = weight_decay
        some = next(iter(parameters.values()))
        self.steps = torch.zeros(len(some), device=some.device)
        self.first = {name: torch.zeros_like(values) for name, values in parameters.items()}
        self.second = {name: torch.zeros_like(values) for name, values in parameters.items()}

    @torch.no_grad()
    def step(self, parameters: Mapping[str, Tensor], rates: Tensor, clip_norm: float, active: Tensor) -> None:
        """Moves every model that is active, (models,), against its gradient, at its rate, (models,).

        The others stay as they are, momentum included. Each model's gradient is clipped to a norm before.
        """
        gradients: dict[str, Tensor] = {}
        for name in self.first:
            gradient = parameters[name].grad
            assert gradient is not None, "to be called after backward()"
            gradients[name] = gradient
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
