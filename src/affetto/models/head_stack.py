"""Several emotion heads of one shape, computed together: those of all folds of a cross-validation, say.

What each says is what `EmotionHead` says; only the order of sums differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from affetto.frames import Frames, thin
from affetto.models.gru_stack import gru_stack, pack, read_both_ways
from affetto.models.heads import EmotionHead

_LAYERS = "branch.layers"


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
        layer: Frames | None,
        acoustic: Frames | None,
        chosen: Tensor,
        keep: Tensor | None = None,
        heads: slice = slice(None),
    ) -> Tensor:
        """Scores (before the softmax), each head's of its own batch.

        Args:
            layer: frames of the recogniser layer, of all utterances in the batches, (utterances, time, layer_width).
            acoustic: the same of acoustic features.
            chosen: which of these utterances each head's batch holds, (heads, batch); branches are fastest with the
                longest first.
            keep: what dropout leaves, as factors, (heads, batch, width).
            heads: which.

        Returns:
            (heads, batch, classes).
        """
        own = {name: values[heads] for name, values in self.values.items()}
        parts = []
        if self.head.pools:
            assert layer is not None, f"the head reads {self.head.layer}"
            parts.append(_standardise(own, "standardise", layer.mean()[chosen]))
        if self.head.branch is not None:
            frames = acoustic if layer is None or self.head.acoustic is not None else thin(layer, self.head.stride)
            assert frames is not None, "the branch hears something"
            parts.append(self._branch(own, frames, chosen))
        joined = torch.cat(parts, dim=-1)
        kept = joined if keep is None else joined * keep
        return torch.baddbmm(own["output.bias"][:, None], kept, own["output.weight"].transpose(1, 2))

    def _branch(self, own: Mapping[str, Tensor], frames: Frames, chosen: Tensor) -> Tensor:
        assert self.head.branch is not None
        packing = pack(frames.lengths[chosen])
        rows = packing.both_ways(chosen[:, packing.sequences] * frames.values.shape[1] + packing.steps)
        values = frames.values.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, -1)
        for number in range(len(self.head.branch.layers)):
            prefix = f"{_LAYERS}.{number}."
            parameters = {name.removeprefix(prefix): tensor for name, tensor in own.items() if name.startswith(prefix)}
            if number == 0 and self.head.config.standardise:
                parameters |= _scaled(
                    parameters, *(own[f"branch.standardise.{part}"] for part in ("mean", "deviation"))
                )
            read = values if number == 0 else read_both_ways(values, packing)
            values = gru_stack(parameters, read, packing)
        return packing.averages(values)


def _scaled(parameters: Mapping[str, Tensor], mean: Tensor, deviation: Tensor) -> dict[str, Tensor]:
    """Input weights and biases that do to frames as they are what a GRU's own do to scaled ones, in fewer passes.

    W (x - mean) / deviation + b = (W / deviation) x + (b - W / deviation mean).
    """
    scaled: dict[str, Tensor] = {}
    for end in ("", "_reverse"):
        weight = parameters[f"weight_ih_l0{end}"] / deviation[:, None]
        shift = (weight @ mean[..., None])[..., 0]
        scaled |= {f"weight_ih_l0{end}": weight, f"bias_ih_l0{end}": parameters[f"bias_ih_l0{end}"] - shift}
    return scaled


def _standardise(own: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    """Of (heads, ..., width)."""
    shape = (len(values), *(1,) * (values.dim() - 2), -1)
    mean, deviation = (own[f"{name}.{part}"].view(shape) for part in ("mean", "deviation"))
    return (values - mean) / deviation
