"""Measures `affetto listen`: the time from the end of speech to the line that tells of it.

The bundled recordings are piped in as fast as they were spoken, with pauses of 1.5 s.
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
    sound = np.concatenate([np.zeros(10 * SAMPLE_RATE, np.int16), *parts * turns])  # it takes a while to start
    command = [sys.executable, "-m", "affetto", "listen", "-", "--format", "jsonl", "--model", model]
    started: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        voice = threading.Thread(target=speak, args=(process.stdin, sound, started))
        voice.start()
        delays = [time.perf_counter() - started[0] - json.loads(line)["end_s"] for line in process.stdout]
        voice.join()
    return delays


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
