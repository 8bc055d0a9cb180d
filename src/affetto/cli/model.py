"""``affetto model``: trainings into a model folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make a model folder out of trainings.", no_args_is_help=True)

Evaluations = Annotated[
    list[Path] | None,
    typer.Option(
        "--evaluation", help="What 'asr evaluate' or 'evaluate' prints with --format json; may be given several times."
    ),
]


class Stored(StrEnum):
    """How matrices are stored."""

    FLOAT16 = "float16"
    INT8 = "int8"


@app.command(no_args_is_help=True)
def pack(
    runs: Annotated[list[Path], typer.Argument(help="Folders of a recogniser's or an emotion head's training.")],
    into: Annotated[Path, typer.Option(help="The model folder; it is made if need be.")],
    precision: Annotated[Stored, typer.Option(help="How a recogniser's matrices are stored.")] = Stored.FLOAT16,
) -> None:
    """Put trained weights into a model folder and write its card.

    Pack the recogniser first: an emotion head is trained on the packed one.

    [bold]Example[/]
    [cyan]affetto model pack runs/asr-small --into models/mine[/]
    """
    from affetto.packing import pack_run, write_card

    for run in runs:
        pack_run(run, into, precision.value)
    typer.echo(write_card(into, []))


@app.command(no_args_is_help=True)
def card(
    folder: Annotated[Path, typer.Argument(help="A model folder.")],
    evaluations: Evaluations = None,
) -> None:
    """Write a model folder's card anew, with error rates that were measured.

    [bold]Example[/]
    [cyan]affetto model card models/mine --evaluation librispeech.json[/]
    """
    from affetto.packing import read_evaluation, write_card

    typer.echo(write_card(folder, [read_evaluation(path) for path in evaluations or []]))
