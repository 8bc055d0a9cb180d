"""``affetto report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affetto.cli.terminal import ProgressBar


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder; the run need not be finished.")],
    output: Annotated[
        Path | None, typer.Option(help="The folder for the page and its figures.", show_default="RUN/report")
    ] = None,
    row: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROW",
            help="Look into this row; may be repeated. Without it, into the best baseline, MP, RNN, progressive and "
            "classical row.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The row that the others are tested against; without it, the baseline that is best on validation "
            "speakers."
        ),
    ] = None,
) -> None:
    r"""Show what a run found, as a page with figures: one HTML file that needs no network, to read, send or print.

    Scores and which differences are more than chance, what is taken for what, speakers, learning curves, calibration,
    the surest mistakes. Every figure also lies beside the page as PNG and SVG. Needs
    [cyan]pip install "affetto\[report]"[/].

    [bold]Example[/]
    [cyan]affetto report runs/crema-d[/]
    [cyan]affetto report runs/crema-d --row "Fine-tuning MP-3" --row "Progressive net-3" --output page[/]
    """
    from affetto.report import write_report

    with ProgressBar("reporting") as bar:
        written = write_report(run, output, baseline=baseline, rows=row or (), progress=bar)
    for name, what in written.missing.items():
        typer.echo(f"{name}: {what}", err=True)
    typer.echo(str(written.page))
