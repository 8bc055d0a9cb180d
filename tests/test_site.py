"""The documentation becomes a site that needs no network, and its reference is complete."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from tests.test_docs import ROOT

WHY = 'needs pip install "affetto[docs]"'
FETCHED = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\s\">]+)")


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> ModuleType:
    """What makes the pages of the reference."""
    pytest.importorskip("griffe", reason=WHY)
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)  # noqa: PT021
    patch.syspath_prepend(str(ROOT / "docs" / "site"))
    return import_module("reference")


def test_everything_in_the_reference_is_there(reference: ModuleType) -> None:
    names = [name for _, part in reference.API.values() for name in part]
    missing = []
    for name in names:
        module, _, attribute = name.rpartition(".")
        if not hasattr(import_module(module), attribute):
            missing.append(name)
    assert missing == []


def test_every_key_of_a_recipe_is_described(reference: ModuleType) -> None:
    rows = [line.split(" | ") for line in reference.recipes().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row[0] for row in rows if not row[1].strip()] == []


def test_every_public_command_is_in_the_reference(reference: ModuleType) -> None:
    text = reference.commands()
    assert [each for each in ("recognise", "asr train", "corpus prepare") if f"# affetto {each}\n" not in text] == []
    assert "[bold]" not in text
    assert "[cyan]" not in text


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing() -> None:
    pytest.importorskip("material", reason=WHY)
    pytest.importorskip("mkdocstrings", reason=WHY)
    command = [sys.executable, "docs/site/make.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = [*Path(done.stdout.split()[-1]).parent.rglob("*.html")]
    assert len(pages) > 50
    assert {link for page in pages for link in FETCHED.findall(page.read_text(encoding="utf-8"))} == set()
