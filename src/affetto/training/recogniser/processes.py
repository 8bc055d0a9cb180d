"""The processes that train together: on how many devices of how many machines they run, and how all of them end.

SIGTERM and Ctrl-C end a training at once, in all its processes, whatever these are waiting for. Nothing is lost by
that: each epoch's checkpoint is written whole or not at all. To unwind instead would be to wait for one another in the
middle of a step, for ever where one process has left a sum that another still waits for.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from affetto.config import Config
from affetto.errors import TrainingError

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STARTED_BY = "AFFETTO_TRAINING_STARTED_BY"  # the process that the others of a machine inherit this from
_LOOK_S = 0.5
_AFTER_PARENT_S = 3.0  # a launcher that sees another process end before the first would kill that one


class Placement(Config):
    """Where a training runs: on how many devices (GPUs, or processes on a CPU) of how many machines.

    None takes all GPUs, or one process. The strategy is Lightning's name of the way they work together; "auto" is
    distributed data parallel, where there are several.
    """

    devices: int | None = None
    nodes: int = 1
    strategy: str = "auto"

    def arguments(self, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
        """Arguments of Lightning's Trainer; under torchrun, which has started the processes, their number is its own.

        >>> Placement(devices=2).arguments({})
        {'devices': 2, 'num_nodes': 1, 'strategy': 'auto'}
        >>> torchrun = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}
        >>> Placement().arguments(torchrun)
        {'devices': 8, 'num_nodes': 2, 'strategy': 'auto'}
        """
        devices, nodes = self.devices, self.nodes
        if "TORCHELASTIC_RUN_ID" in environment:
            here, world = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
            if devices not in {None, here} or nodes not in {1, world // here}:
                started = f"torchrun has started {here} processes on each of {world // here} machines"
                problem = f"{started}, not {devices} on each of {nodes}"
                raise TrainingError(problem, "leave --devices and --nodes to torchrun")
            devices, nodes = here, world // here
        return {"devices": devices or "auto", "num_nodes": nodes, "strategy": self.strategy}


ANYWHERE = Placement()  # All GPUs of this machine, or one process


def first_process() -> bool:
    """Whether this is the process, of all that train together, that logs and writes."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


@contextmanager
def stoppable(say: Callable[[], None]) -> Iterator[None]:
    """In this context, SIGTERM and Ctrl-C end the process with the exit code that a shell expects, 143 or 130.

    The process that was started first calls ``say`` before the end. One that another one started for the same training
    ends with it, also where that one is killed. Outside of the main thread, which alone receives signals, nothing is
    changed.

    >>> with stoppable(lambda: print("stopped")):
    ...     signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    False
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    parent = _parent()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    over = threading.Event()
    before = {each: signal.signal(each, _wait_for_thread) for each in SIGNALS}
    # The number of a signal is written there when it comes, even while the main thread waits for another process.
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader, over, parent, say), name="stopping", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        if parent is None:
            os.environ.pop(_STARTED_BY, None)  # else what this process starts later would look for a training's end
        signal.set_wakeup_fd(wakeup)
        for each, handler in before.items():
            signal.signal(each, handler)
        watch.join()
        reader.close()
        writer.close()


class OwnHandlers(Callback):
    """Puts back the handler of SIGTERM that Lightning replaces: its own waits for a broadcast in which other processes,
    in the middle of another sum, never join.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread() and self.handler is not None:
            signal.signal(signal.SIGTERM, self.handler)

    on_validation_start = on_train_start


def _wait_for_thread(signum: int, frame: FrameType | None) -> Any:
    """The thread sees to it."""


def _watch(reader: socket.socket, over: threading.Event, parent: int | None, say: Callable[[], None]) -> None:
    while not over.is_set():
        readable, _, _ = select.select([reader], [], [], _LOOK_S)
        stopped = [each for each in reader.recv(64) if each in SIGNALS] if readable else []
        if stopped:
            _end(128 + stopped[0], parent, say)
        elif parent is not None and os.getppid() != parent:
            _end(128 + signal.SIGTERM, None, None)


def _parent() -> int | None:
    """The process that started this one for the same training; None for the first of a machine."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        os.environ[_STARTED_BY] = str(os.getpid())
        return None
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return os.getppid()  # torchrun started all of them
    return int(os.environ.get(_STARTED_BY, os.getppid()))  # it may be gone before this one has come so far


def _end(code: int, parent: int | None, say: Callable[[], None] | None) -> None:
    """Ends this process and those that load for it."""
    if parent is not None:
        until = time.monotonic() + _AFTER_PARENT_S
        while time.monotonic() < until and os.getppid() == parent:
            time.sleep(0.05)
    elif say is not None:
        say()
    for each in multiprocessing.active_children():
        each.kill()
    os._exit(code)
