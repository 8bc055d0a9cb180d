"""Decoding without a search: the best class of every frame."""

from __future__ import annotations

import torch
from torch import Tensor

from affetto.frames import Frames
from affetto.text import Alphabet


def best_paths(log_probs: Frames) -> list[Tensor]:
    """The best class of every frame (Graves et al. 2006, best path).

    Args:
        log_probs: (batch, time, classes).

    Returns:
        One path an utterance: class numbers, (length,).
    """
    best = Frames(log_probs.values.argmax(dim=-1)[..., None], log_probs.lengths)
    return [path[:, 0] for path in best.unpad()]


def greedy(log_probs: Frames, alphabet: Alphabet) -> list[str]:
    """The text of the best path, repeats joined and blanks dropped.

    Args:
        log_probs: (batch, time, classes).
        alphabet: what the classes mean.

    Returns:
        One text an utterance.

    >>> scores = torch.nn.functional.one_hot(torch.tensor([[3, 3, 0, 3, 4]]), 29).float()
    >>> greedy(Frames(scores, torch.tensor([5])), Alphabet())
    ['aab']
    """
    paths = [torch.unique_consecutive(path).tolist() for path in best_paths(log_probs)]
    return [" ".join(alphabet.decode(path).split()) for path in paths]
