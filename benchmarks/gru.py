"""What training on a CPU gains: our GRU beside torch.nn.GRU, and memory that is kept beside memory given back.

Run: python benchmarks/gru.py [--threads N]. Both sides of a ratio take turns in one run, so that a busy machine slows
both; each number is the median of its turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from affetto.frames import pad_waves
from affetto.memory import keep_freed_memory
from affetto.models.deepspeech2 import PRESETS, DeepSpeech2
from affetto.models.gru import bidirectional_gru

BATCH, UNITS = 16, 256


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def gru_ratio(steps: int, turns: int) -> tuple[float, float]:
    """Median seconds of forward and backward: torch's layer and ours."""
    gru = nn.GRU(UNITS, UNITS, bidirectional=True)
    values = torch.randn(steps, BATCH, UNITS, requires_grad=True)
    packed = pack_padded_sequence(values, torch.linspace(steps // 2, steps, BATCH).long().flip(0))

    def theirs() -> None:
        gru(packed)[0].data.sum().backward(retain_graph=True)

    def ours() -> None:
        bidirectional_gru(gru, packed).data.sum().backward(retain_graph=True)

    theirs()
    ours()
    times = [(seconds(theirs), seconds(ours)) for _ in range(turns)]
    return statistics.median(each for each, _ in times), statistics.median(each for _, each in times)


def training_step(steps: int) -> list[float]:
    """Seconds of some training steps of the small recogniser on batches of 2 to 5 s."""
    torch.manual_seed(0)
    model = DeepSpeech2(PRESETS["small"]).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
    targets, target_lengths = torch.randint(1, 29, (BATCH, 20)), torch.full((BATCH,), 20)

    def step(samples: int) -> None:
        log_probs = model(pad_waves(list(0.1 * torch.randn(BATCH, samples)))).log_probs
        losses = nn.functional.ctc_loss(log_probs.values.transpose(0, 1), targets, log_probs.lengths, target_lengths)
        optimiser.zero_grad()
        losses.backward()
        optimiser.step()

    lengths = torch.randint(32_000, 80_000, (steps + 1,)).tolist()
    return [seconds(lambda length=length: step(length)) for length in lengths][1:]  # type: ignore[misc]


def in_a_process(threads: int, steps: int, keep: bool) -> list[float]:
    """`training_step` in an interpreter of its own: what malloc is told cannot be taken back."""
    command = [sys.executable, __file__, "--threads", str(threads), "--step", str(steps), *(["--keep"] if keep else [])]
    found: list[float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.step is not None:
        if options.keep:
            keep_freed_memory()
        print(json.dumps(training_step(options.step)))
        return
    print(f"torch {torch.__version__}, {options.threads} thread(s), batch {BATCH}, {UNITS} units; medians")
    for steps in (100, 375):
        theirs, ours = gru_ratio(steps, options.turns)
        print(
            f"GRU, {steps} steps, forward and backward: torch {theirs:.3f} s, ours {ours:.3f} s: {theirs / ours:.2f} x"
        )
    default, kept = [], []
    for _ in range(2):
        default += in_a_process(options.threads, options.turns, keep=False)
        kept += in_a_process(options.threads, options.turns, keep=True)
    slow, fast = statistics.median(default), statistics.median(kept)
    print(f"training step: memory given back {slow:.2f} s, kept {fast:.2f} s: {slow / fast:.2f} x")


if __name__ == "__main__":
    main()
