"""Recordings out of what is predicted of their stretches of speech, whatever predicts it; no torch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from affetto.audio import SAMPLE_RATE, Channels
from affetto.errors import AudioError, MissingExtraError
from affetto.recording import Recording, Segment, Spelling, join_segments
from affetto.streaming import Failure, Piece, Samples, Source, StreamResult, listen
from affetto.streaming.activity import Activity
from affetto.streaming.segments import Segmenter, Spoken, neighbours
from affetto.streaming.sources import Wave
from affetto.timeline import Judgement, likeliest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from affetto.models.voices import Speakers

_JUDGEMENT = Judgement()
_PARTIAL_S = 0.6  # of sound, at least, between two looks at what is being spoken


class SegmentPrediction(NamedTuple):
    """What the networks make of one segment: words, emotion -> probability, whether it is familiar, any dimensions."""

    spelling: Spelling
    probabilities: dict[str, float]
    familiar: bool = True
    dimensions: Mapping[str, float] = MappingProxyType({})


class RecordingRecogniser(ABC):
    """Recognises recordings: finds the speech in them, has it understood stretch by stretch, and judges the whole."""

    device: torch.device | str = "cpu"  # where it computes
    activity: Callable[[], Activity] | None = None  # what finds speech, see `affetto.streaming.segments.cut`

    @property
    @abstractmethod
    def emotions(self) -> tuple[str, ...]:
        """The emotions it can tell apart."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that it predicts beside them, such as valence."""
        return ()

    @abstractmethod
    def understand(self, stretches: Sequence[Spoken]) -> list[SegmentPrediction]:
        """What is in each stretch of speech, whatever the others are."""

    def recognise(
        self,
        source: Source,
        judgement: Judgement = _JUDGEMENT,
        *,
        channels: Channels = "mix",
        speakers: Speakers | None = None,
    ) -> Recording:
        """Recognises one recording of any length.

        Args:
            source: a sound file, one opened for reading bytes, or whatever else `Source` allows.
            judgement: when an emotion is sure, and how far neighbouring segments count.
            channels: "mix", or "separate": each is a voice of its own, as of a call's two parties.
            speakers: how many to tell apart that speak in turn, or "auto", which finds out; None tells none apart.

        Returns:
            A recording without segments, whose emotion is None, where nobody speaks.

        Raises:
            AudioError: it is missing, damaged or no sound, or shorter than 0.1 s.
            ConfigError: channels are neither "mix" nor "separate", or there are speakers in separate channels.
            MissingExtraError: what tells speakers apart is not installed.
        """
        (result,) = self.recognise_many([source], judgement=judgement, channels=channels, speakers=speakers)
        if isinstance(result, Failure):
            raise result.error
        return result

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
        return self.recognise(Samples(samples, sample_rate), judgement, channels=channels, speakers=speakers)

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
        results = listen(
            sources, self.understand, progress, channels=channels, part=tell, arrange=arrange, activity=self.activity
        )
        for found in results:
            yield found if isinstance(found, Failure) else self.judge(found, judgement, speakers)

    recognize, recognize_samples, recognize_many = recognise, recognise_samples, recognise_many

    def turns(self, stretches: Iterable[Spoken]) -> Iterator[tuple[Spoken, ...]]:
        """Stretches of speech parted where the voice changes, for `judge` to tell speakers apart."""
        from affetto.models.voices import turns

        return neighbours(turns(stretches, self.device))

    def judge(
        self,
        found: StreamResult[SegmentPrediction],
        judgement: Judgement = _JUDGEMENT,
        speakers: Speakers | None = None,
    ) -> Recording:
        """A recording out of what `understand` made of its segments, `turns` of so many speakers."""
        if speakers is not None:
            from affetto.models.voices import tell_apart

            found = tell_apart(found, speakers)
        if found.pieces:
            segments = [_segment(piece) for piece in found.pieces]
            recording = join_segments(found.source, found.duration_s, segments, judgement)
        else:
            nothing = dict.fromkeys(self.emotions, 0.0)
            recording = Recording(
                found.source, found.duration_s, (), None, nothing, "", False, nothing, 0.0, found.silent, judgement,
                dimensions=dict.fromkeys(self.dimensions),
            )  # fmt: skip
        channels = tuple(self.judge(each, judgement) for each in found.channels)
        alone = None if found.speakers is None else tuple(self.judge(each, judgement) for each in found.speakers)
        return replace(recording, channels=channels, speakers=alone)

    def follow(
        self,
        blocks: Iterable[Wave | Tensor],
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
        segmenter = Segmenter(live=True, activity=self.activity)
        next_s, now_s = 0.0, 0.0
        for block in blocks:
            for spoken in segmenter.feed(block):
                yield live_segment(spoken, self.understand([spoken])[0], judgement)
            now_s += len(block) / SAMPLE_RATE
            if partial is None or now_s < next_s or (present := segmenter.present()) is None:
                continue
            began = time.monotonic()
            partial(live_segment(present, self.understand([present])[0], judgement))
            next_s = now_s + max(_PARTIAL_S, 3 * (time.monotonic() - began))
        for spoken in segmenter.finish():
            yield live_segment(spoken, self.understand([spoken])[0], judgement)


def check_speakers(speakers: Speakers, channels: Channels) -> None:
    """Raises ConfigError if they cannot be told apart, or MissingExtraError where what does so is not installed."""
    try:
        from affetto.models import voices
    except ModuleNotFoundError as error:
        raise MissingExtraError("what tells speakers apart needs torch", "pip install torch") from error
    voices.check_speakers(speakers, channels)


def live_segment(spoken: Spoken, opinion: SegmentPrediction, judgement: Judgement = _JUDGEMENT) -> Segment:
    """A segment out of what a recogniser predicts of a stretch of live speech, judged by itself.

    >>> import numpy as np
    >>> spoken = Spoken(16_000, 32_000, 16_000, np.zeros(16_000))
    >>> opinion = SegmentPrediction(Spelling("", ()), {"anger": 0.6, "sadness": 0.4})
    >>> segment = live_segment(spoken, opinion, Judgement(sure=0.7))
    >>> segment.start_s, segment.end_s, segment.emotion, segment.sure
    (1.0, 2.0, 'anger', False)
    """
    piece = Piece(spoken.start_s, spoken.end_s, spoken.since_s, opinion)
    return _segment(piece).judged(opinion.probabilities, judgement)


def _segment(piece: Piece[SegmentPrediction]) -> Segment:
    said, probabilities, familiar, dimensions = piece.content
    return Segment(
        piece.start_s,
        piece.end_s,
        said.text,
        likeliest(probabilities),
        probabilities,
        words=said.placed(piece.since_s, piece.start_s, piece.end_s),
        familiar=familiar,
        channel=piece.channel,
        speaker=piece.speaker,
        dimensions=dict(dimensions),
    )
