"""How the embedded model bears recordings that are softer or louder than those it was trained on.

Run: python benchmarks/gain.py --data DIR (the folder that holds crema-d). Only speakers that the head was not trained
on are heard: those who chose its epoch, or those who chose nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from affetto import audio, metrics, pretrained
from affetto.data.corpora import open_corpus
from affetto.models import checkpoint
from affetto.recognise import Recogniser, Recording
from affetto.streaming import Samples

GAINS_DB = (-12, -6, 0, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=pretrained.DEFAULT)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    arguments = parser.parse_args()
    recogniser = Recogniser.from_pretrained(arguments.model, "cpu")
    recipe = checkpoint.describe(pretrained.find(arguments.model) / pretrained.EMOTION, "emotion head").facts["recipe"]
    chosen = [
        each
        for each in open_corpus(arguments.data / recipe["corpus"]).utterances
        if each.speaker in recipe[f"{arguments.part}_speakers"] and each.emotion in recogniser.emotions
    ]
    waves = [audio.load(each.audio) for each in chosen]
    references = [str(each.emotion) for each in chosen]
    print("| gain | UAR | accuracy |\n|---:|---:|---:|")
    for gain_db in GAINS_DB:
        factor = 10 ** (gain_db / 20)
        sources = [Samples((wave * factor).clamp(-1, 1), audio.SAMPLE_RATE) for wave in waves]
        results = recogniser.recognise_many(sources)
        heard = [each.emotion or each.statement if isinstance(each, Recording) else "failed" for each in results]
        print(f"| {gain_db:+d} dB | {metrics.uar(references, heard):.3f} | {metrics.accuracy(references, heard):.3f} |")


if __name__ == "__main__":
    main()
