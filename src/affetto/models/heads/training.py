"""Heads as training computes them: those of all folds at once, or with recogniser layers under them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from affetto.errors import TrainingError
from affetto.frames import Frames
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads import EmotionHead
from affetto.models.heads.head import within
from affetto.models.network import Network


class HeadStack:
    """Several heads of one shape, at least one; each parameter and buffer of theirs becomes one tensor (heads, ...)."""

    def __init__(self, heads: Sequence[EmotionHead]) -> None:
        self.head = heads[0]
        states = [head.state_dict() for head in heads]
        self.values = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        self.trained = tuple(name for name, _ in self.head.named_parameters())
        for name in self.trained:
            self.values[name].requires_grad_()

    def __len__(self) -> int:
        return len(self.values["output.bias"])

    def state(self, place: int) -> dict[str, Tensor]:
        """A copy of the parameters and buffers of one head, as its ``state_dict`` has them."""
        return {name: values[place].detach().clone() for name, values in self.values.items()}

    def select(self, places: Sequence[int]) -> None:
        """Drops all heads but some."""
        self.values = {
            name: values.detach()[list(places)].requires_grad_(values.requires_grad)
            for name, values in self.values.items()
        }

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Takes over parameters and buffers of as many heads, by name: each (heads, ...)."""
        self.values = {name: values[name].requires_grad_(old.requires_grad) for name, old in self.values.items()}

    def scores(
        self, given: Mapping[str, Frames], chosen: Tensor, keep: Tensor | None = None, heads: slice = slice(None)
    ) -> Tensor:
        """Scores, see `EmotionHead.score`, of each head, or some, for its own batch: (heads, batch, outputs).

        Of what heads read of all utterances in the batches, see `EmotionHead.forward`, and the places of those in each
        head's, (heads, batch), branches being fastest with the longest first; ``keep`` is what dropout leaves, as
        factors, (heads, batch, width).
        """
        own = {name: values[heads] for name, values in self.values.items()}
        parts = [part.stacked(within(own, f"{name}."), given, chosen) for name, part in self.head.parts.items()]
        vectors = torch.cat(parts, dim=-1)
        kept = vectors if keep is None else vectors * keep
        scores = torch.baddbmm(own["output.bias"][:, None], kept, own["output.weight"].transpose(1, 2))
        if self.head.dimensions:
            scores = scores * own["units.deviation"][:, None] + own["units.mean"][:, None]
        return scores


INPUT = "input"  # What stands below a recogniser's first layer: its features of the sound


def below(layers: Sequence[LayerInfo], name: str) -> list[str]:
    """What stands below a layer, from the input up.

    >>> below([LayerInfo("conv1", 4, 50.0), LayerInfo("gru1", 8, 50.0), LayerInfo("gru2", 8, 50.0)], "gru2")
    ['input', 'conv1', 'gru1']
    """
    names = [INPUT, *(layer.name for layer in layers)]
    return names[: names.index(name)]


class LowRank(nn.Module):
    """Adds a product of two thin matrices, zero at first, to a matrix that stays (LoRA, Hu et al. 2021).

    >>> linear = nn.Linear(6, 4)
    >>> _ = parametrize.register_parametrization(linear, "weight", LowRank(linear.weight, 2))
    >>> sum(each.numel() for each in linear.parametrizations.weight[0].parameters())
    20
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.down = nn.Parameter(torch.randn(rank, inputs, device=weight.device) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The sum, of the shape of the weight."""
        return weight + self.up @ self.down


class TunedHead(nn.Module):
    """A head with recogniser layers under it that are trained along (paper 1), from ``first`` on.

    The network is copied. Its dropout and batch normalisation stay as they are when it recognises: there are too few
    emotional utterances to estimate the statistics anew. Where a ``rank`` is given, only as low a rank is added to the
    matrices of the layers' linear maps, see `LowRank`; TrainingError if one has none.
    """

    def __init__(self, network: Network, head: EmotionHead, first: str, rank: int | None = None) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.head = head
        self.width, self.dropout = head.width, head.dropout
        names = [layer.name for layer in network.layers]
        self.below = below(network.layers, first)[-1]
        self.tuned = names[names.index(first) : 1 + max(map(names.index, head.layers))]
        for name in self.tuned:
            changed = list(self.network.layer_parameters(name))
            if rank is not None:
                self._adapt({id(parameter) for parameter in changed}, rank, name)
            else:
                for parameter in changed:
                    parameter.requires_grad_()

    def _adapt(self, changed: set[int], rank: int, layer: str) -> None:
        maps = [part for part in self.network.modules() if isinstance(part, nn.Linear) and id(part.weight) in changed]
        if not maps:
            raise TrainingError(f"{layer} has no linear map to add a low rank to", "leave out trained_rank")
        for part in maps:
            parametrize.register_parametrization(part, "weight", LowRank(part.weight, rank))

    def train(self, mode: bool = True) -> TunedHead:
        """Leaves the recogniser in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, given: Mapping[str, Frames], keep: Tensor | None = None) -> Tensor:
        """See `EmotionHead.forward`; in the place of layers that are trained along, the frames below them are given."""
        frames, climbed = given[self.below], dict(given)
        with parametrize.cached():
            for name in self.tuned:
                climbed[name] = frames = self.network.climb(frames, name, name)
        scores: Tensor = self.head(climbed, keep)
        return scores
