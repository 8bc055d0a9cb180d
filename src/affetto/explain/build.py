"""Sound to a picture of what is predicted for it and why: ``affetto explain``, for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from affetto.audio import SAMPLE_RATE
from affetto.errors import OutputError
from affetto.explain.explanation import Explainer, Explanation, Floats, Passage, see
from affetto.explain.picture import draw_explanation
from affetto.files import draft
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording, Segment
from affetto.streaming import Source
from affetto.streaming.segments import Spoken, cut, join
from affetto.streaming.sources import Wave, blocks
from affetto.timeline import Judgement

PASSAGES = 3  # Stretches of speech that are looked into, unless asked otherwise
MOST_PASSAGES = 12
OUTLINE = 1200  # Parts of a recording in its outline
_JUDGEMENT = Judgement()


def explain(
    recogniser: EmotionRecogniser,
    source: Source,
    *,
    passages: int = PASSAGES,
    at_s: Sequence[float] = (),
    judgement: Judgement = _JUDGEMENT,
    progress: Callable[[float], None] | None = None,
) -> Explanation:
    """Recognises a recording, and looks into some of its stretches of speech.

    The recording is read twice: once to recognise it, and once for the sound of the stretches that are looked into, so
    that it may be of any length.

    Args:
        recogniser: makes the predictions.
        source: a sound file, or samples.
        passages: how many stretches at most, from 1 to 12 (see `telling`).
        at_s: look into the stretches at these times, instead.
        judgement: when an emotion is sure.
        progress: called with the seconds of sound read so far.

    Raises:
        AudioError: see `EmotionRecogniser.recognise`.
        OutputError: too many passages or none, or nobody speaks at a time asked for.
        MissingExtraError: captum is not installed.

    >>> import affetto
    >>> recogniser = EmotionRecogniser.from_pretrained("small", "cpu")
    >>> found = explain(recogniser, Path(affetto.__file__).parent / "demo" / "angry.flac")
    >>> found.statement, found.passages[0].decision.layers
    ('anger', ('gru3',))
    """
    if not 1 <= max(len(at_s), passages) <= MOST_PASSAGES:
        raise OutputError(f"{max(len(at_s), passages)} passages", f"ask for 1 to {MOST_PASSAGES}", "passages")
    (recording,) = recogniser.recognise_many([source], progress, judgement)
    if not isinstance(recording, Recording):
        raise recording.error
    places = [_at(recording, time_s) for time_s in at_s] or telling(recording.segments, passages)
    outline = _Outline(recording.duration_s)
    explainer = Explainer(recogniser)
    looked_into = [
        _passage(recogniser, explainer, recording.segments[number], spoken)
        for number, spoken in enumerate(cut(outline.watch(blocks(source))))
        if number in places
    ]
    whole = (recording.source, recording.duration_s, recording.statement, recording.probabilities)
    moments = tuple(each.moment for each in recording.segments)
    return Explanation(*whole, moments, outline.values, tuple(looked_into), recording.silent)


def write(found: Explanation, path: Path, form: str | None = None) -> None:
    """Draws an explanation into a file, whole or not at all; its folder is made if it is not there.

    Args:
        found: what `explain` gave.
        path: the file.
        form: "png", "svg" or "html"; None is what the file's name ends in.

    Raises:
        OutputError: there is no such form, or the file cannot be written.
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    content = draw_explanation(found, form or path.suffix.lower().lstrip("."))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", "give another --output", path) from error


def telling(segments: Sequence[Segment], most: int) -> list[int]:
    """The places of the stretches to look into: of each predicted emotion the surest, then the surest of the others."""
    surest = sorted(range(len(segments)), key=lambda place: -segments[place].probability)
    firsts = {segments[place].emotion: place for place in reversed(surest)}
    order = sorted(surest, key=lambda place: firsts[segments[place].emotion] != place)
    return sorted(order[:most])


def _at(recording: Recording, time_s: float) -> int:
    for place, each in enumerate(recording.segments):
        if each.start_s <= time_s <= each.end_s:
            return place
    raise OutputError(f"nobody speaks at {time_s:g} s", "affetto recognise shows when somebody does", recording.source)


def _passage(recogniser: EmotionRecogniser, explainer: Explainer, segment: Segment, spoken: Spoken) -> Passage:
    assert segment.emotion is not None, "an emotion recogniser predicted it"
    given = explainer.inputs(join([spoken]))
    if recogniser.speech_only:
        spoken = spoken.without_pauses()
    duration_s = len(spoken.wave) / SAMPLE_RATE
    sight, course = see(torch.from_numpy(spoken.wave)), explainer.follow(given, duration_s)
    decision = explainer.decide(given, segment.emotion, duration_s)
    return Passage(spoken.since_s, segment.moment, segment.statement, segment.words, sight, course, decision)


class _Outline:
    """The lowest and the highest sample of each part of a recording, gathered as its blocks go by."""

    def __init__(self, duration_s: float) -> None:
        self.samples = max(1, round(duration_s * SAMPLE_RATE))
        self.values: Floats = np.zeros((min(OUTLINE, self.samples), 2))
        self._seen = 0

    def watch(self, sound: Iterator[Wave]) -> Iterator[Wave]:
        """Hands the blocks on."""
        for block in sound:
            places = (self._seen + np.arange(len(block))) * len(self.values) // self.samples
            starts = np.flatnonzero(np.diff(places, prepend=-1))
            rows = np.minimum(places[starts], len(self.values) - 1)
            np.minimum.at(self.values[:, 0], rows, np.minimum.reduceat(block, starts))
            np.maximum.at(self.values[:, 1], rows, np.maximum.reduceat(block, starts))
            self._seen += len(block)
            yield block
