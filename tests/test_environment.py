"""What a result depends on: the commit is that of affetto's own checkout, or none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from affetto.environment import _commit, environment


def _git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=anna", "-c", "user.email=anna@example.org"]
    subprocess.run(["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A file in a repository with one commit."""
    path = tmp_path / "src" / "affetto" / "environment.py"
    path.parent.mkdir(parents=True)
    path.touch()
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "begin")
    return path


def test_a_checkout_tells_its_commit(checkout: Path) -> None:
    head = subprocess.run(
        ["git", "-C", str(checkout.parent), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    commit = _commit(checkout)
    assert commit is not None
    assert head.stdout.startswith(commit)


def test_a_repository_around_an_installed_affetto_is_not_meant(checkout: Path) -> None:
    installed = checkout.parents[2] / ".venv" / "lib" / "affetto" / "environment.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert _commit(installed) is None


def test_no_repository_is_no_commit(tmp_path: Path) -> None:
    assert _commit(tmp_path / "environment.py") is None


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment()["commit"] is None
