"""A made-up CREMA-D whose emotions differ in pitch and loudness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

SPEAKERS = ("1001", "1002", "1003", "1004")
EMOTIONS = {"ANG": (260, 0.5), "SAD": (110, 0.05), "DIS": (180, 0.2)}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "crema-d" / "AudioWAV").mkdir(parents=True)
    rng = np.random.default_rng(1)
    time_s = np.arange(6400) / 16_000
    for place, speaker in enumerate(SPEAKERS):
        for sentence in ("IEO", "TIE", "DFA"):
            for emotion, (pitch, loudness) in EMOTIONS.items():
                phase = 2 * np.pi * (pitch + 8 * place + rng.normal()) * time_s
                voice = sum(np.sin(k * phase) / k for k in range(1, 5)) + 0.05 * rng.standard_normal(len(time_s))
                name = f"{speaker}_{sentence}_{emotion}_XX.wav"
                soundfile.write(root / "crema-d" / "AudioWAV" / name, 0.4 * loudness * voice, 16_000)
    return root
