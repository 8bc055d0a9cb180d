"""What several verbs are given: recordings, found and complained about where they fail, models, recipes and data."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from affetto.cli.terminal import ProgressBar, complain
from affetto.errors import AffettoError, AudioError

if TYPE_CHECKING:
    from affetto.streaming import Failure, Source

R = TypeVar("R")

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH", help="Sound files, folders of them, or [cyan]-[/] for standard input."),
]
Model = Annotated[str, typer.Option(help="An embedded model's name, or another model's folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to train on and how.")]
Data = Annotated[
    Path, typer.Option(envvar="AFFETTO_DATA", help="The folder that the recipe's corpora lie in.", show_default=False)
]
Layout = Annotated[str | None, typer.Option(help="The layout's name; without it, the folder tells.")]
Output = Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/RECIPE")]


class Inputs:
    """What is to be heard, and how many of it failed.

    Args:
        arguments: files, folders or "-".
        bar: shows how far it is, and makes way for results.
    """

    def __init__(self, arguments: Iterable[str], bar: ProgressBar) -> None:
        self.bar = bar
        self.failed = 0
        self.sources: list[Source] = []
        for argument in arguments:
            try:
                self.sources += _find(argument)
            except AffettoError as error:
                self._fail(error)
        self._total_s = _total_s(self.sources) if bar.wanted else 0.0

    def progress(self, heard_s: float) -> None:
        """To be called with the seconds of sound heard so far."""
        self.bar(heard_s, max(self._total_s, heard_s))

    def successes(self, results: Iterable[R | Failure]) -> Iterator[R]:
        """Hands on what was heard, and complains of the rest."""
        from affetto.streaming import Failure

        for result in results:
            self.bar.hide()
            if isinstance(result, Failure):
                self._fail(result.error)
            else:
                yield result

    def end(self) -> None:
        """Exit code 1, if anything failed."""
        if self.failed:
            raise typer.Exit(1)

    def _fail(self, error: AffettoError) -> None:
        self.failed += 1
        complain(error)


def _find(argument: str) -> list[Source]:
    from affetto.streaming import sound_files

    if argument == "-":
        if sys.stdin.isatty():
            raise AudioError("nothing is piped in", "give a file, or pipe one: affetto recognise - < call.wav", "-")
        return [sys.stdin.buffer]
    path = Path(argument)
    return [*sound_files(path)] if path.is_dir() else [path]


def _total_s(sources: Iterable[Source]) -> float:
    """What the headers promise, for the time left; files that cannot be read count nothing here."""
    from affetto import audio

    total_s = 0.0
    for source in sources:
        try:
            total_s += audio.info(source).duration_s if isinstance(source, Path) else 0.0
        except AudioError:
            continue  # it is complained of when its turn comes
    return total_s
