"""Error rates and classification figures, worked by hand and against scikit-learn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support

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
