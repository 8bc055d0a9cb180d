"""What docs/encoders.md shows works: its examples run, and its family of one file is found by its entry point."""

from __future__ import annotations

import doctest
import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.models.pages import DOCS, block, install

from affetto.frames import pad_waves
from affetto.models import encoders
from affetto.models.encoders import open_encoder
from affetto.registry import Registry


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
