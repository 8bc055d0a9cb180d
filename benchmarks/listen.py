"""Measures `affetto listen`: the time from the end of speech to the line that tells of it.

The bundled recordings are piped in as fast as they were spoken, with pauses of 1.5 s. The first is only
there to be waited for: a program that is still starting would seem to answer late.
Run on a quiet machine: python benchmarks/listen.py [--model MODEL] [--turns 3]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
import torch

import affetto
from affetto.audio import SAMPLE_RATE

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
PAUSE_S = 1.5
BLOCK = 320  # 20 ms, as a sound card gives them


def speak(pipe: IO[bytes], sound: np.ndarray, started: list[float]) -> None:
    """Writes the sound in real time."""
    started.append(time.perf_counter())
    for first in range(0, len(sound), BLOCK):
        pipe.write(sound[first : first + BLOCK].tobytes())
        pipe.flush()
        time.sleep(max(0.0, started[0] + (first + BLOCK) / SAMPLE_RATE - time.perf_counter()))
    pipe.close()


def measure(model: str, turns: int) -> list[float]:
    """Seconds of each line."""
    parts = [np.pad(soundfile.read(path, dtype="int16")[0], (0, round(PAUSE_S * SAMPLE_RATE))) for path in DEMO]
    command = [sys.executable, "-m", "affetto", "listen", "-", "--format", "jsonl", "--model", model]
    started: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(parts[0].tobytes())
        process.stdin.flush()
        process.stdout.readline()
        before_s = len(parts[0]) / SAMPLE_RATE
        voice = threading.Thread(target=speak, args=(process.stdin, np.concatenate(parts * turns), started))
        voice.start()
        lines = [(time.perf_counter(), json.loads(line)["end_s"] - before_s) for line in process.stdout]
        voice.join()
    return [came - started[0] - end_s for came, end_s in lines if end_s > 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    delays = measure(arguments.model, arguments.turns)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {len(delays)} stretches of speech")
    middle, most = np.quantile(delays, [0.5, 0.9])
    print(f"median {middle:.2f} s, 90 % within {most:.2f} s, all within {max(delays):.2f} s")


if __name__ == "__main__":
    main()
