"""What looking into every unit costs, stage by stage, on a part of a corpus, and what the whole would.

Run: python benchmarks/probe.py --data DATA [--utterances N] [--whole N] [--threads N]. It hears N utterances, spread
evenly over the corpus, as `affetto probe neurons` does, and prints seconds of processor time, which a busy machine
changes little, beside seconds that went by. What does not grow with the corpus (the null of utterance means grows with
it a little) is timed by itself.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affetto.data.splits import by_speaker
from affetto.frames import Waves
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.probe import frame_reader
from affetto.probe.correlation import Tally
from affetto.probe.folder import read_utterances
from affetto.probe.neurons import NeuronConfig, _tables


class Stopwatch:
    """Processor time by stage."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}

    def time(self, stage: str, work: Callable[[], Any]) -> Any:
        begin = time.process_time()
        done = work()
        self.spent_s[stage] = self.spent_s.get(stage, 0.0) + time.process_time() - begin
        return done


class TimedEncoder:
    """An encoder that is timed."""

    def __init__(self, encoder: Encoder, watch: Stopwatch) -> None:
        self.encoder, self.watch = encoder, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def represent(self, waves: Waves, layers: Any) -> Any:
        return self.watch.time("layers", lambda: self.encoder.represent(waves, layers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds crema-d")
    parser.add_argument("--utterances", type=int, default=200)
    parser.add_argument("--whole", type=int, default=4900, help="utterances to reckon for")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = NeuronConfig(limit=options.utterances)
    utterances = read_utterances(config, options.data)
    watch = Stopwatch()
    encoder = TimedEncoder(open_encoder(config.recogniser, device="cpu"), watch)
    names, speakers = np.unique([by_speaker(each) for each in utterances], return_inverse=True)
    choosing = np.arange(len(names)) % 2 == 0
    reader = frame_reader.FrameReader(encoder)
    tally = Tally(
        reader.groups,
        speakers,
        shuffled=~choosing[speakers],
        permutations=config.permutations,
        rng=np.random.default_rng(0),
    )
    prosody = frame_reader.prosody
    frame_reader.prosody = lambda waves: watch.time("prosody", lambda: prosody(waves))  # type: ignore[assignment]
    went_by, processor = time.perf_counter(), time.process_time()
    for batch in reader.batches(utterances):
        for heard in batch:
            watch.time("correlations and null", lambda heard=heard: tally.add(heard))  # type: ignore[misc]
    streaming_s = time.process_time() - processor
    watch.spent_s["reading and the rest"] = streaming_s - sum(watch.spent_s.values())
    begin = time.process_time()
    _tables(tally, choosing, config)
    tables_s = time.process_time() - begin
    print(
        json.dumps(
            {
                "utterances": len(utterances),
                "units": int(tally.means.shape[1]),
                "threads": options.threads,
                "processor_s": {stage: round(spent, 2) for stage, spent in watch.spent_s.items()},
                "went_by_s": round(time.perf_counter() - went_by, 1),
                "tables_s": round(tables_s, 2),
                "reckoned_for_the_whole_s": round(streaming_s * options.whole / len(utterances) + tables_s, 1),
                "peak_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
