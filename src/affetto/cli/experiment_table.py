"""``affetto experiment table``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.terminal import ProgressBar, console, print_json

if TYPE_CHECKING:
    from affetto.report import Sheet, Table

WIDE = 130
"""Columns of a terminal on which the spread of every score fits."""


class TableFormat(StrEnum):
    """How a table of results is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


def table(
    run: Annotated[Path, typer.Argument(help="The run folder; the run need not be finished.")],
    format_: Annotated[TableFormat, typer.Option("--format", help="How to print the table.")] = TableFormat.TABLE,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The row that the others are tested against; without it, the baseline that is best on validation "
            "speakers."
        ),
    ] = None,
    sort: Annotated[bool, typer.Option("--sort", help="Highest UAR first, not the recipe's order.")] = False,
) -> None:
    """Show what a run found: scores with spread and intervals, and which differences are more than chance.

    [bold]Example[/]
    [cyan]affetto experiment table runs/table1[/]
    [cyan]affetto experiment table runs/table1 --format latex > table1.tex[/]
    """
    from affetto.evaluate import RunFolder
    from affetto.report import build_table, to_csv, to_latex, to_markdown, to_values

    with ProgressBar("reading predictions") as bar:
        found = build_table(RunFolder(run), baseline, progress=bar)
    if sort:
        found = found.best_first()
    match format_:
        case TableFormat.TABLE:
            _show(found)
        case TableFormat.JSON:
            print_json(to_values(found))
        case _:
            write = {TableFormat.MARKDOWN: to_markdown, TableFormat.LATEX: to_latex, TableFormat.CSV: to_csv}[format_]
            typer.echo(write(found), nl=False)


def _show(found: Table) -> None:
    from affetto.report import sheets

    show_sheets(sheets(found, wide=console().width >= WIDE), found.notes)


_NAME = 20
"""Letters of a row's name that are worth a line."""


def show_sheets(found: Iterable[Sheet], notes: Iterable[str]) -> None:
    """Prints sheets, and what one has to know to read them."""
    from rich.table import Table as Grid

    screen = console()
    for sheet in found:
        screen.print(f"{sheet.title}", style="bold")
        names, *columns = (max(map(len, cells)) for cells in zip(sheet.header, *sheet.rows, strict=True))
        narrow = min(names, _NAME) + sum(width + 2 for width in columns) > screen.width
        grid = Grid(box=None, padding=(0, 1 if narrow else 2, 0, 0), pad_edge=False, header_style="dim")
        for place, heading in enumerate(sheet.header):
            if place:  # on a narrow screen a word a line, so that the rows' names have room
                grid.add_column(heading.replace(" ", "\n") if narrow else heading, justify="right", no_wrap=True)
            else:
                grid.add_column(heading, overflow="fold")
        for row in sheet.rows:
            grid.add_row(*row)
        screen.print(grid)
        screen.print()
    listed = Grid.grid(padding=(0, 1, 0, 0))
    for note in notes:
        listed.add_row("-", note)
    screen.print(listed)
