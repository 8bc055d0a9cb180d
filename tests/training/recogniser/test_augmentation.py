"""Masks over spectrograms: as many and as wide as asked for, elsewhere nothing changes."""

from __future__ import annotations

import pytest
import torch

from affetto.errors import ConfigError
from affetto.frames import Frames
from affetto.training.recogniser.recipe import SpecAugment, SpeedAndGain
from affetto.training.recogniser.speech import change_sound
from affetto.training.recogniser.task import mask_frames


def _ones() -> Frames:
    return Frames(torch.ones(20, 300, 161), torch.full((20,), 300))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_for_nothing_masked() -> None:
    assert torch.equal(mask_frames(_ones(), SpecAugment()).values, _ones().values)


def test_bands_of_frequency() -> None:
    values = mask_frames(_ones(), SpecAugment(frequency_masks=2, frequency_width=24), _seeded(1)).values
    masked_bins = (values == 0).sum(dim=2)
    assert (values == values[:, :1]).all()  # over the whole time
    assert 0 < masked_bins.max() <= 2 * 25


def test_stretches_of_time_grow_with_the_length() -> None:
    values = mask_frames(_ones(), SpecAugment(time_masks_per_s=2.0, time_width=10), _seeded(1)).values
    masked_frames = (values == 0).sum(dim=1)
    assert (values == values[..., :1]).all()  # over all frequencies
    assert 10 < masked_frames.max() <= 6 * 11


def test_every_utterance_and_every_seed_is_masked_otherwise() -> None:
    config = SpecAugment(frequency_masks=1, time_masks_per_s=1.0)
    first, again, other = (mask_frames(_ones(), config, _seeded(seed)).values for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_speed_follows_what_it_is_drawn_by() -> None:
    wave = torch.randn(16_000, generator=torch.Generator().manual_seed(1))
    config = SpeedAndGain(speed=(0.9, 1.1), gain_db=(-6.0, 6.0))
    first, again, other = (change_sound(wave, config, (1, epoch, "ann")) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert len(first) != len(other)
    lengths = [len(change_sound(wave, config, (number,))) for number in range(40)]
    assert 16_000 / 1.1 - 1 <= min(lengths) < 15_500
    assert 16_500 < max(lengths) <= 16_000 / 0.9 + 1


@pytest.mark.parametrize("values", [{"speed": (1.1, 0.9)}, {"gain_db": (1, 0)}, {"speed": (0.1, 1)}])
def test_bounds_that_are_none_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"lower bound first|greater than or equal to 0\.5"):
        SpeedAndGain.parse(values)
