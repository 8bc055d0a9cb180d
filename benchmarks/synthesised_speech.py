"""Has free synthesisers read a corpus's sentences: does speech that costs nothing help a recogniser?

    python benchmarks/synthesised_speech.py --data DATA --output runs/synthesised    (Debian: espeak-ng, flite)

Makes a folder with a manifest that `affetto asr train` reads; benchmarks/choices.toml trains on it. Voice, speed and
pitch are drawn for each sentence, from its text alone.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

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
    """Who reads, and the command for it, but for the text's file and the sound's."""

    speaker: str
    command: tuple[str, ...]


def cast(text: str) -> Reading:
    """A voice for a sentence, three of four times flite's, which are made of recorded speech."""
    draw = random.Random(stable_seed("cast", text))
    if draw.random() < 0.25:
        voice = draw.choice(ESPEAK_VOICES)
        speed, pitch = f"{draw.uniform(130, 190):.0f}", f"{draw.uniform(25, 75):.0f}"
        return Reading(voice, ("espeak-ng", "-v", voice, "-s", speed, "-p", pitch))
    voice = draw.choice(list(FLITE_VOICES))
    pitch = f"int_f0_target_mean={FLITE_VOICES[voice] * draw.uniform(0.8, 1.25):.0f}"
    stretch = f"duration_stretch={draw.uniform(0.85, 1.25):.2f}"
    return Reading(voice, ("flite", "-voice", voice, "--setf", pitch, "--setf", stretch))


def read(text: str, name: str, output: Path) -> Utterance:
    """Has a sentence read into a file."""
    reading = cast(text)
    path = output / "audio" / f"{name}.flac"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            words, sound = Path(folder, "words.txt"), Path(folder, "sound.wav")
            words.write_text(text, encoding="utf-8")
            ends = ("-f", words, "-w", sound) if reading.command[0] == "espeak-ng" else ("-f", words, "-o", sound)
            subprocess.run([*reading.command, *ends], check=True, capture_output=True)
            samples, rate = soundfile.read(sound, dtype="float32")
            draft = path.with_suffix(f".{os.getpid()}.tmp")
            soundfile.write(draft, soxr.resample(samples, rate, RATE_HZ), RATE_HZ, format="FLAC")
            draft.replace(path)
    return Utterance(audio=path, speaker=reading.speaker, id=name, corpus=output.name, text=text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, default=Path("speech/common-voice"))
    parser.add_argument("--output", type=Path, default=Path("runs/synthesised"))
    arguments = parser.parse_args()
    (arguments.output / "audio").mkdir(parents=True, exist_ok=True)
    heard = open_corpus(arguments.data / arguments.corpus).utterances
    texts = sorted({each.text for each in heard if each.text})
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(read, text, f"{place:05d}", arguments.output) for place, text in enumerate(texts)]
        read_out = [each.result() for each in tqdm(waiting, unit="sentence")]
    write_manifest(arguments.output / "manifest.jsonl", read_out)


if __name__ == "__main__":
    main()
