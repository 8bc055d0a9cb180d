"""The mean of the weights after several epochs, which often generalises better than any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def mean_of(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of networks of one shape, number by number; whole numbers (counters) are those of the last.

    >>> mean_of([{"a": torch.tensor([1.0])}, {"a": torch.tensor([4.0])}])
    {'a': tensor([2.5000])}
    """
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if last.is_floating_point() else last
        for name, last in states[-1].items()
    }
