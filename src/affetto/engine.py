"""Where units of work are computed: processes of this machine, by joblib, or a Ray cluster."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import Field

from affetto.config import Config
from affetto.devices import choose_device, one_thread
from affetto.errors import MissingExtraError, RunError

W = TypeVar("W")
D = TypeVar("D")

_AGAIN = "run the same command again, with fewer --jobs if memory is short: what is finished stays"
_WATCH_S = 1.0
_RETRIES = 3  # of a unit whose worker or machine dies, by Ray


class Engine(Config):
    """Where to compute."""

    # "local", processes of this machine; "ray", a Ray cluster: the one that RAY_ADDRESS names, else one that is started
    # on this machine. Its machines have affetto, and see what is read and written under the same paths
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
    """Those who are ready to work: the engine's kind, and how many there are."""

    kind: str
    jobs: int


@contextmanager
def workers(engine: Engine, units: int) -> Iterator[Workers]:
    """Readies an engine for so many units; a Ray cluster that was not there before is stopped in the end."""
    if engine.kind == "local":
        import joblib

        here = joblib.cpu_count() if choose_device(engine.device).type == "cpu" else 1
        jobs = max(1, min(engine.jobs or here, units))
        # loky replaces a worker that has grown, and says so: banks, and freed memory that is kept, make each grow.
        with warnings.catch_warnings(), joblib.parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            yield Workers(engine.kind, jobs)
        return
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        address = os.environ.get("RAY_ADDRESS", "local")
        here = {"include_dashboard": False, "num_cpus": engine.jobs} if address == "local" else {}
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **here)
        except (ConnectionError, SystemExit) as error:  # the latter after two minutes
            raise RunError("no Ray cluster answers there", "check RAY_ADDRESS, and ray status", address) from error
    try:
        yield Workers(engine.kind, engine.jobs or max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        if started:
            ray.shutdown()


def compute(
    work: Callable[[W], D], units: Iterable[W], those: Workers, lost: Callable[[W, RunError], D] | None = None
) -> Iterator[D]:
    """Does each unit of work, begun in order, and gives what comes of each as soon as it is done.

    Each worker computes on one thread, so that numbers do not depend on how many there are. On a cluster, a unit whose
    worker dies is done again by another, some times: `work`, a function of a module, may be called with one that it has
    done in part. `lost` gives what comes of a unit there that no worker survives. Raises RunError where a worker died.
    """
    if those.kind == "ray":
        yield from _on_ray(work, units, those.jobs, lost)
        return
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    calls = (joblib.delayed(_on_one_thread)(work, unit, os.getpid()) for unit in units)
    try:
        yield from joblib.Parallel(return_as="generator_unordered", batch_size=1)(calls)
    except TerminatedWorkerError as error:
        raise _death(error) from error


def _on_ray(
    work: Callable[[W], D], units: Iterable[W], jobs: int, lost: Callable[[W, RunError], D] | None
) -> Iterator[D]:
    """Each unit is a task of one core, which Ray gives to whichever worker is free."""
    ray = _ray()
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_on_one_thread)
    waiting, running = iter(units), dict[Any, W]()
    while True:
        running |= {task.remote(work, unit): unit for unit in islice(waiting, jobs - len(running))}
        if not running:
            return
        (done,), _ = ray.wait(list(running))
        unit = running.pop(done)
        try:
            result: D = ray.get(done)
        except ray.exceptions.RayTaskError as error:  # what `work` raised
            raise error.cause from None
        except ray.exceptions.RayError as error:
            if lost is None:
                raise _death(error) from error
            result = lost(unit, _death(error))
        yield result


def _death(error: Exception) -> RunError:
    return RunError(f"a worker died ({str(error).splitlines()[0]})", _AGAIN)


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray is not installed", 'pip install "affetto[ray]"') from error
    return ray


def _on_one_thread(work: Callable[[W], D], unit: W, parent: int | None = None) -> D:
    """Runs in a worker, which ends with its parent, if that is named."""
    if parent not in {None, os.getpid()}:
        _end_with(parent)
    with one_thread:
        return work(unit)


@cache
def _end_with(parent: int) -> None:
    """Ends this process when the one that started it is gone: a killed run must not go on in secret."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()
