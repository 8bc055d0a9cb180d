"""How well a model hears emotion in speakers whom its head did not learn from: validation or test speakers.

    python benchmarks/unheard_speakers.py --data DATA --part validation      (the folder that holds crema-d; or: test)

Prints UAR and accuracy with each clip made softer or louder, of the whole clip and of the speech that is found in it,
and for each degree of being sure, how much is stated and how much of it is right.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from affetto import audio, metrics, pretrained
from affetto.data.corpora import open_corpus
from affetto.data.utterance import Utterance
from affetto.frames import pad_waves
from affetto.models import checkpoint
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording, Segment
from affetto.streaming import Samples
from affetto.timeline import likeliest

GAINS_DB = (-12, -6, 0, 6)
SURE = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TOGETHER = 32


def clips_of(recogniser: EmotionRecogniser, model: str, part: str, data: Path) -> list[Utterance]:
    """The clips of the speakers whom the head's recipe names for a part."""
    recipe = checkpoint.describe(pretrained.find(model) / pretrained.EMOTION, "emotion head").facts["recipe"]
    return [
        each
        for each in open_corpus(data / recipe["corpus"]).utterances
        if each.speaker in recipe[f"{part}_speakers"] and each.emotion in recogniser.emotions
    ]


def whole(recogniser: EmotionRecogniser, waves: Sequence[Tensor]) -> list[str]:
    """The emotion of each clip, heard from its first moment to its last."""
    order = sorted(range(len(waves)), key=lambda place: len(waves[place]))
    heard: dict[int, str] = {}
    for begin in range(0, len(order), TOGETHER):
        places = order[begin : begin + TOGETHER]
        opinions = recogniser.predict(pad_waves([waves[place] for place in places]))
        heard |= {place: likeliest(each.probabilities) for place, each in zip(places, opinions, strict=True)}
    return [heard[place] for place in range(len(waves))]


def scores(references: Sequence[str], heard: Sequence[str]) -> str:
    return f"{metrics.uar(references, heard):.3f} / {metrics.accuracy(references, heard):.3f}"


def judged(stretches: Sequence[tuple[Segment, str]]) -> None:
    """What being sure is worth, over stretches of speech."""
    print("\n| sure | stated | of these right | of the others right |\n|---:|---:|---:|---:|")
    for least in SURE:
        stated = [segment.probabilities[segment.emotion] >= least for segment, _ in stretches]
        right = [segment.emotion == truth for segment, truth in stretches]
        cells = [sum(stated) / len(stated)]
        for said in (True, False):
            hits = [hit for hit, each in zip(right, stated, strict=True) if each is said]
            cells.append(sum(hits) / max(1, len(hits)))
        print(f"| {least:g} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default=pretrained.DEFAULT)
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recogniser = EmotionRecogniser.from_pretrained(arguments.model, "cpu")
    clips = clips_of(recogniser, arguments.model, arguments.part, arguments.data)
    waves = [audio.load(each.audio) for each in clips]
    references = [str(each.emotion) for each in clips]
    stretches: list[tuple[Segment, str]] = []
    print(f"{len(clips)} clips\n\n| gain | whole, UAR / accuracy | speech | no speech found |\n|---:|---:|---:|---:|")
    for gain_db in GAINS_DB:
        changed = [(wave * 10 ** (gain_db / 20)).clamp(-1, 1) for wave in waves]
        results = list(recogniser.recognise_many([Samples(wave, audio.SAMPLE_RATE) for wave in changed]))
        heard = [each.emotion or each.statement if isinstance(each, Recording) else "failed" for each in results]
        missed = sum(not isinstance(each, Recording) or not each.segments for each in results)
        in_whole = scores(references, whole(recogniser, changed))
        print(f"| {gain_db:+d} dB | {in_whole} | {scores(references, heard)} | {missed} |", flush=True)
        if gain_db == 0:
            for each, truth in zip(results, references, strict=True):
                stretches += [(segment, truth) for segment in each.segments] if isinstance(each, Recording) else []
    print(f"\n{len(stretches)} stretches of speech as they were recorded")
    judged(stretches)


if __name__ == "__main__":
    main()
