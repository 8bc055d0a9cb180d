"""The recogniser: what it declares, that padding and batch mates change nothing, that it can learn, and in parallel."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from affetto import metrics
from affetto.errors import ConfigError
from affetto.features.spectrogram import HOP_SAMPLES, WINDOW_SAMPLES
from affetto.frames import Frames, Waves, pad_waves
from affetto.models.decoding import greedy
from affetto.models.deepspeech2 import (
    PRESETS,
    BatchNorm,
    ConvolutionConfig,
    DeepSpeech2,
    DeepSpeech2Config,
    share_statistics,
)
from affetto.models.network import Recognition
from affetto.text import Alphabet

CONVOLUTIONS = (
    ConvolutionConfig(channels=2, kernel=(21, 11), stride=(4, 2)),
    ConvolutionConfig(channels=3, kernel=(8, 6), stride=(3, 2)),  # even kernels, too
)
VARIANTS = [
    DeepSpeech2Config(convolutions=CONVOLUTIONS, width=5, depth=2, merge=merge, normalisation=normalisation)  # type: ignore[arg-type]
    for merge in ("sum", "concat")
    for normalisation in ("batch", "layer")
]
NAMES = [f"{config.merge}-{config.normalisation}" for config in VARIANTS]
SHAPES = {**PRESETS, **dict(zip(NAMES, VARIANTS, strict=True))}


def _model(config: DeepSpeech2Config, seed: int = 0) -> DeepSpeech2:
    """With statistics of batch normalisation that are not those of a new network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DeepSpeech2(config)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean = torch.randn(module.num_features)
                module.running_var = torch.rand(module.num_features) + 0.5
    return model.eval()


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def _padded(waves: Waves, samples: int) -> Waves:
    return Waves(torch.nn.functional.pad(waves.values, (0, samples)), waves.lengths)


def _all_frames(result: Recognition) -> dict[str, Frames]:
    return {**result.layers, "output": result.log_probs}


@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_is_as_wide_and_as_fast_as_declared(name: str) -> None:
    model = _model(SHAPES[name])
    samples = 16_000
    with torch.no_grad():
        result = model(pad_waves([_noise(samples)]), collect=[layer.name for layer in model.layers])
    assert list(result.layers) == [layer.name for layer in model.layers]
    assert {name: frames.values.shape[2] for name, frames in result.layers.items()} == {
        layer.name: layer.width for layer in model.layers
    }
    seconds = samples / 16_000
    rates = {name: int(frames.lengths[0]) / seconds for name, frames in result.layers.items()}
    assert rates == pytest.approx({layer.name: layer.frame_rate_hz for layer in model.layers}, abs=2)
    assert result.log_probs.lengths.item() / seconds == pytest.approx(model.output_rate_hz, abs=2)


def test_the_papers_network_has_the_papers_layers() -> None:
    config = PRESETS["lakomkin2017"]
    assert [(each.channels, each.kernel) for each in config.convolutions] == [(32, (41, 11)), (32, (21, 11))]
    assert (config.depth, config.merge, len(config.symbols)) == (5, "concat", 28)


@pytest.mark.parametrize("config", VARIANTS, ids=NAMES)
@given(samples=st.lists(st.integers(1, 4000), min_size=2, max_size=4), seed=st.integers(0, 99))
@with_settings(max_examples=15)
def test_batch_mates_and_padding_change_nothing(config: DeepSpeech2Config, samples: list[int], seed: int) -> None:
    model = _model(config)
    waves = [_noise(count, seed + place) for place, count in enumerate(samples)]
    collect = [layer.name for layer in model.layers]
    with torch.no_grad():
        together = model(_padded(pad_waves(waves), 1234), collect)
        alone = [model(pad_waves([wave]), collect) for wave in waves]
    ours = {name: frames.unpad() for name, frames in _all_frames(together).items()}
    theirs = {name: [_all_frames(single)[name].unpad()[0] for single in alone] for name in ours}
    assert list(ours) == [*collect, "output"]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert not any(frames.values[~frames.mask].any() for frames in _all_frames(together).values())


@given(samples=st.integers(1, 20_000))
@with_settings(max_examples=20)
def test_the_frames_follow_from_the_samples(samples: int) -> None:
    model = _model(VARIANTS[0])
    frames = 1 + max(0, samples - WINDOW_SAMPLES) // HOP_SAMPLES
    after_first = len(range(0, frames + 10 - 11 + 1, 2))  # places of a kernel of 11 with 5 zeros at either end
    after_second = len(range(0, after_first + 6 - 6 + 1, 2))
    with torch.no_grad():
        found = model(pad_waves([_noise(samples)])).log_probs
    assert found.lengths.item() == after_second == found.values.shape[1]


def test_probabilities_add_up_to_one_in_every_frame() -> None:
    with torch.no_grad():
        found = _model(VARIANTS[0])(pad_waves([_noise(8000), _noise(900)])).log_probs
    torch.testing.assert_close(found.values[found.mask].exp().sum(-1), torch.ones(int(found.lengths.sum())))


def _loss(model: DeepSpeech2, waves: Waves) -> Tensor:
    log_probs = model(waves).log_probs
    targets = torch.tensor([[3, 4, 5], [6, 7, 0]])
    return torch.nn.functional.ctc_loss(
        log_probs.values.transpose(0, 1), targets, log_probs.lengths, torch.tensor([3, 2]), zero_infinity=True
    )


@pytest.mark.parametrize("config", VARIANTS, ids=NAMES)
def test_in_training_padding_changes_neither_statistics_nor_gradients(config: DeepSpeech2Config) -> None:
    tight, loose = _model(config).train(), _model(config).train()
    waves = pad_waves([_noise(9000), _noise(5000, 1)])
    _loss(tight, waves).backward()  # type: ignore[no-untyped-call]
    _loss(loose, _padded(waves, 7000)).backward()  # type: ignore[no-untyped-call]
    ours, theirs, untouched = (_statistics(model) for model in (tight, loose, _model(config)))
    assert bool(ours) == (config.normalisation == "batch")
    assert not any(torch.equal(value, untouched[name]) for name, value in ours.items())
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(_gradients(tight), _gradients(loose), atol=1e-4, rtol=1e-3)


def _statistics(model: DeepSpeech2) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if "running" in name}


def _gradients(model: DeepSpeech2) -> dict[str, Tensor]:
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    assert len(found) == len(list(model.parameters()))
    assert all(each.isfinite().all() for each in found.values())
    return found


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"width": 0}, "width"),
        ({"depth": 0}, "depth"),
        ({"merge": "product"}, "merge"),
        ({"dropout": 1.0}, "dropout"),
        ({"symbols": "aba"}, "symbols"),
        ({"convolutions": [{"channels": 2, "kernel": [3, 3], "stride": [0, 1]}]}, "convolutions.0.stride.0"),
        ({"widht": 5}, "widht"),
    ],
)
def test_a_shape_that_is_none_is_refused(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        DeepSpeech2Config.parse(values)


def _spoken(text: str) -> Tensor:
    """Each letter is a tone of 120 ms, a space is silence."""
    time_s = torch.arange(1920) / 16_000
    tones = [0.3 * torch.sin(2 * torch.pi * 250 * (1 + Alphabet().encode(letter)[0]) * time_s) for letter in text]
    return torch.cat([tone * (letter != " ") for tone, letter in zip(tones, text, strict=True)])


def _train(model: DeepSpeech2, waves: Waves, texts: list[str], steps: int) -> list[float]:
    targets = [torch.tensor(Alphabet().encode(text)) for text in texts]
    lengths = torch.tensor([len(target) for target in targets])
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(steps):
        log_probs = model(waves).log_probs
        loss = torch.nn.functional.ctc_loss(
            log_probs.values.transpose(0, 1), torch.cat(targets), log_probs.lengths, lengths
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_a_tiny_network_learns_four_utterances_by_heart() -> None:
    texts = ["abc", "cab a", "bb ca", "acc"]
    shape = ConvolutionConfig(channels=4, kernel=(21, 5), stride=(4, 3))
    model = _model(DeepSpeech2Config(convolutions=(shape,), width=24, depth=1, merge="sum")).train()
    waves = pad_waves([_spoken(text) for text in texts])
    losses = _train(model, waves, texts, steps=80)
    assert losses[-1] < 0.2 * losses[0]
    with torch.no_grad():
        assert metrics.cer(texts, greedy(model.eval()(waves).log_probs, Alphabet())) == 0


def test_the_same_input_twice_is_recognised_the_same() -> None:
    model = _model(VARIANTS[0])
    waves = pad_waves([_noise(4000)])
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(waves).log_probs.values, model(waves).log_probs.values)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("start", "last"), [(0, 0), (0, 3), (1, 2), (2, 3), (3, 3)])
def test_climbing_from_a_layer_ends_where_recognising_does(name: str, start: int, last: int) -> None:
    model = _model(SHAPES[name])
    waves = pad_waves([_noise(9_000), _noise(4_000, seed=1)])
    layers = [layer.name for layer in model.layers]
    with torch.no_grad():
        known = {"input": model.features(waves), **model(waves, collect=layers).layers}
        climbed = model.climb(known[["input", *layers][start]], layers[start], layers[last])
    torch.testing.assert_close(climbed.values, known[layers[last]].values, atol=1e-5, rtol=1e-4)
    assert climbed.lengths.tolist() == known[layers[last]].lengths.tolist()


@pytest.mark.parametrize("name", ["conv1", "gru1", "gru2", "gru11", "gru12"])
def test_a_layers_parameters_are_those_that_its_step_reads(name: str) -> None:
    model = _model(VARIANTS[0].model_copy(update={"depth": 12}))
    waves = pad_waves([_noise(9_000)])
    names = [layer.name for layer in model.layers]
    with torch.no_grad():
        known = {"input": model.features(waves), **model(waves, collect=names).layers}
    climbed = model.climb(known[["input", *names][names.index(name)]], name, name)
    torch.testing.assert_close(climbed, known[name], atol=1e-5, rtol=1e-4)
    climbed.values.square().sum().backward()
    moved = {id(parameter) for parameter in model.parameters() if parameter.grad is not None}
    assert moved == {id(parameter) for parameter in model.layer_parameters(name)} != set()


@pytest.mark.parametrize("normalisation", ["batch", "layer"])
def test_half_the_bits_give_nearly_the_same_gradients(normalisation: str) -> None:
    torch.manual_seed(1)
    model = DeepSpeech2(PRESETS["small"].model_copy(update={"width": 16, "normalisation": normalisation}))
    waves = pad_waves([0.1 * torch.randn(samples) for samples in (16_000, 9_000)])
    found = []
    for coarse in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=coarse):
            scores = model(waves).log_probs.values
        assert scores.dtype == torch.float32
        gradients = torch.autograd.grad(scores[..., 3].sum(), list(model.parameters()), allow_unused=True)
        found.append(torch.cat([each.flatten() for each in gradients if each is not None]))
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.99


FRAMES = (7, 4, 0)
"""Of each of three processes."""


def _inputs(bins: int | None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (3,) if bins is None else (3, bins)
    return [torch.randn(count, *shape, generator=generator, dtype=torch.float64) * 2 + 5 for count in FRAMES]


def _part(rank: int, folder: str, bins: int | None) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=len(FRAMES))
    layer = BatchNorm(3).double()
    share_statistics(layer, shared=True)
    inputs = _inputs(bins)[rank].requires_grad_()
    outputs = layer(inputs)
    (outputs * torch.cos(torch.arange(outputs.numel()).view_as(outputs))).sum().backward()
    torch.save([outputs.detach(), inputs.grad, layer.running_mean, layer.running_var], f"{folder}/{rank}.pt")


@pytest.mark.parametrize("bins", [None, 2])
def test_processes_share_statistics_and_gradients(bins: int | None, tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(_part, (str(tmp_path), bins), nprocs=len(FRAMES), start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(FRAMES))]
    layer = nn.BatchNorm1d(3).double()
    inputs = torch.cat(_inputs(bins)).requires_grad_()
    outputs = layer(inputs)
    weights = [torch.cos(torch.arange(part.numel()).view_as(part)) for part in outputs.split(FRAMES)]
    (outputs * torch.cat(weights)).sum().backward()
    assert inputs.grad is not None
    torch.testing.assert_close(torch.cat([each[0] for each in found]), outputs.detach())
    torch.testing.assert_close(torch.cat([each[1] for each in found]), inputs.grad)
    for each in found:
        torch.testing.assert_close(each[2], layer.running_mean)
        torch.testing.assert_close(each[3], layer.running_var)


def test_alone_it_is_torchs() -> None:
    torch.manual_seed(1)
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    ours.shared = True
    inputs = torch.randn(5, 3)
    assert torch.equal(ours(inputs), theirs(inputs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
