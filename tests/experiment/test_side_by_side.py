"""Rows that read recognisers of different families, side by side in one table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.models import tiny_encoders

from affetto.errors import CheckpointError, RunError
from affetto.evaluate import RunFolder
from affetto.experiment import Engine, run_experiment
from affetto.experiment.run import ExperimentRun
from affetto.models.encoders import open_encoder
from affetto.report import build_table

RECIPE = """
recogniser = "{own}"
corpus = "crema-d"
classes = ["sadness", "anger"]

[protocol]
kind = "grouped_k_fold"
folds = 4

[training]
epochs = 2
learning_rate = 0.02

[[rows]]
name = "DeepSpeech-2, MP"
model = {{ kind = "mean_pooling", layer = "gru2", standardise = true }}

[[rows]]
name = "Whisper, MP"
recogniser = "{whisper}"
model = {{ kind = "mean_pooling", layer = "layer2", standardise = true }}

[[rows]]
name = "Whisper, all layers"
recogniser = "{whisper}"
model = {{ kind = "weighted_sum", layer = "all", standardise = true }}

[[rows]]
name = "wav2vec 2.0, RNN"
recogniser = "{wav2vec2}"
model = {{ kind = "recurrent", layer = "layer2", units = 4 }}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_encoders.deepspeech2(folder / "own")
    tiny_encoders.whisper(folder / "whisper")
    tiny_encoders.like_wav2vec2(folder / "wav2vec2", "Wav2Vec2")
    return folder


def _run(models: Path, data_root: Path, folder: Path, text: str = RECIPE) -> ExperimentRun:
    recipe = folder.parent / "recipe.toml"
    recipe.write_text(text.format(**{name: models / name for name in ("own", "whisper", "wav2vec2")}))
    return run_experiment(recipe, data_root, folder, engine=Engine(jobs=1))


def test_rows_of_every_family_are_one_table(models: Path, data_root: Path, tmp_path: Path) -> None:
    run = _run(models, data_root, tmp_path / "run")
    table = build_table(RunFolder(run.folder))
    assert [row.name for row in table.rows] == [row.name for row in run.rows]
    assert len({row.scores["uar"] for row in run.rows}) > 1
    facts = (tmp_path / "run" / "run.json").read_text()
    assert all(open_encoder(models / name).fingerprint in facts for name in ("own", "whisper", "wav2vec2"))


def test_other_weights_under_the_same_name_are_another_experiment(
    models: Path, data_root: Path, tmp_path: Path
) -> None:
    mine = shutil.copytree(models, tmp_path / "models")
    _run(mine, data_root, tmp_path / "run")
    shutil.rmtree(mine / "whisper")
    tiny_encoders.whisper(mine / "whisper")
    with pytest.raises(RunError, match=f"the weights of {mine / 'whisper'}"):
        _run(mine, data_root, tmp_path / "run")


def test_a_recogniser_that_is_not_there_stops_all_before_anything_is_computed(
    models: Path, data_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="no such model"):
        _run(models, data_root, tmp_path / "run", RECIPE.replace("{wav2vec2}", "/nowhere/at/all"))
    assert not (tmp_path / "cache").exists()
