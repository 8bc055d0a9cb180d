"""``affetto experiment``: rows of a table, compared on folds of speakers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affetto.cli.arguments import Data, Output, Recipe, Threads
from affetto.cli.experiment_recognisers import recognisers
from affetto.cli.experiment_table import table
from affetto.cli.terminal import ProgressBar, TableOrJson, print_json, print_table

if TYPE_CHECKING:
    from affetto.experiment import Event, ExperimentRun, Read


_LONG_S = 86_400.0
"""The time left is estimated from all that was done: one training may take an hour."""


class EngineKind(StrEnum):
    """Where to compute."""

    LOCAL = "local"
    RAY = "ray"


app = typer.Typer(help="Compare models on folds of held-out speakers, and test the differences.")
app.command("table", no_args_is_help=True)(table)
app.command("recognisers", no_args_is_help=True)(recognisers)


@app.command(no_args_is_help=True)
def run(  # noqa: PLR0913, PLR0917
    recipe: Recipe,
    data: Data,
    output: Output = None,
    recogniser: Annotated[
        str | None,
        typer.Option(
            help="Whose layers are reused: an embedded model's name, or another model's folder.",
            show_default="the recipe's",
        ),
    ] = None,
    engine: Annotated[
        EngineKind,
        typer.Option(help="Processes of this machine, or a Ray cluster (the one of RAY_ADDRESS, else one here)."),
    ] = EngineKind.LOCAL,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="How much to compute at a time.", show_default="all cores")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where the recogniser runs and heads are trained: auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    threads: Threads = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ROW", help="Only this row; may be repeated.")] = None,
    format_: Annotated[TableOrJson, typer.Option("--format", help="How to print the scores.")] = TableOrJson.TABLE,
) -> None:
    r"""Train every row of a recipe on every fold, as often as it says, or go on where the same command was stopped.

    All that is needed is checked first. The run's folder keeps the recipe, the folds and every prediction;
    [cyan]affetto experiment table[/] reads it, at any time. Rows on openSMILE need
    [cyan]pip install "affetto\[classical]"[/], a cluster [cyan]"affetto\[ray]"[/].

    [bold]Example[/]
    [cyan]affetto experiment run recipes/crema-d-quick.toml --data ~/corpora[/]
    [cyan]affetto experiment table runs/crema-d-quick[/]
    """
    from affetto.experiment import Engine, run_experiment

    folder = output or Path("runs") / recipe.stem
    where = Engine(kind=engine.value, jobs=jobs, device=device)
    with Shown() as shown:
        try:
            done = run_experiment(
                recipe, data, folder, recogniser=recogniser, engine=where, only=only or (), progress=shown
            )
        except KeyboardInterrupt:
            shown.say("stopped; the same command goes on from here")
            raise
    if format_ is TableOrJson.JSON:
        print_json(_values(done))
    else:
        _show(done)


def _values(done: ExperimentRun) -> dict[str, object]:
    rows = [row._asdict() for row in done.rows]
    return {
        "version": 1,
        "folder": str(done.folder),
        "rows": rows,
        "skipped": dict(done.skipped),
        "unreadable": done.unreadable,
    }


def _show(done: ExperimentRun) -> None:
    finished = [(row.name, f"{row.uar:.1%}", f"{row.accuracy:.1%}", str(row.repeats)) for row in done.rows]
    print_table(
        ("row", "UAR", "accuracy", "repeats"), [*finished, *((name, "skipped", "", "") for name in done.skipped)]
    )
    for name, reason in done.skipped.items():
        typer.echo(f"{name} was skipped: {reason}")
    if done.unreadable:
        typer.echo(f"{done.unreadable:,} utterances were left out: their sound cannot be read")
    typer.echo(f"with intervals and tests: affetto experiment table {done.folder}")


class Shown:
    """Shows the progress of an experiment on standard error: a bar on a terminal, and a line for each row."""

    def __init__(self) -> None:
        self._representing = ProgressBar("representing")
        self._training = ProgressBar("training", over_s=_LONG_S)

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        from affetto.experiment import Computing, Read, Representing, RowDone, RowSkipped

        match event:
            case Read():
                self.say(_summary(event))
            case RowSkipped(row, reason):
                self.say(f"{row}: skipped, {reason}")
            case Representing(done, total):
                self._representing(done, total)
            case Computing(_, _, cost, total_cost):
                self._representing.hide()
                self._training(cost, total_cost)
            case RowDone(row, uar):
                self.say(f"{row}: UAR {uar:.1%}")

    def say(self, line: str) -> None:
        """Prints a line in the place of the bar."""
        self._representing.hide()
        self._training.hide()
        typer.echo(line, err=True)

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._representing.hide()
        self._training.hide()


def _summary(event: Read) -> str:
    emotions = ", ".join(f"{name} {count:,}" for name, count in event.emotions.items())
    finished = f", {event.finished:,} of them finished before" if event.finished else ""
    return (
        f"{event.utterances:,} utterances of {event.speakers:,} speakers ({emotions}); "
        f"{event.folds} folds, {event.cells:,} trainings over all rows and repeats{finished}"
    )
