"""What a result depends on beside its recipe: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Versions of affetto, its commit (None where it was installed without one), Python, torch and the machine's kind.

    >>> sorted(environment())
    ['affetto', 'commit', 'machine', 'python', 'torch']
    """
    return {
        "affetto": version("affetto"),
        "commit": _commit(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


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
