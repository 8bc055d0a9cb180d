"""Where units of work are computed: processes of this machine, or a Ray cluster; joblib knows both."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, TypeVar

import joblib
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError
from pydantic import Field

from affetto.config import Config
from affetto.devices import choose_device
from affetto.errors import MissingExtraError, RunError

W = TypeVar("W")
D = TypeVar("D")

_AGAIN = "run the same command again, with fewer --jobs if memory is short: what is finished stays"
_WATCH_S = 1.0


class Engine(Config):
    """Where to compute.

    Attributes:
        kind: "local", processes of this machine; "ray", a Ray cluster: the one that RAY_ADDRESS names, else one that
            is started on this machine. Its machines must see the run folder and the cache under the same paths.
        jobs: units at a time; None takes one for each processor core.
        device: where representations are computed: "auto", "cpu", "cuda", "cuda:N" or "mps". Rows are fitted on
            processors.
    """

    kind: Literal["local", "ray"] = "local"
    jobs: int | None = Field(default=None, ge=1)
    device: str = "auto"

    def check(self) -> None:
        """Makes sure that there is such an engine here.

        Raises:
            ConfigError: there is no such device.
            MissingExtraError: Ray is not installed.
        """
        choose_device(self.device)
        if self.kind == "ray":
            _ray()


def compute(work: Callable[[W], D], units: Sequence[W], engine: Engine) -> Iterator[D]:
    """Does each unit of work, and gives what comes of each as soon as it is done.

    Each worker computes on one thread, so that numbers do not depend on how many there are.

    Args:
        work: a function of a module.
        units: in the order in which they are begun.
        engine: where.

    Raises:
        RunError: a worker died.
        AffettoError: whatever ``work`` raises.
    """
    calls = (joblib.delayed(_on_one_thread)(work, unit, os.getpid(), engine.kind) for unit in units)
    with _backend(engine, jobs_of(engine, len(units))) as deaths:
        try:
            yield from joblib.Parallel(return_as="generator_unordered", batch_size=1)(calls)
        except deaths as error:
            raise RunError(f"a worker died ({str(error).splitlines()[0]})", _AGAIN) from error


def jobs_of(engine: Engine, units: int) -> int:
    """How many units are computed at a time; -1 is as many as a cluster has processors."""
    if engine.kind == "ray":
        return engine.jobs or -1
    return max(1, min(engine.jobs or joblib.cpu_count(), units))


@contextmanager
def _backend(engine: Engine, jobs: int) -> Iterator[tuple[type[Exception], ...]]:
    """Makes joblib use the engine; gives the errors that tell of a worker's death."""
    if engine.kind == "local":
        with joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
            yield (TerminatedWorkerError,)
        return
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        here = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "num_cpus": max(jobs, 0) or None}
        ray.init(logging_level=logging.WARNING, log_to_driver=False, **here)
    try:
        joblib.register_parallel_backend("ray", _ray_backend())
        with joblib.parallel_config(backend="ray", n_jobs=jobs):
            yield (ray.exceptions.RayError,)
    finally:
        if started:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray is not installed", 'pip install "affetto[ray]"') from error
    return ray


def _ray_backend() -> type[Any]:
    from ray.util.joblib.ray_backend import RayBackend

    class Backend(RayBackend):
        """Ray's own, which can give results one by one but does not say so."""

        supports_return_generator = True

    return Backend


def _on_one_thread(work: Callable[[W], D], unit: W, parent: int, kind: str) -> D:
    """Runs in a worker."""
    if kind == "local" and os.getpid() != parent:
        _end_with(parent)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return work(unit)
    finally:
        torch.set_num_threads(threads)


@cache
def _end_with(parent: int) -> None:
    """Ends this process when the one that started it is gone: a killed run must not go on in secret."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()
