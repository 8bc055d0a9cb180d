"""Recognition by ONNX graphs beside torch: what it costs in accuracy, and what it gains in speed.

    python benchmarks/onnx_runtime.py --emotion DATA/crema-d --speech DATA/speech/LibriSpeech

Prints UAR over clips of the head's test speakers, WER over utterances by greedy decoding, and how many seconds of sound
a second of one processor's time recognises, from file to result, in turn and at best of three; what ten minutes in one
recording cost by two threads, and what a process does that recognises a clip of 3 s, at best of three, too. Other work
on the machine changes time of the processor little, time by the clock much.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import affetto
from affetto import audio, metrics, pretrained, text
from affetto.audio import SAMPLE_RATE
from affetto.data.corpora import open_corpus
from affetto.data.utterance import Utterance
from affetto.devices import choose_precision
from affetto.models import checkpoint
from affetto.models.decoding import DecoderChoice
from affetto.onnx import OnnxRecogniser
from affetto.onnx.export import export_model
from affetto.recognise import EmotionRecogniser
from affetto.recognition import RecordingRecogniser
from affetto.recording import Recording
from affetto.streaming import Stretch
from affetto.timeline import likeliest

_TIMES, _LONG_S = 3, 600
CLIP = Path(affetto.__file__).parent / "demo" / "happy.flac"
STARTS = {
    "torch": "from affetto import EmotionRecogniser as R; R.from_pretrained(device='cpu').recognise(sys.argv[2])",
    "ONNX": "from affetto.onnx import OnnxRecogniser as R; R(sys.argv[1]).recognise(sys.argv[2])",
}


class Cost(NamedTuple):
    """Seconds by the clock and of the processor."""

    clock_s: float
    processor_s: float


def recognised(recogniser: RecordingRecogniser, clips: Sequence[Utterance]) -> list[Recording]:
    return list(recogniser.recognise_many(Stretch(each.audio, each.start_s, each.end_s) for each in clips))


def scores(recogniser: RecordingRecogniser, acted: Sequence[Utterance], read: Sequence[Utterance]) -> str:
    predicted = [likeliest(each.probabilities) for each in recognised(recogniser, acted)]
    said = [each.transcript for each in recognised(recogniser, read)]
    uar = metrics.uar([str(each.emotion) for each in acted], predicted)
    wer = metrics.wer([text.normalise(str(each.text)) for each in read], said)
    return f"{uar:.3f} | {wer:.3f}"


def speeds(recognisers: dict[str, RecordingRecogniser], read: Sequence[Utterance]) -> dict[str, float]:
    """Seconds of sound a second of the processor."""
    best = dict.fromkeys(recognisers, 0.0)
    for _ in range(3):
        for name, recogniser in recognisers.items():
            began = time.process_time()
            sound_s = sum(each.duration_s for each in recognised(recogniser, read))
            best[name] = max(best[name], sound_s / (time.process_time() - began))
    return best


def long(recognisers: dict[str, RecordingRecogniser], read: Sequence[Utterance]) -> dict[str, Cost]:
    """What ten minutes in one recording cost, utterance after utterance with a pause of half a second."""
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    parts = [part for each in read for part in (audio.load(each.audio).numpy(), pause)]
    sound = np.concatenate(parts)[: _LONG_S * SAMPLE_RATE]
    assert len(sound) == _LONG_S * SAMPLE_RATE, "too few utterances: name a larger folder with --speech"
    found: dict[str, list[Cost]] = {name: [] for name in recognisers}
    for _ in range(_TIMES):
        for name, recogniser in recognisers.items():
            began, began_s = time.perf_counter(), time.process_time()
            recogniser.recognise_samples(sound, SAMPLE_RATE)
            found[name].append(Cost(time.perf_counter() - began, time.process_time() - began_s))
    return {name: best(each) for name, each in found.items()}


def best(costs: Sequence[Cost]) -> Cost:
    return Cost(min(each.clock_s for each in costs), min(each.processor_s for each in costs))


def start(program: str, folder: Path) -> Cost:
    """What a process costs that recognises a clip."""
    found = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        command = [sys.executable, "-c", f"import sys; {program}", str(folder), str(CLIP)]
        with subprocess.Popen(command) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        found.append(Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime))
    return best(found)


def spread(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    return list(utterances[:: max(1, len(utterances) // count)][:count])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emotion", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--utterances", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = checkpoint.describe(pretrained.find(pretrained.DEFAULT) / pretrained.EMOTION, "emotion head").facts
    speakers, classes = facts["recipe"]["test_speakers"], facts["recipe"]["classes"]
    known = open_corpus(arguments.emotion).utterances
    acted = spread([each for each in known if each.speaker in speakers and each.emotion in classes], arguments.clips)
    read = spread([each for each in open_corpus(arguments.speech).utterances if each.text], arguments.utterances)
    by_torch: dict[str, RecordingRecogniser] = {}
    for precision in dict.fromkeys(["float32", str(choose_precision("auto", torch.device("cpu"))).partition(".")[2]]):
        by_torch[f"torch, {precision}"] = EmotionRecogniser.from_pretrained(
            device="cpu", decoding=DecoderChoice("greedy"), precision=precision
        )
    with tempfile.TemporaryDirectory() as folder:
        folders = {f"ONNX, {precision}": Path(folder) / precision for precision in ("float32", "int8")}
        for each in folders.values():
            export_model(pretrained.DEFAULT, each, each.name)
        recognisers = by_torch | {name: OnnxRecogniser(each, threads=1) for name, each in folders.items()}
        found = {name: scores(each, acted, read) for name, each in recognisers.items()}
        speed = speeds(recognisers, read[:60])
        print(f"{len(acted)} acted clips, {len(read)} utterances\n\n| by | UAR | WER | speed |\n|---|---:|---:|---:|")
        for name, cells in found.items():
            print(f"| {name} | {cells} | {speed[name]:.0f} |")
        torch.set_num_threads(2)
        costs = long(by_torch | {name: OnnxRecogniser(each, threads=2) for name, each in folders.items()}, read)
        costs |= {f"start, {name}": start(program, folders["ONNX, float32"]) for name, program in STARTS.items()}
        print("\n| | clock, s | processor, s |\n|---|---:|---:|")
        for name, cost in costs.items():
            print(f"| {name} | {cost.clock_s:.2f} | {cost.processor_s:.2f} |")


if __name__ == "__main__":
    main()
