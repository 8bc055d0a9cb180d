"""How well a model's decoder does on its validation speakers: weight and bonus, beams, confidences.

    python benchmarks/decoding.py recipes/asr-small.toml --data DATA [--model small]     (about ten minutes on one core)

Prints the tables of docs/results/decoding.md. Every sixth utterance of the corpus that validates most is heard, and all
of the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import jiwer
import torch
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from affetto import metrics
from affetto.data.transcribed import Transcribed, read_sound
from affetto.frames import Frames, pad_waves
from affetto.models.decoding import BeamConfig, Decoder, Spelling
from affetto.training.recogniser.recipe import RecogniserRecipe
from affetto.training.recogniser.speech import gather
from affetto.transcribe import Transcriber

WEIGHTS, BONUSES = (0.5, 0.7, 0.9, 1.1), (0.7, 1.4, 2.1)
WIDTHS = (8, 32, 128)
GRID_WIDTH = 16


class StreamResult(NamedTuple):
    """The recogniser's probabilities of some utterances, and what was said."""

    name: str
    log_probs: list[Frames]
    texts: list[str]

    def spelt(self, decoder: Decoder) -> list[Spelling]:
        return [decoder(each)[0] for each in self.log_probs]


@torch.inference_mode()
def hear(transcriber: Transcriber, name: str, items: Sequence[Transcribed]) -> StreamResult:
    waves = (read_sound(item) for item in tqdm(items, desc=name, leave=False))
    log_probs = [transcriber.encoder.encode(pad_waves([wave]), []).output for wave in waves]
    return StreamResult(name, log_probs, [item.text for item in items])


def rates(references: Sequence[str], hypotheses: Sequence[str]) -> str:
    return f"{metrics.cer(references, hypotheses):.3f} / {metrics.wer(references, hypotheses):.3f}"


def row(name: str, cells: Iterable[str]) -> None:
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def searches(greedy: Decoder, model: Decoder) -> dict[str, Decoder]:
    """Every decoder to compare, by a name."""

    def beam(width: int, **others: float) -> Decoder:
        config = BeamConfig(width=width, **others)
        return Decoder(greedy.alphabet, greedy.frame_rate_hz, config, model.language_model)

    grid = {
        f"beam of {GRID_WIDTH}, weight {weight:g}, bonus {bonus:g}": beam(GRID_WIDTH, weight=weight, bonus=bonus)
        for weight in WEIGHTS
        for bonus in BONUSES
    }
    return {"greedy": greedy, **grid, **{f"beam of {width}": beam(width) for width in WIDTHS}}


def sureness(spellings: Sequence[Spelling], references: Sequence[str]) -> str:
    """What the confidences of words are worth."""
    right: list[bool] = []
    sure: list[float] = []
    for spelling, reference in zip(spellings, references, strict=True):
        if not spelling.words:
            continue
        hits = [False] * len(spelling.words)
        for chunk in jiwer.process_words(reference, spelling.text).alignments[0]:
            if chunk.type == "equal":
                hits[chunk.hyp_start_idx : chunk.hyp_end_idx] = [True] * (chunk.hyp_end_idx - chunk.hyp_start_idx)
        right += hits
        sure += [word.confidence for word in spelling.words]
    high = [(value, hit) for value, hit in zip(sure, right, strict=True) if value > 0.8]
    mean, hit = (sum(column) / len(high) for column in zip(*high, strict=True))
    area = roc_auc_score(right, sure)
    return (
        f"{len(right):,} words, {sum(right) / len(right):.1%} right, area {area:.3f}; "
        f"of {len(high):,} over .8, on average {mean:.2f}, {hit:.1%} right"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="small")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transcriber = Transcriber.from_pretrained(arguments.model, "cpu")
    greedy = Decoder(transcriber.decoder.alphabet, transcriber.decoder.frame_rate_hz)
    by_corpus: dict[str, list[Transcribed]] = {}
    for item in gather(RecogniserRecipe.read(arguments.recipe), arguments.data).validation:
        by_corpus.setdefault(item.utterance.corpus, []).append(item)
    largest = max(by_corpus, key=lambda name: len(by_corpus[name]))
    heard = [hear(transcriber, name, items[:: 6 if name == largest else 1]) for name, items in by_corpus.items()]
    row("CER / WER", (f"{each.name}, {len(each.texts)}" for each in heard))
    for name, decoder in searches(greedy, transcriber.decoder).items():
        row(name, (rates(each.texts, [spelling.text for spelling in each.spelt(decoder)]) for each in heard))
    for decoder in (greedy, transcriber.decoder):
        spellings = [spelling for each in heard for spelling in each.spelt(decoder)]
        print(f"\nConfidences, {decoder.name}: {sureness(spellings, [text for each in heard for text in each.texts])}")


if __name__ == "__main__":
    main()
