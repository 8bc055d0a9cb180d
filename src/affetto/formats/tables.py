"""JSON, JSON lines, CSV and RTTM: all that is known, for programs. The keys are described in docs/output.md.

RTTM has a line a segment, with the emotion as its name, as NIST's scoring tools and diarisation programs read it: Rich
Transcription 2009 evaluation plan, appendix A.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from affetto.recording import Recording
from affetto.text import harmless
from affetto.timeline import NO_SPEECH


def to_json(recording: Recording) -> str:
    """One indented object."""
    return json.dumps(recording.as_dict(), indent=2) + "\n"


def to_json_line(recording: Recording) -> str:
    """The same on one line."""
    return json.dumps(recording.as_dict()) + "\n"


def csv_header(emotions: Sequence[str], voice: str | None = None, dimensions: Iterable[str] = ()) -> str:
    r"""The names of the columns; without emotions, those of words alone; of channels or speakers, their own, too.

    >>> csv_header(["anger", "sadness"]), csv_header([])
    ('file,start_s,end_s,emotion,anger,sadness,transcript,sure,familiar\n', 'file,start_s,end_s,transcript\n')
    """
    judged = ["emotion", *emotions, "transcript", "sure", "familiar", *dimensions]
    place = ["file", *([] if voice is None else [voice]), "start_s", "end_s"]
    return _lines([[*place, *(judged if emotions else ["transcript"])]])


def csv_rows(recording: Recording) -> str:
    """A row a segment; where nobody speaks, one that says so, its probabilities empty, or none of words alone."""
    values = recording.as_dict()
    file, segments, voice = values["file"], values["segments"], recording.divided_by
    if recording.probabilities and not segments:
        place = [file] if voice is None else [file, ""]
        empty, no_values = ([""] * len(each) for each in (recording.probabilities, recording.dimensions))
        return _lines([[*place, 0.0, values["duration_s"], NO_SPEECH, *empty, "", "false", "true", *no_values]])
    rows: list[list[object]] = []
    for each in segments:
        row = [file, *([] if voice is None else [each[voice]]), each["start_s"], each["end_s"]]
        if not recording.probabilities:
            rows.append([*row, each["transcript"]])
            continue
        sure, familiar = (str(each[name]).lower() for name in ("sure", "familiar"))
        said = [each["emotion"], *each["probabilities"].values(), each["transcript"]]
        rows.append([*row, *said, sure, familiar, *each.get("dimensions", {}).values()])
    return _lines(rows)


def to_csv(recording: Recording) -> str:
    """A table with its header."""
    header = csv_header(list(recording.probabilities), recording.divided_by, recording.dimensions)
    return header + csv_rows(recording)


def _lines(rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(map(harmless, rows))
    return out.getvalue()


def to_rttm(recording: Recording, name: str | None = None) -> str:
    r"""SPEAKER lines with file, channel, start, duration, name and confidence; none where nobody speaks.

    Where speakers are told apart, theirs is the name, and the emotion the subtype.

    >>> from affetto.recording import Segment, join_segments
    >>> to_rttm(join_segments("my call.wav", 2.0, [Segment(0.5, 1.25, "oh no", "anger", {"anger": 1.0})]))
    'SPEAKER my_call 1 0.500 0.750 <NA> <NA> anger 1.0000 <NA>\n'
    """
    file = _field(name or PurePath(recording.source).stem)
    lines = [
        f"SPEAKER {file} {each.channel or 1} {each.start_s:.3f} {each.end_s - each.start_s:.3f} <NA> {_field(subtype)} "
        f"{_field(name)} {'<NA>' if each.emotion is None else f'{each.probability:.4f}'} <NA>\n"
        for each in recording.segments
        for subtype, name in [("", each.label) if each.speaker is None else (each.statement, each.voice)]
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
