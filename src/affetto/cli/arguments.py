"""What several verbs are given: recordings, found and complained about where they fail, models, recipes and data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Annotated, TypeVar

import typer

from affetto.cli.terminal import ProgressBar, complain, counted, note
from affetto.errors import AffettoError, AudioError

if TYPE_CHECKING:
    from affetto.streaming import Failure, Source

R = TypeVar("R")

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH", help="Sound files, folders of them, or [cyan]-[/] for standard input."),
]
Model = Annotated[str, typer.Option(help="An embedded model, a model's folder, or a name on the Hugging Face hub.")]
Sure = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="The probability from which an emotion is stated; below: not sure.")
]
Smooth = Annotated[
    float, typer.Option(min=0.0, metavar="SECONDS", help="How far neighbouring segments count; 0: not at all.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


def _use_threads(count: int | None) -> int | None:
    if count is not None:
        import torch

        torch.set_num_threads(count)
    return count


Threads = Annotated[
    int | None,
    typer.Option(
        min=1, callback=_use_threads, help="Processor threads to compute with.", show_default="as many as cores"
    ),
]
"""It takes effect where it is parsed: commands have nothing to do with it."""
Recipe = Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to train on and how.")]
Data = Annotated[
    Path, typer.Option(envvar="AFFETTO_DATA", help="The folder that the recipe's corpora lie in.", show_default=False)
]
Layout = Annotated[str | None, typer.Option(help="The layout's name; without it, the folder decides.")]
Output = Annotated[Path | None, typer.Option(help="The run's folder.", show_default="runs/RECIPE")]


def standard_input(remedy: str) -> IO[bytes]:
    """What is piped in.

    Raises:
        AudioError: nothing is.
    """
    if sys.stdin is None:
        raise AudioError("standard input is closed", remedy, "-")
    if sys.stdin.isatty():
        raise AudioError("nothing is piped in", remedy, "-")
    return sys.stdin.buffer


class Inputs:
    """The recordings to be read, and how many of them failed.

    Args:
        arguments: files, folders or "-".
        bar: shows how far it is, and makes way for results.
    """

    def __init__(self, arguments: Iterable[str], bar: ProgressBar) -> None:
        self.bar = bar
        self.errors: list[AffettoError] = []
        self.left_out: Counter[str] = Counter()  # what is in folders and is no recording, by kind
        self.sources: list[Source] = []
        self.names: list[PurePath] = []  # relative to the folder that was given, or to that of the file
        for argument in arguments:
            try:
                found = self._find(argument)
            except AffettoError as error:
                self.errors.append(error)
            else:
                self.sources += found
                self.names += [_name(each, argument) for each in found]
        self._total_s: float | None = None

    def keep(self, wanted: Iterable[bool]) -> None:
        """Leaves out what is not wanted: one answer a source."""
        kept = [pair for pair, keep in zip(zip(self.sources, self.names, strict=True), wanted, strict=True) if keep]
        self.sources, self.names = [source for source, _ in kept], [name for _, name in kept]

    def progress(self, heard_s: float) -> None:
        """To be called with the seconds of sound read so far."""
        if self._total_s is None:
            self._total_s = _total_s(self.sources) if self.bar.wanted else 0.0
        self.bar(heard_s, max(self._total_s, heard_s))

    def successes(self, results: Iterable[R | Failure]) -> Iterator[R]:
        """Hands on what was recognised, and keeps what went wrong for the end."""
        from affetto.streaming import Failure

        for result in results:
            self.bar.hide()
            if isinstance(result, Failure):
                self.errors.append(result.error)
            else:
                yield result

    def _find(self, argument: str) -> list[Source]:
        from affetto.streaming import sound_files

        if argument == "-":
            return [standard_input("give a file, or pipe one: affetto recognise - < call.wav")]
        path = Path(argument)
        if not path.is_dir():
            return [path]
        found = sound_files(path)
        self.left_out += found.left_out
        self.errors += found.unreadable
        return [*found.files]

    def complain(self) -> None:
        """Says what was left out of folders, by kind, and what went wrong, a line each."""
        self.bar.hide()
        if self.left_out:
            note(f"left out, as no recordings: {counted(dict(sorted(self.left_out.items())))}")
        for error in self.errors:
            complain(error)

    def end(self) -> None:
        """Says what went wrong; exit code 1, if anything did."""
        self.complain()
        if self.errors:
            raise typer.Exit(1)


def _name(source: Source, argument: str) -> PurePath:
    if not isinstance(source, Path):
        return PurePath("standard-input")
    folder = Path(argument)
    return source.relative_to(folder) if folder.is_dir() else PurePath(source.name)


def _total_s(sources: Iterable[Source]) -> float:
    """What the headers promise, for the time left; files that cannot be read count nothing here."""
    from affetto import audio

    total_s = 0.0
    for source in sources:
        try:
            if isinstance(source, Path) and source.suffix.lower() not in audio.PROGRAM_SUFFIXES:
                total_s += audio.info(source).duration_s or 0.0
        except AudioError:
            continue  # it is complained of when its turn comes
    return total_s
