"""The head and the encoder that docs/heads.md and docs/encoders.md show work like any other."""

from __future__ import annotations

import doctest
import json
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.models.pages import DOCS, block, install

from affetto.experiment import ExperimentRecipe
from affetto.frames import pad, pad_waves
from affetto.models import encoders, heads
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads import EmotionHead, head_config, load_head, save_head
from affetto.models.heads.training import HeadStack
from affetto.registry import Registry


def test_its_row_is_one() -> None:
    recipe = ExperimentRecipe.parse({"corpus": "c", **tomllib.loads(block("heads.md", "toml", "[[rows]]"))})
    model = recipe.rows[0].model
    assert model.choose([LayerInfo(f"layer{number}", 8, 50.0) for number in range(4)]) == {"layer2": 8, "layer3": 8}


@pytest.fixture
def peaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, entry = block("heads.md", "python", "from typing"), block("heads.md", "toml", "[project")
    install("peaks", program, entry, tmp_path / "packages", monkeypatch)
    monkeypatch.setattr(heads, "HEADS", Registry("heads", {}))


@pytest.mark.usefixtures("peaks")
def test_its_head_of_one_file_works_like_any_other(tmp_path: Path) -> None:
    config = head_config({"kind": "peaks", "layer": ["gru1", "gru2"]})
    layers = config.choose([LayerInfo("gru1", 2, 25.0), LayerInfo("gru2", 3, 25.0)])
    some = [EmotionHead(config, ("anger", "sadness"), layers) for _ in range(2)]
    given = {name: pad([torch.randn(4, width), torch.randn(2, width)]) for name, width in layers.items()}
    expected = [torch.cat([given[name].unpad()[place].amax(dim=0) for name in layers]) for place in range(2)]
    torch.testing.assert_close(some[0].represent(given), torch.stack(expected))
    together = HeadStack(some).scores(given, torch.tensor([[0, 1], [1, 0]]))
    torch.testing.assert_close(together[1], some[1](given).flip(0))
    save_head(tmp_path / "emotion.safetensors", some[0], {})
    loaded, _ = load_head(tmp_path / "emotion.safetensors")
    assert torch.equal(loaded(given), some[0](given))
    assert config.together == "folds"


def test_its_examples_run() -> None:
    failed, tried = doctest.testfile(str(DOCS / "encoders.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert failed == 0 < tried


@pytest.fixture
def two_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's package, installed as any other is, and a folder with a model of it."""
    program, entry = block("encoders.md", "python", "from torch"), block("encoders.md", "toml", "[project")
    install("two_layers", program, entry, tmp_path / "packages", monkeypatch)
    monkeypatch.setattr(encoders, "ENCODERS", Registry("encoders", {"affetto": "no.such:thing"}))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "two-layers"}))
    save_file(import_module("two_layers").TwoLayers().state_dict(), folder / "model.safetensors")
    return folder


def test_its_family_of_one_file_is_opened_like_any_other(two_layers: Path) -> None:
    encoder = open_encoder(two_layers, device="cpu")
    waves = pad_waves([torch.randn(16_000), torch.randn(9_000)])
    found = encoder.encode(waves, ["first", "second"])
    assert found.output is encoder.alphabet is None
    assert [frames.values.shape[2] for frames in found.layers.values()] == [32, 8]
    alone = encoder.represent(pad_waves([waves.values[1, :9000]]), ["second"])["second"]
    torch.testing.assert_close(alone.values[0], found.layers["second"].unpad()[1], atol=1e-5, rtol=1e-4)
