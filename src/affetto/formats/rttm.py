"""RTTM, as NIST's scoring tools and diarisation programs read it: a line a segment, the emotion as its name.

The format: NIST, Rich Transcription 2009 evaluation plan, appendix A.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from affetto.recording import Recording


def to_rttm(recording: Recording) -> str:
    r"""SPEAKER lines with file, channel, start, duration, name and confidence; none where nobody speaks.

    >>> from affetto.recognise import Segment, join_segments
    >>> to_rttm(join_segments("my call.wav", 2.0, [Segment(0.5, 1.25, "oh no", "anger", {"anger": 1.0})]))
    'SPEAKER my_call 1 0.500 0.750 <NA> <NA> anger 1.0000 <NA>\n'
    """
    name = _field(PurePath(recording.source).stem)
    lines = [
        f"SPEAKER {name} 1 {each.start_s:.3f} {each.end_s - each.start_s:.3f} <NA> <NA> "
        f"{_field(each.statement)} {each.probabilities[each.emotion]:.4f} <NA>\n"
        for each in recording.segments
    ]
    return "".join(lines)


def _field(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip()) or "<NA>"
