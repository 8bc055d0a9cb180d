"""Sound to segments with what was said, which emotion it was said with, how sure that is, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto import pretrained
from affetto.devices import choose_device
from affetto.errors import CheckpointError
from affetto.features.acoustic import acoustic
from affetto.frames import Frames, Waves
from affetto.models import checkpoint
from affetto.models.decoding import Decoder, DecoderChoice, Spelling, Word, find_decoder
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.head_checkpoint import load_head
from affetto.models.heads import EmotionHead
from affetto.models.recogniser_checkpoint import load_recogniser
from affetto.streaming import Failure, Heard, Samples, Source, listen

SCHEMA_VERSION = 1
"""Of `Recording.as_dict`; it changes when a key is renamed or removed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of at most 15 s.

    Attributes:
        start_s: where it begins in the recording, seconds.
        end_s: where it ends.
        transcript: what was said, in lower case and without punctuation; empty where no words were recognised.
        emotion: the most probable emotion.
        probabilities: emotion -> probability; they add up to 1.
        words: the transcript word by word, with times in the recording and confidences.
    """

    start_s: float
    end_s: float
    transcript: str
    emotion: str
    probabilities: dict[str, float]
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """What was heard in a recording.

    Attributes:
        source: its name.
        duration_s: its length in seconds.
        segments: its segments in time; stretches of digital silence are in none of them.
        emotion: the most probable emotion of the whole.
        probabilities: emotion -> mean over the segments, each weighted by its duration.
        transcript: the segments' transcripts, joined.
    """

    source: str
    duration_s: float
    segments: tuple[Segment, ...]
    emotion: str
    probabilities: dict[str, float]
    transcript: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, numbers rounded to 4 digits; the keys and their order are stable.

        >>> segment = Segment(0.0, 2.0, "no", "anger", {"anger": 0.8, "sadness": 0.2})
        >>> values = join_segments("a.wav", 2.0, [segment]).as_dict()
        >>> list(values)
        ['version', 'file', 'duration_s', 'emotion', 'probabilities', 'transcript', 'segments']
        >>> values["segments"][0]["probabilities"]
        {'anger': 0.8, 'sadness': 0.2}
        """
        return {
            "version": SCHEMA_VERSION,
            "file": self.source,
            "duration_s": round(self.duration_s, 4),
            "emotion": self.emotion,
            "probabilities": _rounded(self.probabilities),
            "transcript": self.transcript,
            "segments": [
                {
                    "start_s": round(segment.start_s, 4),
                    "end_s": round(segment.end_s, 4),
                    "emotion": segment.emotion,
                    "probabilities": _rounded(segment.probabilities),
                    "transcript": segment.transcript,
                    "words": [word.as_dict() for word in segment.words],
                }
                for segment in self.segments
            ],
        }


def _rounded(probabilities: dict[str, float]) -> dict[str, float]:
    return {emotion: round(probability, 4) for emotion, probability in probabilities.items()}


def join_segments(source: str, duration_s: float, segments: Iterable[Segment]) -> Recording:
    """A recording from its segments, at least one.

    >>> short = Segment(0.0, 1.0, "no", "anger", {"anger": 1.0, "sadness": 0.0})
    >>> long = Segment(1.0, 4.0, "i miss her", "sadness", {"anger": 0.2, "sadness": 0.8})
    >>> recording = join_segments("a.wav", 4.0, [short, long])
    >>> recording.emotion, round(recording.probabilities["sadness"], 2), recording.transcript
    ('sadness', 0.6, 'no i miss her')
    """
    ordered = tuple(segments)
    total_s = sum(segment.end_s - segment.start_s for segment in ordered)
    probabilities = {
        emotion: sum((each.end_s - each.start_s) * each.probabilities[emotion] for each in ordered) / total_s
        for emotion in ordered[0].probabilities
    }
    transcript = " ".join(segment.transcript for segment in ordered if segment.transcript)
    return Recording(source, duration_s, ordered, _likeliest(probabilities), probabilities, transcript)


def _likeliest(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)


class Opinion(NamedTuple):
    """What the networks make of one segment: what is said, and the probability of each emotion."""

    spelling: Spelling
    probabilities: dict[str, float]


class Recogniser:
    """Hears what is said and with which emotion.

    Args:
        speech: the speech recogniser.
        emotion: the emotion head that was trained on it.
        decoder: how the recogniser's probabilities become text.
        device: where to compute.
    """

    def __init__(self, speech: DeepSpeech2, emotion: EmotionHead, decoder: Decoder, device: torch.device) -> None:
        self.speech = speech.to(device).eval()
        self.emotion = emotion.to(device).eval()
        self.decoder = decoder
        self.device = device

    @classmethod
    def from_pretrained(
        cls, model: str | Path = pretrained.DEFAULT, device: str = "auto", decoding: DecoderChoice | None = None
    ) -> Recogniser:
        """Loads a model.

        Args:
            model: the name of an embedded model, or the folder of another.
            device: see `choose_device`.
            decoding: how to decode; None is a beam search where the model has a language model, greedy where not.

        Raises:
            CheckpointError: there is no such model, it is damaged, or its parts do not belong together.
            ConfigError: there is no such device.
        """
        chosen = choose_device(device)
        folder = pretrained.find(model)
        speech, _ = load_recogniser(folder / pretrained.RECOGNISER)
        if not any(folder.glob(f"{Path(pretrained.EMOTION).stem}.*")):
            raise CheckpointError(
                "this model has no emotion head",
                "train one on it with affetto train, or only transcribe with it",
                folder,
            )
        emotion, description = load_head(folder / pretrained.EMOTION)
        if emotion.layer is not None and description.facts.get("encoder_fingerprint") != checkpoint.fingerprint(speech):
            raise CheckpointError(
                "was trained on another recogniser", "put both files of one model there", folder / pretrained.EMOTION
            )
        return cls(speech, emotion, find_decoder(speech, folder, decoding), chosen)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions it can tell apart."""
        return self.emotion.classes

    def recognise(self, source: str | Path | IO[bytes]) -> Recording:
        """Hears one recording of any length.

        Args:
            source: a sound file, or one opened for reading bytes.

        Raises:
            AudioError: it is missing, damaged or no sound, shorter than 0.1 s, or digitally silent.
        """
        return self._only(source)

    def recognise_samples(self, samples: NDArray[Any] | Tensor, sample_rate: float) -> Recording:
        """Hears sound in memory.

        Args:
            samples: (samples,) or (samples, channels); floats with full scale at 1, or signed integers.
            sample_rate: Hz.

        Raises:
            AudioError: see `recognise`; or the samples' shape, kind or rate is none of sound.
        """
        return self._only(Samples(samples, sample_rate))

    def recognise_many(
        self, sources: Iterable[Source], progress: Callable[[float], None] | None = None
    ) -> Iterator[Recording | Failure]:
        """Hears any number of recordings, several at a time, in bounded memory.

        What comes out for one depends on no other.

        Args:
            sources: sound files or whatever else `Source` allows.
            progress: called now and then with the seconds of sound heard so far.

        Yields:
            One result a source, in their order; a source that fails gives a Failure and stops no other.
        """
        for heard in listen(sources, self.hear, progress):
            yield heard if isinstance(heard, Failure) else _recording(heard)

    @torch.inference_mode()
    def hear(self, waves: Waves) -> list[Opinion]:
        """What is in each recording of a batch, each taken as one segment."""
        waves = waves.to(self.device)
        recognition = self.speech(waves, collect=[] if self.emotion.layer is None else [self.emotion.layer])
        probabilities = self.feel(waves, recognition.layers)
        spellings = self.decoder(recognition.log_probs)
        return [
            Opinion(spelling, dict(zip(self.emotions, row, strict=True)))
            for spelling, row in zip(spellings, probabilities.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def feel(self, waves: Waves, layers: dict[str, Frames]) -> Tensor:
        """The probability of each emotion, (batch, emotions), from sound and what the recogniser made of it."""
        config = self.emotion.acoustic
        scores: Tensor = self.emotion(
            None if self.emotion.layer is None else layers[self.emotion.layer],
            None if config is None else acoustic(waves, config),
        )
        return scores.softmax(dim=-1)

    def _only(self, source: Source) -> Recording:
        (result,) = self.recognise_many([source])
        if isinstance(result, Failure):
            raise result.error
        return result


def _recording(heard: Heard[Opinion]) -> Recording:
    segments = [
        Segment(
            piece.start_s,
            piece.end_s,
            piece.content.spelling.text,
            _likeliest(piece.content.probabilities),
            piece.content.probabilities,
            tuple(word.later(piece.start_s) for word in piece.content.spelling.words),
        )
        for piece in heard.pieces
    ]
    return join_segments(heard.source, heard.duration_s, segments)
