"""What every verb does with the terminal: results to standard output, complaints and progress to standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from affetto.errors import AffettoError, MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

QUIET_S = 2.0
"""Work that is done sooner shows no progress."""


class TableOrJson(StrEnum):
    """How a summary is printed."""

    TABLE = "table"
    JSON = "json"


def console() -> Console:
    """Standard output; colours only where it is a terminal."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def complain(error: AffettoError) -> None:
    """One line on standard error."""
    typer.echo("affetto: " + " ".join(str(error).split()), err=True)


def note(text: str) -> None:
    """A line on standard error that is no complaint."""
    typer.echo(f"affetto: {text}", err=True)


def print_json(value: Any) -> None:
    """Indented JSON on standard output."""
    typer.echo(json.dumps(value, indent=2))


def print_facts(facts: dict[str, str]) -> None:
    """Names and values in two columns."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, value)
    console().print(table)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> None:
    """A table on standard output.

    Args:
        header: a heading a column.
        rows: as many cells each.
        texts: columns of words, from the left; the rest are numbers.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(header):
        number = place >= texts
        table.add_column(heading, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def counted(counts: Mapping[str, int]) -> str:
    """Counts in one line.

    >>> counted({"train": 1200, "test": 7})
    'train 1,200, test 7'
    """
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


@contextmanager
def extra(name: str, *modules: str) -> Iterator[None]:
    """Says which optional dependency is missing, should an import in this context fail for it.

    Raises:
        MissingExtraError: one of the modules is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in modules:
            raise
        raise MissingExtraError(f"{missing} is not installed", f'pip install "affetto[{name}]"') from error


class ProgressBar:
    """A bar with the time left, on a terminal and after two seconds; call it with what is done and how much there is.

    Args:
        description: what is going on.
        unit: what is counted ("files"), to show how many a second; None shows no rate.
        over_s: the time left is estimated from what was done in so many seconds.
    """

    def __init__(self, description: str, unit: str | None = None, over_s: float = 30.0) -> None:
        self.description = description
        self.unit = unit
        self.over_s = over_s
        self.wanted = sys.stderr.isatty()
        self._since = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: float, total: float, description: str | None = None) -> None:
        """Shows how far it has come, and with what, where that changes."""
        if not self.wanted or time.monotonic() - self._since < QUIET_S:
            return
        if self._bar is None:
            self._bar = _progress(self.unit, self.over_s)
            self._task = self._bar.add_task(self.description, total=total)
        assert self._task is not None
        if description not in {None, self.description}:
            self.description = description or ""
            self._bar.reset(self._task, description=self.description, total=total)
        self._bar.start()
        self._bar.update(self._task, completed=done, total=total)

    def hide(self) -> None:
        """Clears the line, for results to be printed there; the next call brings it back."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()


def _progress(unit: str | None, over_s: float) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f} {unit}/s", style="progress.data.speed")

    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True)]
    columns += [] if unit is None else [Rate()]
    errors = Console(stderr=True)
    # Redirecting would send the results, too, to standard error.
    return Progress(
        *columns,
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=over_s,
    )
