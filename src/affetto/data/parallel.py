"""Many files worked on at a time, in threads: decoders and compressors work outside the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called as long work goes on, with how much is done, how much there is, and what is being done."""

_WAITING = 64
"""How much is handed out for each thread: enough to keep it busy, and little enough to forget when stopped."""


def silent(done: int, total: int, what: str) -> None:
    """Shows no progress."""
    del done, total, what


def in_threads(work: Callable[[Item], Result], items: Iterable[Item], jobs: int | None = None) -> Iterator[Result]:
    """Does the same work on many items at a time, and gives the results in the order in which they are ready.

    Stopped early (by Ctrl-C, by an error), it lets what has begun come to its end and drops the rest. Items are read
    only as fast as they are worked on; ``jobs`` are as many at a time, None as suits the machine.

    >>> sorted(in_threads(abs, [-2, 1, -3], jobs=2))
    [1, 2, 3]
    """
    pool = ThreadPoolExecutor(jobs)
    most = _WAITING * pool._max_workers
    waiting: set[Future[Result]] = set()
    try:
        for item in items:
            waiting.add(pool.submit(work, item))
            if len(waiting) >= most:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done)
    finally:
        pool.shutdown(cancel_futures=True)
