"""Several emotion heads of one shape, computed together: those of all folds of a cross-validation, say.

Each predicts what its `EmotionHead` predicts; only the order of sums differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from affetto.frames import Frames
from affetto.models.heads import EmotionHead


class HeadStack:
    """Heads of one shape; every parameter and buffer of theirs becomes one tensor (heads, ...).

    Args:
        heads: at least one, all of one config.
    """

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
        self,
        given: Mapping[str, Frames],
        chosen: Tensor,
        keep: Tensor | None = None,
        heads: slice = slice(None),
    ) -> Tensor:
        """Scores (before the softmax), each head's of its own batch.

        Args:
            given: what a head reads, of all utterances in the batches, see `EmotionHead.forward`.
            chosen: which of these utterances each head's batch holds, (heads, batch); branches are fastest with the
                longest first.
            keep: what dropout leaves, as factors, (heads, batch, width).
            heads: which.

        Returns:
            (heads, batch, classes).
        """
        own = {name: values[heads] for name, values in self.values.items()}
        vectors = torch.cat(
            [part.stacked(_of(name, own), given, chosen) for name, part in self.head.parts.items()], dim=-1
        )
        kept = vectors if keep is None else vectors * keep
        return torch.baddbmm(own["output.bias"][:, None], kept, own["output.weight"].transpose(1, 2))


def _of(part: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is a part's own, by the names that it has there."""
    return {name.removeprefix(f"{part}."): each for name, each in own.items() if name.startswith(f"{part}.")}
