"""Who speaks: error and speed on recordings that are joined from turns of known speakers.

    python benchmarks/speakers.py --data DATA              (pip install "affetto[speakers]" pyannote.metrics)
    python benchmarks/speakers.py --data DATA --choose     (what was chosen, on speakers who test nothing)

Prints the diarisation error rate (pyannote.metrics; 0.25 s on either side of a change do not count) of LibriSpeech and
of CREMA-D's test speakers, with the number of speakers given and found, and how many times real time that took on one
thread beside finding speech. A turn lasts 2 to 10 s; two in five are followed by another without a pause.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from affetto.audio import SAMPLE_RATE
from affetto.data.corpora import open_corpus
from affetto.data.sound import load_utterance, speech_in
from affetto.data.utterance import Utterance
from affetto.errors import AudioError
from affetto.models.voices import group, turns
from affetto.streaming.segments import Spoken, cut

Voices = dict[str, list[Utterance]]
LAST_TRAINED, FIRST_TESTED = "1061", "1076"  # of CREMA-D's speakers, as the recipes divide them
SPEAKERS, TURNS = (1, 2, 3, 4), (3, 6, 15, 40)
APART = (0.4, 0.45, 0.5, 0.55, 0.6)
CPU = torch.device("cpu")


class Joined(NamedTuple):
    """A recording, and who speaks in it when: (start_s, end_s, speaker)."""

    wave: torch.Tensor
    turns: list[tuple[float, float, str]]

    @property
    def count(self) -> int:
        return len({speaker for *_, speaker in self.turns})


def voices(corpus: Path, wanted: Callable[[str], bool] = lambda _: True) -> Voices:
    found: Voices = {}
    for each in open_corpus(corpus).utterances:
        if wanted(each.speaker):
            found.setdefault(each.speaker, []).append(each)
    return {speaker: own for speaker, own in found.items() if len(own) >= 4}


def spoken(utterances: list[Utterance], rng: np.random.Generator) -> np.ndarray:
    """A turn."""
    wanted, parts, length = rng.uniform(2, 10) * SAMPLE_RATE, list[np.ndarray](), 0
    while length < wanted:
        try:
            wave = speech_in(load_utterance(utterances[rng.integers(len(utterances))])).without_pauses().wave
        except AudioError:  # nobody speaks in it
            continue
        parts += [wave, np.zeros(round(SAMPLE_RATE * rng.uniform(0.1, 0.4)), np.float32)]
        length += len(wave)
    return np.concatenate(parts[:-1])[: 10 * SAMPLE_RATE]


def joined(who: Voices, speakers: int, many: int, rng: np.random.Generator) -> Joined:
    names = list(map(str, rng.choice(sorted(who), speakers, replace=False)))
    order = list(rng.permutation(speakers))
    while len(order) < many:
        order += [each for each in [int(rng.integers(speakers))] if speakers == 1 or each != order[-1]]
    parts, at, said = [np.zeros(4800, np.float32)], 4800, list[tuple[float, float, str]]()
    for each in order:
        wave, kind = spoken(who[names[each]], rng), rng.random()
        said.append((at / SAMPLE_RATE, (at + len(wave)) / SAMPLE_RATE, names[each]))
        pause_s = rng.uniform(*((0, 0.1) if kind < 0.4 else (0.2, 0.4) if kind < 0.7 else (0.5, 1.5)))
        parts += [wave, np.zeros(round(SAMPLE_RATE * pause_s), np.float32)]
        at += len(wave) + len(parts[-1])
    samples = np.concatenate(parts)
    return Joined(torch.from_numpy(samples + rng.normal(0, 1e-4, len(samples)).astype(np.float32)), said)


def errors(found: Sequence[tuple[Joined, Sequence[Spoken], Sequence[int]]]) -> float:
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(said: Sequence[tuple[float, float, object]]) -> Annotation:
        made = Annotation()
        for track, (start_s, end_s, speaker) in enumerate(said):
            made[Segment(start_s, end_s), track] = str(speaker)
        return made

    rate = DiarizationErrorRate(collar=0.5)
    for recording, parts, numbers in found:
        own = [(each.start_s, each.end_s, number) for each, number in zip(parts, numbers, strict=True)]
        rate(annotation(recording.turns), annotation(own))
    return abs(rate)


def grouped(parts: Sequence[Spoken], speakers: int | None, **limits: float) -> list[int]:
    vectors = torch.stack([each.voice for each in parts if each.voice is not None])
    return group(vectors, [each.end_s - each.start_s for each in parts], speakers or "auto", **limits)


def measure(sets: dict[str, Voices], count: int) -> None:
    print("| set | speakers | recordings | DER, number given | found | number right | times real time |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for (name, who), speakers in product(sets.items(), SPEAKERS):
        rng = np.random.default_rng([1, speakers])
        took_s, given, found = 0.0, list[tuple[Joined, list[Spoken], list[int]]](), []
        for many in [many for many in TURNS for _ in range(count)]:
            recording = joined(who, speakers, many, rng)
            stretches = list(cut(recording.wave.split(10 * SAMPLE_RATE)))
            began = time.process_time()
            parts = list(turns(stretches, CPU))
            found.append((recording, parts, grouped(parts, None)))
            took_s += time.process_time() - began
            given.append((recording, parts, grouped(parts, speakers)))
        right = sum(len(set(numbers)) == recording.count for recording, _, numbers in found)
        sound_s = sum(len(each.wave) for each, *_ in found) / SAMPLE_RATE
        cells = f"{errors(given):.3f} | {errors(found):.3f} | {right / len(found):.2f} | {sound_s / took_s:.0f}"
        print(f"| {name} | {speakers} | {len(found)} | {cells} |", flush=True)


def choose(sets: dict[str, Voices], count: int) -> None:
    print("| apart | DER, number given | found |", *(f"{each} turns |" for each in TURNS), "number right |")
    print("|---:|---:|---:|" + "---:|" * len(TURNS) + "---:|")
    cases = []
    for (place, who), speakers, many in product(enumerate(sets.values()), SPEAKERS, TURNS):
        rng = np.random.default_rng([2, place, speakers, many])
        recordings = [joined(who, speakers, many, rng) for _ in range(count)]
        cases += [(many, each, list(turns(cut(each.wave.split(10 * SAMPLE_RATE)), CPU))) for each in recordings]
    given = errors([(each, parts, grouped(parts, each.count)) for _, each, parts in cases if each.count > 1])
    for apart in APART:
        found = [(many, each, parts, grouped(parts, None, apart=apart)) for many, each, parts in cases]
        rates = [errors([rest for own, *rest in found if own in wanted]) for wanted in (TURNS, *((n,) for n in TURNS))]
        right = np.mean([len(set(numbers)) == each.count for _, each, _, numbers in found])
        print(f"| {apart} | {given:.3f} |", *(f"{each:.3f} |" for each in rates), f"{right:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--recordings", type=int, default=3, help="of each number of speakers and of turns")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.choose:
        speech = {name: voices(given.data / "speech" / name) for name in ("common-voice", "speechocean762")}
        acted = {"crema-d": voices(given.data / "crema-d", lambda speaker: speaker <= LAST_TRAINED)}
        choose(acted | speech, given.recordings)
        return
    tested = voices(given.data / "crema-d", lambda speaker: speaker >= FIRST_TESTED)
    measure({"LibriSpeech": voices(given.data / "speech/LibriSpeech"), "CREMA-D": tested}, given.recordings)


if __name__ == "__main__":
    main()
