"""Compares affetto's pitch tracker with openSMILE's on CREMA-D and writes docs/results/pitch.md.

Run: python benchmarks/pitch.py --data DIR, where DIR holds crema-d/AudioWAV.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import opensmile
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.audio import SAMPLE_RATE, load
from affetto.features.pitch import pitch
from affetto.frames import pad_waves

PAGE = Path(__file__).parent.parent / "docs" / "results" / "pitch.md"
BATCH = 32
SHIFT_FRAMES = 2
"""openSMILE's 60 ms windows begin where our 20 ms frames do: its frame lies in the middle of ours two later."""

EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}

COLUMNS = (
    *("emotion", "files", "frames", "voiced, ours", "voiced, openSMILE"),
    *("same voicing", "gross error", "octave down", "octave up", "cents"),
)

Contour = NDArray[np.float32]  # Hz, 0 where unvoiced


class Agreement(NamedTuple):
    frames: int
    voiced_ours: float
    voiced_theirs: float
    voicing: float
    gross: float
    octave_down: float
    octave_up: float
    cents: float


def choose(folder: Path, count: int) -> list[Path]:
    """Files spread evenly over the corpus, so over actors, sentences and emotions."""
    files = sorted(folder.glob("*.*"))
    step = len(files) / count
    return [files[int((place + 0.25) * step)] for place in range(count)]


def opensmile_contours(waves: Sequence[Tensor]) -> list[Contour]:
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)
    tables = [smile.process_signal(wave.numpy(), SAMPLE_RATE) for wave in waves]
    semitones = [table["F0semitoneFrom27.5Hz_sma3nz"].to_numpy() for table in tables]
    return [np.where(values > 0, 27.5 * 2 ** (values / 12), 0).astype(np.float32) for values in semitones]


def our_contours(waves: Sequence[Tensor]) -> tuple[list[Contour], float]:
    """The contours, and how many times faster than real time one core's processor time makes them."""
    pitch(pad_waves(waves[:1]))  # warm up
    contours: list[Contour] = []
    begin = time.process_time()
    for first in range(0, len(waves), BATCH):
        contours += [frames[:, 0].numpy() for frames in pitch(pad_waves(waves[first : first + BATCH])).unpad()]
    seconds = sum(len(wave) for wave in waves) / SAMPLE_RATE
    return contours, seconds / (time.process_time() - begin)


def agreement(ours: Sequence[Contour], theirs: Sequence[Contour]) -> Agreement:
    shifted = [contour[SHIFT_FRAMES:] for contour in ours]
    shared = [min(len(mine), len(other)) for mine, other in zip(shifted, theirs, strict=True)]
    mine = np.concatenate([contour[:length] for contour, length in zip(shifted, shared, strict=True)])
    other = np.concatenate([contour[:length] for contour, length in zip(theirs, shared, strict=True)])
    both = (mine > 0) & (other > 0)
    ratio = mine[both] / other[both]
    gross = np.abs(ratio - 1) > 0.2
    return Agreement(
        frames=len(mine),
        voiced_ours=float(np.mean(mine > 0)),
        voiced_theirs=float(np.mean(other > 0)),
        voicing=float(np.mean((mine > 0) == (other > 0))),
        gross=float(np.mean(gross)),
        octave_down=float(np.mean(np.abs(ratio - 0.5) < 0.1)),
        octave_up=float(np.mean(np.abs(ratio - 2) < 0.4)),
        cents=float(np.median(np.abs(1200 * np.log2(ratio[~gross])))),
    )


def row(name: str, files: int, found: Agreement) -> str:
    shares = (found.voiced_ours, found.voiced_theirs, found.voicing, found.gross, found.octave_down, found.octave_up)
    cells = [name, str(files), str(found.frames), *(f"{share:.1%}" for share in shares), f"{found.cents:.1f}"]
    return "| " + " | ".join(cells) + " |"


def page(rows: Sequence[str], speed: float, count: int) -> str:
    table = "\n".join([f"| {' | '.join(COLUMNS)} |", f"|---{'|---:' * (len(COLUMNS) - 1)}|", *rows])
    return f"""# Pitch: our tracker beside openSMILE's

Written by `benchmarks/pitch.py`; do not edit.

The paper takes pitch from openSMILE, which is licensed for research only. affetto's default is its own tracker
(`affetto.features.pitch`, after Boersma 1993). Here both hear the same {count} files of CREMA-D, spread evenly over
actors, sentences and emotions. openSMILE {opensmile.__version__} is its `eGeMAPSv02` set (sub-harmonic summation, 60 ms
windows, `F0semitoneFrom27.5Hz_sma3nz`); its frames are aligned with ours by the middle of the windows.

{table}

- *same voicing*: frames that both call voiced or both call unvoiced.
- *gross error*: frames that both call voiced where we differ by more than 20 %; about half are octaves, and openSMILE
  is no ground truth: ours errs by under 5 cents on steady synthetic voices (`tests/features/test_pitch.py`).
- *cents*: the median of the absolute difference over the other frames voiced in both; 100 cents are a semitone.

The tracker's costs were chosen on 120 other files of the corpus. The voicing threshold matters: at 0.5 ours called 47 %
of the frames voiced, many of them soft noise (80 % same voicing), from 0.6 to 0.7 only 37 % to 28 % (89 % to 93 %).
The other costs halved or doubled, windows of 40 to 60 ms and other fades moved the gross error from 3.8 % to 4.3 %.

Speed: {speed:.0f} times real time on one core (torch {torch.__version__}, batches of {BATCH} files).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds crema-d/")
    parser.add_argument("--files", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = choose(options.data / "crema-d" / "AudioWAV", options.files)
    waves = [load(path) for path in files]
    theirs = opensmile_contours(waves)
    ours, speed = our_contours(waves)
    labels = [path.stem.split("_")[2] for path in files]
    rows = []
    for code, name in EMOTIONS.items():
        places = [place for place, label in enumerate(labels) if label == code]
        rows.append(row(name, len(places), agreement([ours[i] for i in places], [theirs[i] for i in places])))
    rows.append(row("**all**", len(files), agreement(ours, theirs)))
    PAGE.write_text(page(rows, speed, len(files)), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
