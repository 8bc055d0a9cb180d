"""A tiny spoken language: each letter is a tone, so that a tiny network learns it in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

TONE_S = 0.12
TEXTS = ("abc", "cab", "bca ab", "acb", "ba ca", "cc ab", "bab", "a cab")
RECIPE = """
seed = 3
licence = "CC0"
corpora = [{{ path = "tones", validation_speakers = 0.3 }}]

[model]
width = 12
depth = 1
merge = "sum"
convolutions = [{{ channels = 2, kernel = [21, 5], stride = [8, 3] }}]

[training]
epochs = {epochs}
batch_size = 4
optimiser = "adamw"
learning_rate = 0.01
"""


def _say(text: str, pitch: float) -> np.ndarray:
    time_s = np.arange(round(TONE_S * 16_000)) / 16_000
    silence = np.zeros_like(time_s)
    hz = {"a": 500, "b": 1100, "c": 1900}
    return np.concatenate(
        [0.3 * np.sin(2 * np.pi * pitch * hz[each] * time_s) if each in hz else silence for each in text]
    )


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder; in it the corpus "tones" of four speakers, each a little higher than the one before."""
    root = tmp_path_factory.mktemp("data")
    (root / "tones").mkdir()
    lines = []
    for speaker in range(4):
        for number, text in enumerate(TEXTS):
            name = f"s{speaker}-{number}.wav"
            soundfile.write(root / "tones" / name, _say(text, 1 + 0.02 * speaker), 16_000)
            part = "test" if speaker == 3 else "train"
            lines.append({"audio": name, "speaker": f"s{speaker}", "text": text, "partition": part})
    (root / "tones" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Writes the recipe that trains on the tones."""

    def write(epochs: int = 2, *, more: str = "", name: str = "recipe.toml") -> Path:
        path = tmp_path / name
        path.write_text(RECIPE.format(epochs=epochs) + more)
        return path

    return write
