"""The layer below figures: bytes that are pictures, the same ones each time, in colours all can tell apart."""

from __future__ import annotations

import io
import sys
from itertools import combinations
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from affetto.drawing.figures import (
    ACCENT,
    DOTS_PER_INCH,
    SECOND,
    WIDTH_INCHES,
    Canvas,
    Picture,
    render,
)
from affetto.errors import MissingExtraError
from affetto.palette import EMOTIONS, OTHERS, colours

SVG = "{http://www.w3.org/2000/svg}"


def _draw(canvas: Canvas) -> None:
    axes = canvas.panels(1, inches=2.0)[0]
    axes.plot([0, 1], [0, 1], color=ACCENT)
    axes.set_title("$a_b & <c> 日本語")  # no formula, and letters that no font here may have


PICTURE = Picture("line", "A line & <more>", _draw, "It climbs.", "A line that climbs.")


def test_a_picture_in_every_form() -> None:
    drawn = render(PICTURE)
    image = Image.open(io.BytesIO(drawn.png))
    image.verify()
    assert image.format == "PNG"
    assert image.size == pytest.approx((WIDTH_INCHES * DOTS_PER_INCH, 2 * DOTS_PER_INCH), abs=1)
    root = ET.fromstring(drawn.svg.decode())
    assert root.tag == f"{SVG}svg"
    assert float(root.get("width", "").removesuffix("pt")) == pytest.approx(72 * WIDTH_INCHES)
    assert root.findtext(f"{SVG}title") == "A line & <more>"
    assert set(drawn.files()) == {"line.png", "line.svg"}


def test_the_same_picture_gives_the_same_bytes() -> None:
    assert render(PICTURE) == render(PICTURE)


def test_drawing_changes_no_setting() -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    render(PICTURE)
    assert dict(rcParams) == before


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r'matplotlib is not installed; pip install "affetto\[report\]"'):
        render(PICTURE)


def test_every_class_has_a_colour_and_emotions_their_own() -> None:
    found = colours(["sadness", "yes", "anger", "no"])
    assert found["anger"] == EMOTIONS["anger"]
    assert found["sadness"] == colours(["sadness"])["sadness"]
    assert [found["yes"], found["no"]] == list(OTHERS[:2])
    assert len(colours([str(number) for number in range(40)])) == 40


# Machado, Oliveira and Fernandes (2009): what dichromats see of linear RGB.
SEEN = {
    "everyone": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def _lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIELAB of a colour under some eyes, from the definitions of sRGB and CIE 1976."""
    rgb = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = (TO_XYZ @ (seen @ linear).clip(0, 1)) / (TO_XYZ @ np.ones(3))
    f = [t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


PAIRS = [
    *combinations(("anger", "happiness", "neutral", "sadness", "fear", "disgust"), 2),  # those of most corpora
    *combinations(("anger", "happiness", "neutral", "sadness", "surprise", "fear"), 2),
]


@pytest.mark.parametrize("eyes", SEEN)
def test_the_colour_blind_tell_emotions_apart(eyes: str) -> None:
    distances = {
        pair: float(np.linalg.norm(_lab(EMOTIONS[pair[0]], SEEN[eyes]) - _lab(EMOTIONS[pair[1]], SEEN[eyes])))
        for pair in PAIRS
    }
    closest = min(distances, key=distances.__getitem__)
    assert distances[closest] > 12, (closest, distances[closest])  # 2 is just to be seen, side by side
    assert np.linalg.norm(_lab(ACCENT, SEEN[eyes]) - _lab(SECOND, SEEN[eyes])) > 40
