"""Figures of probes: drawn from a folder alone, whole files, and captions that say what the folder says."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from affetto.drawing.figures import Canvas
from affetto.errors import ConfigError, RunError
from affetto.probe import folder
from affetto.probe.correlation import BestUnit
from affetto.probe.figures import pictures_of, write_figures
from affetto.probe.layers import CURVE, LayerScore
from affetto.probe.neurons import BEST, BY_LAYER, TRACES
from affetto.probe.projections import COORDINATES, POINTS, SCORES, Point, ProjectionScore

NAN = float("nan")
CLASSES = ["anger", "sadness"]


def _layers(root: Path) -> None:
    scores = [
        LayerScore("features", "features", 27, 0.5, 0.45, 0.55, 0.5, 0.3, 0.2, 0.4),
        LayerScore("trained", "conv1", 8, 0.6, 0.55, 0.65, 0.6, 0.2, 0.1, 0.3),
        LayerScore("trained", "gru1", 4, 0.8, 0.75, 0.85, 0.8, 0.0, NAN, NAN),
        LayerScore("untrained", "conv1", 8, 0.55, NAN, NAN, 0.6, 0.25, 0.1, 0.3),
        LayerScore("untrained", "gru1", 4, 0.5, 0.45, 0.55, 0.6, 0.3, 0.1, 0.3),
    ]
    folder.write_rows(root / CURVE, scores, LayerScore._fields)
    folder.write_facts(root, {"kind": "layers", "config": {"classes": CLASSES}, "counts": {"speakers": 9}})


def _neurons(root: Path) -> None:
    rows = [
        BestUnit("frame", "pearson", "loudness", 1, "gru1", 3, -0.7, -0.66, -0.7, -0.6, 0.005, -0.5),
        BestUnit("utterance", "pearson", "loudness", 1, "conv1", 2, 0.5, 0.4, NAN, NAN, 0.3, NAN),
    ]
    for name in (BEST, BY_LAYER):
        folder.write_rows(root / name, rows, BestUnit._fields)
    trace = {"emotion": "anger", "text": None, "target": "loudness", "layer": "gru1", "number": 3}
    wave = np.sin(np.arange(20.0))
    target = np.where(np.arange(20) < 5, np.nan, wave)
    folder.write_arrays(
        root / TRACES,
        {f"{name}/loudness": np.stack([np.arange(20) / 25, -wave, target]) for name in ("x1", "x2", "x3")},
    )
    folder.write_facts(
        root,
        {
            "kind": "neurons",
            "layers": [{"name": "conv1"}, {"name": "gru1"}],
            "targets": {"loudness": "sone", "pitch": "semitones"},
            "counts": {"units": 1234},
            "traces": [
                {"utterance": name, **trace, "r": None if name == "x3" else -0.9} for name in ("x1", "x2", "x3")
            ],
        },
    )


def _projections(root: Path) -> None:
    names = ["MP-conv1", "MP-gru1", "RNN-gru1"]
    folder.write_rows(
        root / SCORES,
        [ProjectionScore(name, "anger+sadness", 0.7, 0.6, 0.8, 0.1, 0.2, NAN) for name in names],
        ProjectionScore._fields,
    )
    folder.write_rows(root / POINTS, [Point(str(n), "s", CLASSES[n % 2]) for n in range(12)], Point._fields)
    points = np.random.default_rng(1).standard_normal((12, 2)).astype(np.float32)
    folder.write_arrays(root / COORDINATES, {f"{name}/{way}": points for name in names for way in ("tsne", "pca")})
    folder.write_facts(root, {"kind": "projections", "config": {"classes": CLASSES}, "names": names})


@pytest.mark.parametrize(
    ("fill", "names", "says"),
    [
        (_layers, ["layers"], "trained gru1 (.800)"),
        (_neurons, ["units", "overlay-loudness"], "r is -.66 (-.70 to -.60)"),
        (_projections, ["projections-tsne", "projections-pca"], "12 utterances of speakers whom nothing was fitted to"),
    ],
)
def test_every_figure_is_written_whole(fill: Any, names: list[str], says: str, tmp_path: Path) -> None:
    fill(tmp_path)
    files = write_figures(tmp_path, tmp_path / "figures")
    assert [path.name for path in files] == [
        *(f"{name}{kind}" for name in names for kind in (".png", ".svg")),
        "captions.md",
    ]
    for path in files[:-1]:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
        else:
            assert ET.fromstring(content).tag.endswith("svg")
        assert len(content) > 3000
    assert says in files[-1].read_text(encoding="utf-8")


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    _neurons(tmp_path)
    first, second = (write_figures(tmp_path, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_chance_is_named_in_the_caption(tmp_path: Path) -> None:
    _neurons(tmp_path)
    units = pictures_of(tmp_path)[0]
    assert "among all 1,234" in units.caption
    assert "loudness: gru1 unit 3, r -.66" in units.alt


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no finished probe"), ("[]", "no finished probe"), ('{"version": 1, "kind": "cake"}', "a probe of cake")],
)
def test_what_is_no_probe_is_reported(content: str | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "probe.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=says):
        write_figures(tmp_path, tmp_path / "figures")


def _three(root: Path) -> None:
    """Three classes in turn, four points each, and other numbers for all of them than for two."""
    every = ["anger", "happiness", "sadness"]
    scores = [
        ProjectionScore("MP-gru1", "anger+happiness+sadness", 0.5, 0.4, 0.6, 0.1, 0.2, 0.3),
        ProjectionScore("MP-gru1", "anger+sadness", 0.9, 0.8, 1.0, 0.4, 0.5, NAN),
    ]
    folder.write_rows(root / SCORES, scores, ProjectionScore._fields)
    folder.write_rows(root / POINTS, [Point(str(n), "s", every[n % 3]) for n in range(12)], Point._fields)
    points = np.arange(24, dtype=np.float32).reshape(12, 2)
    folder.write_arrays(root / COORDINATES, {f"MP-gru1/{way}": points for way in ("tsne", "pca")})
    folder.write_facts(root, {"kind": "projections", "config": {"classes": every}, "names": ["MP-gru1"]})


def test_two_classes_are_drawn_with_their_own_numbers(tmp_path: Path) -> None:
    _three(tmp_path)
    tsne, pca = pictures_of(tmp_path, ["sadness", "anger"])
    assert (tsne.name, pca.name) == ("projections-tsne-anger-sadness", "projections-pca-anger-sadness")
    assert tsne.caption.startswith("8 utterances of anger or sadness of speakers")
    assert "Other classes shaped the picture, and are left out." in tsne.caption
    assert tsne.alt == "Scatter plots: MP-gru1 UAR .900."
    figure = Figure(layout="constrained")
    pca.draw(Canvas(figure))
    shown = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert sorted(shown[:, 0].tolist()) == [2.0 * n for n in range(12) if n % 3 != 1]
    assert figure.axes[0].get_title().endswith("silhouette –")  # there is no such number


@pytest.mark.parametrize(
    "classes", [["anger"], ["anger", "anger"], ["anger", "joy"], ["anger", "happiness", "sadness"]]
)
def test_what_is_not_two_of_the_classes(classes: list[str], tmp_path: Path) -> None:
    _three(tmp_path)
    with pytest.raises(ConfigError, match=r"not two of the classes: anger.*; choose two of anger, happiness, sadness"):
        pictures_of(tmp_path, classes)


def test_other_probes_have_no_classes_to_choose_of(tmp_path: Path) -> None:
    _layers(tmp_path)
    with pytest.raises(ConfigError, match="a probe of layers has no classes to choose of"):
        pictures_of(tmp_path, CLASSES)
