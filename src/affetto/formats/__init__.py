"""Recordings as text in the formats that other programs read; each is a pure function of a recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from affetto.formats.tables import to_csv, to_json, to_json_line, to_rttm
from affetto.formats.timed import to_srt, to_textgrid, to_webvtt
from affetto.recording import Recording

__all__ = ["FORMATS", "Format"]


class Format(NamedTuple):
    """The suffix of its files, and what writes a recording as the text of one."""

    suffix: str
    write: Callable[[Recording], str]


FORMATS: dict[str, Format] = {
    "json": Format(".json", to_json),
    "jsonl": Format(".jsonl", to_json_line),
    "csv": Format(".csv", to_csv),
    "vtt": Format(".vtt", to_webvtt),
    "srt": Format(".srt", to_srt),
    "textgrid": Format(".TextGrid", to_textgrid),
    "rttm": Format(".rttm", to_rttm),
}
"""Name -> format."""
