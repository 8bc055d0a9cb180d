"""What a result depends on beside its recipe: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Versions of affetto and its commit (None where there is none), of Python and torch, and the machine's kind.

    >>> sorted(environment())
    ['affetto', 'commit', 'machine', 'python', 'torch']
    """
    return {
        "affetto": _version(),
        "commit": _commit(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _version() -> str | None:
    try:
        return version("affetto")
    except PackageNotFoundError:
        return None  # run from a checkout that is not installed


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
