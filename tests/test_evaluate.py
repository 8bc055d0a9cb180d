"""Predictions to disk and back, and the figures derived from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from affetto.data.utterance import Utterance
from affetto.evaluate import Prediction, predict, read_predictions, score, write_predictions
from affetto.models.heads import EmotionHead, MeanPoolingConfig
from affetto.training.heads import Example

CLASSES = ("sadness", "anger")


def _prediction(name: str, reference: str, anger: float) -> Prediction:
    predicted = "anger" if anger > 0.5 else "sadness"
    return Prediction(0, 1, name, f"speaker, {name}", reference, predicted, {"sadness": 1 - anger, "anger": anger})


PREDICTIONS = [_prediction("a", "anger", 0.75), _prediction("b", "sadness", 0.625), _prediction('"c"', "sadness", 0.25)]


def test_figures_by_hand() -> None:
    scores = score(PREDICTIONS)
    assert scores.uar == pytest.approx((1 + 1 / 2) / 2)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.f1_macro == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert (scores.classes, scores.confusion) == (CLASSES, [[1, 1], [0, 1]])


def test_to_disk_and_back(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.csv", PREDICTIONS)
    assert read_predictions(tmp_path / "predictions.csv") == PREDICTIONS
    assert [each.name for each in tmp_path.iterdir()] == ["predictions.csv"]


def test_the_columns(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.csv", PREDICTIONS[:1])
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "repeat,fold,utterance,speaker,reference,predicted,p_sadness,p_anger",
        '0,1,a,"speaker, a",anger,anger,0.250000,0.750000',
    ]


def test_predicts_by_the_heads_own_order_of_classes() -> None:
    head = EmotionHead(MeanPoolingConfig(layer="gru1"), CLASSES, layer_width=1).eval()
    head.load_state_dict({**head.state_dict(), "output.weight": torch.tensor([[1.0], [-1.0]])})
    head.output.bias.data.zero_()
    said = [Utterance(id=each, audio=Path("a.wav"), speaker="ann", corpus="mine") for each in "xy"]
    examples = [Example(torch.tensor([[2.0]]), None, 1), Example(torch.tensor([[-2.0]]), None, 1)]
    found = predict(head, said, examples, repeat=2, fold=3)
    assert [(each.utterance, each.reference, each.predicted) for each in found] == [
        ("x", "anger", "sadness"),
        ("y", "anger", "anger"),
    ]
    assert {(each.repeat, each.fold, each.speaker) for each in found} == {(2, 3, "ann")}
    assert found[0].probabilities["sadness"] == pytest.approx(0.982014, abs=1e-6)  # 1 / (1 + exp(-4))


def test_refuses_utterances_that_do_not_pair_up() -> None:
    head = EmotionHead(MeanPoolingConfig(layer="gru1"), CLASSES, layer_width=1)
    with pytest.raises(ValueError, match="zip"):
        predict(head, [], [Example(torch.ones(1, 1), None, 0)])
