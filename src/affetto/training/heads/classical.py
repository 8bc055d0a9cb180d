"""The rows of a table that do not read the sound, and the one that the field used before it had representations.

Chance and the most frequent class say what a figure is worth; a linear support vector machine over openSMILE's
functionals is the competitor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from affetto import metrics
from affetto.config import Config
from affetto.errors import TrainingError
from affetto.features.functionals import FeatureSet
from affetto.models.heads.head import Together
from affetto.training.heads.tasks import Outcome, Task

_KERNEL_CACHE_MB = 500
_LOG_SHARPNESS = (-5.0, 5.0)
"""How flat and how sharp probabilities may be made, by the logarithm of what decision values are multiplied by."""

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Floats = NDArray[np.float64]


class ClassicalConfig(Config):
    """What a classical row declares, as a head's config does."""

    kind: str
    together: ClassVar[Together] = "alone"
    fold_s: ClassVar[float] = 0.01
    """Roughly how many seconds a fold takes on one core; only the relations matter."""


class MostFrequentConfig(ClassicalConfig):
    """Predicts for every utterance the share of each class in the training part."""

    kind: Literal["most_frequent"] = "most_frequent"


class RandomConfig(ClassicalConfig):
    """Predicts at random, every class as often as any other."""

    kind: Literal["random"] = "random"


class FunctionalsSvmConfig(ClassicalConfig):
    """One linear support vector machine a class, over the functionals of whole utterances."""

    kind: Literal["functionals_svm"] = "functionals_svm"
    fold_s: ClassVar[float] = 30.0  # a machine for each class and complexity
    feature_set: FeatureSet = "ComParE_2016"  # which functionals, by openSMILE's names
    # the costs of a training error that are tried; the first best on the validation part is taken. They are for
    # features divided by the root of their number, so that the same ones fit every feature set
    complexities: tuple[_Positive, ...] = Field(default=(0.1, 0.3, 1.0, 3.0, 10.0, 30.0), min_length=1)
    # best by the lowest cross-entropy, as networks are chosen (paper 3.3.1), or by the highest unweighted average
    # recall, which jumps more from one complexity to the next where few speakers validate
    chosen_by: Literal["cross_entropy", "uar"] = "cross_entropy"
    # how many deviations from the training part's mean a functional may be; those of ComParE run to billions
    clip: _Positive = 5.0
    balanced: bool = True  # let errors cost more in rare classes


CLASSICAL: dict[str, type[ClassicalConfig]] = {
    "most_frequent": MostFrequentConfig,
    "random": RandomConfig,
    "functionals_svm": FunctionalsSvmConfig,
}
"""Classical rows by their kind."""


def fit_classical(
    config: ClassicalConfig,
    features: NDArray[np.float32] | None,
    targets: NDArray[np.floating],
    tasks: Sequence[Task],
    seed: int,
) -> Iterator[Outcome]:
    """Fits a classical row to each fold; what no chance enters into is fitted once, however often it is repeated.

    Features are (utterances, width), finite; targets are each class's share in each utterance, (utterances, classes),
    of which the machines take the largest. What is random depends on the seed, the repeat and the fold. Raises
    TrainingError where the row needs features and there are none, or a fold's training part lacks a class.

    >>> task = Task(0, 0, np.array([0, 1, 2, 3]), np.array([4]), np.array([5]))
    >>> targets = np.eye(2)[[0, 0, 0, 1, 0, 1]]
    >>> next(fit_classical(MostFrequentConfig(), None, targets, [task], seed=1)).test.tolist()
    [[0.75, 0.25]]
    """
    if isinstance(config, MostFrequentConfig):
        return (_most_frequent(targets, task) for task in tasks)
    if isinstance(config, RandomConfig):
        return (_random(targets.shape[1], task, seed) for task in tasks)
    assert isinstance(config, FunctionalsSvmConfig)
    if features is None:
        raise TrainingError("functionals_svm has no functionals to learn from", "extract them first")
    return _svm_outcomes(config, features, targets, tasks)


def _most_frequent(targets: NDArray[np.floating], task: Task) -> Outcome:
    shares = targets[task.training].mean(axis=0, dtype=np.float64).astype(np.float32)
    return Outcome(np.tile(shares, (len(task.validation), 1)), np.tile(shares, (len(task.test), 1)), (), 0)


def _random(classes: int, task: Task, seed: int) -> Outcome:
    generator = np.random.default_rng([seed, task.repeat, task.fold])  # numpy hashes the three into one seed

    def draw(utterances: int) -> NDArray[np.float32]:
        drawn = generator.random((utterances, classes)) + np.finfo(np.float64).tiny
        return np.asarray(drawn / drawn.sum(axis=1, keepdims=True), dtype=np.float32)

    return Outcome(draw(len(task.validation)), draw(len(task.test)), (), 0)


def _svm_outcomes(
    config: FunctionalsSvmConfig, features: NDArray[np.float32], targets: NDArray[np.floating], tasks: Sequence[Task]
) -> Iterator[Outcome]:
    found: dict[tuple[bytes, ...], Outcome] = {}
    for task in tasks:
        parts = tuple(part.tobytes() for part in (task.training, task.validation, task.test))
        if parts not in found:
            found[parts] = _fit_svm(config, features, targets, task)
        yield found[parts]


def _fit_svm(
    config: FunctionalsSvmConfig, features: NDArray[np.float32], targets: NDArray[np.floating], task: Task
) -> Outcome:
    """Chooses the complexity and the temperature on the validation part."""
    classes = targets.shape[1]
    training, validation = (targets[part].argmax(axis=1) for part in (task.training, task.validation))
    absent = sorted(set(range(classes)) - set(training.tolist()))
    if absent or classes < 2:
        where = f"repeat {task.repeat}, fold {task.fold}"
        raise TrainingError(f"the training part lacks class {absent or 1}", "divide the data otherwise", where)
    similarities = _similarities(features, task, config.clip)
    tried = [_decide(similarities, training, cost, config.balanced) for cost in config.complexities]
    sharpnesses = [_sharpness(decisions, targets[task.validation]) for decisions, _ in tried]

    def merit(place: int) -> float:
        decisions, _ = tried[place]
        if config.chosen_by == "uar":
            return metrics.uar(validation, decisions.argmax(axis=1))
        return -_cross_entropy(sharpnesses[place] * decisions, targets[task.validation])

    chosen = max(range(len(tried)), key=merit)  # the first of equals
    probabilities = [softmax(sharpnesses[chosen] * each, axis=1).astype(np.float32) for each in tried[chosen]]
    return Outcome(probabilities[0], probabilities[1], (), parameters=(features.shape[1] + 1) * classes)


def _similarities(features: NDArray[np.float32], task: Task, clip: float) -> list[_Floats]:
    """Inner products of each part with the training utterances, of features that have mean 0 and deviation 1 there."""
    # There may be more features than utterances, and each complexity and class needs the same products: with these a
    # machine is fitted in a second where one over the features takes half a minute.
    scaler = StandardScaler().fit(features[task.training].astype(np.float64))  # a square of 1e12 in float32 is coarse

    def scale(part: NDArray[np.int64]) -> NDArray[np.float32]:
        scaled = scaler.transform(features[part].astype(np.float64)).clip(-clip, clip)
        return np.asarray(scaled / np.sqrt(features.shape[1]), dtype=np.float32)

    known = scale(task.training)
    products = [part @ known.T for part in (known, scale(task.validation), scale(task.test))]
    return [each.astype(np.float64) for each in products]


def _decide(
    similarities: Sequence[_Floats], training: NDArray[np.int64], complexity: float, balanced: bool
) -> tuple[_Floats, _Floats]:
    """How far on its side of the plane between each class and all others validation and test utterances lie."""
    settings = {"C": complexity, "class_weight": "balanced" if balanced else None, "cache_size": _KERNEL_CACHE_MB}
    known, *judged = similarities
    machines = [
        SVC(kernel="precomputed", **settings).fit(known, training == place) for place in range(training.max() + 1)
    ]
    validation, test = (np.stack([each.decision_function(part) for each in machines], axis=1) for part in judged)
    return validation, test


def _sharpness(decisions: _Floats, targets: NDArray[np.floating]) -> float:
    """One over the temperature that fits the validation part best (temperature scaling, Guo et al. 2017)."""

    def loss(logarithm: float) -> float:
        return _cross_entropy(np.exp(logarithm) * decisions, targets)

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_SHARPNESS, method="bounded").x))


def _cross_entropy(logits: _Floats, targets: NDArray[np.floating]) -> float:
    return float(-(targets * log_softmax(logits, axis=1)).sum(axis=1).mean())
