"""Cuts recordings into the paper's analysis windows: 20 ms wide, every 10 ms (paper 3.1.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.frames import Waves

WINDOW_SAMPLES = 320
HOP_SAMPLES = 160
FRAME_RATE_HZ = SAMPLE_RATE / HOP_SAMPLES


def frame(waves: Waves, window_samples: int = WINDOW_SAMPLES, hop_samples: int = HOP_SAMPLES) -> tuple[Tensor, Tensor]:
    """Overlapping windows of each recording, without padding at the ends.

    A recording shorter than a window is filled up with zeros to one window.

    Args:
        waves: the recordings.
        window_samples: width of a window.
        hop_samples: distance between two windows' beginnings.

    Returns:
        The windows, (batch, frames, window_samples), a view where possible, and the recordings' frames, (batch,).
        Windows beyond a recording's frames hold what the padding holds.

    >>> windows, lengths = frame(Waves(torch.arange(800.0)[None], torch.tensor([800])))
    >>> windows.shape, lengths.tolist(), windows[0, 1, 0].item()
    (torch.Size([1, 4, 320]), [4], 160.0)
    """
    values = waves.values
    missing = window_samples - values.shape[1]
    if missing > 0:
        values = torch.nn.functional.pad(values, (0, missing))
    lengths = 1 + (waves.lengths - window_samples).clamp(min=0) // hop_samples
    return values.unfold(1, window_samples, hop_samples), lengths
