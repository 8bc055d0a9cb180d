"""Recordings as text: a view for people, JSON, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from affetto.cli.terminal import console, print_json
from affetto.recognise import Recording, Segment

BAR_CELLS = 16
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, *, ascii_only: bool = False) -> str:
    """A share as a bar of at most 16 cells, to an eighth of a cell.

    >>> bar(0.5), bar(0.1), bar(0.5, ascii_only=True)
    ('████████', '█▋', '########')
    """
    if ascii_only:
        return "#" * round(share * BAR_CELLS)
    full, eighths = divmod(round(share * BAR_CELLS * 8), 8)
    return ("█" * full + _EIGHTHS[eighths]).rstrip()


def clock(time_s: float) -> str:
    """Seconds as people write them.

    >>> clock(3.46), clock(59.97), clock(3723.4)
    ('0:03.5', '1:00.0', '1:02:03.4')
    """
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 10:02}.{rest % 10}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


def percent(share: float) -> str:
    """A share in whole percent, right-aligned.

    >>> percent(0.071)
    '  7%'
    """
    return f"{share:4.0%}"


def view(recording: Recording, *, ascii_only: bool = False) -> Group:
    """A recording for people: its name, a bar an emotion, what was said, and its segments if there are several."""
    title = Text.assemble((recording.source, "bold"), "  ", (clock(recording.duration_s), "dim"), overflow="fold")
    words = Text(recording.transcript, "italic", overflow="fold") if len(recording.segments) == 1 else Text()
    body = Table.grid(padding=(0, 2), expand=True)
    body.add_column(width=max(len(emotion) for emotion in recording.probabilities) + 6 + BAR_CELLS)
    body.add_column(ratio=1)
    body.add_row(_bars(recording.probabilities, ascii_only), words)
    parts: list[RenderableType] = [title, Padding(body, (0, 0, 0, 2))]
    if len(recording.segments) > 1:
        parts.append(Padding(_segments(recording.segments, ascii_only), (0, 0, 0, 2)))
    return Group(*parts)


def _bars(probabilities: dict[str, float], ascii_only: bool) -> Table:
    """The most probable emotion first."""
    grid = Table.grid(padding=(0, 1))
    for place, (emotion, share) in enumerate(sorted(probabilities.items(), key=lambda item: -item[1])):
        style = "bold green" if place == 0 else "dim"
        grid.add_row(Text(emotion, style), Text(percent(share), style), Text(bar(share, ascii_only=ascii_only), style))
    return grid


def _segments(segments: Sequence[Segment], ascii_only: bool) -> Table:
    dash = "-" if ascii_only else "–"
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for each in segments:
        times = Text(f"{clock(each.start_s)}{dash}{clock(each.end_s)}", "dim")
        feeling = Text(f"{each.emotion} {percent(each.probabilities[each.emotion]).strip()}", "green")
        grid.add_row(times, feeling, Text(each.transcript, "italic", overflow="fold"))
    return grid


def write_table(recordings: Iterable[Recording], _: Sequence[str]) -> None:
    """The view of each as soon as it is there."""
    out = console()
    for recording in recordings:
        out.print(view(recording, ascii_only=out.options.ascii_only))


def write_json(recordings: Iterable[Recording], _: Sequence[str]) -> None:
    """One array, whether of one recording or many."""
    print_json([recording.as_dict() for recording in recordings])


def write_jsonl(recordings: Iterable[Recording], _: Sequence[str]) -> None:
    """A line a recording as soon as it is there."""
    for recording in recordings:
        typer.echo(json.dumps(recording.as_dict()))


def write_csv(recordings: Iterable[Recording], emotions: Sequence[str]) -> None:
    """A row a segment; a column of probabilities an emotion."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "start_s", "end_s", "emotion", *emotions, "transcript"])
    for recording in recordings:
        values = recording.as_dict()
        for each in values["segments"]:
            shares = [each["probabilities"][emotion] for emotion in emotions]
            table.writerow(
                [values["file"], each["start_s"], each["end_s"], each["emotion"], *shares, each["transcript"]]
            )
        sys.stdout.flush()


WRITERS: dict[str, Callable[[Iterable[Recording], Sequence[str]], None]] = {
    "table": write_table,
    "json": write_json,
    "jsonl": write_jsonl,
    "csv": write_csv,
}
"""Format -> what prints recordings in it, given them and the model's emotions."""
