"""One contract over every family of encoders: what it declares is so, and padding and batch mates change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.models.tiny_encoders import SAVE, save
from torch import Tensor

from affetto.errors import ConfigError
from affetto.frames import Frames, Waves, pad_waves
from affetto.models.encoders import ENCODERS, open_encoder
from affetto.models.encoders.encoder import Encoder, Encoding
from affetto.models.network import RECOGNISERS


@pytest.fixture(scope="module", params=SAVE)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model of each kind."""
    return save(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return open_encoder(folder, device="cpu")


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def _names(encoder: Encoder) -> list[str]:
    return [layer.name for layer in encoder.layers]


def _all_frames(encoding: Encoding) -> dict[str, Frames]:
    return encoding.layers if encoding.output is None else {**encoding.layers, "output": encoding.output}


def test_every_family_is_held_to_the_contract() -> None:
    held = {name.removesuffix("-stable") for name in SAVE}
    assert held == {*ENCODERS.names(), *RECOGNISERS.names()} - {"affetto"}


def test_layers_are_as_declared(encoder: Encoder) -> None:
    found = encoder.represent(pad_waves([_noise(32_000)]), _names(encoder))
    assert len(set(_names(encoder))) == len(encoder.layers) > 0
    assert {key: frames.values.shape[2] for key, frames in found.items()} == {
        layer.name: layer.width for layer in encoder.layers
    }
    rates = {key: frames.lengths.item() / 2 for key, frames in found.items()}
    assert rates == pytest.approx({layer.name: layer.frame_rate_hz for layer in encoder.layers}, rel=0.05)


def test_the_output_is_as_declared(encoder: Encoder) -> None:
    output = encoder.encode(pad_waves([_noise(32_000)]), []).output
    assert (output is None) == (encoder.output_rate_hz is None)
    if output is not None:
        assert output.lengths.item() / 2 == pytest.approx(encoder.output_rate_hz, rel=0.05)
    if encoder.alphabet is not None:
        assert output is not None
        assert output.values.shape[2] == len(encoder.alphabet)
        torch.testing.assert_close(output.values.exp().sum(dim=2), torch.ones(output.values.shape[:2]))


def test_layers_alone_are_those_that_come_with_the_output(encoder: Encoder) -> None:
    waves = pad_waves([_noise(9000), _noise(5000, 1)])
    together = encoder.encode(waves, _names(encoder)).layers
    assert list(together) == _names(encoder)
    torch.testing.assert_close(encoder.represent(waves, _names(encoder)), together, atol=1e-5, rtol=1e-4)
    for name in _names(encoder):  # nothing above one is needed for it
        torch.testing.assert_close(encoder.represent(waves, [name]), {name: together[name]}, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [1, 319, 5000])
def test_batch_mates_and_padding_change_nothing(encoder: Encoder, samples: int) -> None:
    wave = _noise(samples)
    batch = pad_waves([_noise(7777, 1), wave, _noise(400, 2)])
    padded = Waves(torch.nn.functional.pad(batch.values, (0, 3000)), batch.lengths)
    together = _all_frames(encoder.encode(padded, _names(encoder)))
    alone = _all_frames(encoder.encode(pad_waves([wave]), _names(encoder)))
    ours = {key: frames.unpad()[1] for key, frames in together.items()}
    theirs = {key: frames.unpad()[0] for key, frames in alone.items()}
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert not any(frames.values[~frames.mask].any() for frames in together.values())


def test_it_is_frozen_and_repeats_itself(encoder: Encoder) -> None:
    waves = pad_waves([_noise(4000)])
    layer = encoder.layers[-1].name
    first, second = (encoder.represent(waves, [layer])[layer].values for _ in range(2))
    assert not first.requires_grad
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", ["encode", "represent"])
def test_a_layer_that_is_not_there_is_refused(encoder: Encoder, method: str) -> None:
    with pytest.raises(ConfigError, match="no layer 'layer99'; choose one of conv"):
        getattr(encoder, method)(pad_waves([_noise(4000)]), ["layer99"])


def test_the_fingerprint_tells_encoders_apart(tmp_path: Path) -> None:
    folders = {(kind, seed): save(kind, tmp_path / f"{kind}-{seed}", seed) for kind in SAVE for seed in range(2)}
    prints = {each: open_encoder(folder).fingerprint for each, folder in folders.items()}
    assert len(set(prints.values())) == len(folders)
    assert all(len(each) == 16 for each in prints.values())
    assert prints == {each: open_encoder(folder).fingerprint for each, folder in folders.items()}


def test_it_says_where_it_comes_from(encoder: Encoder, folder: Path) -> None:
    assert (encoder.origin.name, encoder.origin.source, encoder.origin.revision) == (str(folder), "folder", None)


def test_a_network_that_can_be_trained_along_gives_the_same_layers(encoder: Encoder) -> None:
    network = encoder.network
    if network is None:
        pytest.skip("this family's layers are only read")
    waves = pad_waves([_noise(9000), _noise(5000, 1)])
    assert network.layers == encoder.layers
    layers = encoder.represent(waves, _names(encoder))
    frames = network.features(waves)
    for name in _names(encoder):
        frames = network.climb(frames, name, name)
        torch.testing.assert_close(frames, layers[name], atol=1e-5, rtol=1e-4)
        assert frames.values.requires_grad
        assert list(network.layer_parameters(name))
