"""Prosody at a layer's frame rate: by hand, and against where the recogniser's own convolution looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.features.spectrogram import loudness
from affetto.frames import pad_waves
from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.probe.frame_reader import Prosody, align


def _fine(values: list[float], valid: list[bool] | None = None) -> Prosody:
    mask = np.ones(len(values), dtype=bool) if valid is None else np.array(valid)
    return Prosody(np.array(values)[:, None], mask[:, None])


def test_frames_are_means_around_their_centres() -> None:
    """Frame 1 of a stride of 4 is about spectrogram frames 2 (half), 3, 4, 5 and 6 (half)."""
    values = [0.0, 0, 8, 1, 2, 3, 16, 0, 0]
    assert align(_fine(values), 3, 25.0).values[1, 0] == pytest.approx((4 + 1 + 2 + 3 + 8) / 4)


def test_the_rate_of_the_features_changes_nothing() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    assert align(_fine(values), 5, 100.0).values.ravel().tolist() == values


def test_what_does_not_count_is_left_out() -> None:
    found = align(_fine([9.0, 9, 9, 2, 4, 9, 9, 9, 9], [False] * 3 + [True] * 2 + [False] * 4), 3, 25.0)
    assert found.valid.ravel().tolist() == [False, True, False]
    assert found.values[1, 0] == 3.0


@given(st.integers(1, 300), st.sampled_from([100.0, 50.0, 25.0, 31.25, 12.5]))
def test_a_constant_stays_one(fine: int, rate_hz: float) -> None:
    frames = 1 + int((fine - 1) * rate_hz / 100)
    found = align(_fine([2.5] * fine), frames, rate_hz)
    np.testing.assert_allclose(found.values, 2.5)
    assert found.valid.all()


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_it_is_where_a_convolution_looks(stride: int) -> None:
    """A kernel that adds up the whole spectrum of the stretch it is centred on follows loudness at no other lag."""
    shape = ConvolutionConfig(channels=1, kernel=(161, 11), stride=(161, stride))
    model = DeepSpeech2(DeepSpeech2Config(convolutions=(shape,), width=2, depth=1)).eval()
    kernel = model.convolutions[0].convolution
    with torch.no_grad():
        kernel.weight.zero_()
        kernel.weight[0, 0, :, 5 - stride // 2 : 6 + stride // 2] = 0.01
        kernel.bias.fill_(10.0)
    generator = torch.Generator().manual_seed(0)
    level = torch.rand(40, generator=generator).repeat_interleave(800)
    waves = pad_waves([level * 0.1 * torch.randn(32_000, generator=generator)])
    with torch.inference_mode():
        activation = model(waves, collect=["conv1"]).layers["conv1"].values[0].mean(dim=1).numpy()
    fine = Prosody(loudness(waves).values[0].double().numpy(), np.ones((199, 1), dtype=bool))
    aligned = align(fine, len(activation), 100 / stride).values[:, 0]
    here = np.corrcoef(activation[2:-2], aligned[2:-2])[0, 1]
    lags = [np.corrcoef(activation[2:-2], np.roll(aligned, lag)[2:-2])[0, 1] for lag in (-2, -1, 1, 2)]
    assert here > 0.85
    assert here > max(lags) + 0.05
