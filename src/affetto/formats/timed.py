"""Subtitles (WebVTT, SubRip) and Praat's TextGrid: words beside the emotion, at the closest times that are known.

In subtitles a segment is a cue, the emotion in brackets before the words (and the channel or speaker before it, where
they are separate); one with many words is shown in several cues of two lines. WebVTT: https://www.w3.org/TR/webvtt1/.
SubRip has no standard; the form here is the one that players agree on. TextGrid, which ELAN imports, too, in its long
form: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from affetto.recording import Recording, Segment
from affetto.timeline import NO_SPEECH

_LINE_CHARACTERS, _LINES = 42, 2  # what fits on a screen, by the usual rule for subtitles


class Span(NamedTuple):
    """Words and when they were said, seconds."""

    start_s: float
    end_s: float
    text: str


def spans(segment: Segment) -> list[Span]:
    """The words of a segment with the closest times that are known: their own, or those of the segment as a whole.

    >>> spans(Segment(1.0, 2.0, "oh no", "anger", {"anger": 1.0}))
    [Span(start_s=1.0, end_s=2.0, text='oh no')]
    """
    words: list[Span] = []
    waiting = ""  # at the very edge of a segment a word may not last: it is written with its neighbour
    for each in segment.words:
        text = f"{waiting} {each.text}".lstrip()
        waiting = "" if each.end_s > each.start_s else text
        if not waiting:
            words.append(Span(each.start_s, each.end_s, text))
    if words and waiting:
        words[-1] = words[-1]._replace(text=f"{words[-1].text} {waiting}")
    if words and all(one.end_s <= other.start_s for one, other in pairwise(words)):
        return words
    return [Span(segment.start_s, segment.end_s, segment.transcript)] if segment.transcript else []


def _one_line(text: str) -> str:
    """A label without line breaks and doubled blanks, which would end a field."""
    return " ".join(text.split())


def to_webvtt(recording: Recording) -> str:
    """WebVTT, UTF-8.

    >>> from affetto.recording import Segment, join_segments
    >>> print(to_webvtt(join_segments("a.wav", 2.0, [Segment(0.5, 1.25, "oh no", "anger", {"anger": 1.0})])))
    WEBVTT
    <BLANKLINE>
    00:00:00.500 --> 00:00:01.250
    [anger] oh no
    <BLANKLINE>
    """
    cues = [
        f"{_clock(start_ms, '.')} --> {_clock(end_ms, '.')}\n{html.escape(text, quote=False)}\n"
        for start_ms, end_ms, text in _cues(recording)
    ]
    return "\n".join(["WEBVTT\n", *(cues or [f"NOTE {NO_SPEECH}\n"])])


def to_srt(recording: Recording) -> str:
    """SubRip, UTF-8; empty where nobody speaks."""
    cues = [
        f"{number}\n{_clock(start_ms, ',')} --> {_clock(end_ms, ',')}\n{text}\n"
        for number, (start_ms, end_ms, text) in enumerate(_cues(recording), start=1)
    ]
    return "\n".join(cues)


def _cues(recording: Recording) -> list[tuple[int, int, str]]:
    """From when to when, ms, and what; by their start, as WebVTT demands, for segments of several channels overlap."""
    cues = []
    for segment in recording.segments:
        if not (segment.statement or segment.transcript):
            continue
        tag = f"[{_one_line(segment.label)}]" if segment.label else ""
        screens = _screens(tag, spans(segment))
        starts_s = [segment.start_s, *(words[0].start_s for words in screens[1:])]
        times_ms = pairwise(round(1000 * time_s) for time_s in (*starts_s, segment.end_s))
        for words, (start_ms, end_ms) in zip(screens, times_ms, strict=True):
            cues.append((start_ms, max(end_ms, start_ms + 1), "\n".join(_wrapped(tag, words))))
    return sorted(cues, key=itemgetter(0))


def _screens(tag: str, words: Sequence[Span]) -> list[list[Span]]:
    """Words that are shown together; one screen without any where there are none."""
    screens: list[list[Span]] = [[]]
    for word in words:
        if screens[-1] and len(_wrapped(tag, [*screens[-1], word])) > _LINES:
            screens.append([])
        screens[-1].append(word)
    return screens


def _wrapped(tag: str, words: Sequence[Span]) -> list[str]:
    return textwrap.wrap(" ".join([tag, *(word.text for word in words)]).lstrip(), _LINE_CHARACTERS)


def _clock(time_ms: int, point: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def to_textgrid(recording: Recording) -> str:
    """A TextGrid, UTF-8; between the segments the intervals are empty. Words alone are one tier.

    Separate channels and speakers have tiers of their own, such as ``words 2``.
    """
    tiers: dict[str, list[Span]] = {}
    for number, part in enumerate(recording.voices.values() or (recording,), start=1):
        end, segments = f" {number}" if recording.voices else "", part.segments
        if part.probabilities:
            tiers[f"emotion{end}"] = [Span(each.start_s, each.end_s, each.statement) for each in segments]
            tiers[f"probability{end}"] = [
                Span(each.start_s, each.end_s, f"{each.probability:.4f}") for each in segments
            ]
        tiers[f"words{end}"] = [span for each in segments for span in spans(each)]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0"]
    lines += [f"xmax = {_time(recording.duration_s)}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, labelled) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", *_tier(name, _covering(labelled, recording.duration_s))]
    return "\n".join(lines) + "\n"


def _covering(labelled: Sequence[Span], duration_s: float) -> list[Span]:
    """With what is between them, from 0 to the end without a gap, as Praat demands."""
    covering, reached_s = list[Span](), 0.0
    for span in labelled:
        if span.start_s > reached_s:
            covering.append(Span(reached_s, span.start_s, ""))
        covering.append(span)
        reached_s = span.end_s
    if reached_s < duration_s:
        covering.append(Span(reached_s, duration_s, ""))
    return covering


def _tier(name: str, intervals: Sequence[Span]) -> list[str]:
    lines = [
        '        class = "IntervalTier"',
        f'        name = "{name}"',
        "        xmin = 0",
        f"        xmax = {_time(intervals[-1].end_s)}",
        f"        intervals: size = {len(intervals)}",
    ]
    for number, interval in enumerate(intervals, start=1):
        text = _one_line(interval.text).replace('"', '""')
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {_time(interval.start_s)}",
            f"            xmax = {_time(interval.end_s)}",
            f'            text = "{text}"',
        ]
    return lines


def _time(time_s: float) -> str:
    return f"{time_s:.6f}".rstrip("0").rstrip(".") or "0"
