"""Measures `affetto recognise`: speed and memory of whole processes, batches against single files, the stages' shares.

Run on a quiet machine: python benchmarks/recognise.py [--model MODEL] [--minutes 10] [--memory-minutes 60]
and AFFETTO_PRECISION=float32 python benchmarks/recognise.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch

import affetto
from affetto.audio import SAMPLE_RATE
from affetto.devices import choose_precision
from affetto.frames import pad_waves
from affetto.models.decoding import greedy
from affetto.recognise import EmotionRecogniser
from affetto.streaming.segments import cut
from affetto.streaming.sources import blocks
from affetto.text import Alphabet

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
PAUSES_S = (0.2, 0.6, 1.2, 2.0)
FILES = 100
BATCH_SEGMENTS = 8


class Process(NamedTuple):
    wall_s: float
    peak_mb: float


def run(*arguments: str) -> Process:
    """One command in a process of its own, its start included."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "affetto", *arguments], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return Process(time.perf_counter() - started, usage.ru_maxrss / 1024)


def write_speech(path: Path, minutes: float) -> None:
    """The bundled recordings, one after the other with pauses of 0.2 to 2 s, again and again."""
    once = np.concatenate(
        [
            np.pad(soundfile.read(each, dtype="float32")[0], (0, round(pause_s * SAMPLE_RATE)))
            for each, pause_s in zip(DEMO, PAUSES_S, strict=True)
        ]
    )
    left = round(minutes * 60 * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
        while left > 0:
            file.write(once[:left])
            left -= len(once)


def write_call(path: Path, party: Path) -> None:
    """Two parties who speak as much as one does in a file: it, and it from its middle on."""
    first, rate = soundfile.read(party, dtype="int16")
    soundfile.write(path, np.stack([first, np.roll(first, len(first) // 2)], axis=1), rate)


def best_of(times: int, work: Callable[[], object]) -> float:
    """Seconds of the quickest of several runs."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


@torch.inference_mode()
def stages(recogniser: EmotionRecogniser, path: Path) -> dict[str, float]:
    """Seconds of each stage for one file."""
    spent: dict[str, float] = {}

    @contextmanager
    def clock(stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - started

    speech, emotion = recogniser.encoder.network, recogniser.emotion
    with clock("decode"):
        sound = list(blocks(path))
    with clock("find and cut speech"):
        segments = [torch.from_numpy(spoken.wave) for spoken in cut(sound)]
    for start in range(0, len(segments), BATCH_SEGMENTS):
        waves = pad_waves(segments[start : start + BATCH_SEGMENTS])
        with clock("spectrogram"):
            features = speech.features(waves)
        with clock("recogniser"):
            recognition = speech.recognise(features, emotion.layers)
            greedy(recognition.log_probs, Alphabet(speech.config.symbols))
        with clock("acoustic features"):
            given = emotion.read(waves, recognition.layers)
        with clock("emotion head"):
            emotion(given)
    return spent


def table(header: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"| {left} | {right} |" for left, right in [header, ("---", "---:"), *rows])


def measure(model: str, minutes: float, memory_minutes: float, folder: Path) -> str:
    long, longer = folder / "long.flac", folder / "longer.flac"
    write_speech(long, minutes)
    write_speech(longer, memory_minutes)
    call = folder / "call.flac"
    write_call(call, long)
    help_s = min(run("--help").wall_s for _ in range(5))
    whole = run("recognise", str(long), "--model", model)
    separate = run("recognise", str(call), "--model", model, "--channels", "separate")
    hour = run("recognise", str(longer), "--model", model)
    recogniser = EmotionRecogniser.from_pretrained(model, "cpu", precision=os.environ.get("AFFETTO_PRECISION", "auto"))
    recogniser.recognise(DEMO[0])  # warm
    alone_s = best_of(3, lambda: [recogniser.recognise(path) for path in DEMO]) / len(DEMO)
    many = [DEMO[number % len(DEMO)] for number in range(FILES)]
    among_s = best_of(2, lambda: list(recogniser.recognise_many(many))) / FILES
    spent = stages(recogniser, long)
    rows = [
        ("`affetto --help`, s", f"{help_s:.2f}"),
        (f"{minutes:g} min in one file, process start included, s", f"{whole.wall_s:.1f}"),
        ("... times real time", f"{60 * minutes / whole.wall_s:.0f}"),
        ("... peak memory, MB", f"{whole.peak_mb:.0f}"),
        ("... two such channels, separate, times as long", f"{separate.wall_s / whole.wall_s:.2f}"),
        ("... peak memory, MB", f"{separate.peak_mb:.0f}"),
        (f"{memory_minutes:g} min in one file, times real time", f"{60 * memory_minutes / hour.wall_s:.0f}"),
        ("... peak memory, MB", f"{hour.peak_mb:.0f}"),
        ("a file of 3 to 4 s alone, ms", f"{1000 * alone_s:.0f}"),
        (f"... among {FILES}, ms", f"{1000 * among_s:.0f}"),
    ]
    shares = [(stage, f"{seconds / sum(spent.values()):.0%}") for stage, seconds in spent.items()]
    return f"{table(('what', 'measured'), rows)}\n\n{table(('stage', 'share of the time'), shares)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--memory-minutes", type=float, default=60)
    arguments = parser.parse_args()
    precision = choose_precision(os.environ.get("AFFETTO_PRECISION", "auto"), torch.device("cpu"))
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, {precision}\n")
    with tempfile.TemporaryDirectory() as folder:
        print(measure(arguments.model, arguments.minutes, arguments.memory_minutes, Path(folder)))


if __name__ == "__main__":
    main()
