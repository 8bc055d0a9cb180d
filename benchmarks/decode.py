"""Measures decoding: greedy, by beam search and with a language model, against real time and, if installed, flashlight.

Run on a quiet machine: python benchmarks/decode.py [--model MODEL] [--minutes 10] [--language-model FILE]
Without a file, a language model is learnt from this repository's own documents: its size matters here, not its taste.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import affetto
from affetto import audio, text
from affetto.frames import Frames, pad, pad_waves
from affetto.models.decoding import BeamConfig, Decoder, beam_search
from affetto.models.language_model import LanguageModel, expand, load_language_model
from affetto.text import Alphabet
from affetto.training.recogniser.language_model import estimate
from affetto.transcribe import Transcriber

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
DOCUMENTS = sorted(Path(__file__).parents[1].glob("**/*.md"))
SEGMENT_S = 15.0
BATCH = 32
TURNS = 3


@torch.inference_mode()
def emissions(transcriber: Transcriber, minutes: float) -> tuple[list[Frames], float]:
    """Batches of log probabilities for the bundled recordings again and again, and how long the network took."""
    sound = torch.cat([audio.load(path) for path in DEMO])
    samples = round(SEGMENT_S * audio.SAMPLE_RATE)
    turned = [sound.roll(-1000 * number).repeat(2)[:samples] for number in range(round(minutes * 60 / SEGMENT_S))]
    started = time.perf_counter()
    starts = range(0, len(turned), BATCH)
    batches = [transcriber.encoder.encode(pad_waves(turned[at : at + BATCH]), []).output for at in starts]
    return batches, time.perf_counter() - started


def from_documents(alphabet: Alphabet) -> LanguageModel:
    lines = {text.normalise(line) for path in DOCUMENTS for line in path.read_text(encoding="utf-8").splitlines()}
    texts = [alphabet.encode(f"{line} ") for line in sorted(lines) if line]
    return expand(alphabet, estimate(texts, 8, len(alphabet.symbols), 2.0), 8)


def median_s(work: Callable[[], object]) -> float:
    """Seconds of the middle one of several runs."""
    seconds = []
    for _ in range(TURNS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def flashlight(width: int, classes: int) -> Callable[[Frames], object] | None:
    """Its beam search without a lexicon or a language model; None where it is not installed."""
    try:
        from flashlight.lib.text import decoder
    except ImportError:
        return None
    options = decoder.LexiconFreeDecoderOptions(
        beam_size=width, beam_size_token=classes, beam_threshold=1e9, lm_weight=0.0, sil_score=0.0, log_add=True,
        criterion_type=decoder.CriterionType.CTC,
    )  # fmt: skip
    search = decoder.LexiconFreeDecoder(options, decoder.ZeroLM(), -1, Alphabet.BLANK, [])

    def decode(frames: Frames) -> object:
        rows = [row.contiguous() for row in frames.unpad()]
        return [search.decode(row.data_ptr(), *row.shape) for row in rows]

    return decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--language-model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transcriber = Transcriber.from_pretrained(arguments.model, "cpu")
    alphabet, rate_hz = transcriber.decoder.alphabet, transcriber.decoder.frame_rate_hz
    named = arguments.language_model
    model = from_documents(alphabet) if named is None else load_language_model(named)[0]
    batches, network_s = emissions(transcriber, arguments.minutes)
    rows = {"the network alone": network_s}
    rows["greedy"] = median_s(lambda: [Decoder(alphabet, rate_hz)(batch) for batch in batches])
    for width in (8, 32, 128):
        beam = BeamConfig(width=width)
        for label, asked in (("", None), (", language model", model)):
            decoder = Decoder(alphabet, rate_hz, beam, asked)
            rows[f"beam of {width}{label}"] = median_s(lambda: [decoder(batch) for batch in batches])  # noqa: B023
    alone = pad(batches[0].unpad()[:1])
    one = median_s(lambda: beam_search(alone, alphabet, BeamConfig(), model)) * arguments.minutes * 60 / SEGMENT_S
    rows["beam of 32, language model, one segment at a time"] = one
    other = flashlight(32, len(alphabet))
    if other is not None:
        rows["flashlight, beam of 32"] = median_s(lambda: [other(batch) for batch in batches])
    print(f"{arguments.minutes:g} min, {arguments.threads} thread(s), torch {torch.__version__}")
    print(f"a language model of {len(model.log_probs)} contexts\\n")
    print("| decoding | s | times real time |\n|---|---:|---:|")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.2f} | {60 * arguments.minutes / seconds:.0f} |")


if __name__ == "__main__":
    main()
