"""Clips of CREMA-D's test speakers through a channel and a noise that no variant of the training has: GSM 06.10, music.

    python benchmarks/other_channels.py --data DATA --into FOLDER     (needs sox)
    affetto evaluate FOLDER/gsm FOLDER/music

Music is plucked strings (sox synth pluck), 10 dB below the speech.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from affetto import audio, pretrained
from affetto.data.corpora import open_corpus
from affetto.models import checkpoint

RATE, SNR_DB = 16_000, 10.0
CHORDS = (("C3", "E3", "G3", "C4"), ("A2", "C3", "E3", "A3"), ("F2", "A2", "C3", "F3"), ("G2", "B2", "D3", "G3"))


def music(folder: Path) -> np.ndarray:
    """Chords, one a second, (samples,)."""
    parts = []
    for number, chord in enumerate(CHORDS):
        path = folder / f"{number}.wav"
        plucks = [word for note in chord for word in ("pluck", note)]
        chord_of = ["sox", "-R", "-n", "-r", str(RATE), path, "synth", "1", *plucks, "remix", "-"]
        subprocess.run(chord_of, check=True)
        parts.append(soundfile.read(path, dtype="float32")[0])
    return np.concatenate(parts * 3)


def main() -> None:
    """Writes both corpora, a manifest each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    asked = parser.parse_args()
    head = checkpoint.describe(pretrained.find("tiny") / pretrained.EMOTION, "emotion head").facts
    chosen = [
        each
        for each in open_corpus(asked.data / "crema-d").utterances
        if each.speaker in head["recipe"]["test_speakers"] and each.emotion in head["recipe"]["classes"]
    ]
    with tempfile.TemporaryDirectory() as folder:
        band = music(Path(folder))
    rows = [("audio", "speaker", "emotion")]
    for name in ("gsm", "music"):
        (asked.into / name).mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(chosen):
        name = f"{number:04d}.wav"
        speech = audio.load(each.audio).numpy()
        gsm = ["sox", "-R", "-t", "f32", "-r", str(RATE), "-c", "1", "-", "-r", "8000", "-e", "gsm-full-rate"]
        subprocess.run([*gsm, asked.into / "gsm" / name], input=speech.astype("<f4").tobytes(), check=True)
        beside = band[number * 1_000 % RATE :][: len(speech)]
        level = np.sqrt(np.mean(speech**2) / np.mean(beside**2)) * 10 ** (-SNR_DB / 20)
        soundfile.write(asked.into / "music" / name, speech + level * beside, RATE, subtype="FLOAT")
        rows.append((name, each.speaker, each.emotion or ""))
    for name in ("gsm", "music"):
        with (asked.into / name / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
