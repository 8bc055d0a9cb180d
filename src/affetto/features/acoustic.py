"""What the emotion branch reads: MFCC, deltas and pitch (paper 3.3), and, beyond the paper, how loud the voice is."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, field_validator

from affetto.config import Config
from affetto.features.loudness import loudness
from affetto.features.mfcc import mfcc
from affetto.features.normalisation import normalise
from affetto.features.pitch import pitch, smooth
from affetto.frames import Frames, Waves, thin

_MFCC_WIDTH = 26
_LOWEST_LOUDNESS = 1e-3


class AcousticConfig(Config):
    """Which features, and what they are relative to.

    Attributes:
        pitch_window: frames over which the pitch is averaged, an odd number (15 in the paper).
        voicing: add the voicing strength.
        loudness: add the logarithm of loudness.
        level: "utterance" brings each feature of each utterance to mean 0 and deviation 1, as the paper does, which
            takes away how loud and how high the voice is; "absolute" leaves that in; "relative" takes away only how
            loud the recording is as a whole, which its gain decides more than the voice.
        stride: average so many frames into one; 1 keeps the paper's 100 frames a second.
    """

    pitch_window: int = Field(default=15, ge=1, le=999)
    voicing: bool = False
    loudness: bool = False
    level: Literal["utterance", "relative", "absolute"] = "utterance"
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
        return _MFCC_WIDTH + 1 + self.voicing + self.loudness


def acoustic(waves: Waves, config: AcousticConfig) -> Frames:
    """MFCC (13), deltas (13), smoothed pitch (Hz, 0 where unvoiced) and what else the config asks for.

    Returns:
        (batch, time, config.width).

    >>> acoustic(Waves(torch.zeros(1, 16000), torch.tensor([16000])), AcousticConfig(loudness=True)).values.shape
    torch.Size([1, 99, 28])
    """
    cepstra = mfcc(waves)
    contour = smooth(pitch(waves), config.pitch_window).values
    columns = [cepstra.values, contour if config.voicing else contour[..., :1]]
    if config.loudness:
        columns.append(loudness(waves).values.clamp(min=_LOWEST_LOUDNESS).log())
    frames = Frames(torch.cat(columns, dim=-1), cepstra.lengths).zero_padding()
    if config.level == "utterance":
        frames = normalise(frames)
    if config.level == "relative":
        frames = _without_gain(frames, config)
    return thin(frames, config.stride)


def _without_gain(frames: Frames, config: AcousticConfig) -> Frames:
    """Takes the utterance's mean from what a gain adds to: the first coefficient and the logarithm of loudness."""
    shifts = torch.zeros_like(frames.values[:, :1])  # (batch, 1, width)
    columns = [0, -1] if config.loudness else [0]
    shifts[..., columns] = frames.mean()[:, None, columns]
    return Frames(frames.values - shifts, frames.lengths).zero_padding()
