"""The recogniser on Whisper's encoder: its layers, its rate, its front end, and starting above a layer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from torch import Tensor

from affetto.errors import ConfigError
from affetto.features.spectrogram import log_mel
from affetto.frames import Frames, Waves, pad_waves
from affetto.models.network import make_recogniser, parse_shape
from affetto.models.whisper import WhisperEncoder, WhisperEncoderConfig
from affetto.models.whisper_ctc import CtcHeadConfig, WhisperCtc, WhisperCtcConfig

ENCODER = WhisperEncoderConfig(width=8, heads=2, depth=2, feed_forward=16, bins=10, positions=40, level=1.0)
NAMES = ["conv", "layer1", "layer2", "pairs", "gru1", "gru2"]


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> WhisperCtc:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = WhisperCtc(WhisperCtcConfig(encoder=ENCODER, head=CtcHeadConfig(channels=6, width=4, dropout=0.5)))
        for parameter in made.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return made.eval()


def test_layers_are_the_encoders_and_its_own(model: WhisperCtc) -> None:
    assert [layer.name for layer in model.layers] == NAMES
    assert [layer.width for layer in model.layers] == [8, 8, 8, 6, 4, 4]
    assert model.output_rate_hz == 50


def test_what_the_encoder_gives_is_what_the_encoder_alone_gives(model: WhisperCtc) -> None:
    alone = WhisperEncoder(ENCODER).eval()
    alone.load_state_dict(model.encoder.state_dict())
    waves = pad_waves([_noise(9_000), _noise(30_000, 1)])
    mine, theirs = model(waves, collect=NAMES).layers, alone(waves, collect=NAMES[:3]).layers
    for name in NAMES[:3]:
        torch.testing.assert_close(mine[name].values, theirs[name].values)


@pytest.mark.parametrize("first", NAMES[1:])
def test_starting_above_a_layer_is_the_same(model: WhisperCtc, first: str) -> None:
    found = model(pad_waves([_noise(9_000), _noise(30_000, 1)]), collect=NAMES)
    below = found.layers[NAMES[NAMES.index(first) - 1]]
    again = model.recognise(below, first=first)
    torch.testing.assert_close(again.log_probs.values, found.log_probs.values, rtol=1e-4, atol=1e-5)
    assert torch.equal(again.log_probs.lengths, found.log_probs.lengths)


@with_settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(400, 30_000), min_size=2, max_size=3), st.integers(0, 5_000))
def test_neither_padding_nor_batch_mates_matter(model: WhisperCtc, samples: list[int], more: int) -> None:
    waves = pad_waves([_noise(each, seed) for seed, each in enumerate(samples)])
    padded = Waves(torch.nn.functional.pad(waves.values, (0, more)), waves.lengths)
    together = model(padded).log_probs.unpad()
    for seed, each in enumerate(samples):
        (alone,) = model(pad_waves([_noise(each, seed)])).log_probs.unpad()
        torch.testing.assert_close(together[seed], alone, rtol=1e-3, atol=1e-4)


def test_beyond_the_end_is_nothing(model: WhisperCtc) -> None:
    found = model(pad_waves([_noise(9_000), _noise(30_000, 1)]), collect=NAMES)
    for frames in (found.log_probs, *found.layers.values()):
        assert not frames.values[0, frames.lengths[0] :].any()


def test_every_parameter_belongs_to_one_layer_or_spells(model: WhisperCtc) -> None:
    owned = [id(each) for name in NAMES for each in model.layer_parameters(name)]
    spelling = {id(each) for part in (model.normalisation, model.output) for each in part.parameters()}
    assert len(owned) == len(set(owned))
    assert {id(each) for each in model.parameters()} == {*owned, *spelling}


@pytest.mark.parametrize("change", [lambda wave: wave * 0.01, lambda wave: wave + 0.05, lambda wave: 3 * wave - 0.2])
def test_level_and_direct_current_change_nothing(model: WhisperCtc, change) -> None:  # type: ignore[no-untyped-def]
    wave = _noise(16_000)
    plain, other = (model.features(pad_waves([each])).values for each in (wave, change(wave)))
    torch.testing.assert_close(other, plain, rtol=0, atol=2e-3)


def test_a_constant_within_is_taken_off_as_if_it_had_been_taken_off_the_sound() -> None:
    steps = torch.zeros(16_000)
    steps[4_000:12_000] = 0.2  # silence on both sides stays silence
    inside = slice(30, 70)
    sounds = (_noise(16_000) + steps, _noise(16_000))
    stepped, plain = (log_mel(pad_waves([each]), 80, 1.0).values[0, inside] for each in sounds)
    difference = stepped - plain  # where the sound steps may be loudest: the level may be another, the sound is not
    torch.testing.assert_close(difference, difference.mean().expand_as(difference), rtol=0, atol=1e-3)


def test_digital_silence_is_faint() -> None:
    silence, speech = (log_mel(pad_waves([wave]), 80, 1.0).values for wave in (torch.zeros(16_000), _noise(16_000)))
    assert silence.max() < speech.max() - 0.5
    assert torch.isfinite(silence).all()


def test_zeros_beside_change_no_level() -> None:
    wave = _noise(16_000)
    beside = torch.nn.functional.pad(wave, (8_000, 8_000))
    plain, padded = (log_mel(pad_waves([each]), 80, 1.0).values[0] for each in (wave, beside))
    torch.testing.assert_close(padded[55:145], plain[5:95], rtol=0, atol=1e-4)


def test_shapes_are_read_by_their_kind() -> None:
    shape = parse_shape({"kind": "whisper_ctc", "head": {"width": 4}})
    assert isinstance(make_recogniser(shape), WhisperCtc)
    assert shape.head.width == 4
    assert parse_shape({}).kind == "deepspeech2"
    with pytest.raises(ValueError, match="no recogniser of kind 'hmm'"):
        parse_shape({"kind": "hmm"})


def test_what_is_no_shape_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"head\.width"):
        WhisperCtcConfig.parse({"head": {"width": 0}})


def test_frames_of_the_last_layer_are_spelt(model: WhisperCtc) -> None:
    spelt = model.spell(Frames(torch.randn(1, 3, 4), torch.tensor([3])))
    torch.testing.assert_close(spelt.values.exp().sum(-1), torch.ones(1, 6))
    assert spelt.lengths.tolist() == [6]
