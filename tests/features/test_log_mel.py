"""The input of Whisper, against Whisper's own front end as transformers has it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from torch import Tensor

from affetto.features.spectrogram import log_mel
from affetto.frames import Waves, pad_waves

WINDOW = 30 * 16_000


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("filters", [80, 128])
def test_a_whole_window_is_as_whisper_has_it(filters: int) -> None:
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=filters)
    wave = _noise(WINDOW) * torch.linspace(0, 1, WINDOW) ** 2
    theirs = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_features[0].T
    torch.testing.assert_close(log_mel(pad_waves([wave]), filters).values[0], theirs, atol=1e-4, rtol=0)


def test_a_short_sound_has_the_first_frames_of_the_window_that_whisper_fills_up() -> None:
    transformers = pytest.importorskip("transformers")
    wave = _noise(40_000)
    theirs = transformers.WhisperFeatureExtractor()(wave.numpy(), sampling_rate=16_000, return_tensors="pt")
    ours = log_mel(pad_waves([wave]))
    assert ours.lengths.tolist() == [250]
    expected = theirs.input_features[0].T[:248]  # the windows that do not reach beyond the end
    torch.testing.assert_close(ours.values[0, :248], expected, atol=1e-4, rtol=0)


@given(samples=st.lists(st.integers(1, 4000), min_size=2, max_size=4), seed=st.integers(0, 99))
@with_settings(max_examples=25)
def test_batch_mates_and_padding_change_nothing(samples: list[int], seed: int) -> None:
    waves = [_noise(count, seed + place) * 10.0**-place for place, count in enumerate(samples)]
    batch = pad_waves(waves)
    together = log_mel(Waves(torch.nn.functional.pad(batch.values, (0, 777)), batch.lengths))
    alone = [log_mel(pad_waves([wave])).values[0] for wave in waves]
    torch.testing.assert_close(together.unpad(), alone, atol=1e-5, rtol=0)
    assert not together.values[~together.mask].any()
