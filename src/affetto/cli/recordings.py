"""Recordings and transcripts on standard output: a view for people, and the formats of programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from affetto.cli.terminal import console, print_json
from affetto.formats import FORMATS
from affetto.formats.tables import csv_rows, file_names, to_rttm
from affetto.recording import Recording, Segment, Word
from affetto.text import harmless
from affetto.timeline import NO_SPEECH, NOT_SURE, UNFAMILIAR, clock, strip

if TYPE_CHECKING:
    from affetto.transcribe import Transcript

_BAR_CELLS = 16
_TIMELINE_CELLS = 72  # at most; a narrow terminal has fewer
_INDENT = 2
_WIDE = 60  # columns of a terminal
_COLOURS = {"anger": "red", "happiness": "yellow", "neutral": "green", "sadness": "blue", "fear": "magenta"}
_MORE_COLOURS = ("cyan", "magenta", "bright_red", "bright_green", "bright_yellow", "bright_blue", "white")
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, *, ascii_only: bool = False) -> str:
    """A share as a bar of at most 16 cells, to an eighth of a cell.

    >>> bar(0.5), bar(0.1), bar(0.5, ascii_only=True)
    ('████████', '█▋', '########')
    """
    if ascii_only:
        return "#" * round(share * _BAR_CELLS)
    full, eighths = divmod(round(share * _BAR_CELLS * 8), 8)
    return ("█" * full + _EIGHTHS[eighths]).rstrip()


def view(recording: Recording, *, width: int = 80, ascii_only: bool = False) -> Group:
    """A recording for people: its name, a bar an emotion, and what was said; of several segments, when.

    Of words alone there are no bars and no timeline.
    """
    title = _title(recording.source, recording.duration_s)
    several = len(recording.segments) > 1 or len(recording.voices) > 1
    if not recording.segments:
        why = ", and no sound at all: check the microphone or the export" if recording.silent else ""
        return Group(title, _indented(Text.assemble((NO_SPEECH, "bold"), why)))
    if not recording.sure:
        title.append(f"  {recording.statement}", "bold")
    words = Text() if several else Text(recording.transcript, "italic", overflow="fold")
    if not recording.probabilities:
        alone: RenderableType = _segments(recording, width, ascii_only) if several else words
        return Group(title, _indented(alone))
    body = Table.grid(padding=(0, 2), expand=True)
    body.add_column(width=max(len(emotion) for emotion in recording.probabilities) + 6 + _BAR_CELLS)
    body.add_column(ratio=1)
    body.add_row(_bars(recording, ascii_only), words)
    if recording.dimensions:
        body.add_row(Text(_values(recording.dimensions), "dim"), "")
    parts: list[RenderableType] = [title, _indented(body)]
    if several:
        cells = max(1, min(_TIMELINE_CELLS, width - _INDENT))
        for name, part in (recording.voices or {"": recording}).items():
            if name:
                parts.append(_indented(Text.assemble((f"{name}  ", "dim"), (part.statement, "bold"))))
            parts.append(_indented(_timeline(part, cells)))
        parts.append(_indented(_segments(recording, width, ascii_only)))
    return Group(*parts)


def _title(source: str, duration_s: float) -> Text:
    return Text.assemble((source, "bold"), "  ", (clock(duration_s), "dim"), overflow="fold")


def _indented(shown: RenderableType) -> Padding:
    return Padding(shown, (0, 0, 0, _INDENT))


def line(segment: Segment, *, width: int = 80, ascii_only: bool = False) -> RenderableType:
    """A segment: when, which emotion, how sure, and the words, beside that or, on a narrow terminal, below."""
    cells = _cells(segment, _colours(segment.probabilities), ascii_only)
    if width < _WIDE:
        return _stacked(cells)
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True, min_width=15)
    grid.add_column(no_wrap=True, min_width=len(f"{UNFAMILIAR} 99%"))  # the words stay where they are
    grid.add_column(ratio=1)
    grid.add_row(*cells)
    return grid


def _stacked(cells: Sequence[Text]) -> Group:
    *beside, words = cells
    return Group(Text("  ").join(beside), _indented(words))


def _bars(recording: Recording, ascii_only: bool) -> Table:
    """The most probable emotion first."""
    grid = Table.grid(padding=(0, 1))
    colours = _colours(recording.probabilities)
    for place, (emotion, share) in enumerate(sorted(recording.probabilities.items(), key=lambda item: -item[1])):
        style = f"bold {colours[emotion]}" if place == 0 else "dim"
        grid.add_row(Text(emotion, style), Text(f"{share:4.0%}", style), Text(bar(share, ascii_only=ascii_only), style))
    return grid


def _timeline(recording: Recording, cells: int) -> Group:
    """A letter for each part of the recording, coloured, and what it stands for with its share of the speech."""
    moments = [each.moment for each in recording.segments]
    colours, letters = _colours(recording.probabilities), _letters(recording.probabilities)
    picture = Text()
    for place in strip(moments, recording.duration_s, cells):
        if place is None:
            picture.append(".", "dim")
        elif not recording.segments[place].sure:
            picture.append("?", "black on bright_black")
        else:
            emotion = recording.segments[place].statement
            picture.append(letters[emotion], f"black on {colours[emotion]}")
    end = clock(recording.duration_s)
    axis = Text(f"{clock(0)}{end:>{max(0, cells - len(clock(0)))}}", "dim")
    parts = [(f"{letters[emotion]} {emotion}", share, colours[emotion]) for emotion, share in recording.shares.items()]
    parts.append((f"? {NOT_SURE}", recording.unsure_share, "bright_black"))
    legend = Text("  ").join(
        Text.assemble((name, colour), f" {share:.0%}") for name, share, colour in parts if share > 0
    )
    return Group(picture, axis, Text.assemble((f"of {clock(recording.speech_s)} of speech: ", "dim"), legend))


def _segments(recording: Recording, width: int, ascii_only: bool) -> RenderableType:
    colours = _colours(recording.probabilities)
    rows = [_cells(each, colours, ascii_only) for each in recording.segments]
    if width < _WIDE:
        return Group(*map(_stacked, rows))
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True, justify="right")
    if recording.probabilities:
        grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for row in rows:
        grid.add_row(*row)
    return grid


def _cells(segment: Segment, colours: dict[str, str], ascii_only: bool) -> list[Text]:
    times = _times(segment, ascii_only)
    if segment.voice:
        times = Text.assemble(f"{segment.speaker or segment.channel}  ", times)
    words = Text(segment.transcript, "italic", overflow="fold")
    if segment.emotion is None:
        return [times, words]
    stated = Text(
        f"{segment.statement} {segment.probability:.0%}", colours[segment.emotion] if segment.sure else "bright_black"
    )
    if segment.dimensions:
        stated.append(f"  {_values(segment.dimensions)}", "dim")
    return [times, stated, words]


def _values(dimensions: Mapping[str, float | None]) -> str:
    """Dimensions to three digits.

    >>> _values({"valence": 2.4567, "intensity": 54.321})
    'valence 2.46  intensity 54.3'
    """
    return "  ".join(f"{name} {value:.3g}" for name, value in dimensions.items() if value is not None)


def _times(spoken: Segment | Word, ascii_only: bool) -> Text:
    return Text(f"{clock(spoken.start_s)}{'-' if ascii_only else '–'}{clock(spoken.end_s)}", "dim")


def _colours(emotions: Iterable[str]) -> dict[str, str]:
    """A colour for each emotion: the usual one, or one that is left."""
    names = list(emotions)
    more = cycle(colour for colour in _MORE_COLOURS if colour not in {_COLOURS.get(name) for name in names})
    return {name: _COLOURS[name] if name in _COLOURS else next(more) for name in names}


def _letters(emotions: Iterable[str]) -> dict[str, str]:
    """A letter for each emotion, the first of its own that no other has.

    >>> _letters(["sadness", "surprise"])
    {'sadness': 'S', 'surprise': 'U'}
    """
    letters: dict[str, str] = {}
    for emotion in emotions:
        own = [letter for letter in emotion.upper() if letter.isalnum()]
        letters[emotion] = next((letter for letter in own if letter not in letters.values()), "*")
    return letters


def show_table(recordings: Iterable[Recording]) -> None:
    """The view of each as soon as it is there."""
    out = console()
    for recording in recordings:
        out.print(view(recording, width=out.width, ascii_only=out.options.ascii_only))


def print_recordings(format_: str, recordings: Iterable[Recording], sources: Sequence[str], header: str) -> None:
    """Prints recordings in one of `FORMATS`, each as soon as it is there; JSON is one array, whether of one or many.

    The sources are the names of all that may come, the header that of their table (see `csv_header`).
    """
    if format_ == "json":
        print_json([recording.as_dict() for recording in recordings])
        return
    if format_ == "csv":
        typer.echo(header, nl=False)
    names = file_names(sources) if format_ == "rttm" else {}
    write = csv_rows if format_ == "csv" else FORMATS[format_].write
    for recording in recordings:
        typer.echo(to_rttm(recording, names[recording.source]) if names else write(recording), nl=False)


def print_transcripts(format_: str, transcripts: Iterable[Transcript], *, several: bool) -> None:
    """Prints transcripts, each as soon as it is there: lines (``text``), words with times, JSON, JSON lines or CSV."""
    if format_ == "json":
        print_json([each.as_dict() for each in transcripts])
        return
    out = console()
    table = csv.writer(sys.stdout, lineterminator="\n")
    if format_ == "csv":
        table.writerow(["file", "start_s", "end_s", "word", "confidence"])
    for each in transcripts:
        if format_ == "text":
            typer.echo(f"{each.source}\t{each.text}" if several else each.text)
        elif format_ == "table":
            out.print(_title(each.source, each.duration_s))
            out.print(_indented(_words(each, out.options.ascii_only)))
        elif format_ == "jsonl":
            typer.echo(json.dumps(each.as_dict()))
        else:
            for word in each.as_dict()["words"]:
                cells = [each.source, word["start_s"], word["end_s"], word["text"], word["confidence"]]
                table.writerow(harmless(cells))
            sys.stdout.flush()


def _words(transcript: Transcript, ascii_only: bool) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for word in transcript.words:
        confidence = Text(f"{word.confidence:4.0%}", "green")
        grid.add_row(_times(word, ascii_only), confidence, Text(word.text, "italic"))
    return grid
