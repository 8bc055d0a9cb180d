"""What several verbs are given: options, and recordings, found and complained about where they fail."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from typer import Argument, Option

from affetto.cli.terminal import ProgressBar, complain, counted, note
from affetto.errors import AffettoError, AudioError

if TYPE_CHECKING:
    from affetto.streaming import Failure, Source

R = TypeVar("R")

Paths = Annotated[
    list[str], Argument(metavar="PATH", help="Sound files, folders of them, or [cyan]-[/] for standard input.")
]
Model = Annotated[str, Option(help="An embedded model, a model's folder, or a name on the Hugging Face hub.")]
Sure = Annotated[
    float, Option(min=0.0, max=1.0, help="The probability from which an emotion is stated; below: not sure.")
]
Language = Annotated[
    str | None,
    Option(
        metavar="CODE",
        help="What is spoken, as de, where the model knows several languages; auto lets it find out.",
        show_default="en",
    ),
]
Device = Annotated[str, Option(help="auto, cpu, cuda, cuda:N or mps.")]

Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Option(
        envvar="AFFETTO_PRECISION",
        help="How exactly to compute: [cyan]bfloat16[/] differs by a hundredth and is faster on processors that "
        "multiply it (AMX, AVX-512 BF16), where [cyan]auto[/] takes it.",
    ),
]


def _use_threads(count: int | None) -> int | None:
    if count is not None:
        import torch

        torch.set_num_threads(count)
    return count


_threads = partial(Option, min=1, help="Processor threads to compute with.", show_default="as many as cores")
ThreadCount = Annotated[int | None, _threads()]
Threads = Annotated[int | None, _threads(callback=_use_threads)]
"""It takes effect where it is parsed: commands have nothing to do with it."""
Recipe = Annotated[Path, Argument(metavar="RECIPE.toml", help="What to train on and how.")]
Data = Annotated[
    Path, Option(envvar="AFFETTO_DATA", help="The folder that the recipe's corpora lie in.", show_default=False)
]
Output = Annotated[Path | None, Option(help="The run's folder.", show_default="runs/RECIPE")]
TableOrJson = Annotated[Literal["table", "json"], Option("--format", help="How to print the result.")]


def run_folder(output: Path | None, recipe: Path) -> Path:
    """Where a run goes."""
    return output or Path("runs") / recipe.stem


def names_in(listed: str) -> tuple[str, ...]:
    """Names with commas between.

    >>> names_in("anger, sadness"), names_in("")
    (('anger', 'sadness'), ())
    """
    return tuple(name.strip() for name in listed.split(",") if name.strip())


def standard_input(remedy: str) -> IO[bytes]:
    """What is piped in; raises AudioError where nothing is."""
    if sys.stdin is None:
        raise AudioError("standard input is closed", remedy, "-")
    if sys.stdin.isatty():
        raise AudioError("nothing is piped in", remedy, "-")
    return sys.stdin.buffer


class Inputs:
    """The recordings to be read, of files, folders and "-", and what failed; the bar makes way for results."""

    def __init__(self, arguments: Iterable[str], bar: ProgressBar) -> None:
        self.bar = bar
        self.errors: list[AffettoError] = []
        self.left_out: Counter[str] = Counter()  # what is in folders and is no recording, by kind
        self.sources: list[Source] = []
        self.names: list[PurePath] = []  # relative to the folder that was given, or to that of the file
        self._total_s: float | None = None
        for argument in arguments:
            try:
                self._add(argument)
            except AffettoError as error:
                self.errors.append(error)

    def _add(self, argument: str) -> None:
        path = Path(argument)
        if argument == "-":
            self.sources.append(standard_input("give a file, or pipe one: affetto recognise - < call.wav"))
            self.names.append(PurePath("standard-input"))
        elif path.is_dir():
            from affetto.streaming import sound_files

            found = sound_files(path)
            self.sources += found.files
            self.names += [each.relative_to(path) for each in found.files]
            self.left_out += found.left_out
            self.errors += found.unreadable
        else:
            self.sources.append(path)
            self.names.append(PurePath(path.name))

    def progress(self, done_s: float) -> None:
        """To be called with the seconds of sound read so far."""
        if self._total_s is None:
            self._total_s = sum(map(promised_s, self.sources)) if self.bar.wanted else 0.0
        self.bar(done_s, max(self._total_s, done_s))

    def successes(self, results: Iterable[R | Failure]) -> Iterator[R]:
        """Hands on what was recognised, and keeps what went wrong for the end."""
        from affetto.streaming import Failure

        for result in results:
            self.bar.hide()
            if isinstance(result, Failure):
                self.errors.append(result.error)
            else:
                yield result

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


def promised_s(source: Source) -> float:
    """How long a file is by its header, for the time left; what cannot be read is complained of when its turn comes."""
    from affetto import audio

    try:
        if isinstance(source, Path) and source.suffix.lower() not in audio.PROGRAM_SUFFIXES:
            return audio.info(source).duration_s or 0.0
    except AudioError:
        pass
    return 0.0
