"""Memory that is free again: a training keeps it for its next step, recognition gives it back to the kernel."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of parameters in glibc's malloc.h
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Makes glibc keep the memory that this process frees, up to the process's end; says whether it took effect.

    By default glibc gives blocks of more than 32 MiB back to the kernel as soon as they are freed, and the end of the
    heap, too. Batches whose size changes from step to step free and take hundreds of such blocks a second, and the
    kernel has to fill each with zeros again, page by page: that can be the better part of a training step on a CPU
    (``benchmarks/gru.py``). MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ in the environment do the same, which is
    too late for a process that runs already. With another C library, nothing is lost but time.
    """
    mallopt = _from_libc("mallopt")
    return mallopt is not None and {mallopt(name, _LARGEST_INT) for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)} == {1}


def return_freed_memory() -> None:
    """Gives the memory that lies free between what is in use back to the kernel, where the C library is glibc.

    Batches of ever other sizes leave gaps that the next does not fit into: after eight minutes of unbroken speech they
    were a third of a process of 1 GB, which it would keep.
    """
    if (malloc_trim := _from_libc("malloc_trim")) is not None:
        malloc_trim(0)


def _from_libc(name: str) -> Any:
    """A function of the C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
