"""The head that docs/heads.md shows works like any other: found by its entry point, saved, stacked."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import torch
from tests.models.pages import block, install

from affetto.experiment import ExperimentRecipe
from affetto.frames import pad
from affetto.models import heads
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
