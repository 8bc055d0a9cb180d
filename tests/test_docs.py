"""The documentation leads to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md"), *ROOT.glob("examples/*.ipynb")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
    files = [link for link in links if link and "://" not in link and not link.startswith("mailto:")]
    assert [link for link in files if not (page.parent / link).exists()] == []


def test_every_page_of_results_is_in_their_index() -> None:
    results = ROOT / "docs" / "results"
    links = LINK.findall((results / "README.md").read_text(encoding="utf-8"))
    listed = {link for link in links if link.endswith(".md")}
    assert {page.name for page in results.glob("*.md")} - {"README.md"} == listed
