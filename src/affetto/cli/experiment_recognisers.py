"""``affetto experiment recognisers``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from affetto.cli.experiment_table import show_sheets
from affetto.cli.terminal import print_json


class RecogniserFormat(StrEnum):
    """How the comparison is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


def recognisers(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of one recipe, two or more.")],
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Also draw it there, as recognition.png and recognition.svg."),
    ] = None,
    format_: Annotated[
        RecogniserFormat, typer.Option("--format", help="How to print the comparison.")
    ] = RecogniserFormat.TABLE,
) -> None:
    r"""Show what better recognition does to emotion: one recipe's rows over recognisers of different CER.

    Each run reused another recogniser, such as epochs of one training, which keep_every = 1 in its recipe keeps. For
    the figure: [cyan]pip install "affetto\[report]"[/].

    [bold]Example[/]
    [cyan]for n in 01 06 18; do affetto experiment run recipes/recognition.toml --data ~/corpora
    --recogniser runs/asr-small-second/first/epochs/$n --output runs/recognition-$n; done[/]
    [cyan]affetto experiment recognisers runs/recognition-* --figure figures[/]
    """
    from affetto.report.recognition import (
        compare_recognisers,
        recognition_notes,
        recognition_picture,
        recognition_sheets,
        recognition_values,
    )

    found = compare_recognisers(runs)
    if figure is not None:
        from affetto.drawing.figures import render, write_files

        write_files(figure, render(recognition_picture(found)).files())
    sheets, notes = recognition_sheets(found), recognition_notes(found)
    match format_:
        case RecogniserFormat.TABLE:
            show_sheets(sheets, notes)
        case RecogniserFormat.MARKDOWN:
            from affetto.report.render import markdown_of

            typer.echo(markdown_of(sheets, notes), nl=False)
        case RecogniserFormat.JSON:
            print_json(recognition_values(found))
