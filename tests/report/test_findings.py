"""What figures show: recomputed from the predictions by scikit-learn and scipy, or by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, log_loss, recall_score
from tests.predictions import read_tested

from affetto.evaluate import Prediction, RunFolder
from affetto.evaluate.predictions import Answers
from affetto.report import build_table, findings
from affetto.report.build import derive
from affetto.training.heads.tasks import Epoch

Make = Callable[..., RunFolder]
CLASSES = ("anger", "happiness", "neutral", "sadness")


def _pairs(predictions: list[Prediction]) -> tuple[list[str], list[str]]:
    return [each.reference for each in predictions], [each.predicted for each in predictions]


def test_confusions_are_averaged_over_folds_and_their_diagonal_is_the_tables_uar(make_run: Make) -> None:
    run = make_run()
    derived = derive(run)
    found = findings.confusion(derived.counted["Large"])
    pooled = confusion_matrix(*_pairs(read_tested(run, "Large")), labels=CLASSES)
    assert found.counts == pytest.approx(pooled / 15)  # 3 repeats of 5 folds
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(4))
    row = next(row for row in build_table(run).rows if row.name == "Large")
    assert np.diagonal(found.shares).mean() == pytest.approx(row.main.mean)


def test_recalls_agree_with_scikit_learn_and_lie_in_their_intervals(make_run: Make) -> None:
    run = make_run()
    found = findings.class_recalls(derive(run).counted["MP_3"])
    assert found.mean == pytest.approx(recall_score(*_pairs(read_tested(run, "MP_3")), labels=CLASSES, average=None))
    assert ((found.low < found.mean) & (found.mean < found.high)).all()


def test_a_class_that_nobody_means_has_no_recall(make_run: Make) -> None:
    run = make_run(emotions=lambda _, number: CLASSES[number % 3])
    counted = derive(run).counted["MP_3"]
    assert np.isnan(findings.confusion(counted).shares[3]).all()
    found = findings.class_recalls(counted)
    assert [np.isnan(part[3]) for part in found] == [True, True, True]
    assert np.isfinite(found.mean[:3]).all()


def test_speakers_agree_with_scikit_learn(make_run: Make) -> None:
    run = make_run()
    found = findings.speaker_scores(derive(run).counted["MP_3"])
    said = read_tested(run, "MP_3")
    assert found.names.tolist() == sorted({each.speaker for each in said})
    for name, uar in zip(found.names.tolist()[:3], found.scores.tolist()[:3], strict=True):
        assert uar == pytest.approx(balanced_accuracy_score(*_pairs([each for each in said if each.speaker == name])))


def _curve(*losses: tuple[float, float]) -> list[Epoch]:
    return [Epoch(number, 0.1, *pair) for number, pair in enumerate(losses)]


def test_learning_curves_by_hand() -> None:
    found = findings.learning(
        {
            (0, 0): _curve((1.0, 1.2), (0.8, 0.9), (0.6, 1.0)),
            (0, 1): _curve((2.0, 1.6), (1.0, 1.1)),
            (0, 2): _curve((3.0, 2.0)),
            (0, 3): [],
            (0, 4): _curve((1.0, float("nan")), (1.0, 1.0)),
        }
    )
    assert found is not None
    assert found.epochs.tolist() == [1, 2]  # one of three goes on to the third
    assert found.training[0] == pytest.approx([2.0, 0.9])
    assert found.training[1] == pytest.approx([1.0, np.std([0.8, 1.0], ddof=1)])
    assert found.validation[0] == pytest.approx([1.6, 1.0])
    assert found.cells.tolist() == [3, 2]
    assert found.best.tolist() == [2, 2, 1]
    assert found.broken == 1


def test_one_learning_curve_has_no_spread() -> None:
    found = findings.learning({(0, 0): _curve((1.0, 1.2), (0.8, 0.9))})
    assert found is not None
    assert found.training[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("curves", [{}, {(0, 0): []}, {(0, 0): _curve((float("inf"), 1.0))}])
def test_nothing_learnt_is_no_curve(curves: dict[tuple[int, int], list[Epoch]]) -> None:
    assert findings.learning(curves) is None


def _answers(cells: list[tuple[int, int]], seed: int, sharpness: float) -> tuple[Answers, np.ndarray]:
    """Answers that are too sure; and their truth."""
    rng = np.random.default_rng(seed)
    logits = rng.uniform(-2, 2, (len(cells), 3))
    truth = np.array([rng.choice(3, p=row) for row in softmax(logits, axis=1)])
    shares = softmax(sharpness * logits, axis=1)
    names = [f"u{number}" for number in range(len(cells))]
    predicted, references = ([CLASSES[place] for place in places] for places in (shares.argmax(axis=1), truth))
    return Answers(cells, names, ["ann"] * len(cells), references, predicted, shares), truth


def test_every_cell_has_a_temperature_of_its_validation_speakers() -> None:
    cells = [(repeat, fold) for repeat in range(2) for fold in range(2) for _ in range(150)]
    tested, truth = _answers(cells, 1, 3.0)
    validating, chosen = _answers(cells, 2, 3.0)
    found = findings.calibrate(tested, validating, CLASSES[:3])
    scaled = np.empty_like(tested.probabilities)
    for number in range(4):
        part = slice(150 * number, 150 * (number + 1))
        logits = np.log(validating.probabilities[part])
        best = minimize_scalar(
            lambda log, logits=logits, part=part: log_loss(chosen[part], softmax(logits / np.exp(log), axis=1)),
            bounds=(-2, 3),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert found.temperatures[number] == pytest.approx(np.exp(best.x), rel=1e-4)
        scaled[part] = softmax(np.log(tested.probabilities[part]) / np.exp(best.x), axis=1)
    assert found.before.cross_entropy == pytest.approx(log_loss(truth, tested.probabilities))
    assert found.after.cross_entropy == pytest.approx(log_loss(truth, scaled), rel=1e-4)
    assert found.after.error < found.before.error / 2


def test_a_cell_that_was_not_validated_is_named() -> None:
    tested, _ = _answers([(0, 0)] * 5 + [(0, 1)] * 5, 1, 1.0)
    validating, _ = _answers([(0, 0)] * 5, 2, 1.0)
    with pytest.raises(ValueError, match="repeat 0, fold 1"):
        findings.calibrate(tested, validating, CLASSES[:3])


def test_mistakes_by_hand() -> None:
    """Averaged over two repeats; a2 is right once and wrong once, and wrong on average; a3 is right."""
    shares = np.array([[0.1, 0.9], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45], [0.9, 0.1]])
    names = ["a1", "a2", "a3"] * 2
    said = [CLASSES[int(place)] for place in shares.argmax(axis=1)]
    answers = Answers([(0, 0)] * 3 + [(1, 0)] * 3, names, ["ann", "bob", "cat"] * 2, ["anger"] * 6, said, shares)
    found = findings.mistakes(answers, CLASSES[:2])
    assert [(each.utterance, each.speaker, each.true_class, each.predicted) for each in found] == [
        ("a1", "ann", "anger", "happiness"),
        ("a2", "bob", "anger", "happiness"),
    ]
    assert [each.probability for each in found] == pytest.approx([0.8, 0.525])
    assert [each.true_probability for each in found] == pytest.approx([0.2, 0.475])
