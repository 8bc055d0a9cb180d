"""Hours of speech that a recogniser learns from in an hour: a plain PyTorch loop beside ours, in float32 and bfloat16.

Run on a quiet machine: python benchmarks/asr_training.py --data DATA [--corpus speech/kathleen] [--processes 2].

The plain loop runs the same network with `torch.nn.GRU` and decodes each file when its batch is due; ours runs
`affetto.models.gru` over decoded sound that is kept. All take turns over the same batches, so that a busy machine slows
all of them; each number comes from the medians of their turns. Processes train as `affetto asr train --devices` does,
with one thread each and gradients and statistics shared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.rnn import PackedSequence

from affetto.data.corpora import open_corpus
from affetto.data.transcribed import SoundCache, Transcribed, TranscribedBatch, batch_loader, read_sound, select
from affetto.memory import keep_freed_memory
from affetto.models import deepspeech2
from affetto.models.deepspeech2 import PRESETS, DeepSpeech2, share_statistics
from affetto.models.gru import bidirectional_gru
from affetto.text import Alphabet

BATCH = {"small": 16, "lakomkin2017": 4}
"""Utterances a batch: the large network's step takes long on a CPU."""


class Variant(NamedTuple):
    name: str
    gru: Callable[[nn.GRU, PackedSequence], PackedSequence]
    coarse: bool
    kept: bool


class Times(NamedTuple):
    loading_s: float
    step_s: float


def torchs(gru: nn.GRU, inputs: PackedSequence) -> PackedSequence:
    outputs: PackedSequence = gru(inputs)[0]
    return outputs


VARIANTS = (
    Variant("plain PyTorch", torchs, coarse=False, kept=False),
    Variant("ours, float32", bidirectional_gru, coarse=False, kept=True),
    Variant("ours, bfloat16", bidirectional_gru, coarse=True, kept=True),
)


class Loss(nn.Module):
    def __init__(self, model: DeepSpeech2) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: TranscribedBatch) -> Tensor:
        log_probs = self.model(batch.inputs).log_probs
        return nn.functional.ctc_loss(
            log_probs.values.transpose(0, 1).float(), batch.targets, log_probs.lengths, batch.target_lengths
        )


@contextmanager
def using(variant: Variant) -> Iterator[None]:
    before = deepspeech2.bidirectional_gru
    deepspeech2.bidirectional_gru = variant.gru
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.coarse):
            yield
    finally:
        deepspeech2.bidirectional_gru = before


def measure(preset: str, batches: list[list[Transcribed]], cache: SoundCache) -> dict[str, list[Times]]:
    """Loading and step of each batch by each variant, which take turns."""
    torch.manual_seed(0)
    loss: nn.Module = Loss(DeepSpeech2(PRESETS[preset]).train())
    share_statistics(loss, shared=True)
    if torch.distributed.is_initialized():
        loss = DistributedDataParallel(loss)
    optimiser = torch.optim.AdamW(loss.parameters(), 1e-4)
    loaders = {kept: batch_loader(Alphabet(), cache.read if kept else read_sound) for kept in (False, True)}
    found: dict[str, list[Times]] = {variant.name: [] for variant in VARIANTS}
    for items in batches:
        for variant in VARIANTS:
            begin = time.perf_counter()
            batch = loaders[variant.kept](items)
            assert batch is not None
            loaded = time.perf_counter()
            with using(variant):
                value = loss(batch)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            found[variant.name].append(Times(loaded - begin, time.perf_counter() - loaded))
    return {name: times[1:] for name, times in found.items()}  # the first step warms up


def chosen(items: list[Transcribed], preset: str, steps: int, ranks: int) -> list[list[Transcribed]]:
    """Batches of like length from the middle of the corpus, all of them near its usual length."""
    ordered = sorted(items, key=lambda item: item.duration_s)
    size, count = BATCH[preset], (steps + 1) * ranks
    start = max(0, (len(ordered) - size * count) // 2)
    return [ordered[start + size * number : start + size * (number + 1)] for number in range(count)]


def run(rank: int, options: argparse.Namespace) -> None:
    keep_freed_memory()
    torch.set_num_threads(1 if options.processes > 1 else options.threads)
    if options.processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29531")
        torch.distributed.init_process_group("gloo", rank=rank, world_size=options.processes)
    utterances = open_corpus(options.data / options.corpus).utterances
    for preset in options.presets:
        rate_hz = DeepSpeech2(PRESETS[preset]).output_rate_hz
        items, _ = select(utterances, Alphabet(), max_duration_s=15.0, frame_rate_hz=rate_hz)
        batches = chosen(items, preset, options.steps, options.processes)[rank :: options.processes]
        cache = SoundCache.make(Path(options.kept) / f"{preset}{rank}", [item for batch in batches for item in batch])
        found = measure(preset, batches, cache)
        speech_s = statistics.median(sum(item.duration_s for item in batch) for batch in batches[1:])
        if rank == 0:
            show(preset, found, speech_s, options.processes)


def show(preset: str, found: dict[str, list[Times]], speech_s: float, processes: int) -> None:
    plain: float | None = None
    for name, times in found.items():
        loading, step = (statistics.median(values) for values in zip(*times, strict=True))
        rate = processes * speech_s / (loading + step)
        plain = plain or rate
        print(
            f"| {preset} | {name} | {rate:.1f} | {rate / plain:.2f} | {loading / (loading + step):.1%} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, default=Path("speech/kathleen"))
    parser.add_argument("--presets", nargs="+", choices=sorted(PRESETS), default=["small", "lakomkin2017"])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of a single process")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, {options.processes} process(es), batches of {BATCH} utterances of {options.corpus}"
    )
    print("| network | loop | hours an hour | times plain | loading |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as options.kept:
        if options.processes == 1:
            run(0, options)
        else:
            torch.multiprocessing.spawn(run, args=(options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
