"""Heads for recordings of one level: from a recipe to a recogniser that quiet recordings do not mislead."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.tiny_encoders import save
from tests.predictions import read_predictions

from affetto import audio
from affetto.errors import CheckpointError, ConfigError
from affetto.experiment import train_emotion
from affetto.frames import pad_waves
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import bring_to, computed
from affetto.models.heads import EmotionHead, load_head, save_head
from affetto.models.heads.kinds import MeanPoolingConfig
from affetto.models.whisper import WhisperEncoder
from affetto.packing import pack_run, write_card
from affetto.pretrained import DIMENSIONS, EMOTION
from affetto.recognise import EmotionRecogniser

RECIPE = """
recogniser = "{model}"
corpus = "crema-d"
classes = ["sadness", "anger"]
validation_speakers = ["1003"]
test_speakers = ["1004"]
level = 1.0

[head]
kind = "mean_pooling"
layer = "layer2"

[training]
epochs = 2
"""

QUIET = 0.01  # -40 dB


@pytest.fixture
def run(data_root: Path, tmp_path: Path) -> Path:
    """A head over Whisper that was trained at one level."""
    text = RECIPE.format(model=save("whisper", tmp_path / "whisper", 1))
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    train_emotion(tmp_path / "recipe.toml", data_root, tmp_path / "run")
    return tmp_path / "run"


def _probabilities(recogniser: EmotionRecogniser, wave: torch.Tensor) -> list[float]:
    (prediction,) = recogniser.predict(pad_waves([wave]))
    return list(prediction.probabilities.values())


def test_what_is_quiet_is_recognised_as_it_is_aloud(run: Path, data_root: Path) -> None:
    recogniser = EmotionRecogniser.from_pretrained(run, "cpu", spells=False, precision="float32")
    assert computed(recogniser.encoder) == f"{recogniser.encoder.fingerprint}-level1.0"
    assert "-level1.0" in recogniser.fingerprint()
    predictions = read_predictions(run / "predictions.csv")
    sounds = [audio.load(data_root / "crema-d" / "AudioWAV" / f"{each.utterance}.wav") for each in predictions]
    aloud = [_probabilities(recogniser, each) for each in sounds]
    assert aloud == [pytest.approx(list(each.probabilities.values()), abs=1e-5) for each in predictions]
    quiet = [_probabilities(recogniser, QUIET * each) for each in sounds]
    assert isinstance(recogniser.encoder.network, WhisperEncoder)
    recogniser.encoder.network.level = None
    unequal = [_probabilities(recogniser, QUIET * each) for each in sounds]
    changed, otherwise_changed = (np.abs(np.subtract(each, aloud)).max() for each in (quiet, unequal))
    assert 10 * changed < otherwise_changed


def test_the_card_says_so(run: Path, tmp_path: Path) -> None:
    pack_run(run, tmp_path / "packed")
    assert "which reads recordings at one level." in write_card(tmp_path / "packed", []).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper_ctc"])
def test_what_has_no_choice_of_level_is_named(tmp_path: Path, kind: str) -> None:
    encoder = open_encoder(save(kind, tmp_path / kind), device="cpu")
    before = encoder.fingerprint
    with pytest.raises(ConfigError, match=rf"{kind}: does not bring recordings to a level of 1.5; leave 'level' out"):
        bring_to(encoder, 1.5)
    assert computed(bring_to(encoder, None)) == before


def test_a_level_that_it_was_trained_at_is_no_change(tmp_path: Path) -> None:
    encoder = open_encoder(save("whisper_ctc", tmp_path / "model"), device="cpu")
    assert computed(bring_to(encoder, 1.0)) == encoder.fingerprint


@pytest.mark.parametrize("value", ["high", True, float("inf")])
def test_a_level_that_is_none(run: Path, value: object) -> None:
    _state(run / EMOTION, value)
    with pytest.raises(CheckpointError, match="a level of"):
        EmotionRecogniser.from_pretrained(run, "cpu")


def test_heads_of_two_levels_are_refused(run: Path) -> None:
    _, description = load_head(run / EMOTION)
    second = EmotionHead(MeanPoolingConfig(layer="layer1"), (), {"layer1": 16}, ("valence",))
    save_head(run / DIMENSIONS, second, description.facts)
    assert EmotionRecogniser.from_pretrained(run, "cpu").dimensions == ("valence",)
    _state(run / DIMENSIONS, None)
    with pytest.raises(CheckpointError, match="was trained at another level than the emotion head; train both alike"):
        EmotionRecogniser.from_pretrained(run, "cpu")


def test_a_recogniser_with_a_level_of_its_own_needs_none_said(tmp_path: Path) -> None:
    folder = save("whisper_ctc", tmp_path / "model")
    trained_on = {"encoder_fingerprint": open_encoder(folder, device="cpu").fingerprint}
    for name, classes, dimensions in ((EMOTION, ("a", "b"), ()), (DIMENSIONS, (), ("valence",))):
        head = EmotionHead(MeanPoolingConfig(layer="layer1"), classes, {"layer1": 8}, dimensions)
        save_head(folder / name, head, trained_on)
    _state(folder / EMOTION, 1.0)
    assert EmotionRecogniser.from_pretrained(folder, "cpu").dimensions == ("valence",)
    _state(folder / EMOTION, 2.0)
    with pytest.raises(CheckpointError, match="another level"):
        EmotionRecogniser.from_pretrained(folder, "cpu")


def _state(head: Path, level: object) -> None:
    description = json.loads(head.with_suffix(".json").read_text(encoding="utf-8"))
    description["facts"]["level"] = level
    head.with_suffix(".json").write_text(json.dumps(description), encoding="utf-8")
