"""Measures `affetto serve` under load: answers a second and their latency, clips of 3 s, from one client and from 8.

Run on a quiet machine: python benchmarks/serve.py [--model MODEL] [--requests 40]
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import soundfile
import torch

import affetto

CLIP_S = 3
CLIENTS = 8


def clip() -> bytes:
    """Three seconds of speech, as WAV."""
    samples, rate = soundfile.read(Path(affetto.__file__).parent / "demo" / "angry.flac", dtype="int16")
    content = io.BytesIO()
    soundfile.write(content, samples[: CLIP_S * rate], rate, format="WAV")
    return content.getvalue()


def ask(address: str, sound: bytes, requests: int) -> list[float]:
    """One client, one request after another; seconds of each."""
    took = []
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        for _ in range(requests):
            began = time.perf_counter()
            client.post("/v1/recognise", files={"file": ("a.wav", sound)}).raise_for_status()
            took.append(time.perf_counter() - began)
    return took


def load(address: str, sound: bytes, requests: int, clients: int) -> tuple[float, list[float]]:
    """Requests a second of so many clients together, and seconds of each."""
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = [pool.submit(ask, address, sound, requests // clients) for _ in range(clients)]
        took = [seconds for future in each for seconds in future.result()]  # one that failed raises
    return len(took) / (time.perf_counter() - began), took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small")
    parser.add_argument("--requests", type=int, default=40)
    arguments = parser.parse_args()
    sound = clip()
    command = [sys.executable, "-m", "affetto", "serve", "--port", "0", "--model", arguments.model]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, ThreadPoolExecutor(1) as reader:
        assert process.stderr is not None
        address = process.stderr.readline().split()[3]
        reader.submit(process.stderr.read)  # or its log would fill the pipe
        ask(address, sound, 3)
        memory = psutil.Process(process.pid).memory_info
        before = memory().rss
        one = load(address, sound, arguments.requests, 1)
        many = load(address, sound, 4 * arguments.requests // CLIENTS * CLIENTS, CLIENTS)
        after = memory().rss
        text = httpx.get(f"{address}/metrics", trust_env=False).text
        process.terminate()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("affetto_batch_recordings_"))
    mean = float(figures["affetto_batch_recordings_sum"]) / float(figures["affetto_batch_recordings_count"])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, a clip of {CLIP_S} s")
    for clients, (a_second, took) in ((1, one), (CLIENTS, many)):
        quantiles = "/".join(f"{1000 * seconds:.0f}" for seconds in np.quantile(took, (0.5, 0.95, 0.99)))
        print(f"{clients} client(s): {a_second:.1f} answers a second; p50/p95/p99 {quantiles} ms")
    print(f"{mean:.1f} recordings a batch over all; memory from {before / 1e6:.0f} to {after / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
