"""Where units of work are computed: processes of this machine, or a Ray cluster; joblib knows both."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar

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
    """Where to compute."""

    # "local", processes of this machine; "ray", a Ray cluster: the one that RAY_ADDRESS names, else one that is started
    # on this machine. Its machines have affetto, and see the run folder and the cache under the same paths
    kind: Literal["local", "ray"] = "local"
    # units at a time; None takes one for each processor core, or one alone for an accelerator
    jobs: int | None = Field(default=None, ge=1)
    # where representations are computed and heads trained: "auto", "cpu", "cuda", "cuda:N" or "mps"
    device: str = "auto"

    def check(self) -> None:
        """Makes sure that there is such an engine here; raises ConfigError (the device) or MissingExtraError (Ray)."""
        choose_device(self.device)
        if self.kind == "ray":
            _ray()


class Workers(NamedTuple):
    """Those who are ready to work: the engine's kind, and the errors that a worker's end raises."""

    kind: str
    deaths: tuple[type[Exception], ...]


@contextmanager
def workers(engine: Engine, units: int) -> Iterator[Workers]:
    """Readies an engine for so many units; a Ray cluster that was not there before is stopped in the end."""
    if engine.kind == "local":
        here = joblib.cpu_count() if choose_device(engine.device).type == "cpu" else 1
        jobs = max(1, min(engine.jobs or here, units))
        # loky replaces a worker that has grown, and says so: banks, and freed memory that is kept, make each grow.
        with warnings.catch_warnings(), joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            yield Workers(engine.kind, (TerminatedWorkerError,))
        return
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        here = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "num_cpus": engine.jobs}
        ray.init(logging_level=logging.WARNING, log_to_driver=False, **here)
    try:
        jobs = engine.jobs or max(1, int(ray.cluster_resources().get("CPU", 1)))
        joblib.register_parallel_backend("ray", _ray_backend())
        with joblib.parallel_config(backend="ray", n_jobs=jobs):
            yield Workers(engine.kind, (ray.exceptions.RayError,))
    finally:
        if started:
            ray.shutdown()


def compute(work: Callable[[W], D], units: Iterable[W], those: Workers) -> Iterator[D]:
    """Does each unit of work, begun in order, and gives what comes of each as soon as it is done.

    Each worker computes on one thread, so that numbers do not depend on how many there are. Raises RunError where one
    dies.
    """
    calls = (joblib.delayed(_on_one_thread)(work, unit, os.getpid(), those.kind) for unit in units)
    try:
        yield from joblib.Parallel(return_as="generator_unordered", batch_size=1)(calls)
    except those.deaths as error:
        raise RunError(f"a worker died ({str(error).splitlines()[0]})", _AGAIN) from error


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
