"""What an experiment tells of itself while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        left_s: seconds; None before anything was measured.
    """

    done: int
    total: int
    left_s: float | None


class RowDone(NamedTuple):
    """A row's last cell is finished.

    Attributes:
        row: its name.
        uar: unweighted average recall over all test utterances, the mean of the repeats.
    """

    row: str
    uar: float


Event = Read | RowSkipped | Representing | Computing | RowDone
Tell = Callable[[Event], None]


class Work(NamedTuple):
    """Something to be done, as the clock sees it.

    Attributes:
        row: of the table.
        cells: how many.
        cost: a rough guess, in seconds.
    """

    row: str
    cells: int
    cost: float


class Clock:
    """Estimates how long the rest takes: from the row's own pace where it is known, else from that of the others.

    Args:
        work: what is to be done.
        jobs: how much of it at a time.

    >>> clock = Clock([Work("a", 1, 2.0), Work("a", 1, 2.0), Work("b", 1, 10.0)], jobs=1)
    >>> clock.left_s() is None
    True
    >>> clock.done(Work("a", 1, 2.0), 4.0)
    >>> clock.left_s()  # one more of a, and b, which takes twice what was guessed, too
    24.0
    """

    def __init__(self, work: Sequence[Work], jobs: int) -> None:
        self.jobs = jobs
        self._left: dict[str, float] = {}
        self._guessed: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        for each in work:
            self._left[each.row] = self._left.get(each.row, 0.0) + each.cost

    def done(self, work: Work, seconds: float) -> None:
        """Notes how long something took."""
        self._left[work.row] -= work.cost
        self._guessed[work.row] = self._guessed.get(work.row, 0.0) + work.cost
        self._measured[work.row] = self._measured.get(work.row, 0.0) + seconds

    def left_s(self) -> float | None:
        """Seconds until all is done; None before anything was."""
        if not self._guessed:
            return None
        pace = sum(self._measured.values()) / sum(self._guessed.values())
        paces = {row: self._measured[row] / self._guessed[row] for row in self._guessed}
        return sum(max(left, 0.0) * paces.get(row, pace) for row, left in self._left.items()) / self.jobs
