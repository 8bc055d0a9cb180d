"""Lets a training reuse its memory instead of asking the kernel for it again and again."""

from __future__ import annotations

import ctypes
import sys

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
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [bool(mallopt(parameter, _LARGEST_INT)) for parameter in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)]
    return all(done)
