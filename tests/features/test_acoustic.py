"""What the emotion branch hears: the columns asked for, thinned as asked, alone or in company."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from affetto.errors import ConfigError
from affetto.features.acoustic import AcousticConfig, acoustic
from affetto.features.pitch import pitch
from affetto.frames import Waves, pad_waves


def _voice(samples: int, loudness: float = 0.2) -> torch.Tensor:
    """Pulses of 120 Hz in faint noise."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return loudness * (0.01 * noise + (torch.arange(samples) % 133 < 5))


@pytest.mark.parametrize("voicing", [False, True])
@pytest.mark.parametrize("loudness", [False, True])
def test_as_many_columns_as_promised(voicing: bool, loudness: bool) -> None:
    config = AcousticConfig(voicing=voicing, loudness=loudness)
    assert acoustic(pad_waves([_voice(8000)]), config).values.shape == (1, 49, config.width)


@pytest.mark.parametrize("stride", [2, 3, 7, 49, 60])
def test_a_stride_averages_neighbours_and_what_is_left_over(stride: int) -> None:
    waves = pad_waves([_voice(8000)])
    every = acoustic(waves, AcousticConfig(level="absolute")).values[0]
    thinned = acoustic(waves, AcousticConfig(level="absolute", stride=stride)).values[0]
    torch.testing.assert_close(thinned, torch.stack([chunk.mean(dim=0) for chunk in torch.split(every, stride)]))


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("level", ["utterance", "relative", "absolute"])
def test_company_changes_nothing(stride: int, level: Any) -> None:
    config = AcousticConfig(stride=stride, level=level, voicing=True, loudness=True)
    short, long = _voice(4321), _voice(9000)
    together = acoustic(pad_waves([short, long]), config).unpad()[0]
    torch.testing.assert_close(together, acoustic(pad_waves([short]), config).values[0], atol=1e-3, rtol=1e-4)


def test_only_the_absolute_level_tells_how_loud_a_voice_is() -> None:
    waves = Waves(torch.stack([_voice(8000, 0.1), 4 * _voice(8000, 0.1)]), torch.tensor([8000, 8000]))
    kept = acoustic(waves, AcousticConfig(level="absolute", loudness=True)).values[..., -1]
    torch.testing.assert_close(
        (kept[1] - kept[0]).mean().item(), 0.6 * torch.tensor(4.0).log().item(), rtol=0.01, atol=0
    )
    lost = acoustic(waves, AcousticConfig(loudness=True)).values[..., -1]
    torch.testing.assert_close(lost[1], lost[0], atol=1e-3, rtol=0)


def test_the_relative_level_hears_the_voice_but_not_the_gain() -> None:
    voice = _voice(8000, 0.1)
    waves = Waves(torch.stack([voice, 4 * voice]), torch.tensor([8000, 8000]))
    relative = acoustic(waves, AcousticConfig(level="relative", voicing=True, loudness=True)).values
    torch.testing.assert_close(relative[1], relative[0], atol=0.05, rtol=0.01)
    absolute = acoustic(waves, AcousticConfig(level="absolute", voicing=True, loudness=True)).values
    torch.testing.assert_close(relative[..., 1:-1], absolute[..., 1:-1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 5, 15])
def test_the_pitch_is_smoothed_over_as_many_frames_as_asked(frames: int) -> None:
    """A voice that rises, against numpy's moving average of what the tracker says."""
    hz = 100 + 100 * torch.arange(16_000) / 16_000
    waves = pad_waves([0.3 * torch.sin(2 * torch.pi * hz.double().cumsum(0) / 16_000).float().sign()])
    raw = pitch(waves).values[0, 3:-3, 0]
    assert raw.min() > 0
    ours = acoustic(waves, AcousticConfig(level="absolute", pitch_window=frames)).values[0, 3:-3, -1]
    half = frames // 2
    expected = np.convolve(raw, np.full(frames, 1 / frames), mode="valid")
    np.testing.assert_allclose(ours[half : len(ours) - half], expected, rtol=1e-4)


@pytest.mark.parametrize(
    "values", [{"stride": 0}, {"stride": -1}, {"pitch_window": 0}, {"pitch_window": 14}, {"level": "loud"}]
)
def test_what_cannot_be_computed_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        AcousticConfig.parse(values)
