"""What every emotion head is: parts that make a vector of an utterance, and what scores classes or dimensions by it.

A head is given frames by name: those of the recogniser layers that it reads, or, where they are all it needs, their
statistics over time ("gru3/mean"); and acoustic features under `ACOUSTIC`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.func import functional_call, vmap

from affetto.config import Config
from affetto.errors import ConfigError
from affetto.features.acoustic import AcousticConfig, acoustic
from affetto.frames import STATISTICS, Frames, Statistic, Waves, pooled
from affetto.models.encoders.encoder import WORD_LAYERS, LayerInfo, check_layers
from affetto.models.words import TranscriptConfig

ACOUSTIC = "acoustic"  # The name under which a head is given acoustic features
ALL = "all"  # In the place of layers' names: every layer of the recogniser
MAX_WIDTH = 65_536  # No layer is wider: a config that says otherwise is damaged
# Which trainings of a row are one computation: all folds and repeats, some folds of a repeat, or each its own.
Together = Literal["repeats", "folds", "alone"]


class Standardise(nn.Module):
    """Subtracts a mean and divides by a deviation that were measured on training utterances; at first, does nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean: Tensor = nn.Buffer(torch.zeros(width))
        self.deviation: Tensor = nn.Buffer(torch.ones(width))

    def measure(self, mean: Tensor, deviation: Tensor) -> None:
        """Takes the mean and the standard deviation of each column over training data, (width,)."""
        self.mean = mean.float()
        # What never varied in training is no evidence; divided by next to nothing, it would drown all else later.
        self.deviation = torch.where(deviation > 1e-5, deviation, 1.0).float()

    def forward(self, values: Tensor) -> Tensor:
        """Of (..., width)."""
        return (values - self.mean) / self.deviation

    def undo(self, values: Tensor) -> Tensor:
        """What became these values, (..., width)."""
        return values * self.deviation + self.mean


class Part(nn.Module):
    """Makes a vector of an utterance, of some width, out of inputs of these widths by name."""

    linear: ClassVar[bool] = False  # Whether the vector is nothing but the standardised inputs, each of a single frame

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.width = width
        self.standardise = Standardise(sum(widths.values()))

    def forward(self, given: Mapping[str, Frames]) -> Tensor:
        """(batch, width)."""
        raise NotImplementedError

    def stacked(self, own: Mapping[str, Tensor], given: Mapping[str, Frames], chosen: Tensor) -> Tensor:
        """The same for the parts of several heads at once, each of a batch of its own: (heads, batch, width).

        Args:
            own: the parameters and buffers of all of them by name, each (heads, ...).
            given: frames of all utterances in the batches.
            chosen: which of these each head's batch holds, (heads, batch).
        """
        batches = {name: Frames(*(each[chosen] for each in frames)) for name, frames in given.items()}
        vectors: Tensor = vmap(lambda mine, batch: functional_call(self, mine, (batch,)))(dict(own), batches)
        return vectors

    def typical_frame(self, name: str) -> Tensor | None:
        """The mean frame of the training speech, as far as it was measured, (width,); None of what it does not read."""
        means = dict(zip(self.widths, torch.split(self.standardise.mean, list(self.widths.values())), strict=True))
        return means.get(name, means.get(pooled(name)))


def within(values: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): each for name, each in values.items() if name.startswith(prefix)}


def pool(given: Mapping[str, Frames], name: str) -> Tensor:
    """A statistic of a layer over time, (batch, width): as it is given, or of the layer's frames.

    >>> pool({"gru3": Frames(torch.tensor([[[1.0], [3.0]]]), torch.tensor([2]))}, "gru3/mean")
    tensor([[2.]])
    """
    if name in given:
        return given[name].values[:, 0]
    layer, _, statistic = name.rpartition("/")
    return STATISTICS[statistic](given[layer])


class HeadConfig(Config):
    """What a kind of head declares; every kind is a class of its own."""

    kind: str  # the name of the kind
    dropout: float = Field(default=0.25, ge=0, lt=1)  # on the utterance's vector, before the softmax
    # scale each input by its mean and deviation over the training utterances; not in the paper
    standardise: bool = False
    hidden: int = Field(default=0, ge=0, le=MAX_WIDTH)  # units of a layer before the softmax; none in the paper

    @property
    def layers(self) -> tuple[str, ...] | None:
        """The recogniser layers that it reads; None reads all."""
        return ()

    @property
    def pooling(self) -> tuple[Statistic, ...]:
        """The statistics of each layer over time that are all it needs; none: it needs the frames."""
        return ()

    @property
    def acoustic(self) -> AcousticConfig | None:
        """The acoustic features that it reads."""
        return None

    @property
    def tuned_from(self) -> str | None:
        """The lowest recogniser layer that is trained along; None keeps the recogniser frozen."""
        return None

    @property
    def tuned_rank(self) -> int | None:
        """How low a rank is added to these layers' matrices and trained; None trains all of them."""
        return None

    @property
    def words(self) -> TranscriptConfig | None:
        """How words come about that it reads; None where it reads none."""
        return None

    @property
    def together(self) -> Together:
        """How folds are trained together; "alone" also suits a part that `Part.stacked` cannot compute."""
        if self.tuned_from is not None or self.hidden:
            return "alone"
        return "repeats" if self.pooling and self.acoustic is None else "folds"

    @property
    def fold_s(self) -> float:
        """Roughly how many seconds a fold takes on one core; only the relations matter."""
        return 3.0

    def choose(self, known: Sequence[LayerInfo]) -> dict[str, int]:
        """The layers that it reads of a recogniser that has these, and their widths.

        Raises:
            ConfigError: one is not there, or stands below those that are trained along.
        """
        widths = {layer.name: layer.width for layer in known}
        names = list(widths) if self.layers is None else self.layers
        check_layers(tuple(known), [*names, *([] if self.tuned_from is None else [self.tuned_from])])
        order = list(widths)
        if self.tuned_from is not None and order.index(self.tuned_from) > max(map(order.index, names)):
            problem = f"{self.tuned_from} stands above {' and '.join(names)}"
            raise ConfigError(problem, "train from the head's layer or from one below it")
        return {name: widths[name] for name in names}

    def inputs(self, layers: Iterable[str]) -> list[str]:
        """What it reads of these layers while the recogniser is frozen: their statistics, or their frames."""
        return [pooled(name, statistic) for name in layers for statistic in self.pooling] or list(layers)

    def parts(self, widths: Mapping[str, int]) -> dict[str, Part]:
        """New parts by name, for inputs (see `inputs`) of these widths."""
        raise NotImplementedError


class LayerConfig(HeadConfig):
    """What heads on a recogniser share."""

    # x, as a layer's name ("gru3"); of a head that can read several, also their names, or "all" but for those of words
    layer: str | tuple[str, ...]
    # the lowest recogniser layer that is trained along with the head, up to the highest that it reads; None keeps the
    # recogniser frozen, as the paper does
    trained_from: str | None = None
    # how low a rank is added to the matrices of these layers and trained, instead of all of them
    trained_rank: int | None = Field(default=None, ge=1)
    # how the words come about that "text" and "decoder" are layers of, see `affetto.models.words`
    transcript: TranscriptConfig | None = None

    @field_validator("layer")
    @classmethod
    def _each_once(cls, layer: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not layer or (isinstance(layer, tuple) and len(set(layer)) != len(layer)):
            raise ValueError("name each layer once, and at least one")
        return layer

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.trained_rank is not None and self.trained_from is None:
            raise ValueError("trained_rank says how layers are trained along: name the lowest as trained_from")
        if self.words is None and self.transcript is not None:
            words = " and ".join(WORD_LAYERS)
            raise ValueError(f"only the layers {words} read a transcript; name one, or leave it out")
        if self.words is not None and self.trained_from is not None:
            raise ValueError("layers are not trained along with a head that reads words; leave out trained_from")
        return self

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Those of `layer`."""
        if isinstance(self.layer, tuple):
            return self.layer
        return None if self.layer == ALL else (self.layer,)

    @property
    def tuned_from(self) -> str | None:
        """`trained_from`."""
        return self.trained_from

    @property
    def tuned_rank(self) -> int | None:
        """`trained_rank`."""
        return self.trained_rank

    @property
    def words(self) -> TranscriptConfig | None:
        """`transcript`, where a layer of words is read."""
        reads = not {*WORD_LAYERS}.isdisjoint(self.layers or ())
        return (self.transcript or TranscriptConfig()) if reads else None


class EmotionHead(nn.Module):
    """Scores emotions, ``classes`` in the order of the scores, from recogniser layers of these widths.

    Of a head that predicts ``dimensions``, which has no classes, the scores are their values.

    >>> from affetto.models.heads.kinds import MeanPoolingConfig
    >>> head = EmotionHead(MeanPoolingConfig(layer="gru2"), ("anger", "sadness"), {"gru2": 3})
    >>> head({"gru2": Frames(torch.ones(5, 4, 3), torch.full((5,), 4))}).shape
    torch.Size([5, 2])
    """

    def __init__(
        self, config: HeadConfig, classes: tuple[str, ...], layers: Mapping[str, int], dimensions: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self.dimensions = dimensions
        self.layers = dict(layers)
        widths = {given: layers[name] for name in layers for given in config.inputs([name])}
        for name, part in config.parts(widths).items():
            self.add_module(name, part)
        self.width = sum(part.width for part in self.parts.values())
        self.dropout = config.dropout
        last = nn.Linear(config.hidden or self.width, len(classes) or len(dimensions))
        self.output: nn.Linear | nn.Sequential = last
        if config.hidden:
            self.output = nn.Sequential(nn.Linear(self.width, config.hidden), nn.GELU(), last)
        if dimensions:
            self.units = Standardise(len(dimensions))  # of the training utterances' values
        self.familiarity: Familiarity | None = None

    @property
    def parts(self) -> dict[str, Part]:
        """What makes the utterance's vector, by name."""
        return {name: part for name, part in self.named_children() if isinstance(part, Part)}

    @property
    def linear(self) -> bool:
        """Whether it is a softmax or linear regression over its inputs."""
        return self.solvable and not self.config.hidden

    @property
    def solvable(self) -> bool:
        """Whether its vector is nothing but its inputs, so that it can be fitted without going through frames."""
        return [part.linear for part in self.parts.values()] == [True]

    def read(self, waves: Waves, layers: Mapping[str, Frames]) -> dict[str, Frames]:
        """All that it is given: its layers of what a recogniser made of sound, and acoustic features of the sound."""
        own = {name: layers[name] for name in self.layers}
        return own if self.config.acoustic is None else own | {ACOUSTIC: acoustic(waves, self.config.acoustic)}

    def represent(self, given: Mapping[str, Frames]) -> Tensor:
        """The utterances' vectors, (batch, width)."""
        return torch.cat([part(given) for part in self.parts.values()], dim=-1)

    def forward(self, given: Mapping[str, Frames], keep: Tensor | None = None) -> Tensor:
        """See `score`.

        Args:
            given: frames of each layer, (batch, time, layer's width), or its statistics over time, (batch, 1, width);
                and acoustic features, (batch, time, features).
            keep: what dropout leaves of the utterance's vector, as factors, (batch, width); None leaves all.
        """
        vectors = self.represent(given)
        return self.score(vectors if keep is None else vectors * keep)

    def score(self, vectors: Tensor) -> Tensor:
        """Scores (before the softmax) of each class, or the value of each dimension, (batch, outputs)."""
        scores: Tensor = self.output(vectors)
        return self.units.undo(scores) if self.dimensions else scores

    def predict(self, scores: Tensor) -> Tensor:
        """The probability of each class, or the value of each dimension, (..., outputs)."""
        return scores if self.dimensions else scores.softmax(dim=-1)

    def typical_frame(self, name: str) -> Tensor:
        """What a frame of an input is on average over the training speech; zeros where that was not measured."""
        found = (part.typical_frame(name) for part in self.parts.values())
        return next(each for each in found if each is not None)


class Familiarity(nn.Module):
    """Whether sound is like what a head was trained on, by the head's vectors.

    The distance is the root mean square of a vector's whitened principal components (Lee et al. 2018 use the same for
    images): 1 for typical training speech.
    """

    def __init__(self, width: int, components: int) -> None:
        super().__init__()
        self.mean: Tensor = nn.Buffer(torch.zeros(width))
        self.axes: Tensor = nn.Buffer(torch.zeros(width, components))
        self.limit: Tensor = nn.Buffer(torch.ones(()))

    @classmethod
    def fitted(cls, training: Tensor, judging: Tensor, components: int, quantile: float) -> Familiarity:
        """Fits it to vectors of training speech, (utterances, width), of which so many principal components count at
        most.

        The limit is set by other speakers under the same conditions: a ``quantile`` of their speech counts as familiar.

        >>> speech = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> Familiarity.fitted(speech, speech, 2, 1.0)(torch.tensor([[0.5, 0.5], [3.0, 0.0]])).tolist()
        [True, False]
        """
        mean = training.mean(dim=0)
        _, sizes, directions = torch.linalg.svd(training - mean, full_matrices=False)
        count = min(components, int((sizes > 1e-5 * sizes[0]).sum()))
        found = cls(training.shape[1], count)
        found.mean.copy_(mean)
        found.axes.copy_(directions[:count].T / sizes[:count] * len(training) ** 0.5)
        found.limit.copy_(torch.quantile(found.distance(judging), quantile))
        return found

    def distance(self, vectors: Tensor) -> Tensor:
        """How far vectors lie from the training speech, (batch,)."""
        return ((vectors - self.mean) @ self.axes).square().mean(dim=-1).sqrt()

    def forward(self, vectors: Tensor) -> Tensor:
        """True where sound is familiar, (batch,)."""
        return self.distance(vectors) <= self.limit
