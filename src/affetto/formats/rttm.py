"""RTTM, as NIST's scoring tools and diarisation programs read it: a line a segment, the emotion as its name.

The format: NIST, Rich Transcription 2009 evaluation plan, appendix A.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from affetto.recording import Recording


def to_rttm(recording: Recording, name: str | None = None) -> str:
    r"""SPEAKER lines with file, channel, start, duration, name and confidence; none where nobody speaks.

    >>> from affetto.recognise import Segment, join_segments
    >>> to_rttm(join_segments("my call.wav", 2.0, [Segment(0.5, 1.25, "oh no", "anger", {"anger": 1.0})]))
    'SPEAKER my_call 1 0.500 0.750 <NA> <NA> anger 1.0000 <NA>\n'
    """
    file = _field(name or PurePath(recording.source).stem)
    lines = [
        f"SPEAKER {file} 1 {each.start_s:.3f} {each.end_s - each.start_s:.3f} <NA> <NA> "
        f"{_field(each.statement)} {'<NA>' if each.emotion is None else f'{each.probability:.4f}'} <NA>\n"
        for each in recording.segments
    ]
    return "".join(lines)


def file_names(sources: Iterable[str]) -> dict[str, str]:
    """What each of several recordings is called in one stream: its stem, or more of its path where stems are equal.

    >>> file_names(["a/x.wav", "b/x.wav", "b/x.flac", "b/y.wav"])
    {'a/x.wav': 'a/x', 'b/x.wav': 'b/x.wav', 'b/x.flac': 'b/x.flac', 'b/y.wav': 'y'}
    >>> file_names(["a call.wav", "a_call.wav"])  # the format has no blanks
    {'a call.wav': 'a call.wav-1', 'a_call.wav': 'a_call.wav-2'}
    """
    forms = {each: (PurePath(each).stem, str(PurePath(each).parent / PurePath(each).stem), each) for each in sources}
    used = Counter(form for names in forms.values() for form in {_field(name) for name in names})
    return {
        each: next((form for form in names if used[_field(form)] == 1), f"{each}-{number}")
        for number, (each, names) in enumerate(forms.items(), start=1)
    }


def _field(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip()) or "<NA>"
