"""Packages that the documentation shows, installed as any other is."""

from __future__ import annotations

import re
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def block(page: str, language: str, beginning: str) -> str:
    """The only block of a page in that language that begins like this."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    [found] = [each for each in found if each.startswith(beginning)]
    return str(found)


def install(name: str, program: str, entry_points: str, packages: Path, patch: pytest.MonkeyPatch) -> None:
    """Makes a package of one file importable, with entry points as its ``pyproject.toml`` has them."""
    info = packages / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / f"{name}.py").write_text(program)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    lines = re.sub(r'\[project\.entry-points\."(.+)"\]', r"[\1]", entry_points)
    (info / "entry_points.txt").write_text(lines.replace('"', ""))
    patch.syspath_prepend(str(packages))
    patch.delitem(sys.modules, name, raising=False)
    invalidate_caches()
