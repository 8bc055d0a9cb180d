"""What the speech detector misses, and what else it takes for speech.

    python benchmarks/speech_detector.py --data DATA [--without FOLDER]

Of the clips of CREMA-D's validation speakers (the folder that holds crema-d), each under several conditions, it counts
those in which no speech is found; in sounds without speech, such as music, it measures how much is found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from affetto import audio, pretrained
from affetto.data.corpora import open_corpus
from affetto.features.conditions import Condition
from affetto.models import checkpoint
from affetto.streaming import sound_files
from affetto.streaming.segments import cut

CONDITIONS = ("clean", "telephone", "white-10", "opus-8", "reverb-0.5", "gain--40", "silence-1")


def main() -> None:
    """Prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--without", type=Path, help="a folder of sounds without speech")
    asked = parser.parse_args()
    recipe = checkpoint.describe(pretrained.find("tiny") / pretrained.EMOTION, "emotion head").facts["recipe"]
    clips = [
        each
        for each in open_corpus(asked.data / "crema-d").utterances
        if each.speaker in recipe["validation_speakers"] and each.emotion in recipe["classes"]
    ]
    print("| condition | clips | without speech | share of the sound that is speech |\n|---|---:|---:|---:|")
    for name in CONDITIONS:
        missed = seconds = total_s = 0.0
        for number, clip in enumerate(clips):
            wave = Condition.parse(name)(audio.load(clip.audio), np.random.default_rng(number))
            found = list(cut([wave]))
            missed += not found
            seconds += sum(each.end_s - each.start_s for each in found)
            total_s += len(wave) / audio.SAMPLE_RATE
        print(f"| {name} | {len(clips)} | {missed:.0f} | {seconds / total_s:.3f} |", flush=True)
    if asked.without is not None:
        print("\n| sound without speech | seconds | taken for speech |\n|---|---:|---:|")
        for path in sound_files(asked.without).files:
            wave = audio.load(path)
            found_s = sum(each.end_s - each.start_s for each in cut([wave]))
            print(f"| {path.stem} | {len(wave) / audio.SAMPLE_RATE:.1f} | {found_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()
