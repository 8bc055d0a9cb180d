"""The shell: each verb parses, calls one function of the library and prints.

Nothing heavy is imported before a verb needs it, so that help and completion answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from typer import Option

from affetto.cli import asr, corpus, evaluate, experiment, explain, listen, probe, recognise, serve, train
from affetto.cli.terminal import complain, extras
from affetto.errors import AffettoError

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Threads that have nothing to do sleep, unless the user decided otherwise: on busy cores those that spin keep the ones
that they wait for from working. OpenMP reads this when torch is loaded."""

app = typer.Typer(
    name="affetto",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("recognise", no_args_is_help=True)(recognise.recognise)
app.command("recognize", no_args_is_help=True, hidden=True)(recognise.recognise)
app.command("evaluate", no_args_is_help=True)(evaluate.evaluate)
app.command("explain", no_args_is_help=True)(explain.explain)
app.command("listen")(listen.listen)
app.command("serve", context_settings={"auto_envvar_prefix": "AFFETTO"})(serve.serve)
app.command("train", no_args_is_help=True)(train.train)
app.command("report", no_args_is_help=True)(experiment.report)
app.add_typer(asr.app, name="asr")
app.add_typer(corpus.app, name="corpus")
app.add_typer(experiment.app, name="experiment", no_args_is_help=True)
app.add_typer(train.models, name="model")
app.add_typer(probe.app, name="probe")


def _show_version(asked: bool) -> None:
    if asked:
        from affetto import __version__

        typer.echo(f"affetto {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Recognise the emotion in speech, and what is said.

    [bold]Try it:[/] [cyan]affetto recognise call.wav[/]
    """


def main(arguments: list[str] | None = None) -> None:
    """The entry point of the command ``affetto``, with the process's arguments or others; it ends the process.

    Exit codes: 0 all went well; 1 some inputs failed; 2 wrong usage, or nothing could start; 130 interrupted.
    """
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file's name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        with extras():
            app(arguments, prog_name="affetto")
    except AffettoError as error:
        complain(error)
        sys.exit(2)
    except OSError as error:  # an output folder that cannot be written to, a full disk
        complain(AffettoError(error.strerror or str(error), "check the path and its permissions", error.filename))
        sys.exit(2)
