"""What is recognised in a recording: words, segments with an emotion, and the whole, judged by how sure they are.

Plain values without torch, so that formats, shell and service need nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from affetto.drawing.course import plot_course
from affetto.errors import MissingExtraError
from affetto.timeline import NO_SPEECH, NOT_SURE, UNFAMILIAR, Judgement, Moment, likeliest, mean, shares, smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

SCHEMA_VERSION = 1  # Of `Recording.as_dict`; it changes when a key is renamed or removed
_JUDGEMENT = Judgement()


class Word(NamedTuple):
    """A recognised word."""

    text: str  # how it is spelt
    start_s: float  # where it begins, seconds
    end_s: float  # where it ends
    confidence: float  # between 0 and 1, see `affetto.spelling`

    def later(self, seconds: float) -> Word:
        """The same word in a recording that began so much earlier.

        >>> Word("no", 0.5, 0.75, 0.9).later(2.0)
        Word(text='no', start_s=2.5, end_s=2.75, confidence=0.9)
        """
        return self._replace(start_s=self.start_s + seconds, end_s=self.end_s + seconds)

    def as_dict(self) -> dict[str, str | float]:
        """Plain values for JSON, numbers rounded to 4 digits."""
        return {name: each if isinstance(each, str) else round(each, 4) for name, each in self._asdict().items()}


class Spelling(NamedTuple):
    """What one utterance was decoded to: its text, and the same as words."""

    text: str  # words with single spaces between
    words: tuple[Word, ...]  # in time; times from the beginning of the utterance

    def placed(self, since_s: float, start_s: float, end_s: float) -> tuple[Word, ...]:
        """Its words in a recording, where it begins at ``since_s`` and speech lasts from ``start_s`` to ``end_s``.

        Nothing of a word lies before or after the speech.

        >>> Spelling("no", (Word("no", 0.5, 0.75, 0.9),)).placed(2.0, 2.6, 3.0)
        (Word(text='no', start_s=2.6, end_s=2.75, confidence=0.9),)
        """

        def within(time_s: float) -> float:
            return min(max(time_s, start_s), end_s)

        words = [word.later(since_s) for word in self.words]
        return tuple(each._replace(start_s=within(each.start_s), end_s=within(each.end_s)) for each in words)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, at most 15 s long.

    Attributes:
        start_s: where it begins in the recording, seconds.
        end_s: where it ends.
        transcript: what was said, in lower case and without punctuation; empty where no words were recognised.
        emotion: the most probable emotion, however probable; None where words alone were asked for.
        probabilities: emotion -> probability; they add up to 1; empty where words alone were asked for.
        sure: whether the emotion can be stated: the sound is familiar, and it is probable enough (see `Judgement`).
        words: the transcript word by word, with times in the recording and confidences.
        familiar: whether the model was trained on sound like this.
        channel: in which it is, from 1 on, where channels are separate.
        speaker: who speaks, from 1 on, where speakers are told apart.
        dimensions: dimension -> value, in the unit of the training corpus; empty where the model predicts none.
    """

    start_s: float
    end_s: float
    transcript: str
    emotion: str | None
    probabilities: dict[str, float]
    sure: bool = True
    words: tuple[Word, ...] = ()
    familiar: bool = True
    channel: int | None = None
    speaker: int | None = None
    dimensions: dict[str, float] = field(default_factory=dict)

    @property
    def statement(self) -> str:
        """The emotion, or "not sure", or "unfamiliar sound"; empty where words alone were asked for."""
        return _statement(self)

    @property
    def voice(self) -> str:
        """Its channel, where they are separate, or its speaker, where they are told apart; else empty."""
        if self.speaker is not None:
            return f"speaker {self.speaker}"
        return "" if self.channel is None else f"channel {self.channel}"

    @property
    def label(self) -> str:
        """The same after its channel or speaker, where they are separate.

        >>> Segment(0.0, 1.0, "no", "anger", {"anger": 1.0}, channel=2).label
        'channel 2 anger'
        """
        return f"{self.voice} {self.statement}".strip()

    @property
    def probability(self) -> float:
        """Of its emotion."""
        return 0.0 if self.emotion is None else self.probabilities[self.emotion]

    @property
    def moment(self) -> Moment:
        """Its times and probabilities alone."""
        return Moment(self.start_s, self.end_s, self.probabilities, self.familiar)

    def judged(self, probabilities: dict[str, float], judgement: Judgement) -> Segment:
        """The same segment with other probabilities, and what follows from them."""
        emotion = likeliest(probabilities)
        sure = self.familiar and probabilities[emotion] >= judgement.sure
        return replace(self, emotion=emotion, probabilities=probabilities, sure=sure)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, numbers rounded to 4 digits; nothing of emotion where words alone were asked for."""
        return {
            **({} if self.channel is None else {"channel": self.channel}),
            **({} if self.speaker is None else {"speaker": self.speaker}),
            "start_s": round(self.start_s, 4),
            "end_s": round(self.end_s, 4),
            **_judged(self),
            "transcript": self.transcript,
            "words": [word.as_dict() for word in self.words],
        }


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, recognised.

    Attributes:
        source: its name.
        duration_s: its length in seconds.
        segments: its stretches of speech, by their start; none where nobody speaks.
        emotion: the most probable emotion of the whole; None where nobody speaks, or words alone were asked for.
        probabilities: emotion -> mean over the segments, weighted by duration; 0 without speech, empty for words alone.
        transcript: the segments' transcripts, joined.
        sure: whether the emotion of the whole can be stated: the sound is familiar, and it is probable enough.
        shares: emotion -> its part of the time with speech, where it is sure.
        unsure_share: the part in which no emotion is; with the shares it adds up to 1, or to 0 where nobody speaks.
        familiar: whether the model was trained on sound like at least half of the speech.
        silent: whether it is digital silence throughout, as from a microphone that is switched off.
        judgement: how sure "sure" is, and how far neighbouring segments were smoothed.
        channels: each by itself, the first being channel 1, where they are separate.
        speakers: each by itself, the first being speaker 1, where they are told apart; None where they are not.
        dimensions: dimension -> mean over the segments, weighted as probabilities are; None where nobody speaks.
    """

    source: str
    duration_s: float
    segments: tuple[Segment, ...]
    emotion: str | None
    probabilities: dict[str, float]
    transcript: str
    sure: bool = True
    shares: dict[str, float] = field(default_factory=dict)
    unsure_share: float = 0.0
    silent: bool = False
    judgement: Judgement = _JUDGEMENT
    familiar: bool = True
    channels: tuple[Recording, ...] = ()
    speakers: tuple[Recording, ...] | None = None
    dimensions: dict[str, float | None] = field(default_factory=dict)

    def __repr__(self) -> str:
        share = "" if self.emotion is None else f" {self.probabilities[self.emotion]:.0%}"
        segments = f"{len(self.segments):,} segment{'' if len(self.segments) == 1 else 's'}"
        return f"<Recording {self.source!r}, {self.duration_s:.1f} s: {self.statement}{share}, {segments}>"

    @property
    def statement(self) -> str:
        """The emotion of the whole, or "not sure", "unfamiliar sound" or "no speech"; empty for words alone."""
        return _statement(self) if self.segments else NO_SPEECH

    @property
    def divided_by(self) -> Literal["channel", "speaker"] | None:
        """What each of its segments has."""
        if self.speakers is not None:
            return "speaker"
        return "channel" if self.channels else None

    @property
    def voices(self) -> dict[str, Recording]:
        """Each channel or speaker by its name, such as "channel 1", where they are separate."""
        parts = self.channels if self.speakers is None else self.speakers
        return {f"{self.divided_by} {number}": part for number, part in enumerate(parts, start=1)}

    @property
    def speech_s(self) -> float:
        """How long somebody speaks, seconds."""
        return sum(each.end_s - each.start_s for each in self.segments)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, numbers rounded to 4 digits; the keys and their order are stable (docs/output.md).

        >>> segment = Segment(0.0, 2.0, "no", "anger", {"anger": 0.8, "sadness": 0.2})
        >>> values = join_segments("a.wav", 2.0, [segment]).as_dict()
        >>> list(values)[:6]
        ['version', 'file', 'duration_s', 'speech_s', 'emotion', 'sure']
        >>> values["segments"][0]["probabilities"]
        {'anger': 0.8, 'sadness': 0.2}
        """
        kind, parts = self.divided_by, self.voices.values()
        voices = [{kind: number, **each._summary()} for number, each in enumerate(parts, start=1)]
        return {
            "version": SCHEMA_VERSION,
            "file": self.source,
            "duration_s": round(self.duration_s, 4),
            **self._summary(),
            **({"judgement": self.judgement.model_dump()} if self.probabilities else {}),
            **({} if kind is None else {f"{kind}s": voices}),
            "segments": [segment.as_dict() for segment in self.segments],
        }

    def _summary(self) -> dict[str, Any]:
        """What all of its speech comes to."""
        return {
            "speech_s": round(self.speech_s, 4),
            **_judged(self, shares=_rounded(self.shares), unsure_share=round(self.unsure_share, 4)),
            "transcript": self.transcript,
            "silent": self.silent,
        }

    def to_dataframe(self) -> DataFrame:
        """A row a segment, a column for each emotion's probability and each dimension; no row where nobody speaks.

        Of words alone there are the columns ``file``, ``start_s``, ``end_s`` and ``transcript``; of separate channels,
        ``channel`` after ``file``, too; of speakers, ``speaker``.

        Raises:
            MissingExtraError: pandas is not installed.

        >>> segment = Segment(0.0, 2.0, "no", "anger", {"anger": 0.8, "sadness": 0.2})
        >>> print(join_segments("a.wav", 2.0, [segment]).to_dataframe())
            file  start_s  end_s emotion  anger  sadness transcript  sure  familiar
        0  a.wav      0.0    2.0   anger    0.8      0.2         no  True      True
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise MissingExtraError("pandas is not installed", 'pip install "affetto[notebook]"') from error
        place = {"file": "str"} | ({} if self.divided_by is None else {self.divided_by: "int"})
        kinds = place | {"start_s": "float", "end_s": "float", "emotion": "str"}
        kinds |= {**dict.fromkeys(self.probabilities, "float"), "transcript": "str", "sure": "bool", "familiar": "bool"}
        kinds |= dict.fromkeys(self.dimensions, "float")
        rows = [
            {"file": self.source, **asdict(each), **each.probabilities, **each.dimensions} for each in self.segments
        ]
        frame = pandas.DataFrame(rows, columns=list(kinds)).astype(kinds)
        return frame if self.probabilities else frame[[*place, "start_s", "end_s", "transcript"]]

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draws its course: the probabilities of the emotions in each stretch of speech, pale where it is not sure.

        Separate channels and speakers are drawn one below the other.

        Args:
            axes: of matplotlib, to draw on; None makes a figure with pyplot, which a notebook shows.

        Raises:
            MissingExtraError: matplotlib is not installed.

        >>> segment = Segment(0.0, 2.0, "no", "anger", {"anger": 0.8, "sadness": 0.2})
        >>> axes = join_segments("a.wav", 3.0, [segment]).plot()
        >>> axes.get_title("left")
        'a.wav: anger'
        >>> axes.figure.savefig("a.png")  # doctest: +SKIP
        """
        title = f"{PurePath(self.source).name}: {self.statement or 'words alone'}"
        voices = self.voices or {"": self}
        courses = {name: [(each.moment, each.sure) for each in voice.segments] for name, voice in voices.items()}
        return plot_course(axes, title, courses, list(self.probabilities), self.duration_s)


def _statement(of: Segment | Recording) -> str:
    if of.emotion is None:
        return ""
    if not of.familiar:
        return UNFAMILIAR
    return of.emotion if of.sure else NOT_SURE


def _judged(of: Segment | Recording, **shared: object) -> dict[str, object]:
    """What its emotion is judged to be, for JSON; nothing where words alone were asked for."""
    if not of.probabilities:
        return {}
    stated = {"emotion": of.emotion, "sure": of.sure, "familiar": of.familiar}
    dimensions = {"dimensions": _rounded(of.dimensions)} if of.dimensions else {}
    return {**stated, "probabilities": _rounded(of.probabilities), **shared, **dimensions}


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in values.items()}


def join_segments(
    source: str, duration_s: float, segments: Iterable[Segment], judgement: Judgement = _JUDGEMENT
) -> Recording:
    """A recording from its segments, at least one; the whole is judged by them as they are, each by its neighbours too.

    Neighbours are those of the same channel and speaker.

    >>> short = Segment(0.0, 1.0, "no", "anger", {"anger": 1.0, "sadness": 0.0})
    >>> long = Segment(1.0, 4.0, "i miss her", "sadness", {"anger": 0.2, "sadness": 0.8})
    >>> recording = join_segments("a.wav", 4.0, [short, long])
    >>> recording.emotion, round(recording.probabilities["sadness"], 2), recording.transcript, recording.shares
    ('sadness', 0.6, 'no i miss her', {'anger': 0.25, 'sadness': 0.75})
    """
    given = tuple(segments)
    moments = [each.moment for each in given]
    whole = mean(moments)
    dimensions = [Moment(each.start_s, each.end_s, each.dimensions) for each in given]
    smoothed, values = (_smoothed(given, some, judgement.smooth_s) for some in (moments, dimensions))
    judged = tuple(
        replace(each.judged(probabilities, judgement), dimensions=own)
        for each, probabilities, own in zip(given, smoothed, values, strict=True)
    )
    emotion, parts = likeliest(whole), shares([each.moment for each in judged], judgement.sure)
    known_s, unknown_s = (sum(e.end_s - e.start_s for e in given if e.familiar is known) for known in (True, False))
    familiar = known_s >= unknown_s
    return Recording(
        source,
        duration_s,
        judged,
        emotion,
        whole,
        " ".join(each.transcript for each in judged if each.transcript),
        sure=familiar and whole[emotion] >= judgement.sure,
        shares=parts.emotions,
        unsure_share=parts.unsure,
        judgement=judgement,
        familiar=familiar,
        dimensions=dict(mean(dimensions)),
    )


def _smoothed(segments: Sequence[Segment], moments: Sequence[Moment], width_s: float) -> list[dict[str, float]]:
    """The segments' moments, each smoothed over those of its own voice."""
    own: dict[str, list[Moment]] = {}
    for each, moment in zip(segments, moments, strict=True):
        own.setdefault(each.voice, []).append(moment)
    smoothed = {voice: iter(smooth(some, width_s)) for voice, some in own.items()}
    return [next(smoothed[each.voice]) for each in segments]
