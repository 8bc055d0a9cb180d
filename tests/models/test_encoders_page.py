"""What docs/encoders.md shows works: its examples run, and its family of one file is found by its entry point."""

from __future__ import annotations

import doctest
import json
import re
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from affetto.frames import pad_waves
from affetto.models import encoders
from affetto.models.encoders import open_encoder
from affetto.registry import Registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "encoders.md"


def _block(language: str, beginning: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    [block] = [block for block in found if block.startswith(beginning)]
    return str(block)


def test_its_examples_run() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert failed == 0 < tried


@pytest.fixture
def two_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's package, installed as any other is, and a folder with a model of it."""
    packages = tmp_path / "packages"
    info = packages / "two_layers-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "two_layers.py").write_text(_block("python", "from torch"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: two-layers\nVersion: 1.0\n")
    entry = _block("toml", "[project").replace('[project.entry-points."affetto.encoders"]', "[affetto.encoders]")
    (info / "entry_points.txt").write_text(entry.replace('"', ""))
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.delitem(sys.modules, "two_layers", raising=False)
    monkeypatch.setattr(encoders, "ENCODERS", Registry("encoders", {"affetto": "no.such:thing"}))
    invalidate_caches()
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
