"""Masks over spectrograms: as many and as wide as asked for, elsewhere nothing changes."""

from __future__ import annotations

import torch

from affetto.frames import Frames
from affetto.training.augmentation import mask_spectrogram
from affetto.training.recogniser_recipe import SpecAugment


def _ones() -> Frames:
    return Frames(torch.ones(20, 300, 161), torch.full((20,), 300))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_for_nothing_masked() -> None:
    assert torch.equal(mask_spectrogram(_ones(), SpecAugment()).values, _ones().values)


def test_bands_of_frequency() -> None:
    values = mask_spectrogram(_ones(), SpecAugment(frequency_masks=2, frequency_width=24), _seeded(1)).values
    masked_bins = (values == 0).sum(dim=2)
    assert (values == values[:, :1]).all()  # over the whole time
    assert 0 < masked_bins.max() <= 2 * 25


def test_stretches_of_time_grow_with_the_length() -> None:
    values = mask_spectrogram(_ones(), SpecAugment(time_masks_per_s=2.0, time_width=10), _seeded(1)).values
    masked_frames = (values == 0).sum(dim=1)
    assert (values == values[..., :1]).all()  # over all frequencies
    assert 10 < masked_frames.max() <= 6 * 11


def test_every_utterance_and_every_seed_is_masked_otherwise() -> None:
    config = SpecAugment(frequency_masks=1, time_masks_per_s=1.0)
    first, again, other = (mask_spectrogram(_ones(), config, _seeded(seed)).values for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
