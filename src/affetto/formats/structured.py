"""JSON, JSON lines and CSV: all that is known, for programs. The keys are described in docs/output.md."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from affetto.recording import Recording
from affetto.text import harmless
from affetto.timeline import NO_SPEECH


def to_json(recording: Recording) -> str:
    """One indented object."""
    return json.dumps(recording.as_dict(), indent=2) + "\n"


def to_json_line(recording: Recording) -> str:
    """The same on one line."""
    return json.dumps(recording.as_dict()) + "\n"


def csv_header(emotions: Sequence[str]) -> str:
    r"""The names of the columns; without emotions, those of words alone.

    >>> csv_header(["anger", "sadness"]), csv_header([])
    ('file,start_s,end_s,emotion,anger,sadness,transcript,sure,familiar\n', 'file,start_s,end_s,transcript\n')
    """
    if not emotions:
        return _lines([["file", "start_s", "end_s", "transcript"]])
    return _lines([["file", "start_s", "end_s", "emotion", *emotions, "transcript", "sure", "familiar"]])


def csv_rows(recording: Recording) -> str:
    """A row a segment; where nobody speaks, one row that says so, whose probabilities are empty.

    Of words alone there is none then.
    """
    values = recording.as_dict()
    if not recording.probabilities:
        return _lines(
            [[values["file"], each["start_s"], each["end_s"], each["transcript"]] for each in values["segments"]]
        )
    rows: list[list[Any]] = [
        [
            values["file"],
            each["start_s"],
            each["end_s"],
            each["emotion"],
            *each["probabilities"].values(),
            each["transcript"],
            str(each["sure"]).lower(),
            str(each["familiar"]).lower(),
        ]
        for each in values["segments"]
    ]
    if not rows:
        empty = [""] * len(recording.probabilities)
        rows = [[values["file"], 0.0, values["duration_s"], NO_SPEECH, *empty, "", "true"]]
    return _lines(rows)


def to_csv(recording: Recording) -> str:
    """A table with its header."""
    return csv_header(list(recording.probabilities)) + csv_rows(recording)


def _lines(rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(map(harmless, rows))
    return out.getvalue()
