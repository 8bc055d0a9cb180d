"""Has free synthesisers read sentences: does speech that costs nothing help a recogniser?

    python benchmarks/synthesised_speech.py --data DATA --output runs/synthesised     (Debian: espeak-ng, flite)
    python benchmarks/synthesised_speech.py --data DATA --kokoro FOLDER --output runs/kokoro
    python benchmarks/synthesised_speech.py --sentences FILE --kokoro FOLDER --output runs/kokoro

Makes a folder with a manifest that `affetto asr train` reads; benchmarks/choices.toml trains on it. Voice, speed and
pitch are drawn for each sentence, from its text alone. Sentences are those of a corpus (--corpus), or the lines of a
file. Stopped anywhere, it goes on.

Kokoro is a neural synthesiser (82 million weights, Apache-2.0): pip install kokoro-onnx openvino. FOLDER has its
network, model.onnx (tokens, style, speed), and voices/*.bin, as kokoro-js brings them.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from affetto.config import stable_seed
from affetto.data.corpora import open_corpus
from affetto.data.manifest import write_manifest
from affetto.data.utterance import Utterance

RATE_HZ = 16_000
FLITE_VOICES = {"awb": 130, "rms": 100, "slt": 170, "kal16": 110}
"""Voices, and the pitch at which each speaks, Hz."""
ESPEAK_VOICES = [f"en-{place}+{kind}" for place in ("us", "gb", "gb-scotland") for kind in ("m3", "m7", "f2", "f4")]


class Reading(NamedTuple):
    """Who reads, and what is heard."""

    speaker: str
    samples: np.ndarray
    rate_hz: int


def by_rule(text: str) -> Reading:
    """A sentence read by flite, whose voices are made of recorded speech, or one of four by espeak-ng."""
    draw = random.Random(stable_seed("cast", text))
    if draw.random() < 0.25:
        voice = draw.choice(ESPEAK_VOICES)
        speed, pitch = f"{draw.uniform(130, 190):.0f}", f"{draw.uniform(25, 75):.0f}"
        command = ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "-w"]
    else:
        voice = draw.choice(list(FLITE_VOICES))
        pitch = f"int_f0_target_mean={FLITE_VOICES[voice] * draw.uniform(0.8, 1.25):.0f}"
        stretch = f"duration_stretch={draw.uniform(0.85, 1.25):.2f}"
        command = ["flite", "-voice", voice, "--setf", pitch, "--setf", stretch, "-o"]
    with tempfile.TemporaryDirectory() as folder:
        words, sound = Path(folder, "words.txt"), Path(folder, "sound.wav")
        words.write_text(text, encoding="utf-8")
        subprocess.run([*command, sound, "-f", words], check=True, capture_output=True)
        return Reading(voice, *soundfile.read(sound, dtype="float32"))


class Kokoro:
    """Reads a sentence in a voice between two of Kokoro's English ones, drawn for it."""

    def __init__(self, folder: Path) -> None:
        import openvino
        from kokoro_onnx.tokenizer import Tokenizer

        self.tokenizer = Tokenizer()
        paths = sorted(folder.glob("voices/[ab][fm]_*.bin"))
        self.voices = {path.stem: np.fromfile(path, np.float32).reshape(-1, 1, 256) for path in paths}
        threads = len(os.sched_getaffinity(0))
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads, "INFERENCE_PRECISION_HINT": "bf16"}
        self.network = openvino.Core().compile_model(folder / "model.onnx", "CPU", options)

    def __call__(self, text: str) -> Reading:
        draw = random.Random(stable_seed("kokoro", text))
        place = draw.choice("ab")  # American or British, as the names of the voices begin
        one, other = draw.sample([name for name in self.voices if name[0] == place], 2)
        share, speed = draw.uniform(0, 0.5), draw.uniform(0.8, 1.25)
        phonemes = self.tokenizer.phonemize(text.lower(), "en-us" if place == "a" else "en-gb")
        tokens = self.tokenizer.tokenize(phonemes)
        style = (1 - share) * self.voices[one][len(tokens)] + share * self.voices[other][len(tokens)]
        answers = self.network.create_infer_request().infer(
            [np.array([[0, *tokens, 0]]), style, np.array([speed], np.float32)]
        )
        return Reading(f"{one}+{other}", answers[0].ravel(), 24_000)


def read(text: str, reader: Callable[[str], Reading], path: Path) -> Utterance:
    """Has a sentence read into a FLAC file of 16 kHz, unless it is there already; beside it, who read it."""
    speaker = path.with_suffix(".speaker")
    if not path.exists():
        reading = reader(text)
        speaker.write_text(reading.speaker, encoding="utf-8")
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        soundfile.write(draft, soxr.resample(reading.samples, reading.rate_hz, RATE_HZ), RATE_HZ, format="FLAC")
        draft.replace(path)
    corpus = path.parent.parent.name
    return Utterance(audio=path, speaker=speaker.read_text(encoding="utf-8"), id=path.stem, corpus=corpus, text=text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--corpus", type=Path, default=Path("speech/common-voice"), help="below DATA")
    parser.add_argument("--sentences", type=Path, help="a file of a sentence a line, instead of a corpus's")
    parser.add_argument("--kokoro", type=Path, help="the folder of Kokoro's network and voices")
    parser.add_argument("--output", type=Path, default=Path("runs/synthesised"))
    arguments = parser.parse_args()
    if not (arguments.data or arguments.sentences):
        parser.error("what is to be read? --data, or --sentences")
    (arguments.output / "audio").mkdir(parents=True, exist_ok=True)
    if arguments.sentences:
        texts = arguments.sentences.read_text(encoding="utf-8").splitlines()
    else:
        heard = open_corpus(arguments.data / arguments.corpus).utterances
        texts = sorted({each.text for each in heard if each.text})
    reader = Kokoro(arguments.kokoro) if arguments.kokoro else by_rule
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        waiting = [
            pool.submit(read, text, reader, arguments.output / "audio" / f"{place:05d}.flac")
            for place, text in enumerate(texts)
        ]
        read_out = [each.result() for each in tqdm(waiting, unit="sentence")]
    write_manifest(arguments.output / "manifest.jsonl", read_out)


if __name__ == "__main__":
    main()
