"""Loudness of each frame, the prosodic feature the paper finds in a recogniser's neurons (paper 4, Figure 6).

The definition is openSMILE's (Eyben et al. 2013, component ``cIntensity``): the intensity I of a frame is its mean
square weighted by a Hamming window, and the loudness (I / I0) ^ 0.3, a narrow-band approximation of the ear's law.
We keep to that definition; the component as released sums over as many samples as it has outputs, one or two a frame.
"""

from __future__ import annotations

import torch

from affetto.features.framing import WINDOW_SAMPLES, frame
from affetto.frames import Frames, Waves

REFERENCE_INTENSITY = 1e-6
"""I0, 60 dB under full scale: a frame of that intensity has loudness 1."""

EXPONENT = 0.3


def loudness(waves: Waves) -> Frames:
    """How loud each 20 ms window is.

    Args:
        waves: the recordings.

    Returns:
        (batch, time, 1), in units of the loudness at 60 dB under full scale; silence is 0, full scale about 63.

    >>> full_scale = Waves(torch.ones(1, 320), torch.tensor([320]))
    >>> round(loudness(full_scale).values.item(), 1)
    63.1
    """
    windows, lengths = frame(waves)
    hamming = torch.hamming_window(WINDOW_SAMPLES, periodic=False, device=windows.device)
    intensity = windows.square() @ (hamming / hamming.sum())  # (batch, time)
    return Frames((intensity / REFERENCE_INTENSITY).pow(EXPONENT)[..., None], lengths).zero_padding()
