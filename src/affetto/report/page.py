"""``affetto report``: a run folder as one page that needs nothing else, and its figures as files beside it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from affetto.drawing.figures import Drawn, Picture, render
from affetto.drawing.page import asset, template
from affetto.errors import RunError
from affetto.report.build import Progress
from affetto.report.reading import ReportData, read
from affetto.report.sections import Section, sections

PAGE = "index.html"
FIGURES = ("uar", "confusion", "counts", "recall", "speakers", "learning", "calibration")
"""Every figure that there may be; those of an older report that this one lacks are removed."""


class Written(NamedTuple):
    """What a report left.

    Attributes:
        page: the HTML file.
        figures: the files beside it.
        missing: row -> what of it is yet to come.
    """

    page: Path
    figures: tuple[Path, ...]
    missing: Mapping[str, str]


def write_report(
    root: Path,
    output: Path | None = None,
    *,
    baseline: str | None = None,
    rows: Sequence[str] = (),
    progress: Progress | None = None,
) -> Written:
    """Writes the report of a run folder, finished or not.

    Everything is computed before anything is written, and the page is written last.

    Args:
        root: the run folder.
        output: the folder for the page and its figures; ``report`` in the run folder if None.
        baseline: see `affetto.report.build.derive`.
        rows: to look into; without any, the best of each kind.
        progress: receives how many steps are done.

    Raises:
        RunError: the folder is none or damaged, nothing is finished in it, no row is called like that, or the output
            cannot be written.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    fill = template("page.html.jinja")
    material = read(root, baseline, rows, _part(progress, 0, 60))
    found = list(sections(material))
    pictures = [part for section in found for part in section.parts if isinstance(part, Picture)]
    drawn = {}
    advance = _part(progress, 70, 100)
    for number, picture in enumerate(pictures):
        advance(number, len(pictures))
        drawn[picture.name] = render(picture)
    files = {name: content for each in drawn.values() for name, content in each.files().items()}
    page = fill(**_values(material, found, drawn))
    folder = output or root / "report"
    _write(folder, {**files, PAGE: page.encode()})
    return Written(folder / PAGE, tuple(folder / name for name in files), material.missing())


def _part(progress: Progress | None, first: float, last: float) -> Progress:
    """A part of the whole, in hundredths."""

    def advance(done: float, total: float) -> None:
        if progress:
            progress(first + (last - first) * done / total, 100)

    return advance


def _values(material: ReportData, found: Sequence[Section], drawn: Mapping[str, Drawn]) -> dict[str, Any]:
    name = material.run.root.resolve().name
    return {
        "name": name,
        "missing": material.missing(),
        "sections": found,
        "drawn": drawn,
        "style": asset("page.css"),
        "version": material.run.environment().get("affetto"),
    }


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """All drafts first, so that a full disk leaves what was there; then each takes its place, the page last."""
    drafts: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            draft = folder / f".{name}.{uuid.uuid4().hex}"
            drafts[draft] = folder / name
            draft.write_bytes(content)
        for name in FIGURES:
            for path in (folder / f"{name}{kind}" for kind in (".png", ".svg", "-narrow.svg")):
                if path.name not in files:
                    path.unlink(missing_ok=True)
        for draft, path in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise RunError(
            f"the report cannot be written ({error.strerror or error})",
            "make room or give another place with --output",
            error.filename or folder,
        ) from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
