"""``affetto recognise``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from affetto.cli.arguments import Device, Inputs, Model, Paths
from affetto.cli.terminal import ProgressBar


class Format(StrEnum):
    """How recordings are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def recognise(
    paths: Paths,
    format_: Annotated[Format, typer.Option("--format", help="How to print the results.")] = Format.TABLE,
    model: Model = "small",
    device: Device = "auto",
) -> None:
    """Hear the emotion in recordings, how sure it is, when, and what was said.

    Recordings of any length, any number of them; folders are searched with the folders in them.
    Long recordings are cut at pauses into segments of at most 15 s.
    [bold]jsonl[/] prints a line a recording as soon as it is done, [bold]csv[/] a row a segment.

    [bold]Examples[/]
    [cyan]affetto recognise call.wav[/]
    [cyan]affetto recognise interviews/ --format csv > emotions.csv[/]
    [cyan]ffmpeg -i film.mkv -f wav - | affetto recognise -[/]

    Exit code 1 means that some inputs failed, each with a line on standard error.
    """
    from affetto.cli.recordings import WRITERS
    from affetto.recognise import Recogniser

    recogniser = Recogniser.from_pretrained(model, device)
    with ProgressBar("hearing") as bar:
        inputs = Inputs(paths, bar)
        results = recogniser.recognise_many(inputs.sources, inputs.progress)
        WRITERS[format_](inputs.successes(results), recogniser.emotions)
    inputs.end()
