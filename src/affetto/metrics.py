"""How good a recognition is, under the field's names: thin layers over jiwer and scikit-learn; and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jiwer
import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

BINS = 15  # Of a reliability diagram, as most papers on calibration have it
LEAST = 5e-7  # Probabilities below count as this: a run folder keeps six decimals, and no one is infinitely sure
HOTTEST = 20.0  # Temperatures are sought from one part of this to this
_FLAT = 1e-12  # A slope below this is the last digits of a sum
Floats = NDArray[np.float64]
Labels = Sequence[str] | NDArray[np.int64]


def wer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Word error rate over all utterances together: edits / words of the references.

    >>> round(wer(["a cat sat", "yes"], ["a cat", "yes"]), 2)
    0.25
    """
    counts = error_counts(references, hypotheses)
    return _rate(counts.word_errors, counts.words)


def cer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Character error rate over all utterances together, spaces counted.

    >>> cer(["abcd"], ["abed"])
    0.25
    """
    counts = error_counts(references, hypotheses)
    return _rate(counts.character_errors, counts.characters)


class ErrorCounts(NamedTuple):
    """Edits, and what they are counted against: parts of a corpus are added up before a rate is taken."""

    character_errors: int = 0
    characters: int = 0
    word_errors: int = 0
    words: int = 0


def error_counts(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorCounts:
    """What `cer` and `wer` are shares of; references without a word do not count."""
    kept = [pair for pair in zip(references, hypotheses, strict=True) if pair[0].strip()]
    if not kept:
        return ErrorCounts()
    spoken, decoded = [list(texts) for texts in zip(*kept, strict=True)]
    counts: list[int] = []
    for found in (jiwer.process_characters(spoken, decoded), jiwer.process_words(spoken, decoded)):
        missed = found.substitutions + found.deletions
        counts += [missed + found.insertions, found.hits + missed]
    return ErrorCounts(*counts)


def _rate(errors: int, total: int) -> float:
    if not total:
        raise ValueError("every reference is empty")
    return errors / total


def accuracy(references: Sequence[str], predictions: Sequence[str]) -> float:
    """The share of utterances that are right; the field also calls it weighted accuracy.

    >>> accuracy(["sadness", "anger"], ["sadness", "sadness"])
    0.5
    """
    return float(accuracy_score(references, predictions))


def uar(references: Labels, predictions: Labels) -> float:
    """Unweighted average recall over the classes that occur in the references, by name or number.

    >>> uar(["sadness", "anger", "anger"], ["sadness", "anger", "sadness"])
    0.75
    """
    present = np.unique(references)
    return float(recall_score(references, predictions, labels=present, average="macro", zero_division=0))


def f1_macro(references: Sequence[str], predictions: Sequence[str]) -> float:
    """The mean F1 of the classes that occur in the references.

    >>> f1_macro(["sadness", "anger"], ["sadness", "anger"])
    1.0
    """
    present = sorted(set(references))
    return float(f1_score(references, predictions, labels=present, average="macro", zero_division=0))


def confusion(references: Sequence[str], predictions: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Counts of utterances: a row a true class, a column a predicted one.

    >>> confusion(["b", "a", "a"], ["b", "a", "b"], ["a", "b"]).tolist()
    [[1, 1], [0, 1]]
    """
    return np.asarray(confusion_matrix(references, predictions, labels=list(classes)), dtype=np.int64)


def ccc(references: Floats, predictions: Floats) -> float:
    """Concordance correlation coefficient (L. Lin 1989, Biometrics 45, equation 2) of numbers, (utterances,) each.

    2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2), with variances divided by n: the correlation, lowered where
    predictions are too high or low, or vary too much or little; 1 where all agree, 0 where one of the two is constant.

    >>> round(ccc(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])), 4)
    0.5714
    """
    centre = references.mean()  # so that sums of squares lose no digits
    return float(concordance(agreement(references - centre, predictions - centre).sum(axis=-1)))


def agreement(references: Floats, predictions: Floats) -> Floats:
    """What concordance follows from where it is added up over utterances: (6, ...) of two (...)."""
    ones = np.ones_like(references)
    squares = (references**2, predictions**2, references * predictions)
    return np.stack([ones, references, predictions, *squares])


def concordance(sums: NDArray[np.floating]) -> Floats:
    """`ccc` of sums over utterances of `agreement`, (...) of (6, ...); not a number of none."""
    count = np.where(sums[0] > 0, sums[0], np.nan)
    x, y, xx, yy, xy = sums[1:] / count
    spread = xx - x**2 + yy - y**2 + (x - y) ** 2
    constant = np.where(np.isnan(count), np.nan, 0.0)
    found: Floats = np.divide(2 * (xy - x * y), spread, out=constant, where=spread > _FLAT)
    return found


class Reliability(NamedTuple):
    """How sure a model is and how often it is right, in bins of confidence that hold an utterance, (bins,) each."""

    confidence: Floats  # (bins,) the mean probability of the predicted class
    accuracy: Floats  # (bins,) the share that is right
    counts: NDArray[np.int64]  # (bins,) utterances


def reliability(confidences: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Sorts utterances by confidence into bins of equal width between 0 and 1, each without its lower border.

    Of the probabilities of the predicted classes, (utterances,), and whether each is the true one.
    """
    if confidences.shape != right.shape:
        raise ValueError(f"{confidences.shape} confidences and {right.shape} answers")
    place = np.clip(np.ceil(confidences.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidences, minlength=bins)
    hits = np.bincount(place, weights=right, minlength=bins)
    kept = counts > 0
    return Reliability(sure[kept] / counts[kept], hits[kept] / counts[kept], counts[kept])


def expected_calibration_error(confidences: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS) -> float:
    """How far confidence and accuracy lie apart, averaged over utterances: 0 where .7 means right 7 times in 10.

    Bins of equal width, the difference of each weighted by its utterances (Naeini et al. 2015, Guo et al. 2017); see
    `reliability`.
    """
    found = reliability(confidences, right, bins)
    return float(np.average(np.abs(found.confidence - found.accuracy), weights=found.counts))


def cross_entropy(probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """The mean of -log(probability of the true class), in nats; a probability below `LEAST` counts as that.

    Of (utterances, classes) and the places of the true classes, (utterances,).
    """
    given = np.take_along_axis(probabilities, truth[:, None], axis=1)
    return float(-np.log(np.maximum(given, LEAST)).mean())


def temper(probabilities: Floats, temperature: float) -> Floats:
    """Makes a model less sure (above 1) or surer (below), with the same predictions: softmax(logits / temperature)."""
    logs = np.log(np.maximum(probabilities, LEAST)) / temperature
    shares: Floats = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def fit_temperature(probabilities: Floats, truth: NDArray[np.integer]) -> float:
    """The temperature under which the cross-entropy is lowest (Guo et al. 2017), between 1 / `HOTTEST` and `HOTTEST`.

    The cross-entropy is convex in 1 / temperature, so its one minimum is where its slope is 0. Fit it on speakers
    who are not tested: (utterances, classes), and the places of the true classes.
    """
    logs = np.log(np.maximum(probabilities, LEAST))
    given = np.take_along_axis(logs, truth[:, None], axis=1).mean()

    def slope(sharpness: float) -> float:
        return float((temper(probabilities, 1 / sharpness) * logs).sum(axis=1).mean() - given)

    mildest, sharpest = slope(1 / HOTTEST), slope(HOTTEST)
    if max(abs(mildest), abs(sharpest)) < _FLAT:
        return 1.0  # all classes alike, always: no temperature changes anything
    if mildest >= 0:
        return HOTTEST
    if sharpest <= 0:
        return 1 / HOTTEST
    return 1 / float(optimize.brentq(slope, 1 / HOTTEST, HOTTEST))
