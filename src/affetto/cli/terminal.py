"""What every verb does with the terminal: results to standard output, complaints and progress to standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from affetto.errors import AffettoError, MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from affetto.report.render import Sheet

QUIET_S = 2.0  # work that is done sooner shows no progress
_NAME = 20  # letters of a row's name that are worth a line
_EXTRAS = {
    "live": ("sounddevice",),
    "onnx": ("onnx", "onnxruntime"),
    "serve": ("fastapi", "h11", "prometheus_client", "python_multipart", "starlette", "uvicorn", "websockets"),
    "train": ("jiwer", "joblib", "lightning", "scipy", "sklearn", "tensorboard", "tomli_w"),
}


def console() -> Console:
    """Standard output; colours only where it is a terminal."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def complain(error: AffettoError) -> None:
    """One line on standard error."""
    note(" ".join(str(error).split()))


def note(text: str) -> None:
    """A line on standard error."""
    typer.echo(f"affetto: {text}", err=True)


def print_json(value: Any) -> None:
    """Indented JSON on standard output."""
    typer.echo(json.dumps(value, indent=2))


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values in two columns, those without a value left out."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(name, value)
    console().print(table)


def print_result(format_: str, values: Mapping[str, Any], facts: Mapping[str, str]) -> None:
    """A result for programs (json), or for people."""
    if format_ == "json":
        print_json({"version": 1, **values})
    else:
        print_facts(facts)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> None:
    """A table on standard output; so many columns from the left hold words, the others numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(header):
        number = place >= texts
        table.add_column(heading, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_sheets(sheets: Iterable[Sheet], notes: Iterable[str]) -> None:
    """Tables of scores, and what one has to know to read them."""
    from rich.table import Table

    screen = console()
    for sheet in sheets:
        screen.print(f"{sheet.title}", style="bold")
        names, *columns = (max(map(len, cells)) for cells in zip(sheet.header, *sheet.rows, strict=True))
        narrow = min(names, _NAME) + sum(width + 2 for width in columns) > screen.width
        grid = Table(box=None, padding=(0, 1 if narrow else 2, 0, 0), pad_edge=False, header_style="dim")
        grid.add_column(sheet.header[0], overflow="fold")
        for heading in sheet.header[1:]:  # on a narrow screen a word a line, so that the rows' names have room
            grid.add_column(heading.replace(" ", "\n") if narrow else heading, justify="right", no_wrap=True)
        for row in sheet.rows:
            grid.add_row(*row)
        screen.print(grid)
        screen.print()
    listed = Table.grid(padding=(0, 1, 0, 0))
    for each in notes:
        listed.add_row("-", each)
    screen.print(listed)


def counted(counts: Mapping[str, int]) -> str:
    """Counts in one line.

    >>> counted({"train": 1200, "test": 7})
    'train 1,200, test 7'
    """
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


@contextmanager
def extras() -> Iterator[None]:
    """Raises MissingExtraError should an import of what an extra brings fail."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "torch":
            remedy = "pip install torch, or recognise --model with a folder of affetto model export"
            raise MissingExtraError("torch is not installed", remedy) from error
        extra = next((extra for extra, modules in _EXTRAS.items() if missing in modules), None)
        if extra is None:
            raise
        raise MissingExtraError(f"{missing} is not installed", f'pip install "affetto[{extra}]"') from error


class ProgressBar:
    """A bar with the time left, on a terminal and after two seconds; call it with what is done and how much there is.

    The unit is what is counted ("files"), to show how many a second; the time left is estimated from what was done in
    ``over_s``. Where the same command ``resumes`` what Ctrl-C stopped, it says so then.
    """

    def __init__(
        self, description: str, unit: str | None = None, over_s: float = 30.0, *, resumes: bool = False
    ) -> None:
        self.description, self.unit, self.over_s, self.resumes = description, unit, over_s, resumes
        self.wanted = sys.stderr.isatty()
        self._since = time.monotonic()
        self._bar: Progress | None = None

    def __call__(self, done: float, total: float, description: str | None = None) -> None:
        """Shows how far it has come, and with what, where that changes."""
        if not self.wanted or time.monotonic() - self._since < QUIET_S:
            return
        if self._bar is None:
            self._bar = _progress(self.unit, self.over_s)
            self._bar.add_task(self.description, total=total)
        (task,) = self._bar.task_ids
        if description not in {None, self.description}:
            self.description = description or ""
            self._bar.reset(task, description=self.description, total=total)
        self._bar.start()
        self._bar.update(task, completed=done, total=total)

    def hide(self) -> None:
        """Clears the line, for results to be printed there; the next call brings it back."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.hide()
        if self.resumes and kind is KeyboardInterrupt:
            note("stopped; the same command goes on from here")


def _progress(unit: str | None, over_s: float) -> Progress:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        """How many a second."""

        def render(self, task: progress.Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f} {unit}/s", style="progress.data.speed")

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(show_speed=True),
        *([] if unit is None else [Rate()]),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # it would send the results, too, to standard error
        redirect_stderr=False,
        speed_estimate_period=over_s,
    )
