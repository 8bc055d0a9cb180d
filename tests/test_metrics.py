"""Error rates, classification figures and calibration, worked by hand and against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binned_statistic
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, log_loss, precision_recall_fscore_support
from torchmetrics.functional import concordance_corrcoef

from affetto import metrics

TEXTS = st.lists(st.sampled_from(["a", "ab", "bb"]), min_size=1, max_size=4).map(" ".join)
CLASSES = ("anger", "happiness", "neutral", "sadness")


@pytest.mark.parametrize(
    ("references", "hypotheses", "rate"),
    [
        (["a cat sat down"], ["a cat sat down"], 0.0),
        (["a cat sat down"], ["a bat sat"], 2 / 4),
        (["a cat"], [""], 1.0),
        (["yes"], ["yes it is"], 2.0),
        (["one two three four five", "six"], ["one two three four five", "sex"], 1 / 6),  # of all words together
        (["", "six"], ["noise", "six"], 0.0),  # nothing to compare with
    ],
)
def test_word_error_rate(references: list[str], hypotheses: list[str], rate: float) -> None:
    assert metrics.wer(references, hypotheses) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("references", "hypotheses", "rate"),
    [
        (["kitten"], ["sitting"], 3 / 6),
        (["a b"], ["ab"], 1 / 3),  # spaces count
        (["abcd", "ab"], ["abcd", "xy"], 2 / 6),
        (["abc"], [""], 1.0),
    ],
)
def test_character_error_rate(references: list[str], hypotheses: list[str], rate: float) -> None:
    assert metrics.cer(references, hypotheses) == pytest.approx(rate)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6), st.integers(0, 6))
def test_counts_of_parts_add_up_to_the_rates_of_the_whole(pairs: list[tuple[str, str]], cut: int) -> None:
    parts = [metrics.error_counts(*zip(*part, strict=True)) for part in (pairs[:cut], pairs[cut:]) if part]
    errors, characters, word_errors, words = (sum(values) for values in zip(*parts, strict=True))
    references, hypotheses = zip(*pairs, strict=True)
    assert errors / characters == pytest.approx(metrics.cer(references, hypotheses))
    assert word_errors / words == pytest.approx(metrics.wer(references, hypotheses))


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(0.1, 3))
def test_concordance_is_that_of_torchmetrics(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    references = rng.normal(50, 10, 5_000)
    predictions = references * scale + 10 * shift + rng.normal(0, 5, 5_000)
    expected = concordance_corrcoef(torch.from_numpy(predictions), torch.from_numpy(references)).item()
    assert metrics.ccc(references, predictions) == pytest.approx(expected, abs=1e-3)  # they divide variances by n - 1


@pytest.mark.parametrize(
    ("references", "predictions", "expected"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], 4 / 7),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], 0.0),
        ([2.0, 2.0], [2.0, 2.0], 0.0),
        ([1e6, 1e6 + 1.0], [1e6, 1e6 + 1.0], 1.0),
    ],
)
def test_concordance_by_hand(references: list[float], predictions: list[float], expected: float) -> None:
    assert metrics.ccc(np.array(references), np.array(predictions)) == pytest.approx(expected)


def test_nothing_said_counts_nothing() -> None:
    assert metrics.error_counts([""], ["noise"]) == (0, 0, 0, 0)


def test_error_rates_refuse_what_does_not_pair_up() -> None:
    with pytest.raises(ValueError, match="shorter"):
        metrics.wer(["a", "b"], ["a"])


@pytest.mark.parametrize("references", [[], ["", " "]])
def test_error_rates_refuse_references_without_a_word(references: list[str]) -> None:
    with pytest.raises(ValueError, match="every reference is empty"):
        metrics.cer(references, references)


def test_by_hand() -> None:
    references = ["anger"] * 6 + ["sadness"] * 2 + ["neutral"] * 2
    predictions = ["anger"] * 5 + ["sadness"] + ["sadness", "anger"] + ["anger", "anger"]
    assert metrics.accuracy(references, predictions) == pytest.approx(6 / 10)
    assert metrics.uar(references, predictions) == pytest.approx((5 / 6 + 1 / 2 + 0) / 3)
    f1 = [2 * 5 / (6 + 8), 2 * 1 / (2 + 2), 0]  # 2 hits / (true + predicted)
    assert metrics.f1_macro(references, predictions) == pytest.approx(sum(f1) / 3)
    assert metrics.confusion(references, predictions, CLASSES).tolist() == [
        [5, 0, 0, 1],
        [0, 0, 0, 0],
        [2, 0, 0, 0],
        [1, 0, 0, 1],
    ]


def test_a_class_that_does_not_occur_is_no_recall_of_zero() -> None:
    assert metrics.uar(["anger", "sadness"], ["anger", "sadness"]) == 1
    assert metrics.uar(["anger", "sadness"], ["anger", "neutral"]) == 0.5
    assert metrics.f1_macro(["anger", "sadness"], ["anger", "neutral"]) == 0.5


LABELS = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=30)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@given(pairs=LABELS)
def test_agrees_with_scikit_learns_balanced_accuracy_and_confusion(pairs: list[tuple[str, str]]) -> None:
    references, predictions = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert metrics.uar(references, predictions) == pytest.approx(balanced_accuracy_score(references, predictions))
    _, _, f1, support = precision_recall_fscore_support(references, predictions, labels=CLASSES, zero_division=0)
    assert metrics.f1_macro(references, predictions) == pytest.approx(f1[support > 0].mean())
    counts = metrics.confusion(references, predictions, CLASSES)
    assert counts.sum(axis=1).tolist() == support.tolist()
    assert counts.trace() / counts.sum() == pytest.approx(metrics.accuracy(references, predictions))


def _answers(count: int, classes: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that would be right if they were not sharpened, and the truth drawn from those that are right."""
    rng = np.random.default_rng(count)
    logits = rng.uniform(-2, 2, (count, classes))
    right = softmax(logits, axis=1)
    truth = np.array([rng.choice(classes, p=row) for row in right])
    return softmax(sharpness * logits, axis=1), truth


def test_reliability_by_hand() -> None:
    confidences = np.array([0.5, 0.41, 0.6, 1.0, 0.95, 0.85])
    right = np.array([True, False, True, True, False, True])
    found = metrics.reliability(confidences, right, bins=10)
    # (.4, .5] holds .5 and .41, (.5, .6] .6, (.8, .9] .85, (.9, 1] .95 and 1
    assert found.counts.tolist() == [2, 1, 1, 2]
    assert found.confidence == pytest.approx([0.455, 0.6, 0.85, 0.975])
    assert found.accuracy == pytest.approx([0.5, 1.0, 1.0, 0.5])
    expected = (2 * 0.045 + 0.4 + 0.15 + 2 * 0.475) / 6
    assert metrics.expected_calibration_error(confidences, right, bins=10) == pytest.approx(expected)


@pytest.mark.parametrize(("confidence", "place"), [(0.0, 0.0), (1.0, 1.0)])
def test_no_confidence_falls_out_of_the_bins(confidence: float, place: float) -> None:
    found = metrics.reliability(np.array([confidence]), np.array([False]))
    assert (found.confidence.tolist(), found.counts.tolist()) == ([place], [1])


def test_confidences_without_answers() -> None:
    with pytest.raises(ValueError, match="confidences"):
        metrics.reliability(np.array([0.5, 0.5]), np.array([True]))


def test_bins_agree_with_scipys_and_scikit_learns() -> None:
    probabilities, truth = _answers(2_000, 4, 1.7)
    confidences, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    found = metrics.reliability(confidences, right, bins=10)
    accuracy, confidence = calibration_curve(right, confidences, n_bins=10)  # bins without their upper border
    assert found.accuracy == pytest.approx(accuracy)
    assert found.confidence == pytest.approx(confidence)
    gaps = binned_statistic(confidences, confidences - right, "sum", bins=10, range=(0, 1)).statistic
    assert metrics.expected_calibration_error(confidences, right, 10) == pytest.approx(np.abs(gaps).sum() / 2_000)


def test_cross_entropy_agrees_with_scikit_learn() -> None:
    probabilities, truth = _answers(500, 5, 1.0)
    assert metrics.cross_entropy(probabilities, truth) == pytest.approx(log_loss(truth, probabilities))
    assert metrics.cross_entropy(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(metrics.LEAST))


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 4, 8])
def test_the_temperature_is_where_scipy_finds_the_lowest_cross_entropy(sharpness: float, classes: int) -> None:
    probabilities, truth = _answers(3_000, classes, sharpness)
    temperature = metrics.fit_temperature(probabilities, truth)
    logits = np.log(probabilities)

    def loss(log_temperature: float) -> float:
        return log_loss(truth, softmax(logits / np.exp(log_temperature), axis=1), labels=range(classes))

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-8})
    assert temperature == pytest.approx(np.exp(best.x), rel=1e-4)
    assert temperature == pytest.approx(sharpness, rel=0.15)
    tempered = metrics.temper(probabilities, temperature)
    assert tempered == pytest.approx(softmax(logits / temperature, axis=1))
    assert (tempered.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_a_temperature_by_hand() -> None:
    """Of answers at .9, three in four are right: the odds of 9 become 3, the square root."""
    probabilities = np.array([[0.9, 0.1]] * 4)
    assert metrics.fit_temperature(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(2.0)
    assert metrics.temper(probabilities, 2.0)[0] == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize(
    ("probabilities", "truth", "temperature"),
    [
        ([[0.8, 0.2]] * 3, [0, 0, 0], 1 / metrics.HOTTEST),  # never wrong: as sure as can be
        ([[0.8, 0.2]] * 3, [1, 1, 1], metrics.HOTTEST),  # always wrong
        ([[0.5, 0.5]] * 3, [0, 1, 1], 1.0),  # nothing to sharpen
        ([[1.0, 0.0], [1.0, 0.0]], [0, 1], metrics.HOTTEST),  # a rounded 0 is not infinitely wrong
    ],
)
def test_temperatures_stay_in_their_bounds(
    probabilities: list[list[float]], truth: list[int], temperature: float
) -> None:
    found = metrics.fit_temperature(np.array(probabilities), np.array(truth))
    assert found == pytest.approx(temperature)
    assert np.isfinite(metrics.temper(np.array(probabilities), found)).all()


@given(
    confidences=st.lists(st.floats(0, 1), min_size=1, max_size=40),
    seed=st.integers(0, 2**32 - 1),
    bins=st.integers(1, 20),
)
def test_a_calibration_error_lies_between_0_and_1(confidences: list[float], seed: int, bins: int) -> None:
    right = np.random.default_rng(seed).random(len(confidences)) < 0.5
    found = metrics.reliability(np.array(confidences), right, bins)
    assert found.counts.sum() == len(confidences)
    assert 0 <= metrics.expected_calibration_error(np.array(confidences), right, bins) <= 1
