"""What every format tells of a segment: when which words were said."""

from __future__ import annotations

from typing import NamedTuple

from affetto.recognise import Segment


class Span(NamedTuple):
    """Words and when they were said, seconds."""

    start_s: float
    end_s: float
    text: str


def spans(segment: Segment) -> list[Span]:
    """The words of a segment with the closest times that are known: those of the segment as a whole.

    >>> spans(Segment(1.0, 2.0, "oh no", "anger", {"anger": 1.0}))
    [Span(start_s=1.0, end_s=2.0, text='oh no')]
    """
    return [Span(segment.start_s, segment.end_s, segment.transcript)] if segment.transcript else []


def one_line(text: str) -> str:
    r"""A label without line breaks and doubled blanks, which would end a field.

    >>> one_line("not\n  sure")
    'not sure'
    """
    return " ".join(text.split())
