"""The layer curve: from sound to scores, resumed, and refused where it cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score
from tests.predictions import read_predictions

from affetto.errors import LabelError, RunError, SplitError
from affetto.frames import pad_waves
from affetto.models.encoders import open_encoder
from affetto.probe import layers as module
from affetto.probe.folder import read_utterances
from affetto.probe.layers import LayersConfig, layer_vectors, probe_layers, read_layers

Make = Callable[..., Path]


def _config(tiny_model: Path, manifest: Path, **more: Any) -> LayersConfig:
    settings = {"folds": 3, "classes": ("anger", "sadness"), **more}
    return LayersConfig(corpus=Path(manifest.name), recogniser=str(tiny_model), **settings)


@pytest.fixture
def manifest(make_corpus: Make) -> Path:
    return make_corpus(6, faulty=True)


def test_scores_are_those_of_the_predictions(manifest: Path, tiny_model: Path, tmp_path: Path) -> None:
    found = probe_layers(_config(tiny_model, manifest), manifest.parent, tmp_path / "probe")
    expected = [
        "features",
        *(f"{way}-{layer}" for way in ("trained", "untrained") for layer in ("conv1", "gru1", "gru2")),
    ]
    assert [path.stem for path in sorted((tmp_path / "probe" / "predictions").iterdir())] == sorted(expected)
    for score, name in zip(found.scores, expected, strict=True):
        said = read_predictions(tmp_path / "probe" / "predictions" / f"{name}.csv")
        references, predicted = [each.reference for each in said], [each.predicted for each in said]
        assert len({each.utterance for each in said}) == len(said) == 6 * 4 + 3
        assert score.uar == pytest.approx(recall_score(references, predicted, average="macro"), abs=1e-6)
        assert score.accuracy == pytest.approx(accuracy_score(references, predicted), abs=1e-6)
        assert score.low <= score.uar <= score.high
    assert found.facts["unreadable"] == 1
    best = max(found.scores, key=lambda each: each.uar)
    assert best.behind == 0
    again = read_layers(tmp_path / "probe").scores
    assert [each.uar for each in again] == pytest.approx([each.uar for each in found.scores], abs=1e-5)
    assert sum(math.isnan(each.behind_low) for each in again) == 1


def test_it_goes_on_where_it_was_stopped(
    manifest: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, config = tmp_path / "probe", _config(tiny_model, manifest, control=False)
    first = probe_layers(config, manifest.parent, output)
    (output / "probe.json").unlink()
    (output / "predictions" / "trained-gru1.csv").unlink()
    fitted = []
    real = module.linear_probe
    monkeypatch.setattr(module, "linear_probe", lambda *given: fitted.append(given[2].fold) or real(*given))
    second = probe_layers(config, manifest.parent, output)
    assert fitted == [0, 1, 2]
    assert str(first.scores) == str(second.scores)


def test_vectors_are_means_over_an_utterance_alone(manifest: Path, tiny_model: Path, tmp_path: Path) -> None:
    from affetto import audio

    utterances = read_utterances(_config(tiny_model, manifest), manifest.parent)[:5]
    encoder = open_encoder(tiny_model, device="cpu")
    found = {each.layer: each.values for each in layer_vectors(utterances, encoder, "trained", tmp_path, None)}
    alone = encoder.represent(pad_waves([audio.load(utterances[3].audio)]), ["gru2"])["gru2"].values
    np.testing.assert_allclose(found["gru2"][3], alone[0].mean(dim=0).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"folds": 9}, SplitError, "9 folds of 6"),
        ({"classes": ("anger", "joy")}, LabelError, "no utterance counts as joy"),
        ({"classes": ("anger",)}, SplitError, "only anger to train on"),
    ],
)
def test_what_cannot_be_probed_is_refused(
    more: dict[str, Any], error: type[Exception], says: str, manifest: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        probe_layers(_config(tiny_model, manifest, **more), manifest.parent, tmp_path / "probe")
    assert not (tmp_path / "probe").exists()


def test_a_folder_of_another_probe_is_left_alone(manifest: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "probe"
    probe_layers(_config(tiny_model, manifest, control=False), manifest.parent, output)
    with pytest.raises(RunError, match="holds something else"):
        probe_layers(_config(tiny_model, manifest, seed=2), manifest.parent, output)
    with pytest.raises(RunError, match="holds something else"):
        probe_layers(_config(tiny_model, manifest), manifest.parent, manifest.parent)
