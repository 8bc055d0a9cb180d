"""How good a recognition is: thin layers over jiwer and scikit-learn, under the field's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jiwer
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score


def wer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Word error rate over all utterances together: edits / words of the references.

    >>> round(wer(["a cat sat", "yes"], ["a cat", "yes"]), 2)
    0.25
    """
    kept = _non_empty(references, hypotheses)
    return float(jiwer.wer([reference for reference, _ in kept], [hypothesis for _, hypothesis in kept]))


def cer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Character error rate over all utterances together, spaces counted.

    >>> cer(["abcd"], ["abed"])
    0.25
    """
    kept = _non_empty(references, hypotheses)
    return float(jiwer.cer([reference for reference, _ in kept], [hypothesis for _, hypothesis in kept]))


class ErrorCounts(NamedTuple):
    """Edits, and what they are counted against: parts of a corpus are added up before a rate is taken."""

    character_errors: int = 0
    characters: int = 0
    word_errors: int = 0
    words: int = 0


def error_counts(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorCounts:
    """What `cer` and `wer` are shares of; references without a word do not count.

    >>> error_counts(["a cat", ""], ["a bat", "eh"])
    ErrorCounts(character_errors=1, characters=5, word_errors=1, words=2)
    """
    kept = [pair for pair in zip(references, hypotheses, strict=True) if pair[0].strip()]
    if not kept:
        return ErrorCounts()
    spoken, heard = [list(texts) for texts in zip(*kept, strict=True)]
    counts: list[int] = []
    for found in (jiwer.process_characters(spoken, heard), jiwer.process_words(spoken, heard)):
        missed = found.substitutions + found.deletions
        counts += [missed + found.insertions, found.hits + missed]
    return ErrorCounts(*counts)


def _non_empty(references: Sequence[str], hypotheses: Sequence[str]) -> list[tuple[str, str]]:
    """An error rate is a share of the reference, so references without a word cannot count."""
    kept = [pair for pair in zip(references, hypotheses, strict=True) if pair[0].strip()]
    if not kept:
        raise ValueError("every reference is empty")
    return kept


def accuracy(references: Sequence[str], predictions: Sequence[str]) -> float:
    """The share of utterances that are right; the field also calls it weighted accuracy.

    >>> accuracy(["sadness", "anger"], ["sadness", "sadness"])
    0.5
    """
    return float(accuracy_score(references, predictions))


def uar(references: Sequence[str], predictions: Sequence[str]) -> float:
    """Unweighted average recall over the classes that occur in the references.

    >>> uar(["sadness", "anger", "anger"], ["sadness", "anger", "sadness"])
    0.75
    """
    present = sorted(set(references))
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
