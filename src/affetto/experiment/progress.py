"""The events of an experiment, handed to its progress callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Read(NamedTuple):
    """The data is read, and everything is checked.

    Attributes:
        utterances: how many count.
        speakers: of how many.
        emotions: class -> utterances.
        folds: how many.
        cells: folds x repeats of all rows asked for.
        finished: those that an earlier run did.
    """

    utterances: int
    speakers: int
    emotions: Mapping[str, int]
    folds: int
    cells: int
    finished: int


class RowSkipped(NamedTuple):
    """A row that cannot be computed here, and why."""

    row: str
    reason: str


class Representing(NamedTuple):
    """How far the representations are; recordings over all extractors."""

    done: int
    total: int


class Computing(NamedTuple):
    """How far the grid is.

    Attributes:
        done: cells, with those that an earlier run did.
        total: cells.
        cost: of what is done now, by a rough guess, in seconds; some cells take a thousand times as long as others.
        total_cost: of all that was to be done.
    """

    done: int
    total: int
    cost: float
    total_cost: float


class RowDone(NamedTuple):
    """A row's last cell is finished.

    Attributes:
        row: its name.
        uar: unweighted average recall over all test utterances, the mean of the repeats.
    """

    row: str
    uar: float


Event = Read | RowSkipped | Representing | Computing | RowDone
OnEvent = Callable[[Event], None]
