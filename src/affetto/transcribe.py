"""Speech to text alone: transcripts of recordings, and the error rates of a recogniser on a corpus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from affetto import metrics, pretrained, text
from affetto.data.corpora import open_corpus
from affetto.data.utterance import Utterance
from affetto.devices import choose_device
from affetto.errors import CorpusError
from affetto.frames import Waves
from affetto.models.decoding import greedy
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.recogniser_checkpoint import load_recogniser
from affetto.streaming import Failure, Source, Stretch, listen


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording, in lower case and without punctuation."""

    source: str
    duration_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionScores:
    """How well a recogniser transcribes.

    Attributes:
        cer: character error rate.
        wer: word error rate.
        utterances: how many were compared.
        hours: how long they are together.
        compute_s: seconds that it took, loading of the sound included.
        left_out: reason -> utterances that could not be compared.
    """

    cer: float
    wer: float
    utterances: int
    hours: float
    compute_s: float
    left_out: dict[str, int]

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for each second of sound."""
        return self.compute_s / (3600 * self.hours)


class Transcriber:
    """Writes down what is said.

    Args:
        speech: the speech recogniser.
        device: where to compute.
    """

    def __init__(self, speech: DeepSpeech2, device: torch.device) -> None:
        self.speech = speech.to(device).eval()
        self.device = device

    @classmethod
    def from_pretrained(cls, model: str | Path = pretrained.DEFAULT, device: str = "auto") -> Transcriber:
        """Loads the recogniser of a model.

        Raises:
            CheckpointError: there is no such model, or it is damaged.
            ConfigError: there is no such device.
        """
        chosen = choose_device(device)
        speech, _ = load_recogniser(pretrained.find(model) / pretrained.RECOGNISER)
        return cls(speech, chosen)

    def transcribe_many(
        self, sources: Iterable[Source], progress: Callable[[float], None] | None = None
    ) -> Iterator[Transcript | Failure]:
        """Transcribes any number of recordings of any length; see `Recogniser.recognise_many`."""
        for heard in listen(sources, self.hear, progress):
            if isinstance(heard, Failure):
                yield heard
            else:
                words = " ".join(piece.content for piece in heard.pieces if piece.content)
                yield Transcript(heard.source, heard.duration_s, words)

    @torch.inference_mode()
    def hear(self, waves: Waves) -> list[str]:
        """What is said in each recording of a batch."""
        recognition = self.speech(waves.to(self.device))
        return greedy(recognition.log_probs, text.Alphabet(self.speech.config.symbols))


def transcribed_utterances(path: Path, *, partition: str | None = None, limit: int | None = None) -> list[Utterance]:
    """The utterances of a corpus that have a text.

    Args:
        path: see `open_corpus`.
        partition: an official part; None takes all.
        limit: so many, spread evenly over the corpus; None takes all.

    Raises:
        CorpusError: there are none.
    """
    utterances = open_corpus(path).utterances
    if partition is not None:
        known = sorted({each.partition for each in utterances if each.partition is not None})
        utterances = tuple(each for each in utterances if each.partition == partition)
        if not utterances:
            remedy = f"choose one of {', '.join(known)}" if known else "the corpus has no partitions: name none"
            raise CorpusError(f"no partition {partition!r}", remedy, path)
    spoken = [each for each in utterances if text.normalise(each.text or "")]
    if not spoken:
        raise CorpusError("no utterance has a text", "choose a transcribed corpus", path)
    if limit is None or limit >= len(spoken):
        return spoken
    return [spoken[place * len(spoken) // limit] for place in range(limit)]


def score_transcriber(
    transcriber: Transcriber, utterances: Sequence[Utterance], progress: Callable[[int, int], None] | None = None
) -> TranscriptionScores:
    """Compares transcripts with the references, both in the alphabet (see `text.normalise`).

    Args:
        transcriber: what to score.
        utterances: with texts.
        progress: called with (utterances done, utterances in all) after each.

    Raises:
        CorpusError: no utterance could be transcribed.
    """
    started = time.perf_counter()
    references, hypotheses, total_s = [], [], 0.0
    left_out: Counter[str] = Counter()
    stretches = [Stretch(each.audio, each.start_s, each.end_s) for each in utterances]
    for done, (utterance, result) in enumerate(
        zip(utterances, transcriber.transcribe_many(stretches), strict=True), start=1
    ):
        if isinstance(result, Failure):
            left_out[result.error.problem] += 1
        else:
            references.append(text.normalise(utterance.text or ""))
            hypotheses.append(result.text)
            total_s += result.duration_s
        if progress is not None:
            progress(done, len(utterances))
    if not references:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in left_out.most_common(3))
        raise CorpusError(f"no utterance could be transcribed ({reasons})", "check the corpus")
    return TranscriptionScores(
        cer=metrics.cer(references, hypotheses),
        wer=metrics.wer(references, hypotheses),
        utterances=len(references),
        hours=total_s / 3600,
        compute_s=time.perf_counter() - started,
        left_out=dict(left_out),
    )
