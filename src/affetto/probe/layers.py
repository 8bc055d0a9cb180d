"""Which layer carries emotion: a linear probe on the mean of each, beside features alone and a network never trained.

::

    probe.json             what was asked, and of what; written last
    begun.json             the same before there is a result, so that a stopped probe goes on
    predictions/NAME.csv   what the probe of one representation predicts of every utterance
    layers.csv             the figures that follow from them
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from affetto import metrics
from affetto.config import stable_seed
from affetto.data.manifest import manifest_digest
from affetto.data.protocols import GroupedKFold, make_folds
from affetto.data.splits import Split, by_speaker
from affetto.data.utterance import Utterance
from affetto.environment import environment
from affetto.errors import CorpusError, RunError, TrainingError
from affetto.evaluate import Prediction, write_predictions
from affetto.evaluate.predictions import read_columns
from affetto.features.acoustic import AcousticConfig
from affetto.frames import pooled
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.probe import folder
from affetto.probe.folder import ProbeConfig, read_utterances, untrained
from affetto.represent import Acoustics, Layers, Progress, represent
from affetto.stats import run_scores, speaker_interval
from affetto.training.heads.tasks import Task

FEATURES = AcousticConfig(level="relative")
"""MFCC, their deltas and pitch, without how loud the recording is as a whole, which the recogniser does not get."""

COMPLEXITIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths of the penalty that are tried; on CREMA-D the ends are seldom chosen."""

_STEPS, _TOLERANCE = 200, 1e-3  # Of the solver: more exact ones change no label in a hundred


class Vectors(NamedTuple):
    """A representation of every utterance; of features, network and layer are both "features"."""

    network: str
    layer: str
    values: NDArray[np.float32]  # (utterances, width); zero where the sound cannot be read
    readable: NDArray[np.bool_]  # (utterances,)

    @property
    def name(self) -> str:
        """For files and tables.

        >>> Vectors("trained", "gru3", np.zeros((0, 0), np.float32), np.zeros(0, bool)).name
        'trained-gru3'
        """
        return self.network if self.network == self.layer else f"{self.network}-{self.layer}"


def layer_vectors(
    utterances: Sequence[Utterance], encoder: Encoder, network: str, cache: Path, progress: Progress | None
) -> Iterator[Vectors]:
    """The mean of every layer over time (paper 3.1.3), from the input up."""
    names = tuple(layer.name for layer in encoder.layers)
    banks = represent(utterances, Layers(encoder, tuple(map(pooled, names))), cache, progress=progress)
    for name in names:
        bank = banks[pooled(name)]
        yield Vectors(network, name, bank.dense[0].numpy(), bank.readable)


def feature_vectors(utterances: Sequence[Utterance], cache: Path, progress: Progress | None) -> Vectors:
    """The mean of MFCC, deltas and pitch over time."""
    extractor = Acoustics(FEATURES)
    bank = represent(utterances, extractor, cache, progress=progress)[extractor.names[0]]
    means = bank.moments.sums / np.maximum(bank.moments.counts, 1)[:, None]
    return Vectors("features", "features", means.astype(np.float32), bank.readable)


class Probed(NamedTuple):
    """What a probe predicts of the test utterances, and how its complexity was chosen."""

    test: NDArray[np.float64]  # (utterances, classes) probabilities
    complexity: float
    validation_uar: float


def linear_probe(
    vectors: NDArray[np.floating], labels: NDArray[np.int64], task: Task, complexities: Sequence[float] = COMPLEXITIES
) -> Probed:
    """Fits a multinomial logistic regression, whose complexity the validation speakers choose by UAR.

    Vectors are (utterances, width), whose columns are brought to mean 0 and deviation 1 of the training utterances;
    labels are (utterances,), from 0, and classes count the same. Of equal complexities the first wins. Raises
    TrainingError where a class is missing from the training part, or values are not numbers.
    """
    absent = np.setdiff1d(labels, labels[task.training])
    if len(absent) or len(np.unique(labels)) < 2:
        problem = f"the training part lacks class {absent[0]}" if len(absent) else "a single class"
        raise TrainingError(problem, "divide the data otherwise, or name other classes", f"fold {task.fold}")
    if not np.isfinite(vectors).all():
        raise TrainingError("a representation with values that are not numbers", "look at the recogniser's weights")
    scaler = StandardScaler().fit(vectors[task.training].astype(np.float64))
    training, validation, test = (
        scaler.transform(vectors[part].astype(np.float64)).astype(np.float32)
        for part in (task.training, task.validation, task.test)
    )
    machine = LogisticRegression(class_weight="balanced", max_iter=_STEPS, tol=_TOLERANCE, warm_start=True)
    tried = []
    for complexity in complexities:
        machine.set_params(C=complexity)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of the weakest penalty, which validation judges
            machine.fit(training, labels[task.training])
        uar = metrics.uar(labels[task.validation], machine.predict(validation))
        tried.append(Probed(machine.predict_proba(test), complexity, uar))
    return max(tried, key=lambda each: each.validation_uar)


KIND = "layers"
CURVE, BEGUN, PREDICTIONS = "layers.csv", "begun.json", "predictions"


class LayersConfig(ProbeConfig):
    """Settings of the probe of layers."""

    folds: Annotated[int, Field(ge=3)] = 10  # of speakers; the fold after the tested one chooses the complexity
    control: bool = True  # whether a network of the same shape with random weights is probed, too
    complexities: Annotated[tuple[float, ...], Field(min_length=1)] = COMPLEXITIES


class LayerScore(NamedTuple):
    """A line of ``layers.csv``: scores over all folds together, with intervals over speakers."""

    network: str  # "trained", "untrained" or "features"
    layer: str
    width: int  # of its vectors
    uar: float
    low: float
    high: float
    accuracy: float
    behind: float  # how far its UAR is behind that of the best
    behind_low: float  # no number for the best itself
    behind_high: float


class LayerCurve(NamedTuple):
    """What was found: the folder, ``probe.json``, and a score for each representation."""

    root: Path
    facts: dict[str, Any]
    scores: list[LayerScore]


def probe_layers(
    config: LayersConfig, data_root: Path, output: Path, *, device: str = "auto", progress: Progress | None = None
) -> LayerCurve:
    """Probes every layer, or goes on where the same command was stopped; keeps representations beside the output.

    Raises AffettoError where there is no such corpus, class, recogniser or device; there are too few speakers for the
    folds; the folder is of another probe.
    """
    where = environment()  # the commit is that of the code that is running
    utterances = read_utterances(config, data_root)
    folds = make_folds(utterances, GroupedKFold(folds=config.folds), group=by_speaker, seed=config.seed)
    encoder = open_encoder(config.recogniser, device=device)
    facts: dict[str, Any] = {
        "kind": KIND,
        "config": config.model_dump(mode="json"),
        "manifest_sha256": manifest_digest(utterances),
        "encoder_fingerprint": encoder.fingerprint,
        "features": FEATURES.model_dump(mode="json"),
    }
    _begin(output, facts)
    cache = output.parent / "cache"
    networks = {"trained": encoder, **({"untrained": untrained(encoder, config.seed)} if config.control else {})}
    every = [feature_vectors(utterances, cache, progress)]
    for name, network in networks.items():
        every += layer_vectors(utterances, network, name, cache, progress)
    for place, vectors in enumerate(every):
        path = output / PREDICTIONS / f"{vectors.name}.csv"
        if not path.is_file():
            write_predictions(path, list(_predictions(vectors, utterances, folds, config)))
        if progress is not None:
            progress(place + 1, len(every))
    scores = _scores({each.name: each for each in every}, output, config)
    folder.write_rows(output / CURVE, scores, LayerScore._fields)
    facts |= {
        "environment": where,
        "counts": {"utterances": len(utterances), "speakers": len({by_speaker(each) for each in utterances})},
        "unreadable": int((~every[0].readable).sum()),
    }
    folder.write_facts(output, facts)
    return LayerCurve(output, facts, scores)


def read_layers(root: Path) -> LayerCurve:
    """Reads the folder of a probe of layers."""
    return LayerCurve(root, folder.read_facts(root, KIND), folder.read_rows(root / CURVE, LayerScore))


def _begin(output: Path, facts: dict[str, Any]) -> None:
    """Makes the folder, or makes sure that it is of the same probe."""
    path = output / BEGUN
    text = json.dumps(facts, indent=2) + "\n"
    try:
        if output.exists() and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            raise RunError("holds something else", "give another --output, or remove it", output)
        (output / PREDICTIONS).mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot be used ({error})", "give another --output", output) from error


def tasks(utterances: Sequence[Utterance], folds: Sequence[Split], readable: NDArray[np.bool_]) -> Iterator[Task]:
    """Folds by the places of their utterances, without those that cannot be read."""
    place = {each.key: number for number, each in enumerate(utterances) if readable[number]}
    for number, fold in enumerate(folds):
        parts = [np.array([place[each.key] for each in part if each.key in place], dtype=np.int64) for part in fold]
        if not all(len(part) for part in parts):
            raise CorpusError("no sound of one of its parts can be read", "look at the warnings", f"fold {number}")
        yield Task(0, number, *parts)


def labels_of(utterances: Sequence[Utterance], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each utterance's emotion among the classes."""
    return np.array([classes.index(each.emotion or "") for each in utterances], dtype=np.int64)


def _predictions(
    vectors: Vectors, utterances: Sequence[Utterance], folds: Sequence[Split], config: LayersConfig
) -> Iterator[Prediction]:
    labels = labels_of(utterances, config.classes)
    for task in tasks(utterances, folds, vectors.readable):
        probabilities = linear_probe(vectors.values, labels, task, config.complexities).test
        for place, chances in zip(task.test.tolist(), probabilities, strict=True):
            each, predicted = utterances[place], config.classes[int(chances.argmax())]
            shares = dict(zip(config.classes, chances.tolist(), strict=True))
            yield Prediction(0, task.fold, each.id, by_speaker(each), each.emotion or "", predicted, shares)


def _scores(every: dict[str, Vectors], output: Path, config: LayersConfig) -> list[LayerScore]:
    read = {name: read_columns(output / PREDICTIONS / f"{name}.csv")[1] for name in every}
    counted = {name: answers.tally(config.classes) for name, answers in read.items()}
    values = {name: run_scores(each)[0] for name, each in counted.items()}
    best = max(values, key=lambda name: float(values[name][0]))
    seed = stable_seed(config.seed, "crowds")
    found = []
    for name, vectors in every.items():
        interval = speaker_interval(counted[name], np.random.default_rng(seed))
        behind = speaker_interval(counted[best], np.random.default_rng(seed), against=counted[name])
        gap = (np.nan, np.nan) if name == best else (behind.low[0], behind.high[0])
        uar, accuracy, _ = values[name]
        figures = (uar, interval.low[0], interval.high[0], accuracy, values[best][0] - uar, *gap)
        found.append(LayerScore(vectors.network, vectors.layer, vectors.values.shape[1], *map(float, figures)))
    return found
