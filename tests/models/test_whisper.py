"""Whisper's encoder against transformers' one; padding, batch mates, windows; and files that are none of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.models.tiny_encoders import whisper, with_config
from torch import Tensor

from affetto.errors import CheckpointError
from affetto.frames import Frames, Waves, pad_waves
from affetto.models.encoders.encoder import Encoding
from affetto.models.whisper import WhisperEncoder, WhisperEncoderConfig, load_whisper_encoder

SMALL = WhisperEncoderConfig(width=8, heads=2, depth=3, feed_forward=16, bins=10, positions=40)
NAMES = ["conv", "layer1", "layer2", "layer3"]
REAL = [
    pytest.param(Path(os.environ.get("AFFETTO_WHISPER", "")) / name, id=name)
    for name in ("whisper-tiny.en", "whisper-base")
]


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def _model(seed: int = 0) -> WhisperEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = WhisperEncoder(SMALL)
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def _all_frames(encoding: Encoding) -> dict[str, Frames]:
    assert encoding.output is not None
    return {**encoding.layers, "output": encoding.output}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper, saved by transformers in several parts."""
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    whisper(folder, parts_kb=60)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


def _theirs(folder: Path, inputs: Frames) -> list[Tensor]:
    transformers = pytest.importorskip("transformers")
    model = transformers.WhisperModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model.encoder(inputs.values.transpose(1, 2), output_hidden_states=True)
    return [*found.hidden_states, found.last_hidden_state]


def _compare(folder: Path) -> None:
    ours = load_whisper_encoder(folder)
    names = [layer.name for layer in ours.layers]
    waves = pad_waves([torch.cat([_noise(240_000), 0.01 * _noise(240_000, 1)])])
    theirs = dict(zip([*names, "output"], _theirs(folder, ours.features(waves)), strict=True))
    with torch.no_grad():
        found = {name: frames.values for name, frames in _all_frames(ours(waves, names)).items()}
    torch.testing.assert_close(found, theirs, atol=1e-4, rtol=1e-4)


def test_half_the_bits_change_little_and_come_out_whole() -> None:
    waves = pad_waves([_noise(30_000), _noise(9_000, 1)])
    with torch.no_grad():
        exact = _all_frames(_model()(waves, NAMES))
        model = _model()
        model.compute_in(torch.bfloat16)
        found = _all_frames(model(waves, NAMES))
        model.compute_in(torch.float32)
        weights = {parameter.dtype for parameter in model.parameters()}
    assert weights == {torch.float32}
    for name, frames in found.items():
        assert frames.values.dtype == torch.float32
        error = (frames.values - exact[name].values).norm() / exact[name].values.norm()
        assert 0 < error < 0.02, name


def test_it_is_transformers_encoder(published: Path) -> None:
    _compare(published)


@pytest.mark.parametrize("folder", REAL)
def test_the_published_ones_are_transformers(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        pytest.skip(f"no {folder.name} in the folder that AFFETTO_WHISPER names")
    _compare(folder)


@given(samples=st.lists(st.integers(1, 16_000), min_size=2, max_size=4), seed=st.integers(0, 99))
@with_settings(max_examples=25)
def test_batch_mates_and_padding_change_nothing(samples: list[int], seed: int) -> None:
    model = _model()
    waves = [_noise(count, seed + place) for place, count in enumerate(samples)]
    batch = pad_waves(waves)
    with torch.no_grad():
        together = model(Waves(torch.nn.functional.pad(batch.values, (0, 3333)), batch.lengths), NAMES)
        alone = [model(pad_waves([wave]), NAMES) for wave in waves]
    ours = {name: frames.unpad() for name, frames in _all_frames(together).items()}
    theirs = {name: [_all_frames(single)[name].unpad()[0] for single in alone] for name in ours}
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert not any(frames.values[~frames.mask].any() for frames in _all_frames(together).values())


@pytest.mark.parametrize("samples", [12_801, 30_000])  # a window is 12,800
def test_what_is_longer_than_a_window_is_encoded_in_windows(samples: int) -> None:
    model = _model()
    waves = pad_waves([_noise(samples), _noise(5000, 1)])
    inputs = model.features(waves)
    with torch.no_grad():
        whole = model.climb(inputs, "conv", "layer3")
        parts = [
            model.climb(Frames(part[None], torch.tensor([len(part)])), "conv", "layer3").values[0]
            for part in inputs.unpad()[0].split(2 * SMALL.positions)
        ]
        short = model(pad_waves([_noise(5000, 1)])).output
    torch.testing.assert_close(whole.unpad()[0], torch.cat(parts), atol=1e-5, rtol=1e-4)
    assert short is not None
    torch.testing.assert_close(whole.unpad()[1], short.values[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("start", range(4))
def test_layers_climb_on_each_other(start: int) -> None:
    model = _model()
    waves = pad_waves([_noise(9000), _noise(4000, 1)])
    with torch.no_grad():
        known = {"input": model.features(waves), **model(waves, NAMES).layers}
        for last in range(start, 4):
            climbed = model.climb(known[["input", *NAMES][start]], NAMES[start], NAMES[last])
            torch.testing.assert_close(climbed, known[NAMES[last]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_layers_parameters_are_those_that_its_step_reads(name: str) -> None:
    model = _model()
    waves = pad_waves([_noise(9000)])
    below = ["input", *NAMES][NAMES.index(name)]
    with torch.no_grad():
        frames = {"input": model.features(waves), **model(waves, NAMES).layers}[below]
    model.climb(frames, name, name).values.square().sum().backward()
    moved = {id(parameter) for parameter in model.parameters() if parameter.grad is not None}
    assert moved == {id(parameter) for parameter in model.layer_parameters(name)} != set()


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "bert"},
        {"d_model": 15},
        {"d_model": 10**12},
        {"encoder_layers": 4},
        {"encoder_ffn_dim": 31},
        {"activation_function": "relu"},
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_is_refused(published: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        load_whisper_encoder(with_config(published, tmp_path / "model", **changes))


def _cut_short(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])


def _lose_a_part(folder: Path) -> None:
    sorted(folder.glob("*.safetensors"))[0].unlink()


def _pickled(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")


def _no_weights(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()


def _no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _elsewhere(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../a.safetensors"}}')


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_cut_short, "cannot be loaded"),
        (_lose_a_part, "cannot be loaded"),
        (_pickled, "pickle"),
        (_no_weights, r"no model\.safetensors"),
        (_no_json, "not JSON"),
        (_elsewhere, "names no parts"),
    ],
)
def test_a_damaged_folder_is_refused(published: Path, tmp_path: Path, damage: Any, problem: str) -> None:
    folder = with_config(published, tmp_path / "model")
    damage(folder)
    with pytest.raises(CheckpointError, match=problem):
        load_whisper_encoder(folder)


def test_weights_saved_with_half_the_bits_are_read_as_float32(published: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.WhisperForConditionalGeneration.from_pretrained(published)
    model.half().save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["model.encoder.conv1.weight"].dtype == torch.float16
    assert {parameter.dtype for parameter in load_whisper_encoder(tmp_path).parameters()} == {torch.float32}
