"""Measures a public recogniser: its layers alone, words alone, words and emotion, in seconds of processor time.

On a busy machine processor time says more than the clock, which is given, too. The emotion head is not trained, which
costs the same. python benchmarks/whisper.py [--model openai/whisper-tiny.en] [--data FOLDER] [--minutes 10]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

import affetto
from affetto import audio
from affetto.models.decoding import find_decoder
from affetto.models.encoders import open_encoder
from affetto.models.heads import EmotionHead
from affetto.models.heads.kinds import MeanPoolingConfig
from affetto.recognise import EmotionRecogniser
from affetto.streaming import listen
from affetto.streaming.segments import join
from affetto.transcribe import Transcriber

DEMO = Path(affetto.__file__).parent / "demo"
PAUSE_S = 0.7


def write_speech(path: Path, sources: list[Path], minutes: float) -> None:
    """Recordings one after the other with pauses between them, again and again."""
    left = round(minutes * 60 * audio.SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", audio.SAMPLE_RATE, 1) as file:
        while left > 0:
            for source in sources:
                sound = np.pad(audio.load(source).numpy(), (0, round(PAUSE_S * audio.SAMPLE_RATE)))[:left]
                file.write(sound)
                left -= len(sound)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor time, and of the clock."""
    spent, began = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - spent, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="openai/whisper-tiny.en")
    parser.add_argument("--data", type=Path, default=DEMO, help="speech of any kind; the bundled recordings")
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    sources = sorted(path for path in arguments.data.rglob("*") if path.suffix in {".flac", ".mp3", ".wav"})
    encoder = open_encoder(arguments.model, device="cpu")
    decoder, layers = find_decoder(encoder), tuple(layer.name for layer in encoder.layers)
    config = MeanPoolingConfig(layer=layers)
    head = EmotionHead(config, ("anger", "neutral"), config.choose(encoder.layers))
    recogniser, transcriber = EmotionRecogniser(encoder, head, decoder), Transcriber(encoder, decoder)
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.flac"
        write_speech(long, sources, arguments.minutes)
        rows: dict[str, Callable[[], object]] = {
            "finding speech alone": lambda: list(listen([long], lambda stretches: [0] * len(stretches))),
            "... and all layers": lambda: list(
                listen([long], lambda stretches: [encoder.represent(join(stretches), layers)] and [0] * len(stretches))
            ),
            "... and words": lambda: list(transcriber.transcribe_many([long])),
            "... and words and emotion": lambda: list(recogniser.recognise_many([long])),
        }
        print(f"{arguments.minutes:g} min, {torch.get_num_threads()} thread(s), torch {torch.__version__}\n")
        print("| what | processor time, s | times real time | clock, s |\n|---|---:|---:|---:|")
        for name, work in rows.items():
            spent_s, clock_s = timed(work)
            print(f"| {name} | {spent_s:.1f} | {60 * arguments.minutes / spent_s:.0f} | {clock_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()
