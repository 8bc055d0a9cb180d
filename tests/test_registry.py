"""Parts by name: ours, and those that other packages bring."""

from __future__ import annotations

import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

from affetto.errors import RegistryError
from affetto.registry import Registry


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that brings the number "answer", installed as any other is."""
    (tmp_path / "answers.py").write_text("ANSWER = 42\n")
    info = tmp_path / "answers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: answers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[affetto.numbers]\nanswer = answers:ANSWER\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "answers", raising=False)
    invalidate_caches()
    return tmp_path


def test_loads_only_what_is_asked_for() -> None:
    numbers = Registry("constants", {"pi": "math:pi", "broken": "no.such.module:thing"})
    assert numbers.load("pi") == pytest.approx(3.14159, abs=1e-5)
    assert numbers.names() == ["broken", "pi"]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(RegistryError, match="no 'tau' among constants; choose one of e, pi"):
        Registry("constants", {"pi": "math:pi", "e": "math:e"}).load("tau")


def test_a_name_is_taken_once() -> None:
    numbers = Registry("constants", {"pi": "math:pi"})
    with pytest.raises(RegistryError, match="'pi' is registered twice among constants"):
        numbers.add("pi", "math:tau")
    numbers.add("tau", "math:tau")
    assert numbers.load("tau") == 2 * numbers.load("pi")


def test_registries_do_not_share_what_they_were_made_of() -> None:
    targets = {"pi": "math:pi"}
    Registry("constants", targets).add("e", "math:e")
    assert targets == {"pi": "math:pi"}


def test_other_packages_bring_parts(installed: Path) -> None:
    numbers = Registry("numbers", {"pi": "math:pi"})
    assert numbers.names() == ["answer", "pi"]
    assert numbers.load("answer") == 42


def test_other_packages_do_not_replace_parts(installed: Path) -> None:
    with pytest.raises(RegistryError, match="'answer' is registered twice among numbers"):
        Registry("numbers", {"answer": "math:pi"}).load("answer")
