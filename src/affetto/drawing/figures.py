"""The layer that every figure stands on: one style, and a `Picture`, which draws onto a `Canvas`, as PNG and SVG.

Figures are drawn without pyplot: nothing global is touched, and the same picture gives the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from affetto.errors import MissingExtraError, RunError
from affetto.files import draft

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Letters and main marks; what stands back; rules and grids; the ground.
INK, MUTED, RULE, PAPER = "#1f2a35", "#66717d", "#d9dee3", "#ffffff"
ACCENT, SECOND = "#1f5f99", "#d98a1b"  # What a figure is about, and what it is compared with
# From nothing to all: one hue, ever darker, so that it survives grey printing.
SEQUENCE = ("#f7f9fb", "#c9dcec", "#86b1d6", "#3f7fb8", "#174a7c", "#0a2a4d")
# From -1 to 1: orange, nothing, blue; the colour-blind tell the ends apart, and the middle is lightest.
DIVERGING = (SECOND, "#f3d6ad", "#f7f7f5", "#a9c4dc", ACCENT)
WIDTH_INCHES = 7.6  # 100 of a page's pixels are an inch
DOTS_PER_INCH, SCREEN_DOTS_PER_INCH = 200, 140  # For print; and for long pictures that are looked at on a screen

STYLE: dict[str, Any] = {
    **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("figure.facecolor", "savefig.facecolor"), PAPER),
    **dict.fromkeys(("font.size", "axes.labelsize"), 9.0),
    **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), 8.5),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # it comes with matplotlib, so figures look alike everywhere
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "affetto",
    "text.parse_math": False,  # a row may be called $x$
}


def colour_map(colours: Sequence[str]) -> Colormap:
    """`SEQUENCE` or `DIVERGING` as matplotlib wants it."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("affetto", colours)


class Canvas(NamedTuple):
    """Where a picture is drawn: a matplotlib figure of a given width, whose height the picture chooses."""

    figure: Figure

    def panels(
        self,
        count: int,
        columns: int = 1,
        *,
        inches: float,
        margin: float = 0.0,
        sharex: bool = False,
        sharey: bool = False,
    ) -> list[Axes]:
        """Panels of equal size, row by row; those that share an axis have its scale, and its numbers at the border.

        So many columns stand side by side; inches are those of each row, and the margin is beside all rows.
        """
        rows = math.ceil(count / columns)
        self.figure.set_figheight(rows * inches + margin)
        grid = self.figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).ravel().tolist()
        for axes in grid[count:]:
            axes.set_visible(False)
        return grid[:count]


class Picture(NamedTuple):
    """A figure yet to be drawn, and its caption."""

    name: str  # of its files
    title: str
    draw: Callable[[Canvas], None]
    caption: str
    alt: str  # the same for those who cannot see it
    inches: float = 3.0  # how high it is, unless panels are


class Drawn(NamedTuple):
    """A picture as bytes."""

    picture: Picture
    png: bytes
    svg: bytes

    def files(self) -> dict[str, bytes]:
        """Name -> content of the files to write."""
        return {f"{self.picture.name}.png": self.png, f"{self.picture.name}.svg": self.svg}


def render(picture: Picture) -> Drawn:
    """Draws a picture as PNG with `DOTS_PER_INCH` and as SVG; raises as `styled`."""
    with _styled(picture) as figure:
        return Drawn(picture, _png(figure, DOTS_PER_INCH), _svg(figure, picture))


def draw_png(picture: Picture) -> bytes:
    """A PNG alone, with `SCREEN_DOTS_PER_INCH`."""
    with _styled(picture) as figure:
        return _png(figure, SCREEN_DOTS_PER_INCH)


def draw_svg(picture: Picture) -> bytes:
    """An SVG alone."""
    with _styled(picture) as figure:
        return _svg(figure, picture)


def write_files(folder: Path, files: Mapping[str, bytes], what: str = "the figures") -> list[Path]:
    """Writes files into a folder, or raises RunError: all drafts first, so that a full disk leaves what was there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as drafts:
            for name, content in reversed([*files.items()]):  # the first takes its place first
                drafts.enter_context(draft(folder / name)).write_bytes(content)
    except OSError as error:
        problem = f"{what} cannot be written ({error.strerror or error})"
        raise RunError(problem, "make room or give another place", error.filename or folder) from error
    return [folder / name for name in files]


@contextmanager
def styled(extra: str = "report") -> Iterator[None]:
    """The style of every figure; raises MissingExtraError where matplotlib, of that extra, is not installed."""
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib is not installed", f'pip install "affetto[{extra}]"') from error
    with rc_context(cast("Any", STYLE)), warnings.catch_warnings():
        # A name in another script is a box; the page has it right.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


@contextmanager
def _styled(picture: Picture) -> Iterator[Figure]:
    """A figure with the picture on it; the style holds until it is saved."""
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH_INCHES, picture.inches), layout="constrained")
        picture.draw(Canvas(figure))
        yield figure


def _png(figure: Figure, dots_per_inch: int) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return file.getvalue()


def _svg(figure: Figure, picture: Picture) -> bytes:
    """Without a date, and without the addresses of standards that a reader could take for something to fetch."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata={**nothing, "Title": picture.title})
    text = re.sub(r"<!DOCTYPE.*?>\s*|\s*<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    return text.encode()
