"""Each feature of each utterance to mean 0 and standard deviation 1 (paper 3.3)."""

from __future__ import annotations

from affetto.frames import Frames

EPSILON = 1e-5
"""Added to the standard deviation: a constant feature becomes 0, not a division by zero."""


def normalise(frames: Frames) -> Frames:
    """Subtracts each feature's mean over the utterance's own frames and divides by its standard deviation.

    Args:
        frames: (batch, time, width).

    Returns:
        The same shape, zero beyond each length.

    >>> import torch
    >>> normalise(Frames(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2]))).values.round().flatten().tolist()
    [-1.0, 1.0, 0.0]
    """
    centred = Frames(frames.values - frames.mean()[:, None], frames.lengths).zero_padding()
    variance = Frames(centred.values.square(), frames.lengths).mean()
    return Frames(centred.values / (variance.sqrt()[:, None] + EPSILON), frames.lengths)
