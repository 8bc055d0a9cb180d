"""How well emotion is recognised on any corpora, under any listening conditions: what `affetto evaluate` measures.

Each clip passes through the product as a user's file does: its speech is found, recognised and judged as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from affetto import metrics
from affetto.config import stable_seed
from affetto.data.corpora import open_corpus
from affetto.data.sound import Crowd, Surroundings, crowd_of, load_placed
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError
from affetto.features.conditions import CLEAN, Condition
from affetto.recognition import RecordingRecogniser
from affetto.recording import Recording
from affetto.streaming import Deferred, Failure, Source, Stretch
from affetto.timeline import NO_SPEECH, NOT_SURE, UNFAMILIAR, Judgement

SCHEMA_VERSION = 1  # Of `CorpusScores.as_dict`; it changes when a key is renamed or removed.
NO_LABEL = "no label"


@dataclass(frozen=True, slots=True)
class CorpusPart:
    """What of a corpus is scored."""

    name: str
    utterances: tuple[Utterance, ...]  # those that count, sorted; all of them where the corpus has no labels
    crowd: Crowd  # everybody in the corpus, for babble
    left_out: dict[str, int] = field(default_factory=dict)  # label -> utterances that no class fits
    skipped: dict[str, int] = field(default_factory=dict)  # reason -> what the corpus's reader passed over


def corpus_part(
    path: Path, classes: Collection[str], *, speakers: Collection[str] = (), limit: int | None = None
) -> CorpusPart:
    """Reads a corpus, see `open_corpus`, and takes the utterances whose emotion is one of the classes.

    They may be those of some speakers, and so many of these at most, drawn at random, always the same. Raises
    CorpusError where a speaker is not in the corpus, or none of its labels is a class.
    """
    parsed = open_corpus(path)
    chosen = [each for each in parsed.utterances if not speakers or each.speaker in speakers]
    unknown = sorted(set(speakers) - {each.speaker for each in chosen})
    if unknown:
        raise CorpusError(f"no speaker {', '.join(unknown)}", "name speakers of this corpus", path)
    labels = Counter(each.emotion or NO_LABEL for each in chosen)
    left_out: dict[str, int] = {}
    if set(labels) != {NO_LABEL}:
        chosen = [each for each in chosen if each.emotion in classes]
        left_out = {name: count for name, count in sorted(labels.items()) if name not in classes}
    if not chosen:
        remedy = f"its labels are {', '.join(sorted(labels))}"
        raise CorpusError(f"no label is one of {', '.join(classes)}", remedy, path)
    if limit is not None and limit < len(chosen):
        drawn = sorted(chosen, key=lambda each: stable_seed(each.corpus, each.id))[:limit]
        chosen = [each for each in chosen if each in drawn]
    skipped = Counter(each.reason for each in parsed.skipped)
    return CorpusPart(path.resolve().name, tuple(chosen), crowd_of(parsed.utterances), left_out, dict(skipped))


class ClipPrediction(NamedTuple):
    """What was predicted of one clip."""

    utterance: str
    speaker: str
    reference: str | None  # its label; None where the corpus has none
    predicted: str  # the most probable class, however probable; "no speech" where none was found
    statement: str  # what is stated: a class, "not sure", "unfamiliar sound" or "no speech"
    probabilities: dict[str, float]  # of each class; 0 where no speech was found
    duration_s: float
    # dimension -> its value in the corpus and as predicted; None where it has none, or no speech was found
    dimensions: dict[str, tuple[float | None, float | None]] = {}  # noqa: RUF012  never changed


class SpeakerScores(NamedTuple):
    """Of one speaker's clips."""

    utterances: int
    uar: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusScores:
    """How well emotion is recognised on one corpus under one condition.

    Scores need labels, and are None without. A clip in which no speech was found counts as wrong.
    """

    corpus: str
    condition: str
    utterances: int  # clips that were recognised
    hours: float  # how long they are together
    uar: float | None  # unweighted average recall of the most probable class
    accuracy: float | None
    f1_macro: float | None  # the mean F1 over the labels
    ece: float | None  # expected calibration error of the most probable class, where there is speech
    stated_accuracy: float | None  # the share that is right of those in which an emotion is stated; None where none is
    stated: dict[str, float]  # share of clips: each class, "not sure", "unfamiliar sound" and "no speech"; together 1
    ccc: dict[str, float]  # of each dimension that the model predicts and the corpus has, where there is speech
    confusion: dict[str, dict[str, int]]  # label -> most probable class, or "no speech" -> clips
    speakers: dict[str, SpeakerScores]
    left_out: dict[str, int]  # label -> clips that no class fits
    failed: dict[str, int]  # reason -> clips that could not be read
    predictions: tuple[ClipPrediction, ...] = field(repr=False)  # clip by clip, which all else follows from

    @property
    def no_speech(self) -> float:
        """The share of clips in which no speech was found."""
        return self.stated[NO_SPEECH]

    @property
    def not_sure(self) -> float:
        """The share of clips in which no emotion is probable enough."""
        return self.stated[NOT_SURE]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the predictions; the keys and their order are stable."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in {"speakers", "predictions"}}
        return {**values, "speakers": {name: each._asdict() for name, each in self.speakers.items()}}


def score_corpora(
    recogniser: RecordingRecogniser,
    parts: Sequence[CorpusPart],
    conditions: Sequence[Condition] = (CLEAN,),
    *,
    judgement: Judgement | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[CorpusScores]:
    """Scores a recogniser on every corpus under every condition, corpus by corpus, each as soon as it is there.

    From which probability on an emotion is stated, the judgement says; ``progress`` is called with (clips done, clips
    in all) after each. Raises CorpusError where no clip of a corpus can be recognised.
    """
    total, before = len(conditions) * sum(len(part.utterances) for part in parts), 0
    for part in parts:
        for condition in conditions:
            predictions, failed = [], Counter(part.skipped)
            results = recogniser.recognise_many(_sources(part, condition), judgement=judgement or Judgement())
            for done, (utterance, result) in enumerate(zip(part.utterances, results, strict=True), start=before + 1):
                if isinstance(result, Failure):
                    failed[result.error.problem] += 1
                else:
                    predictions.append(_prediction(utterance, result))
                if progress is not None:
                    progress(done, total)
            before += len(part.utterances)
            if not predictions:
                reasons = ", ".join(f"{reason}: {count}" for reason, count in failed.most_common(3))
                raise CorpusError(f"no clip could be recognised ({reasons})", "check the corpus", part.name)
            yield _score_clips(predictions, recogniser.emotions, part, condition, failed)


def _sources(part: CorpusPart, condition: Condition) -> Iterator[Source]:
    """The sound of each utterance, made when its turn comes; as it is, it may be of any length."""
    surroundings = Surroundings(condition, part.crowd)

    def made(utterance: Utterance) -> Iterator[Tensor]:
        yield load_placed(utterance, surroundings)

    for each in part.utterances:
        if condition == CLEAN:
            yield Stretch(each.audio, each.start_s, each.end_s)
        else:
            yield Deferred(str(each.audio), partial(made, each))


def _prediction(utterance: Utterance, recording: Recording) -> ClipPrediction:
    return ClipPrediction(
        utterance.id,
        utterance.speaker,
        utterance.emotion,
        recording.emotion or NO_SPEECH,
        recording.statement,
        recording.probabilities,
        recording.duration_s,
        {name: ((utterance.dimensions or {}).get(name), value) for name, value in recording.dimensions.items()},
    )


def _score_clips(
    predictions: Sequence[ClipPrediction],
    classes: Sequence[str],
    part: CorpusPart,
    condition: Condition,
    failed: Counter[str],
) -> CorpusScores:
    """The figures of predictions on one corpus, of which there is at least one; all have a reference, or none."""
    references = [each.reference for each in predictions if each.reference is not None]
    predicted = [each.predicted for each in predictions]
    stated = Counter(each.statement for each in predictions)
    spoken = [each for each in predictions if each.predicted != NO_SPEECH]
    definite = [each for each in predictions if each.statement in classes]
    labelled = bool(references)
    return CorpusScores(
        corpus=part.name,
        condition=condition.name,
        utterances=len(predictions),
        hours=sum(each.duration_s for each in predictions) / 3600,
        uar=metrics.uar(references, predicted) if labelled else None,
        accuracy=metrics.accuracy(references, predicted) if labelled else None,
        f1_macro=metrics.f1_macro(references, predicted) if labelled else None,
        ece=_calibration_error(spoken) if labelled and spoken else None,
        stated_accuracy=float(np.mean([_right(each) for each in definite])) if labelled and definite else None,
        stated={name: stated[name] / len(predictions) for name in (*classes, NOT_SURE, UNFAMILIAR, NO_SPEECH)},
        ccc=_concordances(predictions),
        confusion=_confusion(references, predicted, classes) if labelled else {},
        speakers=_by_speaker(predictions) if labelled else {},
        left_out=part.left_out,
        failed=dict(failed),
        predictions=tuple(predictions),
    )


def _right(prediction: ClipPrediction) -> bool:
    return prediction.predicted == prediction.reference


def _calibration_error(predictions: Sequence[ClipPrediction]) -> float:
    confidences = np.array([each.probabilities[each.predicted] for each in predictions])
    return metrics.expected_calibration_error(confidences, np.array([_right(each) for each in predictions]))


def _concordances(predictions: Sequence[ClipPrediction]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in predictions[0].dimensions:
        pairs = np.array([each.dimensions[name] for each in predictions], dtype=np.float64)  # None is not a number
        known = pairs[~np.isnan(pairs).any(axis=1)]
        if len(known):
            found[name] = metrics.ccc(*known.T)
    return found


def _confusion(
    references: Sequence[str], predicted: Sequence[str], classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    names = (*classes, NO_SPEECH)
    counts = metrics.confusion(references, predicted, names).tolist()
    rows = ((name, dict(zip(names, row, strict=True))) for name, row in zip(names, counts, strict=True))
    return {name: row for name, row in rows if name in references}


def _by_speaker(predictions: Sequence[ClipPrediction]) -> dict[str, SpeakerScores]:
    scores = {}
    for speaker in sorted({each.speaker for each in predictions}):
        own = [each for each in predictions if each.speaker == speaker]
        pair = [each.reference or "" for each in own], [each.predicted for each in own]
        scores[speaker] = SpeakerScores(len(own), metrics.uar(*pair), metrics.accuracy(*pair))
    return scores
