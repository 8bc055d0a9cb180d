"""One contract over every registered encoder: what it declares is so, and padding and batch mates change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from affetto.frames import Waves, pad_waves
from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.encoders import ENCODERS
from affetto.models.encoders.encoder import Encoder


def _deepspeech2(seed: int) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shape = ConvolutionConfig(channels=2, kernel=(21, 11), stride=(8, 4))
        model = DeepSpeech2(DeepSpeech2Config(convolutions=(shape,), width=4, depth=2))
    encoder: Encoder = ENCODERS.load("deepspeech2")(model)
    return encoder


BUILDERS: dict[str, Callable[[int], Encoder]] = {"deepspeech2": _deepspeech2}
"""Each registered encoder, small, with random weights after a seed."""

conforming = pytest.mark.parametrize("name", BUILDERS)


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def _names(encoder: Encoder) -> list[str]:
    return [layer.name for layer in encoder.layers]


def test_every_registered_encoder_is_held_to_the_contract() -> None:
    assert sorted(BUILDERS) == ENCODERS.names()


@conforming
def test_layers_are_as_declared(name: str) -> None:
    encoder = BUILDERS[name](0)
    found = encoder.represent(pad_waves([_noise(32_000)]), _names(encoder))
    assert len(set(_names(encoder))) == len(encoder.layers) > 0
    assert {key: frames.values.shape[2] for key, frames in found.items()} == {
        layer.name: layer.width for layer in encoder.layers
    }
    rates = {key: frames.lengths.item() / 2 for key, frames in found.items()}
    assert rates == pytest.approx({layer.name: layer.frame_rate_hz for layer in encoder.layers}, rel=0.05)


@conforming
def test_only_the_layers_asked_for_come(name: str) -> None:
    encoder = BUILDERS[name](0)
    last = encoder.layers[-1].name
    assert list(encoder.represent(pad_waves([_noise(3000)]), [last])) == [last]


@conforming
@pytest.mark.parametrize("samples", [1, 319, 5000])
def test_batch_mates_and_padding_change_nothing(name: str, samples: int) -> None:
    encoder = BUILDERS[name](0)
    wave = _noise(samples)
    batch = pad_waves([_noise(7777, 1), wave, _noise(400, 2)])
    padded = Waves(torch.nn.functional.pad(batch.values, (0, 3000)), batch.lengths)
    together = encoder.represent(padded, _names(encoder))
    alone = encoder.represent(pad_waves([wave]), _names(encoder))
    ours = {key: frames.unpad()[1] for key, frames in together.items()}
    theirs = {key: frames.unpad()[0] for key, frames in alone.items()}
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not any(frames.values[~frames.mask].any() for frames in together.values())


@conforming
def test_it_is_frozen_and_repeats_itself(name: str) -> None:
    encoder = BUILDERS[name](0)
    waves = pad_waves([_noise(4000)]).to(encoder.device)
    layer = encoder.layers[-1].name
    first, second = (encoder.represent(waves, [layer])[layer].values for _ in range(2))
    assert not first.requires_grad
    assert torch.equal(first, second)


@conforming
def test_the_fingerprint_tells_encoders_apart(name: str) -> None:
    build = BUILDERS[name]
    assert build(0).fingerprint == build(0).fingerprint != build(1).fingerprint
