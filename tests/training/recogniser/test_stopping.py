"""A training that is told to stop does, in all its processes, and goes on from its last epoch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch

from affetto.training.recogniser.processes import SIGNALS, stoppable

STARTS_S, WITHIN_S = 600.0, 120.0
LINE = "affetto: stopped; the same command goes on from the last finished epoch\n"


@contextmanager
def training(recipe: Path, data: Path, folder: Path, devices: int) -> Iterator[subprocess.Popen[str]]:
    """One that has finished an epoch, in a group of its own, as a shell would have it."""
    command = [sys.executable, "-m", "affetto", "asr", "train", recipe, "--data", data, "--output", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    log = folder.with_suffix(".log")
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*map(str, command), "--devices", str(devices)],
            env=environment,
            stderr=out,
            stdout=out,
            text=True,
            process_group=0,
        ) as process,
    ):
        try:
            until = time.monotonic() + STARTS_S
            while not (folder / "checkpoints" / "last.ckpt").exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[str], send: Callable[[], None]) -> int:
    """The exit code; all that it had started is gone, too."""
    others = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    send()
    code = process.wait(WITHIN_S)
    _, alive = psutil.wait_procs(others, max(0.1, began + WITHIN_S - time.monotonic()))
    for each in alive:
        each.kill()
    assert alive == []
    return code


@pytest.mark.parametrize(("signum", "send"), [(signal.SIGTERM, os.killpg), (signal.SIGINT, os.kill)])
def test_all_processes_end(
    tones: Path,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    signum: signal.Signals,
    send: Callable[[int, signal.Signals], None],
) -> None:
    """Whether all of them are told, as by a terminal, or the first alone."""
    folder = tmp_path / "run"
    with training(write_recipe(10_000), tones, folder, 2) as process:
        assert len(psutil.Process(process.pid).children()) == 1
        assert ended(process, lambda: send(process.pid, signum)) == 128 + signum
    log = folder.with_suffix(".log").read_text()
    assert log.count(LINE) == 1
    assert "Traceback" not in log
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)["global_step"] > 0  # it is whole


def test_one_with_a_loader_ends(tones: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    with training(write_recipe(10_000, more="workers = 1\n"), tones, tmp_path / "run", 1) as process:
        assert ended(process, process.terminate) == 128 + signal.SIGTERM
    assert (tmp_path / "run.log").read_text().count(LINE) == 1


def test_one_whose_parent_is_killed_ends(tones: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    with training(write_recipe(10_000), tones, tmp_path / "run", 2) as process:
        assert ended(process, process.kill) == -signal.SIGKILL


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with stoppable(lambda: None):
        assert [signal.getsignal(each) for each in SIGNALS] != before
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_beside_the_main_thread_nothing_is_changed() -> None:
    seen = []

    def aside() -> None:
        with stoppable(lambda: None):
            seen.append([signal.getsignal(each) for each in SIGNALS])

    thread = threading.Thread(target=aside)
    thread.start()
    thread.join()
    assert seen == [[signal.getsignal(each) for each in SIGNALS]]
