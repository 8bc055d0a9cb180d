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
    try:
        own: str | None = version("affetto")
    except PackageNotFoundError:  # run from a checkout that is not installed
        own = None
    return {
        "affetto": own,
        "commit": _commit(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _commit(file: Path = Path(__file__)) -> str | None:
    """The commit of the repository that keeps a file; None where affetto is only installed below some repository."""
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    return _git(file.parent, "rev-parse", "--short=12", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers, None where it refuses or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
