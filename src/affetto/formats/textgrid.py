"""Praat's TextGrid (ELAN imports it, too): tiers ``emotion``, ``probability`` and ``words`` over the whole recording.

The format: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html, in its long form.
"""

from __future__ import annotations

from collections.abc import Sequence

from affetto.formats.spans import Span, one_line, spans
from affetto.recording import Recording


def to_textgrid(recording: Recording) -> str:
    """A TextGrid, UTF-8; between the segments the intervals are empty. Words alone are one tier."""
    segments = recording.segments
    tiers: dict[str, list[Span]] = {}
    if recording.probabilities:
        tiers["emotion"] = [Span(each.start_s, each.end_s, each.statement) for each in segments]
        tiers["probability"] = [Span(each.start_s, each.end_s, f"{each.probability:.4f}") for each in segments]
    tiers["words"] = [span for each in segments for span in spans(each)]
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {_time(recording.duration_s)}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (name, labelled) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", *_tier(name, _covering(labelled, recording.duration_s))]
    return "\n".join(lines) + "\n"


def _covering(labelled: Sequence[Span], duration_s: float) -> list[Span]:
    """With what is between them, from 0 to the end without a gap, as Praat demands."""
    covering: list[Span] = []
    reached_s = 0.0
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
        text = one_line(interval.text).replace('"', '""')
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {_time(interval.start_s)}",
            f"            xmax = {_time(interval.end_s)}",
            f'            text = "{text}"',
        ]
    return lines


def _time(time_s: float) -> str:
    return f"{time_s:.6f}".rstrip("0").rstrip(".") or "0"
