"""A small corpus with what real ones have: two emotions, several speakers, and files that are not as they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from affetto.data.manifest import write_manifest
from affetto.data.utterance import Utterance

Make = Callable[..., Path]


@pytest.fixture
def make_corpus(make_sound: Make, tmp_path: Path) -> Make:
    """Writes so many speakers, each twice angry and twice sad; returns the manifest."""

    def make(speakers: int = 6, *, faulty: bool = False, emotions: tuple[str, ...] = ("anger", "sadness")) -> Path:
        utterances = []
        for speaker in range(speakers):
            for number, emotion in enumerate(emotions * 2):
                name = f"{speaker}-{number}"
                long = 0.5 + 0.05 * ((3 * speaker + number) % 5) + 0.3 * (emotion == "sadness")
                sound = make_sound(f"small/{name}.wav", duration_s=long)
                utterances.append(_utterance(sound, speaker, emotion))
        if faulty:
            utterances += [_utterance(path, 0, "anger") for path in _faulty(tmp_path / "small")]
        path = tmp_path / "small" / "manifest.jsonl"
        write_manifest(path, utterances)
        return path

    return make


def _faulty(folder: Path) -> list[Path]:
    """A file cut short, a hiss, digital silence and a recording too short to compare anything."""
    broken = folder / "broken.flac"
    broken.write_bytes(b"fLaC")
    hiss = 0.05 * np.random.default_rng(1).standard_normal(8000)
    sounds = {"hiss": hiss, "silence": np.zeros(8000), "blink": hiss[:900]}
    for name, values in sounds.items():
        soundfile.write(folder / f"{name}.wav", values, 16_000)
    return [broken, *(folder / f"{name}.wav" for name in sounds)]


def _utterance(path: Path, speaker: int, emotion: str) -> Utterance:
    return Utterance(id=path.stem, audio=path, speaker=str(speaker), corpus="small", emotion=emotion)
