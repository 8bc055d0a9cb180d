"""Changes of the training data that leave its meaning."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from affetto.config import stable_seed
from affetto.features.perturbation import amplify, resample
from affetto.features.spectrogram import FRAME_RATE_HZ
from affetto.frames import Frames
from affetto.training.recogniser.recipe import SpecAugment, SpeedAndGain


def change_sound(wave: Tensor, config: SpeedAndGain, drawn_by: tuple[int | str, ...]) -> Tensor:
    """Plays an utterance faster or slower, louder or softer.

    Args:
        wave: (samples,).
        config: how far; where both are fixed at nothing, the wave itself is given back.
        drawn_by: what the change depends on beside that, such as the seed, the epoch and the utterance: the same
            whichever process reads it, and after a training was resumed.

    >>> change_sound(torch.ones(2), SpeedAndGain(gain_db=(20.0, 20.0)), (1,)).tolist()
    [10.0, 10.0]
    """
    if config == SpeedAndGain():
        return wave
    generator = np.random.default_rng(stable_seed(*drawn_by))
    speed, gain_db = generator.uniform(*config.speed), generator.uniform(*config.gain_db)
    return amplify(resample(wave, speed), gain_db)


def mask_frames(
    inputs: Frames, config: SpecAugment, generator: torch.Generator | None = None, *, rate_hz: float = FRAME_RATE_HZ
) -> Frames:
    """Sets random bands of frequency and time to 0 (Park et al. 2019), the mean of a normalised spectrogram.

    Args:
        inputs: (batch, time, bins), or the frames of a layer, whose features have no order: bands then hold some that
            are side by side by chance.
        config: how many bands, how wide.
        generator: of the bands' places; torch's own where there is none.
        rate_hz: frames a second.

    >>> frames = Frames(torch.ones(1, 100, 161), torch.tensor([100]))
    >>> masked = mask_frames(frames, SpecAugment(frequency_masks=1), torch.Generator().manual_seed(1))
    >>> bool((masked.values == 0).any())
    True
    """
    batch, time, bins = inputs.values.shape
    longest_s = time / rate_hz
    count = round(config.time_masks_per_s * longest_s)
    kept = _bands(batch, bins, config.frequency_masks, config.frequency_width, generator)[:, None, :]
    kept = kept & _bands(batch, time, count, config.time_width, generator)[:, :, None]
    return Frames(inputs.values * kept.to(inputs.values), inputs.lengths)


def _bands(batch: int, size: int, count: int, width: int, generator: torch.Generator | None) -> Tensor:
    """False inside ``count`` bands of random place and width up to ``width``: (batch, size)."""
    starts = torch.rand(batch, count, 1, generator=generator) * size
    widths = torch.rand(batch, count, 1, generator=generator) * width
    places = torch.arange(size)
    return ~((places >= starts) & (places < starts + widths)).any(dim=1)
