"""From the recogniser's character probabilities to text."""

from __future__ import annotations

import torch

from affetto.frames import Frames
from affetto.text import Alphabet


def greedy(log_probs: Frames, alphabet: Alphabet) -> list[str]:
    """The best class of every frame, repeats joined and blanks dropped (Graves et al. 2006, best path).

    Args:
        log_probs: (batch, time, classes).
        alphabet: what the classes mean.

    Returns:
        One text an utterance.

    >>> scores = torch.nn.functional.one_hot(torch.tensor([[3, 3, 0, 3, 4]]), 29).float()
    >>> greedy(Frames(scores, torch.tensor([5])), Alphabet())
    ['aab']
    """
    best = Frames(log_probs.values.argmax(dim=-1)[..., None], log_probs.lengths)
    paths = [torch.unique_consecutive(path[:, 0]).tolist() for path in best.unpad()]
    return [" ".join(alphabet.decode(path).split()) for path in paths]
