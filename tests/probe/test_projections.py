"""Projections: of speakers nothing was fitted to, the same every time, with numbers that scikit-learn gives, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from affetto.data.protocols import GroupedKFold, make_folds
from affetto.data.splits import by_speaker
from affetto.errors import TrainingError
from affetto.probe.folder import read_utterances
from affetto.probe.projections import Projections, ProjectionsConfig, probe_projections, read_projections
from affetto.training.heads.loop import HeadTraining

Make = Callable[..., Path]
QUICK = HeadTraining(epochs=2, learning_rate=1e-2)


def _config(tiny_model: Path, manifest: Path, **more: Any) -> ProjectionsConfig:
    settings = {
        "parts": 3,
        "recurrent": ("gru1",),
        "units": 3,
        "training": QUICK,
        "classes": ("anger", "sadness", "joy"),
    }
    return ProjectionsConfig(corpus=Path(manifest.name), recogniser=str(tiny_model), **{**settings, **more})


@pytest.fixture
def manifest(make_corpus: Make) -> Path:
    return make_corpus(6, emotions=("anger", "sadness", "joy"))


@pytest.fixture
def found(manifest: Path, tiny_model: Path, tmp_path: Path) -> Projections:
    probe_projections(_config(tiny_model, manifest), manifest.parent, tmp_path / "probe")
    return read_projections(tmp_path / "probe")


def test_only_held_out_speakers_are_drawn(found: Projections, manifest: Path, tiny_model: Path) -> None:
    utterances = read_utterances(_config(tiny_model, manifest), manifest.parent)
    fold = make_folds(utterances, GroupedKFold(folds=3), group=by_speaker, seed=1)[0]
    assert [point.utterance for point in found.points] == [
        each.id for each in utterances if each.id in {other.id for other in fold.test}
    ]
    assert {each.shape for each in found.coordinates.values()} == {(len(fold.test), 2)}
    assert found.facts["names"] == ["MP-conv1", "MP-gru1", "MP-gru2", "RNN-gru1"]


def test_every_picture_has_its_numbers(found: Projections) -> None:
    emotions = np.array([point.emotion for point in found.points])
    assert len(found.scores) == 4 * (1 + 3)
    for score in found.scores:
        shown = np.isin(emotions, score.classes.split("+"))
        for way in ("tsne", "pca"):
            expected = silhouette_score(found.coordinates[f"{score.name}/{way}"][shown], emotions[shown])
            assert getattr(score, way) == pytest.approx(expected, abs=1e-5)
        assert 0 <= score.low <= score.uar <= score.high <= 1


def test_the_same_seed_draws_the_same(found: Projections, manifest: Path, tiny_model: Path, tmp_path: Path) -> None:
    again = probe_projections(_config(tiny_model, manifest), manifest.parent, tmp_path / "again")
    for name, points in found.coordinates.items():
        np.testing.assert_array_equal(points, again.coordinates[name])


def test_any_two_classes_and_fewer_points(manifest: Path, tiny_model: Path, tmp_path: Path) -> None:
    config = _config(tiny_model, manifest, classes=("anger", "joy"), recurrent=(), points=10)
    found = probe_projections(config, manifest.parent, tmp_path / "probe")
    assert {score.classes for score in found.scores} == {"anger+joy"}
    assert len(found.points) <= 10


def test_an_unknown_layer_is_named(manifest: Path, tiny_model: Path, tmp_path: Path) -> None:
    config = _config(tiny_model, manifest, recurrent=("gru7",))
    with pytest.raises(TrainingError, match="no layer 'gru7'; choose among conv1, gru1, gru2"):
        probe_projections(config, manifest.parent, tmp_path / "probe")
