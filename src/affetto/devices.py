"""Where to compute and how exactly: a device and a precision chosen by name, checked before any work is done."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cache
from threading import Lock
from typing import Literal

import torch

from affetto.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16"]  # How exactly an encoder's large products are computed


@cache
def survive_forks() -> None:
    """Lets processes that are forked from this one compute as well, each on one thread.

    A fork takes none of OpenMP's threads along: a process that has computed with several has children that would wait
    for them for ever.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=one_thread.stay)


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name: "auto", "cpu", "cuda", "cuda:N" or "mps"; auto takes a CUDA device where there is one.

    Raises:
        ConfigError: there is no such device, here or anywhere.

    >>> choose_device("abacus")
    Traceback (most recent call last):
        ...
    affetto.errors.ConfigError: abacus: no such device; choose auto, cpu, cuda, cuda:N or mps
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, number = name.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (colon and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError("no such device", "choose auto, cpu, cuda, cuda:N or mps", name)
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[kind]:
        raise ConfigError("this device is not available here", "choose another, or auto", name)
    return torch.device(name)


def choose_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The precision of that name on a device; auto is bfloat16 on a processor that multiplies it (AMX, AVX-512 BF16).

    Products are 1.7 times as fast on the former, twice on AMD's of the latter kind; others gain nothing
    (docs/results/speed.md).

    >>> choose_precision("float32", torch.device("cpu"))
    torch.float32
    """
    if name == "auto":
        able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        return torch.bfloat16 if able.get("amx_bf16") or able.get("avx512_bf16") else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


class _OneThread(AbstractContextManager[None]):
    """Computes on one thread; of several that do at a time, the last to leave restores what was before."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before = 1

    def stay(self) -> None:
        """For good, as after a fork, whichever of the parent's threads were inside."""
        self._lock, self._inside = Lock(), 0
        torch.set_num_threads(1)

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.get_num_threads()
                torch.set_num_threads(1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.set_num_threads(self._before)


one_thread = _OneThread()
"""For steps that are small and many: waking a second thread for each takes longer than the step.

>>> with one_thread:
...     torch.get_num_threads()
1
"""
