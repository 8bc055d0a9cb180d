"""Sound to segments with what was said, which emotion it was said with, how sure that is, and when."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto import pretrained
from affetto.audio import SAMPLE_RATE, Channels
from affetto.devices import Precision
from affetto.errors import AudioError, CheckpointError
from affetto.frames import Frames, Waves
from affetto.models import checkpoint
from affetto.models.decoding import DecoderChoice, find_decoder
from affetto.models.encoders import find_head, open_encoder
from affetto.models.encoders.encoder import Encoder, TextDecoder, computed
from affetto.models.heads import EmotionHead, load_head
from affetto.models.voices import Speakers, check_speakers, tell_apart, turns
from affetto.recording import Recording, Segment, Spelling, join_segments
from affetto.streaming import Failure, Piece, Samples, Source, StreamResult, listen
from affetto.streaming.segments import Segmenter, Spoken, join, neighbours
from affetto.timeline import Judgement, likeliest

_JUDGEMENT = Judgement()
_PARTIAL_S = 0.6  # of sound, at least, between two looks at what is being spoken


class SegmentPrediction(NamedTuple):
    """What the networks make of one segment: words, the probability of each emotion, whether it is familiar sound."""

    spelling: Spelling
    probabilities: dict[str, float]
    familiar: bool = True


class EmotionRecogniser:
    """Predicts what is said and with which emotion.

    Args:
        encoder: the speech recogniser.
        emotion: the emotion head that was trained on it.
        decoder: how what the recogniser puts out becomes text; None spells nothing, which takes less time.
        temperature: by which the head's scores are divided before they become probabilities, so that these are as
            often right as they say; above 1 they are less extreme.
        facts: what the head's description says: training data, licence, metrics.
    """

    def __init__(
        self,
        encoder: Encoder,
        emotion: EmotionHead,
        decoder: TextDecoder | None,
        temperature: float = 1.0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.encoder = encoder
        self.emotion = emotion.to(encoder.device).eval()
        self.decoder = decoder
        self.temperature = temperature
        self.facts = facts or {}
        self.speech_only = bool(self.facts.get("speech_only"))

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = pretrained.DEFAULT,
        device: str = "auto",
        decoding: DecoderChoice | None = None,
        *,
        spells: bool = True,
        precision: Precision = "auto",
    ) -> EmotionRecogniser:
        """Loads a model.

        Args:
            model: the name of an embedded model, a folder, or a name on the hub, see `open_encoder`.
            device: see `choose_device`.
            decoding: how to decode; None is a beam search where the model has a language model, greedy where not.
            spells: whether words are wanted at all.
            precision: see `choose_precision`.

        Raises:
            CheckpointError: there is no such model, it is damaged, it has no emotion head, or its parts do not belong
                together.
            ConfigError: there is no such device.
            MissingExtraError: what it needs is not installed.
        """
        encoder = open_encoder(model, device=device, precision=precision)
        path = find_head(encoder, model)
        emotion, description = load_head(path)
        if emotion.layers and description.facts.get("encoder_fingerprint") != encoder.fingerprint:
            raise CheckpointError("was trained on another recogniser", "put both files of one model there", path)
        decoder = find_decoder(encoder, decoding) if spells else None
        return cls(encoder, emotion, decoder, _temperature(description, path), description.facts)

    def __repr__(self) -> str:
        name, device = self.encoder.origin.name, str(self.encoder.device)
        return f"{type(self).__name__}({name!r}, emotions={self.emotions}, device={device!r})"

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions it can tell apart."""
        return self.emotion.classes

    def fingerprint(self) -> str:
        """A digest of all that its results depend on beside the sound."""
        networks = (computed(self.encoder), checkpoint.fingerprint(self.emotion))
        decoder = "none" if self.decoder is None else self.decoder.fingerprint
        return "-".join((*networks, f"{self.temperature:g}", decoder, *self.emotions))

    def recognise(
        self,
        source: str | Path | IO[bytes],
        judgement: Judgement = _JUDGEMENT,
        *,
        channels: Channels = "mix",
        speakers: Speakers | None = None,
    ) -> Recording:
        """Recognises one recording of any length.

        Args:
            source: a sound file, or one opened for reading bytes.
            judgement: when an emotion is sure, and how far neighbouring segments count.
            channels: "mix", or "separate": each is a voice of its own, as of a call's two parties.
            speakers: how many speak in turn, to be told apart, or "auto", which finds out; None does not tell them
                apart.

        Returns:
            A recording without segments, whose emotion is None, where nobody speaks.

        Raises:
            AudioError: it is missing, damaged or no sound, or shorter than 0.1 s.
            ConfigError: channels are neither "mix" nor "separate", or there are speakers in separate channels.
            MissingExtraError: what tells speakers apart is not installed.
        """
        return self._only(source, judgement, channels, speakers)

    def recognise_samples(
        self,
        samples: NDArray[Any] | Tensor,
        sample_rate: float,
        judgement: Judgement = _JUDGEMENT,
        *,
        channels: Channels = "mix",
        speakers: Speakers | None = None,
    ) -> Recording:
        """Recognises sound in memory.

        Args:
            samples: (samples,) or (samples, channels); floats with full scale at 1, or signed integers.
            sample_rate: Hz.
            judgement: see `recognise`.
            channels: see `recognise`.
            speakers: see `recognise`.

        Raises:
            AudioError: see `recognise`; or the samples' shape, kind or rate is none of sound.
        """
        return self._only(Samples(samples, sample_rate), judgement, channels, speakers)

    def recognise_many(
        self,
        sources: Iterable[Source],
        progress: Callable[[float], None] | None = None,
        judgement: Judgement = _JUDGEMENT,
        *,
        channels: Channels = "mix",
        part: Callable[[str, tuple[Segment, ...]], None] | None = None,
        speakers: Speakers | None = None,
    ) -> Iterator[Recording | Failure]:
        """Recognises any number of recordings, several at a time, in bounded memory, each whatever the others are.

        Args:
            sources: sound files or whatever else `Source` allows.
            progress: called now and then with the seconds of sound processed so far.
            judgement: see `recognise`.
            channels: see `recognise`.
            part: called with the name of a long recording, whose result comes next, and its segments since the last
                call; the last ones come with the result alone. They are those of the result, but that smoothing
                counts neighbours in the same call alone. Who speaks is not known before the result.
            speakers: see `recognise`.

        Yields:
            One result a source, in their order; a source that fails gives a Failure and stops no other.

        Raises:
            AudioError: it is one name, not several sources.
        """
        if isinstance(sources, str):
            raise AudioError("one name where several sources are expected", "call recognise, or give a list", sources)
        if speakers is not None:
            check_speakers(speakers, channels)
        tell = None if part is None else lambda found: part(found.source, self.judge(found, judgement).segments)
        arrange = neighbours if speakers is None else self.turns
        for found in listen(sources, self.predict, progress, channels=channels, part=tell, arrange=arrange):
            yield found if isinstance(found, Failure) else self.judge(found, judgement, speakers)

    recognize, recognize_samples, recognize_many = recognise, recognise_samples, recognise_many

    def turns(self, stretches: Iterable[Spoken]) -> Iterator[tuple[Spoken, ...]]:
        """Stretches of speech parted where the voice changes, for `judge` to tell speakers apart."""
        return neighbours(turns(stretches, self.encoder.device))

    def judge(
        self,
        found: StreamResult[SegmentPrediction],
        judgement: Judgement = _JUDGEMENT,
        speakers: Speakers | None = None,
    ) -> Recording:
        """A recording out of what `predict` made of its segments, `turns` of so many speakers."""
        if speakers is not None:
            found = tell_apart(found, speakers)
        if found.pieces:
            segments = [_segment(piece) for piece in found.pieces]
            recording = join_segments(found.source, found.duration_s, segments, judgement)
        else:
            nothing = dict.fromkeys(self.emotions, 0.0)
            recording = Recording(
                found.source, found.duration_s, (), None, nothing, "", False, nothing, 0.0, found.silent, judgement
            )
        channels = tuple(self.judge(each, judgement) for each in found.channels)
        alone = None if found.speakers is None else tuple(self.judge(each, judgement) for each in found.speakers)
        return replace(recording, channels=channels, speakers=alone)

    def follow(
        self,
        blocks: Iterable[Tensor],
        judgement: Judgement = _JUDGEMENT,
        partial: Callable[[Segment], None] | None = None,
    ) -> Iterator[Segment]:
        """Recognises sound while it is being made.

        Args:
            blocks: (samples,) each, float32 at 16 kHz with full scale at 1, as they come; short ones come soon.
            judgement: when an emotion is sure; what comes later is not known yet, so that nothing is smoothed.
            partial: called once or twice a second with the stretch that is being spoken, as far as it has come; less
                often where that would take more than a third of the time.

        Yields:
            Each stretch of speech as soon as a pause of 0.4 s has ended it.
        """
        segmenter = Segmenter(live=True)
        next_s, now_s = 0.0, 0.0
        for block in blocks:
            for spoken in segmenter.feed(block):
                yield self._live(spoken, judgement)
            now_s += len(block) / SAMPLE_RATE
            if partial is None or now_s < next_s or (present := segmenter.present()) is None:
                continue
            began = time.monotonic()
            partial(self._live(present, judgement))
            next_s = now_s + max(_PARTIAL_S, 3 * (time.monotonic() - began))
        for spoken in segmenter.finish():
            yield self._live(spoken, judgement)

    def _live(self, spoken: Spoken, judgement: Judgement) -> Segment:
        (opinion,) = self.predict(join([spoken]))
        return live_segment(spoken, opinion, judgement)

    @torch.inference_mode()
    def predict(self, waves: Waves) -> list[SegmentPrediction]:
        """What is in each recording of a batch, each taken as one segment."""
        waves = waves.to(self.encoder.device)
        if self.decoder is None:
            layers = self.encoder.represent(waves, self.emotion.layers)
            spellings = [Spelling("", ())] * len(waves.lengths)
        else:
            layers, output = self.encoder.encode(waves, self.emotion.layers)
            spellings = self.decoder(output)
        vectors = self.emotion.represent(self.given(waves, layers))
        probabilities = (self.emotion.output(vectors) / self.temperature).softmax(dim=-1)
        known = self.emotion.familiarity
        familiar = torch.ones(len(vectors)) if known is None else known(vectors)
        return [
            SegmentPrediction(spelling, dict(zip(self.emotions, row, strict=True)), bool(is_familiar))
            for spelling, row, is_familiar in zip(spellings, probabilities.tolist(), familiar.tolist(), strict=True)
        ]

    def given(self, waves: Waves, layers: Mapping[str, Frames]) -> dict[str, Frames]:
        """What the emotion head reads of a batch: all of it, or what lies where somebody speaks."""
        if not self.speech_only:
            return self.emotion.read(waves, layers)
        return self.emotion.read(waves.spoken(), {name: waves.of_speech(frames) for name, frames in layers.items()})

    def _only(self, source: Source, judgement: Judgement, channels: Channels, speakers: Speakers | None) -> Recording:
        (result,) = self.recognise_many([source], judgement=judgement, channels=channels, speakers=speakers)
        if isinstance(result, Failure):
            raise result.error
        return result


def live_segment(spoken: Spoken, opinion: SegmentPrediction, judgement: Judgement = _JUDGEMENT) -> Segment:
    """A segment out of what `EmotionRecogniser.predict` made of a stretch of live speech, judged by itself.

    >>> spoken = Spoken(16_000, 32_000, 16_000, torch.zeros(16_000))
    >>> opinion = SegmentPrediction(Spelling("", ()), {"anger": 0.6, "sadness": 0.4})
    >>> segment = live_segment(spoken, opinion, Judgement(sure=0.7))
    >>> segment.start_s, segment.end_s, segment.emotion, segment.sure
    (1.0, 2.0, 'anger', False)
    """
    piece = Piece(spoken.start_s, spoken.end_s, spoken.since_s, opinion)
    return _segment(piece).judged(opinion.probabilities, judgement)


def _segment(piece: Piece[SegmentPrediction]) -> Segment:
    said, probabilities, familiar = piece.content
    words = said.placed(piece.since_s, piece.start_s, piece.end_s)
    return Segment(
        piece.start_s,
        piece.end_s,
        said.text,
        likeliest(probabilities),
        probabilities,
        words=words,
        familiar=familiar,
        channel=piece.channel,
        speaker=piece.speaker,
    )


def _temperature(description: checkpoint.Description, where: Path) -> float:
    """What the head's facts say of its calibration; 1 leaves the scores as they are."""
    value = description.facts.get("temperature", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise CheckpointError(f"a temperature of {value!r}", "calibrate the head again, or leave it out", where)
    return float(value)
