"""Makes a language model of words from a recipe's training transcripts, and measures what it gains in decoding.

python benchmarks/word_model.py recipes/asr-small.toml --data DATA --output words.arpa [--utterances 60]

Weight and bonus are chosen by some of the validation speakers' utterances, the figures are of as many others; none has
a transcript that was trained on. Needs pip install "affetto[kenlm]".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from affetto import audio, metrics
from affetto.data.transcribed import Transcribed
from affetto.frames import Frames, pad_waves
from affetto.models.decoding import Decoder, WordBeamConfig, WordSearch, load_word_model
from affetto.training.recogniser.language_model import Smoothed, count, smooth
from affetto.training.recogniser.recipe import RecogniserRecipe
from affetto.training.recogniser.speech import gather
from affetto.transcribe import Transcriber

WEIGHTS = (0.3, 0.6, 1.0)
BONUSES = (0.0, 2.0, 4.0)


def divide(recipe: RecogniserRecipe, root: Path) -> tuple[list[str], list[Transcribed]]:
    """The different transcripts that the recipe trains on, and the validation speakers' utterances with others."""
    speech = gather(recipe, root)
    training = {item.text for item in speech.training}
    return sorted(training), [item for item in speech.validation if item.text not in training]


def estimate(texts: Sequence[str], order: int) -> tuple[list[str], list[Smoothed]]:
    """The names of all words and marks, by their numbers, and the n-grams: interpolated, modified Kneser-Ney."""
    names = ["<s>", *sorted({word for said in texts for word in said.split()}), "<unk>", "</s>"]
    number = {name: place for place, name in enumerate(names)}
    spelt = [[*(number[word] for word in said.split()), number["</s>"]] for said in texts]
    return names, smooth(count(spelt, order, len(names) - 1), len(names) - 1)


def write_arpa(path: Path, names: Sequence[str], levels: Sequence[Smoothed]) -> None:
    base = len(names)
    lines = ["\\data\\", *(f"ngram {length}={len(level.keys)}" for length, level in enumerate(levels, start=1))]
    for length, level in enumerate(levels, start=1):
        lines += ["", f"\\{length}-grams:"]
        digits = np.stack([level.keys // base**place % base for place in reversed(range(length))], axis=1)
        logs = np.log10(level.probabilities), np.log10(level.backoffs)
        for words, log_prob, backoff in zip(digits.tolist(), *(each.tolist() for each in logs), strict=True):
            told = -99.0 if words == [0] else log_prob
            weight = f"\t{backoff:.6f}" if length < len(levels) else ""
            lines.append(f"{told:.6f}\t{' '.join(names[word] for word in words)}{weight}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")


@torch.inference_mode()
def hear(transcriber: Transcriber, items: Sequence[Transcribed]) -> list[Frames]:
    sources = [item.utterance for item in items]
    waves = [audio.load(each.audio, start_s=each.start_s, end_s=each.end_s) for each in sources]
    return [transcriber.encoder.encode(pad_waves([wave]), []).output for wave in waves]


def rates(decoder: Decoder, heard: Sequence[Frames], references: Sequence[str]) -> tuple[float, float]:
    """Character and word error rate."""
    said = [decoder(each)[0].text for each in heard]
    return metrics.cer(references, said), metrics.wer(references, said)


def spread(items: Sequence[Transcribed], number: int) -> list[Transcribed]:
    return [items[place * len(items) // number] for place in range(min(number, len(items)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--model", default="small")
    parser.add_argument("--utterances", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    texts, unheard = divide(RecogniserRecipe.read(arguments.recipe), arguments.data)
    names, levels = estimate(texts, arguments.order)
    write_arpa(arguments.output, names, levels)
    sizes = " + ".join(f"{len(level.keys):,}" for level in levels)
    print(f"{len(texts):,} transcripts, {len(names) - 3:,} words, {sizes} n-grams")
    if not arguments.utterances:
        return
    chosen = spread(unheard, 2 * arguments.utterances)
    transcriber = Transcriber.from_pretrained(arguments.model, "cpu")
    greedy = Decoder(transcriber.decoder.alphabet, transcriber.decoder.frame_rate_hz)
    heard = hear(transcriber, chosen)
    model = load_word_model(arguments.output, greedy.alphabet)

    def with_words(weight: float, bonus: float) -> Decoder:
        search = WordSearch(model, WordBeamConfig(weight=weight, bonus=bonus))
        return Decoder(greedy.alphabet, greedy.frame_rate_hz, words=search)

    references = [item.text for item in chosen]
    tried = {}
    for weight in WEIGHTS:
        for bonus in BONUSES:
            cer, wer = rates(with_words(weight, bonus), heard[::2], references[::2])
            tried[weight, bonus] = wer
            print(f"weight {weight:g}, bonus {bonus:g}: {cer:.3f} / {wer:.3f}")
    best = min(tried, key=lambda each: (tried[each], each))
    said = [word for reference in references[1::2] for word in reference.split()]
    known = set(names)
    unknown = sum(word not in known for word in said)
    print(f"{len(heard[1::2])} other utterances, {len(said)} words, {unknown / max(1, len(said)):.1%} of them unknown")
    for decoder in (greedy, transcriber.decoder, with_words(*best)):
        cer, wer = rates(decoder, heard[1::2], references[1::2])
        print(f"| {decoder.name} | {cer:.3f} | {wer:.3f} |")


if __name__ == "__main__":
    main()
