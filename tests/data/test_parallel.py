"""Work in threads: everything once, errors as they are, and an early end that is an end."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affetto.data.corpora.files import in_threads


@settings(max_examples=20)
@given(items=st.lists(st.integers(), max_size=200), jobs=st.integers(1, 4))
def test_everything_is_done_once(items: list[int], jobs: int) -> None:
    assert sorted(in_threads(lambda item: item * 2, items, jobs)) == sorted(item * 2 for item in items)


def test_works_on_several_at_a_time() -> None:
    both = threading.Barrier(2, timeout=120)  # broken, were there only one
    assert sum(1 for _ in in_threads(lambda _: both.wait(), range(2), jobs=2)) == 2


def test_errors_come_through() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda item: 1 // item, [1, 0, 1], jobs=2))


def test_stopped_early_it_drops_the_rest() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.01)
        return item

    results = in_threads(work, range(10_000), jobs=2)
    next(results)
    results.close()
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count < 300
