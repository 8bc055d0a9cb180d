"""Speech to text alone: transcripts of recordings, and the error rates of a recogniser on a corpus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from affetto import pretrained, text
from affetto.audio import Channels
from affetto.data.corpora import open_corpus
from affetto.data.utterance import Utterance
from affetto.devices import Precision
from affetto.errors import CorpusError
from affetto.frames import Waves
from affetto.models.decoding import DecoderChoice, find_decoder
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder, TextDecoder, computed
from affetto.recording import Recording, Segment, Spelling, Word
from affetto.streaming import Failure, Piece, Source, StreamResult, Stretch, listen
from affetto.streaming.segments import Spoken, join, neighbours

SCHEMA_VERSION = 1  # Of `Transcript.as_dict`; it changes when a key is renamed or removed


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording, in lower case and without punctuation."""

    source: str  # its name
    duration_s: float  # its length in seconds
    text: str  # what was said
    words: tuple[Word, ...] = ()  # the same word by word, with times in the recording and confidences

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, numbers rounded to 4 digits.

        >>> Transcript("a.wav", 1.0, "no", (Word("no", 0.2, 0.48, 0.9),)).as_dict()["words"]
        [{'text': 'no', 'start_s': 0.2, 'end_s': 0.48, 'confidence': 0.9}]
        """
        return {
            "version": SCHEMA_VERSION,
            "file": self.source,
            "duration_s": round(self.duration_s, 4),
            "text": self.text,
            "words": [word.as_dict() for word in self.words],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionScores:
    """How well a recogniser transcribes."""

    cer: float  # character error rate
    wer: float  # word error rate
    utterances: int  # how many were compared
    hours: float  # how long they are together
    compute_s: float  # seconds that it took, loading of the sound included
    left_out: dict[str, int]  # reason -> utterances that could not be compared

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for each second of sound."""
        return self.compute_s / (3600 * self.hours)


class Transcriber:
    """Transcribes speech.

    What the decoder reads best together is decoded together: stretches of speech with short pauses between, see
    `TextDecoder.window_s`.
    """

    def __init__(self, encoder: Encoder, decoder: TextDecoder) -> None:
        self.encoder = encoder
        self.decoder = decoder

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = pretrained.DEFAULT,
        device: str = "auto",
        decoding: DecoderChoice | None = None,
        *,
        precision: Precision = "auto",
    ) -> Transcriber:
        """Loads the recogniser of a model.

        Args:
            model: see `open_encoder`.
            device: see `choose_device`.
            decoding: how to decode; None is a beam search where the model has a language model, greedy where not.
            precision: see `choose_precision`.

        Raises:
            CheckpointError: there is no such model, or it or its language model is damaged.
            ConfigError: there is no such device, or the language model does not fit the recogniser.
        """
        encoder = open_encoder(model, device=device, precision=precision)
        return cls(encoder, find_decoder(encoder, decoding))

    def fingerprint(self) -> str:
        """A digest of all that its results depend on beside the sound."""
        return f"{computed(self.encoder)}-{self.decoder.fingerprint}"

    def transcribe_many(
        self, sources: Iterable[Source], progress: Callable[[float], None] | None = None
    ) -> Iterator[Transcript | Failure]:
        """Transcribes any number of recordings of any length; see `EmotionRecogniser.recognise_many`."""
        for found in self.recognise_many(sources, progress):
            if isinstance(found, Failure):
                yield found
            else:
                words = tuple(word for segment in found.segments for word in segment.words)
                yield Transcript(found.source, found.duration_s, found.transcript, words)

    def recognise_many(
        self, sources: Iterable[Source], progress: Callable[[float], None] | None = None, *, channels: Channels = "mix"
    ) -> Iterator[Recording | Failure]:
        """The same as recordings with segments, which have no emotion; of separate channels, too."""
        arrange = partial(neighbours, longest_s=self.decoder.window_s)
        for found in listen(sources, self._decode, progress, channels=channels, arrange=arrange):
            yield found if isinstance(found, Failure) else _recording(found)

    def _decode(self, stretches: Sequence[Spoken]) -> list[Spelling]:
        return self.decode(join(stretches))

    @torch.inference_mode()
    def decode(self, waves: Waves) -> list[Spelling]:
        """What is said in each recording of a batch."""
        return self.decoder(self.encoder.encode(waves, []).output)


def _recording(found: StreamResult[Spelling]) -> Recording:
    segments = [segment for piece in found.pieces for segment in _segments(piece)]
    segments.sort(key=lambda each: (each.start_s, each.channel or 0))  # pieces of several channels may overlap
    said = " ".join(each.transcript for each in segments if each.transcript)
    recording = Recording(found.source, found.duration_s, tuple(segments), None, {}, said, silent=found.silent)
    return replace(recording, channels=tuple(map(_recording, found.channels)))


def _segments(piece: Piece[Spelling]) -> list[Segment]:
    """The stretches of speech that were decoded together, each with the words whose middle is nearest to it."""

    def nearest(word: Word) -> int:
        middle_s = (word.start_s + word.end_s) / 2 + piece.since_s
        away_s = [max(start_s - middle_s, middle_s - end_s, 0.0) for start_s, end_s in piece.stretches]
        return away_s.index(min(away_s))

    segments, owners = [], [nearest(word) for word in piece.content.words]
    for place, (start_s, end_s) in enumerate(piece.stretches):
        own = [word for word, owner in zip(piece.content.words, owners, strict=True) if owner == place]
        words = Spelling("", tuple(own)).placed(piece.since_s, start_s, end_s)
        said = " ".join(word.text for word in own)
        segments.append(Segment(start_s, end_s, said, None, {}, words=words, channel=piece.channel))
    return segments


def transcribed_utterances(
    path: Path, *, partition: str | None = None, among: Collection[str] | None = None, limit: int | None = None
) -> list[Utterance]:
    """The utterances of a corpus (see `open_corpus`) that have a text: of an official part, and among these ids.

    With a limit, so many of them, spread evenly over all. Raises CorpusError where there are none.
    """
    utterances = open_corpus(path).utterances
    if partition is not None:
        known = sorted({each.partition for each in utterances if each.partition is not None})
        utterances = tuple(each for each in utterances if each.partition == partition)
        if not utterances:
            remedy = f"choose one of {', '.join(known)}" if known else "the corpus has no partitions: name none"
            raise CorpusError(f"no partition {partition!r}", remedy, path)
    if among is not None:
        utterances = tuple(each for each in utterances if each.id in among)
        if not utterances:
            raise CorpusError("none of the utterances asked for is in this part", "name another part, or none", path)
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

    ``progress`` is called with the utterances done and in all. Raises CorpusError where none could be transcribed.
    """
    from affetto import metrics  # scikit-learn: 1 s and 100 MB that transcripts need not

    started = time.perf_counter()
    references, hypotheses, total_s, left_out = [], [], 0.0, Counter[str]()
    results = transcriber.transcribe_many(Stretch(each.audio, each.start_s, each.end_s) for each in utterances)
    for done, (utterance, result) in enumerate(zip(utterances, results, strict=True), start=1):
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
