"""``affetto experiment`` and ``affetto report``: rows of a table, compared on folds of speakers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from affetto.cli.arguments import Data, Output, Recipe, TableOrJson, Threads, run_folder
from affetto.cli.terminal import ProgressBar, console, counted, print_json, print_sheets, print_table

if TYPE_CHECKING:
    from affetto.experiment.plan import Event, Read
    from affetto.experiment.run import ExperimentRun

app = typer.Typer(help=r"Compare models on folds of held-out speakers. Needs affetto\[train].")

Baseline = Annotated[
    str | None,
    Option(
        help="The row that the others are tested against; without it, the baseline that is best on validation speakers."
    ),
]

_WIDE = 130  # columns of a terminal on which the spread of every score fits
_LONG_S = 86_400.0  # the time left is estimated from all that was done: one training may take an hour


@app.command(no_args_is_help=True)
def run(  # noqa: PLR0913, PLR0917
    recipe: Recipe,
    data: Data,
    output: Output = None,
    recogniser: Annotated[
        str | None,
        Option(
            help="Whose layers are reused: an embedded model's name, or another model's folder.",
            show_default="the recipe's",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        Option(help="Processes of this machine, or a Ray cluster (the one of RAY_ADDRESS, else one here)."),
    ] = "local",
    jobs: Annotated[int | None, Option(min=1, help="How much to compute at a time.", show_default="all cores")] = None,
    device: Annotated[
        str, Option(help="Where the recogniser runs and heads are trained: auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    threads: Threads = None,
    only: Annotated[list[str] | None, Option(metavar="ROW", help="Only this row; may be repeated.")] = None,
    format_: TableOrJson = "table",
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

    folder = run_folder(output, recipe)
    where = Engine(kind=engine, jobs=jobs, device=device)
    with Shown() as shown:
        done = run_experiment(
            recipe, data, folder, recogniser=recogniser, engine=where, only=only or (), progress=shown
        )
    if format_ == "json":
        rows = [{"name": row.name, **row.scores, "repeats": row.repeats} for row in done.rows]
        counts = {"skipped": dict(done.skipped), "unreadable": done.unreadable}
        print_json({"version": 1, "folder": str(done.folder), "rows": rows, **counts})
    else:
        _show(done)


def _show(done: ExperimentRun) -> None:
    from affetto.report.table import score_label

    names = [name for name in done.rows[0].scores if name != "f1_macro"]
    finished = [(row.name, *(_shown(name, row.scores[name]) for name in names), str(row.repeats)) for row in done.rows]
    skipped = [(name, "skipped", *[""] * len(names)) for name in done.skipped]
    print_table(("row", *map(score_label, names), "repeats"), [*finished, *skipped])
    for name, reason in done.skipped.items():
        typer.echo(f"{name} was skipped: {reason}")
    if done.unreadable:
        typer.echo(f"{done.unreadable:,} utterances were left out: their sound cannot be read")
    typer.echo(f"with intervals and tests: affetto experiment table {done.folder}")


def _shown(name: str, score: float) -> str:
    """A share in percent, a concordance as papers give it."""
    return f"{score:.3f}" if name.startswith("ccc") else f"{score:.1%}"


class Shown:
    """Shows the progress of an experiment on standard error: a bar on a terminal, and a line for each row."""

    def __init__(self) -> None:
        self._representing = ProgressBar("representing")
        self._training = ProgressBar("training", over_s=_LONG_S)

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        from affetto.experiment.plan import Computing, Read, Representing, RowDone, RowSkipped
        from affetto.report.table import score_label

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
            case RowDone(row, scores):
                name, score = next(iter(scores.items()))
                self.say(f"{row}: {score_label(name)} {_shown(name, score)}")

    def say(self, line: str) -> None:
        """Prints a line in the place of the bar."""
        self._representing.hide()
        self._training.hide()
        typer.echo(line, err=True)

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._representing.hide()
        self._training.hide()
        if kind is KeyboardInterrupt:
            self.say("stopped; the same command goes on from here")


def _summary(event: Read) -> str:
    emotions = f" ({counted(event.emotions)})" if event.emotions else ""
    finished = f", {event.finished:,} of them finished before" if event.finished else ""
    return (
        f"{event.utterances:,} utterances of {event.speakers:,} speakers{emotions}; "
        f"{event.folds} folds, {event.cells:,} trainings over all rows and repeats{finished}"
    )


@app.command(no_args_is_help=True)
def table(
    run: Annotated[Path, Argument(help="The run folder; the run need not be finished.")],
    format_: Annotated[
        Literal["table", "markdown", "latex", "csv", "json"], Option("--format", help="How to print the table.")
    ] = "table",
    baseline: Baseline = None,
    sort: Annotated[bool, Option("--sort", help="Highest UAR first, not the recipe's order.")] = False,
) -> None:
    """Show what a run found: scores with spread and intervals, and which differences are more than chance.

    [bold]Example[/]
    [cyan]affetto experiment table runs/table1[/]
    [cyan]affetto experiment table runs/table1 --format latex > table1.tex[/]
    """
    from affetto.evaluate import RunFolder
    from affetto.report import build_table
    from affetto.report.render import sheets, to_csv, to_latex, to_markdown, to_values

    with ProgressBar("reading predictions") as bar:
        found = build_table(RunFolder(run), baseline, progress=bar)
    if sort:
        found = found.best_first()
    if format_ == "table":
        print_sheets(sheets(found, wide=console().width >= _WIDE), found.notes)
    elif format_ == "json":
        print_json(to_values(found))
    else:
        write = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}[format_]
        typer.echo(write(found), nl=False)


@app.command(no_args_is_help=True)
def recognisers(
    runs: Annotated[list[Path], Argument(metavar="RUN...", help="Run folders of one recipe, two or more.")],
    figure: Annotated[
        Path | None, Option(metavar="FOLDER", help="Also draw it there, as recognition.png and recognition.svg.")
    ] = None,
    format_: Annotated[
        Literal["table", "markdown", "json"], Option("--format", help="How to print the comparison.")
    ] = "table",
) -> None:
    r"""Show what better recognition does to emotion: one recipe's rows over recognisers of different CER.

    Each run reused another recogniser, such as epochs of one training, which keep_every = 1 in its recipe keeps. For
    the figure: [cyan]pip install "affetto\[report]"[/].

    [bold]Example[/]
    [cyan]for n in 01 06 18; do affetto experiment run recipes/recognition.toml --data ~/corpora
    --recogniser runs/asr-small-second/first/epochs/$n --output runs/recognition-$n; done[/]
    [cyan]affetto experiment recognisers runs/recognition-* --figure figures[/]
    """
    from affetto.report import recognition

    found = recognition.compare_recognisers(runs)
    if figure is not None:
        from affetto.drawing.figures import render, write_files

        write_files(figure, render(recognition.recognition_picture(found)).files())
    sheets, notes = recognition.recognition_sheets(found), recognition.recognition_notes(found)
    if format_ == "json":
        print_json(recognition.recognition_values(found))
    elif format_ == "markdown":
        from affetto.report.render import markdown_of

        typer.echo(markdown_of(sheets, notes), nl=False)
    else:
        print_sheets(sheets, notes)


def report(
    run: Annotated[Path, Argument(metavar="RUN", help="The run folder; the run need not be finished.")],
    output: Annotated[
        Path | None, Option(help="The folder for the page and its figures.", show_default="RUN/report")
    ] = None,
    row: Annotated[
        list[str] | None,
        Option(
            metavar="ROW",
            help="Look into this row; may be repeated. Without it, into the best baseline, MP, RNN, progressive and "
            "classical row.",
        ),
    ] = None,
    baseline: Baseline = None,
) -> None:
    r"""Show what a run found, as a page with figures: one HTML file that needs no network, to read, send or print.

    Scores and which differences are more than chance, what is taken for what, speakers, learning curves, calibration,
    the surest mistakes. Every figure also lies beside the page as PNG and SVG. Needs
    [cyan]pip install "affetto\[report,train]"[/].

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
