"""Builds the documentation as a site that needs no network: `make docs`, or `python docs/site/make.py`.

The pages are those of the repository, laid out as they lie there, so that their links lead where they do on any host of
Git; beside them stand the pages that `reference.py` makes from the code, and the notebook.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from reference import pages

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STAGE, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"
NOTEBOOK = "examples/affetto"
SHIM = "iframe-worker.js"
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


def main() -> None:
    """Lays out the pages and builds the site; a warning is an error."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    shutil.rmtree(STAGE, ignore_errors=True)
    for path in sorted(linked("README.md", "docs/README.md")):
        content = (ROOT / path).read_bytes()
        _put(path, content.replace(b".ipynb)", b".md)") if path.endswith(".md") else content)
    for path, text in pages(ROOT).items():
        _put(path, text.encode())
    _put(f"{NOTEBOOK}.md", notebook().encode())
    for name in ("site.css", SHIM):
        _put(name, (HERE / name).read_bytes())
    build(load_config(str(HERE / "mkdocs.yml"), docs_dir=str(STAGE), site_dir=str(SITE), nav=navigation(), strict=True))
    for page in SITE.rglob("*.html"):
        _fetch_nothing(page)
    print(SITE / "index.html")


def _fetch_nothing(page: Path) -> None:
    """The theme fetches one script where a page is read from a disk: that lies here."""
    here = "../" * (len(page.relative_to(SITE).parts) - 1) + SHIM
    html = page.read_text(encoding="utf-8").replace("https://unpkg.com/iframe-worker/shim", here)
    page.write_text(html, encoding="utf-8")


def linked(*start: str) -> set[str]:
    """Pages and all files that they lead to, directly or by others, relative to the repository."""
    found: set[str] = set()
    waiting = [*start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.endswith(".md"):
            waiting += _links(path)
    return found


def _links(page: str) -> Iterator[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    for each in ("".join(link).partition("#")[0] for link in LINK.findall(text)):
        if each and "://" not in each and not each.startswith(("mailto:", "data:")):
            yield str((ROOT / page).parent.joinpath(each).resolve().relative_to(ROOT))


def _put(path: str, content: bytes) -> None:
    (STAGE / path).parent.mkdir(parents=True, exist_ok=True)
    (STAGE / path).write_bytes(content)


def navigation() -> list[Any]:
    """The table of contents: `nav.yml` has its sections, those that grow are listed as they are."""
    sections = yaml.safe_load((HERE / "nav.yml").read_text(encoding="utf-8"))
    listed = {
        "API": [path for path in pages(ROOT) if path.startswith("reference/api/")],
        "Measured": _folder("docs/results"),
        "Decisions": _folder("docs/decisions"),
    }
    return [*sections, *({title: entries} for title, entries in listed.items())]


def _folder(path: str) -> list[str]:
    names = [each.name for each in (STAGE / path).glob("*.md")]
    return [f"{path}/{name}" for name in sorted(names, key=lambda name: (name != "README.md", name))]


def notebook() -> str:
    """The notebook as a page, with the pictures and tables that it holds."""
    cells = json.loads((ROOT / f"{NOTEBOOK}.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(map(_cell, cells))


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return "\n\n".join([f"```python\n{source}\n```", *map(_output, cell["outputs"])])


def _output(output: dict[str, Any]) -> str:
    data = {kind: "".join(text).strip() for kind, text in output.get("data", {}).items()}
    if "image/png" in data:
        return f"![What this cell draws](data:image/png;base64,{data['image/png']})"
    if "text/html" in data:
        return re.sub(r"<style.*?</style>|\n|(?<=<table) [^>]*", "", data["text/html"], flags=re.DOTALL)
    text = data.get("text/plain") or "".join(output["text"]).rstrip()
    return f"```text\n{text}\n```"


if __name__ == "__main__":
    main()
