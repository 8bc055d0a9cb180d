"""Fits heads over statistics of layers to all variants of all recordings at once, so that they generalise to strangers.

The loss of a softmax regression is convex: L-BFGS finds its one minimum. A hidden layer before the softmax is trained
in epochs.

**What strangers have in common.** Recordings of another corpus lie elsewhere among a recogniser's representations than
those of the corpus that was trained on, for reasons (microphones, rooms, noise floors) that have nothing to do with
emotion; a regression that was trained on one corpus reads that as one emotion for all. Calm speech of many strangers
shows these directions without any label. With r the standardised vectors of such speech and m the middle between its
mean and that of the training corpus' calm class, the weights w of each class are held small along

    S = E[(r - m) (r - m)'],    by the penalty    l2 / 2 w' (I / trust^2 + strength S) w,

which is correlation alignment (Sun et al. 2016) in the form of a prior. A hidden layer reads the vectors multiplied by
the inverse root of that matrix, so that decaying weights decay by the same penalty; the factor is then moved into them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Annotated, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from affetto.config import Config, stable_seed
from affetto.errors import TrainingError
from affetto.models.heads import EmotionHead
from affetto.models.heads.head import Familiarity
from affetto.represent import Bank
from affetto.represent.cache import one_frame
from affetto.training.heads.loop import finite
from affetto.training.heads.tasks import Epoch, HeadData, Task, cross_entropies

_STEPS = 200


class Prior(Config):
    """What is known of weights before anything is trained."""

    # how much more weights count along the directions in which calm strangers differ; 0 asks for none
    strength: float = Field(default=1.0, ge=0)
    # the scale at which the weights of each of the head's layers are expected; those of a layer of scale .5 cost four
    # times as much as those of one of scale 1, and without any, all have 1
    trust: tuple[Annotated[float, Field(gt=0)], ...] = ()
    balanced: bool = True  # weigh classes so that each counts the same
    calm: str = "neutral"  # the class that calm speech of strangers would be


class LinearTraining(Prior):
    """How a softmax regression is solved."""

    l2: float = Field(default=0.1, ge=0)  # of the weights


class HiddenTraining(Prior):
    """How a head with a hidden layer is trained over all variants of all utterances."""

    epochs: int = Field(default=10, ge=1)  # all of which are run
    batch_size: int = Field(default=128, ge=1)  # variants of utterances
    learning_rate: float = Field(default=3e-3, gt=0)  # Adam's highest, after a warm-up and before a cosine's fall
    weight_decay: float = Field(default=1.0, ge=0)  # decoupled
    dropout: float = Field(default=0.5, ge=0, lt=1)  # before each layer
    # so many networks share the hidden units, each with a softmax of its own; the head is their average
    members: int = Field(default=4, ge=1)


class FamiliarityConfig(Config):
    """How sound unlike the training speech is found; see `Familiarity`."""

    components: int = Field(default=64, ge=1)  # principal components that count
    # of the validation speakers' distances; what is farther away is unfamiliar
    quantile: float = Field(default=0.99, gt=0, le=1)


def solve(
    head: EmotionHead, data: HeadData, task: Task, config: LinearTraining, strangers: Mapping[str, Bank] | None = None
) -> tuple[float, float]:
    """Finds the weights of a head in place, from all variants of the training utterances.

    Gives the mean cross-entropies over the training and the validation part, which only judges. Strangers are banks of
    calm speech without labels, by the names of the head's inputs. Raises TrainingError where the head is no softmax
    regression, has no calm class, or the loss is not a number.
    """
    if not head.linear or not isinstance(head.output, nn.Linear):
        raise TrainingError(f"a {head.config.kind} head cannot be solved at once", "train it in epochs")
    problem = _Problem.of(head, data, task, config, strangers)
    loss = finite(_minimise(head.output, problem, config.l2), "training")
    return loss, finite(problem.judge(head.output, problem.validating), "validation")


def train_hidden(  # noqa: PLR0913
    head: EmotionHead,
    data: HeadData,
    task: Task,
    config: HiddenTraining,
    strangers: Mapping[str, Bank] | None = None,
    *,
    seed: int = 0,
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Epoch, ...]:
    """Trains a head with a hidden layer over statistics in place; see `solve` for the rest.

    Gives the learning curve. All epochs are run: the validation part only judges.
    """
    if not head.solvable or not isinstance(head.output, nn.Sequential):
        raise TrainingError(f"this {head.config.kind} head has no hidden layer over statistics", "give it hidden units")
    first, _, last = head.output
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    units, rest = divmod(first.out_features, config.members)
    if rest:
        shared = f"{first.out_features} hidden units cannot be shared out among {config.members} members"
        raise TrainingError(shared, "choose a multiple of them")
    problem = _Problem.of(head, data, task, config, strangers)
    turn = _inverse_root(problem.prior)
    vectors, validating = problem.vectors @ turn, problem.validating @ turn
    curve = []
    with torch.random.fork_rng():
        torch.manual_seed(stable_seed(seed, task.repeat, task.fold))
        members = _Members(config, first.in_features, units, last.out_features)
        optimiser = torch.optim.AdamW(members.parameters(), weight_decay=config.weight_decay)
        steps = config.epochs * math.ceil(len(vectors) / config.batch_size)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=steps)
        for number in range(config.epochs):
            members.train()
            total, rate = 0.0, float(rates.get_last_lr()[0])
            for batch in torch.split(torch.randperm(len(vectors)), config.batch_size):
                targets, shares = problem.targets[batch], problem.shares[batch]
                losses = torch.stack([cross_entropies(scores, targets) @ shares for scores in members(vectors[batch])])
                optimiser.zero_grad()
                (losses.sum() * len(vectors) / len(batch)).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                rates.step()
                total += losses.mean().item()
            judged = problem.judge(members.eval().average, validating)
            curve.append(Epoch(number, rate, finite(total, "training"), finite(judged, "validation")))
            if progress is not None:
                progress(curve[-1])
    with torch.no_grad():
        firsts, lasts = zip(*members.pairs, strict=True)
        first.weight.copy_(torch.cat([each.weight for each in firsts]) @ turn)
        first.bias.copy_(torch.cat([each.bias for each in firsts]))
        last.weight.copy_(torch.cat([each.weight for each in lasts], dim=1) / config.members)
        last.bias.copy_(torch.stack([each.bias for each in lasts]).mean(dim=0))
    return tuple(curve)


class _Members(nn.Module):
    """Networks of one hidden layer, trained side by side."""

    def __init__(self, config: HiddenTraining, width: int, units: int, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.pairs = [(nn.Linear(width, units), nn.Linear(units, classes)) for _ in range(config.members)]
        self.layers = nn.ModuleList(chain.from_iterable(self.pairs))

    def forward(self, vectors: Tensor) -> list[Tensor]:
        return [last(self.dropout(nn.functional.gelu(first(self.dropout(vectors))))) for first, last in self.pairs]

    def average(self, vectors: Tensor) -> Tensor:
        return torch.stack(self(vectors)).mean(dim=0)


class _Problem(NamedTuple):
    """What a head is fitted to."""

    vectors: Tensor  # of all variants of the training utterances, standardised, (vectors, width)
    targets: Tensor  # (vectors, classes)
    shares: Tensor  # of each vector in the loss, (vectors,)
    prior: Tensor  # what weights cost, (width, width)
    validating: Tensor  # (utterances, width)
    expected: Tensor  # (utterances, classes)

    @classmethod
    def of(
        cls, head: EmotionHead, data: HeadData, task: Task, config: Prior, strangers: Mapping[str, Bank] | None
    ) -> Self:
        if head.dimensions:
            problem = "a head that predicts dimensions is neither solved nor has members"
            raise TrainingError(problem, "train it in epochs")
        vectors, targets = _vectors(head, data.banks, task.training), data.targets_of(task.training)
        targets = targets.repeat(len(vectors) // len(targets), 1)
        weights = targets @ data.class_weights(task.training) if config.balanced else torch.ones(len(targets))
        prior = torch.diag(_scales(head, config.trust) ** -2)
        if strangers is not None and config.strength > 0:
            if config.calm not in head.classes:
                raise TrainingError(f"no class {config.calm!r}", f"choose calm among {', '.join(head.classes)}")
            calm = vectors[targets[:, head.classes.index(config.calm)] > 0.5].mean(dim=0)
            prior = prior + config.strength * scatter(_vectors(head, strangers, None), calm)
        validating = _vectors(head, data.banks, task.validation, variants=1)
        return cls(vectors, targets, weights / weights.sum(), prior, validating, data.targets_of(task.validation))

    @torch.no_grad()
    def judge(self, output: Callable[[Tensor], Tensor], validating: Tensor) -> float:
        return cross_entropies(output(validating), self.expected).mean().item()


def _inverse_root(matrix: Tensor) -> Tensor:
    """Of a symmetric positive matrix; where it is diagonal, at once."""
    if torch.equal(matrix, torch.diag(matrix.diagonal())):
        return torch.diag(matrix.diagonal().rsqrt())
    sizes, axes = torch.linalg.eigh(matrix)
    root: Tensor = axes * sizes.rsqrt() @ axes.T
    return root


def familiarity(head: EmotionHead, banks: Mapping[str, Bank], task: Task, config: FamiliarityConfig) -> Familiarity:
    """Fitted to the training utterances of a fold and all their variants, its limit to the validation part's."""
    training, judging = (_vectors(head, banks, part) for part in (task.training, task.validation))
    return Familiarity.fitted(training, judging, config.components, config.quantile)


def _scales(head: EmotionHead, trust: Sequence[float]) -> Tensor:
    """The scale at which each weight is expected, (width,)."""
    if trust and len(trust) != len(head.layers):
        layers = ", ".join(head.layers)
        raise TrainingError(f"trust has {len(trust)} numbers", f"give one for each of the head's layers, {layers}")
    scales = dict(zip(head.layers, trust or [1.0] * len(head.layers), strict=True))
    (part,) = head.parts.values()
    return torch.cat([torch.full((width,), scales[name.split("/")[0]]) for name, width in part.widths.items()])


def scatter(strangers: Tensor, calm: Tensor) -> Tensor:
    """How calm speech of strangers lies about the middle between its mean and that of the training corpus' calm class.

    Standardised vectors, (utterances, width), and a mean, (width,), to (width, width).

    >>> scatter(torch.tensor([[2.0, 1.0], [2.0, -1.0]]), torch.zeros(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    away = strangers - (strangers.mean(dim=0) + calm) / 2
    return away.T @ away / len(away)


def _minimise(output: nn.Linear, problem: _Problem, l2: float) -> float:
    """Sets the weights to the minimum, and gives the cross-entropy there."""
    torch.nn.init.zeros_(output.weight)
    torch.nn.init.zeros_(output.bias)
    solver = torch.optim.LBFGS(output.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe")

    def losses() -> tuple[Tensor, Tensor]:
        fit = (cross_entropies(output(problem.vectors), problem.targets) * problem.shares).sum()
        return fit, fit + l2 * (output.weight @ problem.prior * output.weight).sum() / 2

    def step() -> float:
        solver.zero_grad()
        whole = losses()[1]
        whole.backward()  # type: ignore[no-untyped-call]
        return whole.item()

    solver.step(step)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return losses()[0].item()


@torch.no_grad()
def _vectors(
    head: EmotionHead, banks: Mapping[str, Bank], places: NDArray[np.int64] | None, variants: int | None = None
) -> Tensor:
    """The head's vectors of some utterances in all their variants, one after the other; of all that can be read."""
    some = next(iter(banks.values()))
    chosen = np.flatnonzero(some.readable) if places is None else places
    count = some.variants + 1 if variants is None else variants
    values = []
    for variant in range(count):
        rows = {name: one_frame(bank.dense[variant][torch.from_numpy(chosen)]) for name, bank in banks.items()}
        values.append(head.represent(rows))
    return torch.cat(values)
