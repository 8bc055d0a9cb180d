"""What every format writes of a segment: its words and their times."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from affetto.recording import Segment


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


def one_line(text: str) -> str:
    r"""A label without line breaks and doubled blanks, which would end a field.

    >>> one_line("not\n  sure")
    'not sure'
    """
    return " ".join(text.split())
