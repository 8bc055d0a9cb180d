"""When a text that is known was said: the likeliest path that spells it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from affetto.frames import Frames
from affetto.text import Alphabet

_NEVER = float("-inf")


def align(log_probs: Frames, texts: Sequence[Sequence[int]]) -> list[Tensor]:
    """The likeliest path of each utterance among those that spell its text (Viterbi).

    Args:
        log_probs: (batch, time, classes), class 0 the blank.
        texts: the class numbers of each utterance's characters, no blanks; each fits into its frames.

    Returns:
        One path an utterance: class numbers, (length,).

    >>> probabilities = torch.tensor([[[0.1, 0.9], [0.3, 0.7], [0.8, 0.2]]])
    >>> align(Frames(probabilities.log(), torch.tensor([3])), [[1]])[0].tolist()
    [1, 1, 0]
    """
    values = log_probs.values.detach().to("cpu", torch.float64)
    rows = [torch.tensor([0] + [each for number in text for each in (number, 0)]) for text in texts]
    places = pad_sequence(rows, batch_first=True)  # (batch, 2 x characters + 1): blanks around each character
    last = torch.tensor([len(row) for row in rows]) - 1
    skips = torch.zeros_like(places, dtype=torch.bool)
    skips[:, 2:] = (places[:, 2:] != Alphabet.BLANK) & (places[:, 2:] != places[:, :-2])
    scores = torch.full(places.shape, _NEVER, dtype=torch.float64)
    scores[:, :2] = 0
    scores[:, 2:] = _NEVER
    steps = []
    best = torch.zeros_like(last)
    for time, now in enumerate(values.unbind(dim=1)):
        if time > 0:
            scores, moved = _move(scores, skips)
            steps.append(moved)
        scores = scores + now.gather(1, places)
        ends = log_probs.lengths.cpu() == time + 1
        best = torch.where(ends, _better_end(scores, last), best)
    return _trace(steps, best, places, log_probs.lengths.tolist())


def _move(scores: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
    """The best way into each place: from itself, from the one before, or over a blank from the one before that."""
    by_one = scores.roll(1, dims=1)
    by_one[:, :1] = _NEVER
    by_two = torch.where(skips, scores.roll(2, dims=1), _NEVER)
    best, moved = torch.stack([scores, by_one, by_two]).max(dim=0)
    return best, moved.to(torch.int8)


def _better_end(scores: Tensor, last: Tensor) -> Tensor:
    """A path ends in its last character or in a blank after it."""
    before = (last - 1).clamp(min=0)
    ends = scores.gather(1, torch.stack([last, before], dim=1))
    return torch.where(ends[:, 0] >= ends[:, 1], last, before)


def _trace(steps: list[Tensor], best: Tensor, places: Tensor, lengths: list[int]) -> list[Tensor]:
    """From the last frame of each utterance to its first."""
    batch = torch.arange(len(best))
    lengths_ = torch.tensor(lengths)
    place = best
    path = [places[batch, place]]
    for time in range(len(steps) - 1, -1, -1):
        moved = steps[time][batch, place].long()
        place = torch.where(time + 1 < lengths_, place - moved, place)  # an utterance waits until its own end
        path.append(places[batch, place])
    whole = torch.stack(path[::-1], dim=1)
    return [row[:length] for row, length in zip(whole, lengths, strict=True)]
