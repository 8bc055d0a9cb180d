"""Subtitles, WebVTT and SubRip: a cue a segment, the emotion, if there is one, in brackets before the words.

Where it is known when each word was said, a segment with many of them is shown in several cues of two lines.

WebVTT: https://www.w3.org/TR/webvtt1/. SubRip has no standard; the form here is the one that players agree on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from affetto.formats.spans import Span, one_line, spans
from affetto.recording import Recording
from affetto.timeline import NO_SPEECH

LINE_CHARACTERS, LINES = 42, 2
"""What fits on a screen, by the usual rule for subtitles."""


class _Cue(NamedTuple):
    start_ms: int
    end_ms: int
    lines: list[str]


def to_webvtt(recording: Recording) -> str:
    """WebVTT, UTF-8.

    >>> from affetto.recognise import Segment, join_segments
    >>> print(to_webvtt(join_segments("a.wav", 2.0, [Segment(0.5, 1.25, "oh no", "anger", {"anger": 1.0})])))
    WEBVTT
    <BLANKLINE>
    00:00:00.500 --> 00:00:01.250
    [anger] oh no
    <BLANKLINE>
    """
    cues = [
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{_escape(chr(10).join(cue.lines))}\n"
        for cue in _cues(recording)
    ]
    return "\n".join(["WEBVTT\n", *(cues or [f"NOTE {NO_SPEECH}\n"])])


def to_srt(recording: Recording) -> str:
    """SubRip, UTF-8; empty where nobody speaks."""
    cues = [
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{chr(10).join(cue.lines)}\n"
        for number, cue in enumerate(_cues(recording), start=1)
    ]
    return "\n".join(cues)


def _cues(recording: Recording) -> Iterator[_Cue]:
    for segment in recording.segments:
        tag = f"[{one_line(segment.statement)}]" if segment.statement else ""
        if not (tag or segment.transcript):
            continue
        screens = _screens(tag, spans(segment))
        starts_ms = [round(1000 * segment.start_s), *(round(1000 * words[0].start_s) for words in screens[1:])]
        for words, start_ms, end_ms in zip(
            screens, starts_ms, [*starts_ms[1:], round(1000 * segment.end_s)], strict=True
        ):
            yield _Cue(start_ms, max(end_ms, start_ms + 1), _wrapped(tag, words))


def _screens(tag: str, words: Sequence[Span]) -> list[list[Span]]:
    """Words that are shown together; one screen without any where there are none."""
    screens: list[list[Span]] = [[]]
    for word in words:
        if screens[-1] and len(_wrapped(tag, [*screens[-1], word])) > LINES:
            screens.append([])
        screens[-1].append(word)
    return screens


def _wrapped(tag: str, words: Sequence[Span]) -> list[str]:
    return textwrap.wrap(" ".join([tag, *(word.text for word in words)]).lstrip(), LINE_CHARACTERS)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(time_ms: int, point: str) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
