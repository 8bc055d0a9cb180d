"""Measures how fast a folder of recordings is recognised by one and two workers of a Ray cluster, and by one process.

Run on a quiet machine: python benchmarks/archive.py [--model MODEL] [--minutes 10] [--repeats 2]
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import ray
import torch

import affetto
from affetto.audio import info
from affetto.collection import Choice, Entry, Outcome, Way, fill, fill_by
from affetto.engine import Engine
from affetto.formats.folder import ResultFolder
from affetto.timeline import Judgement

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))


def archive(folder: Path, minutes: float) -> list[Entry]:
    """So many minutes of files of 3 to 4 s."""
    entries: list[Entry] = []
    left_s = 60 * minutes
    while left_s > 0:
        origin = DEMO[len(entries) % len(DEMO)]
        path = Path(shutil.copy(origin, folder / f"{len(entries):05}.flac"))
        entries.append(Entry(path, PurePath(path.stem), path))
        left_s -= info(path).duration_s or 0.0
    return entries


def timed(outcomes: Iterable[Outcome]) -> tuple[float, float]:
    """Seconds, and seconds of sound."""
    began, sound_s = time.perf_counter(), 0.0
    for each in outcomes:
        assert each.error is None
        sound_s += each.duration_s
    return time.perf_counter() - began, sound_s


def results(folder: Path, way: Way) -> ResultFolder:
    opened = ResultFolder(folder, ["json"], way.settings())
    opened.open()
    return opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    way = Choice(arguments.model, judgement=Judgement()).open()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with TemporaryDirectory() as place:
        sound = Path(place) / "sound"
        sound.mkdir()
        entries = archive(sound, arguments.minutes)
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, {len(entries)} files",
            flush=True,
        )

        def shared(workers: int, among: list[Entry], name: str) -> tuple[float, float]:
            folder = results(Path(place) / name, way)
            return timed(fill_by(Engine(kind="ray", jobs=workers), way.choice, among, folder, lambda _: None))

        shared(2, entries[:64], "first")  # each loads the model
        for repeat in range(arguments.repeats):
            for workers in (1, 2):
                took_s, sound_s = shared(workers, entries, f"{workers}-{repeat}")
                print(f"{workers} worker(s): {took_s:.1f} s, {sound_s / took_s:.0f} times real time", flush=True)
            for threads in (1, 2):
                torch.set_num_threads(threads)
                took_s, sound_s = timed(fill(way, entries, results(Path(place) / f"here-{threads}-{repeat}", way)))
                print(
                    f"one process, {threads} thread(s): {took_s:.1f} s, {sound_s / took_s:.0f} times real time",
                    flush=True,
                )


if __name__ == "__main__":
    main()
