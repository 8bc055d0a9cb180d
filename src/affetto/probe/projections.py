"""Utterances as points (the paper's figure 4): one picture a layer, averaged (MP-x) or read by a trained GRU (RNN-x).

Only speakers whom nothing was fitted to are drawn. A picture of t-SNE shows neighbours, not distances, and pleases the
eye whatever it is given; so beside each stands how well a linear probe predicts the classes in the whole space, on the
same speakers, and the silhouette, in the whole space and in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from affetto.config import stable_seed
from affetto.data.manifest import manifest_digest
from affetto.data.protocols import GroupedKFold, make_folds
from affetto.data.splits import by_speaker
from affetto.data.utterance import Utterance
from affetto.environment import environment
from affetto.errors import TrainingError
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.models.heads import EmotionHead
from affetto.models.heads.kinds import RecurrentConfig
from affetto.probe import folder
from affetto.probe.folder import ProbeConfig, read_utterances
from affetto.probe.layers import Vectors, labels_of, layer_vectors, linear_probe, tasks
from affetto.represent import Layers, Progress, represent
from affetto.stats import run_scores, speaker_interval, tally
from affetto.training.heads.fit import Study, material_of, new_head
from affetto.training.heads.loop import HeadTraining, fit_head
from affetto.training.heads.tasks import HeadData, Task, measure

KIND = "projections"
SCORES, POINTS, COORDINATES = "projections.csv", "points.csv", "coordinates.safetensors"
WAYS = ("tsne", "pca")
PERPLEXITY = 30.0
Points = NDArray[np.float32]


class ProjectionsConfig(ProbeConfig):
    """Settings of the probe of representations."""

    parts: Annotated[int, Field(ge=3)] = 4  # of the speakers; one is drawn, one validates, the others train
    recurrent: tuple[str, ...] | None = None  # layers that a GRU is trained on; None takes every GRU layer
    units: Annotated[int, Field(ge=1)] = 32  # of that GRU, in each direction
    stride: Annotated[int, Field(ge=1)] = 4  # frames averaged into one before it
    training: HeadTraining = HeadTraining(epochs=10, learning_rate=2e-3, patience=1, stop_learning_rate=2e-4)
    points: Annotated[int, Field(ge=10)] = 1_500  # utterances drawn at most


class Point(NamedTuple):
    """A line of ``points.csv``: an utterance that is drawn."""

    utterance: str
    speaker: str
    emotion: str


class ProjectionScore(NamedTuple):
    """A line of ``projections.csv``."""

    name: str  # "MP-gru3" or "RNN-gru3"
    classes: str  # all of those drawn, with "+" between, or two of them
    uar: float  # of a linear probe of these classes in the whole space, on the speakers drawn
    low: float  # its interval over speakers
    high: float
    silhouette: float  # of the classes in the whole space, on the same speakers
    tsne: float  # the silhouette in the picture of t-SNE
    pca: float  # and in that of the first two principal components


class Projections(NamedTuple):
    """What was found: the folder, ``probe.json``, the numbers beside the pictures, and the utterances drawn."""

    root: Path
    facts: dict[str, Any]
    scores: list[ProjectionScore]
    points: list[Point]
    coordinates: dict[str, NDArray[Any]]  # "MP-gru3/tsne" -> (points, 2)


def probe_projections(
    config: ProjectionsConfig, data_root: Path, output: Path, *, device: str = "auto", progress: Progress | None = None
) -> Projections:
    """Trains what has to be trained, projects held-out speakers, and writes a folder that must not be there yet.

    Raises AffettoError where the folder is there; there is no such corpus, class, layer, recogniser or device; there
    are too few speakers.
    """
    folder.check_free(output)
    where = environment()  # the commit is that of the code that is running
    utterances = read_utterances(config, data_root)
    encoder = open_encoder(config.recogniser, device=device)
    _recurrent_layers(config, encoder)  # refuses unknown ones at once
    fold = make_folds(utterances, GroupedKFold(folds=config.parts), group=by_speaker, seed=config.seed)[0]
    cache = output.parent / "cache"
    averaged = list(layer_vectors(utterances, encoder, "MP", cache, progress))
    (task,) = tasks(utterances, [fold], averaged[0].readable)
    every = [*averaged, *_recurrent(utterances, encoder, task, config, cache=cache)]
    drawn = _drawn(task, config)
    scores: list[ProjectionScore] = []
    coordinates: dict[str, Points] = {}
    for place, vectors in enumerate(every):
        pictures = _project(vectors, task, drawn, config.seed)
        coordinates |= {f"{vectors.name}/{way}": picture for way, picture in zip(WAYS, pictures, strict=True)}
        scores += _scores(vectors, utterances, task, drawn, pictures, config)
        if progress is not None:
            progress(place + 1, len(every))
    points = [Point(each.id, by_speaker(each), each.emotion or "") for each in (utterances[place] for place in drawn)]
    facts = {
        "kind": KIND,
        "config": config.model_dump(mode="json"),
        "environment": where,
        "manifest_sha256": manifest_digest(utterances),
        "names": [vectors.name for vectors in every],
        "counts": {part: len(places) for part, places in zip(("train", "validation", "test"), task[2:], strict=True)},
        "unreadable": int((~averaged[0].readable).sum()),
    }
    with folder.writing(output) as draft:
        folder.write_rows(draft / SCORES, scores, ProjectionScore._fields)
        folder.write_rows(draft / POINTS, points, Point._fields)
        folder.write_arrays(draft / COORDINATES, coordinates)
        folder.write_facts(draft, facts)
    return Projections(output, facts, scores, points, dict(coordinates))


def read_projections(root: Path) -> Projections:
    """Reads the folder of a probe of representations."""
    facts = folder.read_facts(root, KIND)
    scores = folder.read_rows(root / SCORES, ProjectionScore)
    points = folder.read_rows(root / POINTS, Point)
    return Projections(root, facts, scores, points, folder.read_arrays(root / COORDINATES))


def _recurrent_layers(config: ProjectionsConfig, encoder: Encoder) -> tuple[str, ...]:
    known = [layer.name for layer in encoder.layers]
    if config.recurrent is None:
        return tuple(name for name in known if not name.startswith("conv"))
    for name in config.recurrent:
        if name not in known:
            raise TrainingError(f"the recogniser has no layer {name!r}", f"choose among {', '.join(known)}")
    return config.recurrent


def _recurrent(
    utterances: Sequence[Utterance], encoder: Encoder, task: Task, config: ProjectionsConfig, *, cache: Path
) -> Iterator[Vectors]:
    """What a new GRU makes of each layer, averaged over time (paper 3.1.3); it is trained on the training speakers."""
    targets = torch.eye(len(config.classes))[torch.from_numpy(labels_of(utterances, config.classes))]
    for layer in _recurrent_layers(config, encoder):
        banks = represent(utterances, Layers(encoder, (layer,)), cache)
        share = len(task.training) / len(utterances)
        study = Study(config.classes, targets, share, banks, encoder.layers, None, config.seed)
        model = RecurrentConfig(layer=layer, units=config.units, stride=config.stride, standardise=True)
        material = material_of(model, study)
        head = new_head(model, study, "rnn", layer)
        measure(head, material, task.training)
        fit_head(head, material, task, config.training, config.seed)
        yield Vectors("RNN", layer, _read(head, material), banks[layer].readable)


def _read(head: EmotionHead, material: HeadData) -> Points:
    """The averaged outputs of a trained head's GRU, (utterances, width); zero where the sound cannot be read."""
    readable = np.flatnonzero((material.lengths > 0).all(axis=0))
    values = np.zeros((len(material.targets), head.width), dtype=np.float32)
    for start in range(0, len(readable), 64):
        places = readable[start : start + 64]
        with torch.inference_mode():
            values[places] = head.represent(material.read(places)).cpu().numpy()
    return values


def _drawn(task: Task, config: ProjectionsConfig) -> NDArray[np.int64]:
    """The utterances of held-out speakers that are drawn."""
    if len(task.test) <= config.points:
        return task.test
    rng = np.random.default_rng(stable_seed(config.seed, "points"))
    return np.sort(rng.choice(task.test, config.points, replace=False))


def _project(vectors: Vectors, task: Task, drawn: NDArray[np.int64], seed: int) -> tuple[Points, Points]:
    """Points in two pictures; the principal components are those of the training speakers."""
    scaler = StandardScaler()
    known = scaler.fit_transform(vectors.values[task.training].astype(np.float64))
    space = scaler.transform(vectors.values[drawn].astype(np.float64))
    reduced = PCA(min(50, *known.shape), svd_solver="full").fit(known).transform(space)
    perplexity = min(PERPLEXITY, (len(drawn) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=stable_seed(seed, "tsne"), n_jobs=1)
    return tsne.fit_transform(reduced).astype(np.float32), reduced[:, :2].astype(np.float32)


def _scores(
    vectors: Vectors,
    utterances: Sequence[Utterance],
    task: Task,
    drawn: NDArray[np.int64],
    pictures: Sequence[Points],
    config: ProjectionsConfig,
) -> Iterator[ProjectionScore]:
    """The numbers for all classes, and for each two where there are more."""
    labels = labels_of(utterances, config.classes)
    deviation = vectors.values[task.training].std(axis=0)
    spaces: list[NDArray[np.floating]] = [vectors.values[drawn] / np.where(deviation > 0, deviation, 1.0), *pictures]
    pairs = combinations(config.classes, 2) if len(config.classes) > 2 else ()
    for classes in [config.classes, *pairs]:
        member = np.isin(labels, [config.classes.index(name) for name in classes])
        parts = [part[member[part]] for part in task[2:]]
        shown = member[drawn]
        silhouettes = [_silhouette(points[shown], labels[drawn[shown]]) for points in spaces]
        figures = _uar(vectors, utterances, Task(0, 0, *parts), classes, config.seed)
        yield ProjectionScore(vectors.name, "+".join(classes), *figures, *silhouettes)


def _uar(
    vectors: Vectors, utterances: Sequence[Utterance], task: Task, classes: Sequence[str], seed: int
) -> tuple[float, float, float]:
    """UAR and its interval; not numbers where no utterance of these classes is tested or validates."""
    if not len(task.test) or not len(task.validation):
        return (float("nan"),) * 3
    # Utterances of other classes are in no part of the task: whatever label they have is never looked at.
    labels = np.array([classes.index(each.emotion) if each.emotion in classes else 0 for each in utterances])
    predicted = linear_probe(vectors.values, labels, task).test.argmax(axis=1)
    speakers = [by_speaker(utterances[place]) for place in task.test]
    references = [classes[place] for place in labels[task.test]]
    said = [classes[place] for place in predicted]
    counted = tally([(0, 0)] * len(task.test), speakers, references, said, classes)
    interval = speaker_interval(counted, np.random.default_rng(stable_seed(seed, "crowds")))
    return float(run_scores(counted)[0][0]), float(interval.low[0]), float(interval.high[0])


def _silhouette(points: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The mean silhouette (Rousseeuw 1987); not a number where there are fewer than two classes."""
    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(points, labels))
