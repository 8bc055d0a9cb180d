"""What the emotion branch reads: MFCC, deltas and pitch (paper 3.3), and, beyond the paper, how loud the voice is.

13 MFCC, Hamming 20 ms every 10 ms, and their 13 deltas as in HTK and openSMILE. The paper leaves the filters open: ours
are 40 triangles of height 1 from 0 to 8 kHz on Slaney's mel scale, then natural logarithm and orthonormal DCT-II.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from affetto.config import Config
from affetto.features.pitch import pitch, smooth
from affetto.features.spectrogram import FLOOR, loudness, mel_filters, normalise, power
from affetto.frames import Frames, Waves, thin

FILTERS = 40
COEFFICIENTS = 13
REACH = 2  # Frames on either side of the one whose delta is taken: a window of 50 ms


@lru_cache(maxsize=1)
def dct_matrix() -> Tensor:
    """The first 13 rows of the orthonormal DCT-II over 40 values, transposed: (40, 13)."""
    position = (torch.arange(FILTERS, dtype=torch.float64) + 0.5) * math.pi / FILTERS
    waves = torch.cos(position[:, None] * torch.arange(COEFFICIENTS)) * math.sqrt(2 / FILTERS)
    waves[:, 0] = math.sqrt(1 / FILTERS)
    return waves.float()


def deltas(frames: Frames, reach: int = REACH) -> Frames:
    """The slope over time, of a straight line fitted to ``reach`` frames on either side: (batch, time, width) a frame.

    Before its first and after its last frame an utterance is continued by that frame, never by padding.
    """
    values, lengths = frames
    here = torch.arange(values.shape[1], device=values.device)
    last = lengths[:, None] - 1
    batch = torch.arange(len(values), device=values.device)[:, None]
    slope = torch.zeros_like(values)
    for step in range(1, reach + 1):
        after = values[batch, torch.minimum(here + step, last)]
        before = values[batch, torch.minimum((here - step).clamp(min=0), last)]
        slope += step * (after - before)
    return Frames(slope / (2 * sum(step**2 for step in range(1, reach + 1))), lengths).zero_padding()


def cepstra(waves: Waves) -> Frames:
    """The 13 mel-frequency cepstral coefficients, the zeroth (log energy) among them: (batch, time, 13)."""
    spectrum = power(waves)
    device = spectrum.values.device
    log_mel = (spectrum.values @ mel_filters(FILTERS).to(device) + FLOOR).log()
    return Frames(log_mel @ dct_matrix().to(device), spectrum.lengths).zero_padding()


def mfcc(waves: Waves) -> Frames:
    """The coefficients and, after them, their deltas: (batch, time, 26)."""
    coefficients = cepstra(waves)
    return Frames(torch.cat([coefficients.values, deltas(coefficients).values], dim=2), coefficients.lengths)


_LOWEST_LOUDNESS = 1e-3


class AcousticConfig(Config):
    """Which features, and what they are relative to."""

    # frames over which the pitch is averaged, an odd number (15 in the paper)
    pitch_window: int = Field(default=15, ge=1, le=999)
    voicing: bool = False  # add the voicing strength
    loudness: bool = False  # add the logarithm of loudness
    # "utterance" brings each feature of each utterance to mean 0 and deviation 1, as the paper does, which takes away
    # how loud and how high the voice is; "absolute" leaves that in; "relative" takes away only how loud the recording
    # is as a whole, which its gain decides more than the voice
    level: Literal["utterance", "relative", "absolute"] = "utterance"
    # average so many frames into one; 1 keeps the paper's 100 frames a second
    stride: int = Field(default=1, ge=1, le=1_000)

    @field_validator("pitch_window")
    @classmethod
    def _with_a_middle(cls, frames: int) -> int:
        if frames % 2 == 0:
            raise ValueError("smooth over an odd number of frames")
        return frames

    @property
    def width(self) -> int:
        """Features a frame."""
        return 2 * COEFFICIENTS + 1 + self.voicing + self.loudness


def acoustic(waves: Waves, config: AcousticConfig) -> Frames:
    """MFCC (13), deltas (13), smoothed pitch (Hz, 0 if unvoiced) and what else is asked for, (batch, time, width)."""
    coefficients = mfcc(waves)
    contour = smooth(pitch(waves), config.pitch_window).values
    columns = [coefficients.values, contour if config.voicing else contour[..., :1]]
    if config.loudness:
        columns.append(loudness(waves).values.clamp(min=_LOWEST_LOUDNESS).log())
    frames = Frames(torch.cat(columns, dim=-1), coefficients.lengths).zero_padding()
    if config.level == "utterance":
        frames = normalise(frames)
    if config.level == "relative":  # the mean of what a gain adds to: the first coefficient and the log of loudness
        shifts = torch.zeros_like(frames.values[:, :1])  # (batch, 1, width)
        affected = [0, -1] if config.loudness else [0]
        shifts[..., affected] = frames.mean()[:, None, affected]
        frames = Frames(frames.values - shifts, frames.lengths).zero_padding()
    return thin(frames, config.stride)
