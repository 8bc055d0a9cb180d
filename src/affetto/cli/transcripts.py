"""Transcripts as text: lines, words with times for people, JSON, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from affetto.cli.recordings import percent
from affetto.cli.terminal import console, print_json
from affetto.text import harmless
from affetto.timeline import clock
from affetto.transcribe import Transcript


def write_text(transcripts: Iterable[Transcript], several: bool) -> None:
    """A line a recording, after its name if there are several."""
    for each in transcripts:
        typer.echo(f"{each.source}\t{each.text}" if several else each.text)


def write_table(transcripts: Iterable[Transcript], _: bool) -> None:
    """The words of each below one another, with times and confidences."""
    out = console()
    for each in transcripts:
        out.print(Text.assemble((each.source, "bold"), "  ", (clock(each.duration_s), "dim"), overflow="fold"))
        out.print(Padding(_words(each, ascii_only=out.options.ascii_only), (0, 0, 0, 2)))


def _words(transcript: Transcript, *, ascii_only: bool) -> Table:
    dash = "-" if ascii_only else "–"
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for word in transcript.words:
        times = Text(f"{clock(word.start_s)}{dash}{clock(word.end_s)}", "dim")
        grid.add_row(times, Text(percent(word.confidence), "green"), Text(word.text, "italic"))
    return grid


def write_json(transcripts: Iterable[Transcript], _: bool) -> None:
    """One array, whether of one transcript or many."""
    print_json([each.as_dict() for each in transcripts])


def write_jsonl(transcripts: Iterable[Transcript], _: bool) -> None:
    """A line a recording as soon as it is there."""
    for each in transcripts:
        typer.echo(json.dumps(each.as_dict()))


def write_csv(transcripts: Iterable[Transcript], _: bool) -> None:
    """A row a word."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "start_s", "end_s", "word", "confidence"])
    for each in transcripts:
        values = each.as_dict()
        for word in values["words"]:
            cells = [values["file"], word["start_s"], word["end_s"], word["text"], word["confidence"]]
            table.writerow(harmless(cells))
        sys.stdout.flush()


WRITERS: dict[str, Callable[[Iterable[Transcript], bool], None]] = {
    "text": write_text,
    "table": write_table,
    "json": write_json,
    "jsonl": write_jsonl,
    "csv": write_csv,
}
"""Format -> what prints transcripts in it, given them and whether there are several."""
