"""What an experiment compares: rows, on one division of one corpus or several, read from TOML."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from affetto.config import Config, Seed
from affetto.data.labels import Labelling
from affetto.data.protocols import GroupedKFold, Protocol
from affetto.evaluate.run_folder import slug
from affetto.features.conditions import BABBLE, Chances
from affetto.features.perturbation import Perturbation
from affetto.models.heads import HeadConfig
from affetto.pretrained import DEFAULT
from affetto.represent import Variants
from affetto.training.heads.fit import ModelConfig, Training
from affetto.training.heads.linear import HiddenTraining, LinearTraining
from affetto.training.heads.loop import HeadTraining

Repeats = Annotated[int, Field(ge=1, le=10_000)]
PLACE = "{x}"


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("name each once")
    return names


Names = Annotated[tuple[str, ...], AfterValidator(_each_once)]


class Predicted(Config):
    """What a recipe's heads predict: one of its classes, or the values of its dimensions."""

    # the emotions to distinguish; other utterances are left out
    classes: Names = ("anger", "happiness", "neutral", "sadness")
    # numbers to predict in the place of classes, such as "valence"; utterances that lack one are left out. Where
    # classes are named, too, only utterances of these emotions are read; else all are
    dimensions: Names = ()

    @field_validator("classes")
    @classmethod
    def _no_choice_of_one(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(classes) == 1:
            raise ValueError("name two at least")
        return classes

    @model_validator(mode="before")
    @classmethod
    def _all_emotions(cls, values: Any) -> Any:
        dimensions = isinstance(values, dict) and values.get("dimensions")
        return {"classes": (), **values} if dimensions else values

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.dimensions and not self.classes:
            raise ValueError("name classes or dimensions")
        return self


Labels = Annotated[Labelling, BeforeValidator(lambda given: {"preset": given} if isinstance(given, str) else given)]
"""Which emotion an utterance counts as: a published set's name, or its settings."""


class Fitted(Config):
    """How a head is fitted: in epochs, or one of two ways that need a head over statistics of layers."""

    training: HeadTraining = HeadTraining()  # in epochs
    linear: LinearTraining | None = None  # how a softmax regression is solved instead
    hidden: HiddenTraining | None = None  # how a head with a hidden layer is trained instead

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.linear is not None and self.hidden is not None:
            raise ValueError("a head is trained one way: leave out [linear] or [hidden]")
        return self

    @property
    def way(self) -> Training:
        """The one that is asked for."""
        return self.linear or self.hidden or self.training

    def check_head(self, head: HeadConfig) -> None:
        """Raises ValueError where it is for heads with hidden units and this has none, or the other way round."""
        if isinstance(self.way, HiddenTraining) and not head.hidden:
            raise ValueError("[hidden] trains hidden units; give the head some: hidden = 256")
        if isinstance(self.way, LinearTraining) and head.hidden:
            raise ValueError("[linear] solves a softmax alone; leave out the head's hidden units, or train by [hidden]")

    def check_for_dimensions(self) -> None:
        """Raises ValueError where it is for classes alone."""
        if not isinstance(self.way, HeadTraining):
            raise ValueError("heads that predict dimensions are trained in epochs; leave out [linear] and [hidden]")
        if self.training.balanced:
            raise ValueError("balanced weighs classes, and dimensions have none")


class CorpusSource(Config):
    """One corpus among several: its folder or manifest, relative to the data folder, and its own labels, if any."""

    path: Path  # a folder or a manifest
    labels: Labels | None = None  # which emotion an utterance counts as; None asks the recipe's, if it has any


Source = Annotated[
    CorpusSource, BeforeValidator(lambda given: {"path": given} if isinstance(given, str | Path) else given)
]


class Augmentation(Perturbation):
    """How training recordings are varied (paper 3.3.1)."""

    # of each recording, beside itself; 0 trains on the recordings as they are
    variants: int = Field(default=0, ge=0, le=100)
    # what happens to them beside: effect -> how often and how much, or a preset's name ("everyday")
    conditions: Chances = Field(default_factory=dict)
    # the corpus whose speakers talk in the background, relative to the data folder; needed where the conditions have
    # babble, and better another than that of the recipe, whose test speakers would be trained on
    babble: Path | None = None

    @model_validator(mode="after")
    def _has_voices(self) -> Augmentation:
        if BABBLE in self.conditions and self.babble is None:
            raise ValueError("name the corpus that babble is made of: babble = ...")
        return self

    def as_variants(self, seed: int) -> Variants:
        """What representations are asked for."""
        perturbation = Perturbation(tempo=self.tempo, gain_db=self.gain_db)
        return Variants(count=self.variants, perturbation=perturbation, conditions=self.conditions, seed=seed)


class OnCorpora(Config):
    """The data that a recipe reads: one corpus (a folder or manifest, relative to the data folder) or several.

    >>> calm = {"path": "ravdess", "labels": {"merge": {"calm": "neutral"}}}
    >>> [str(each.path) for each in OnCorpora.parse({"corpora": ["crema-d", calm]}).sources]
    ['crema-d', 'ravdess']
    """

    corpus: Path | None = None  # the only one
    # ... or several: the path of each, or a table of path and labels
    corpora: Annotated[tuple[Source, ...], Field(min_length=1)] | None = None
    labels: Labels = Labelling()  # which emotion an utterance counts as; a published set's name, or its settings
    # variants of the recordings that are trained on, beside the recordings themselves
    augment: Augmentation = Augmentation()
    speech_only: bool = False  # read only what lies between the beginning and the end of the speech that is found
    # what each recording's loudest value is brought to for a recogniser that leaves levels as they are (Whisper), see
    # `affetto.features.spectrogram.log_mel`; None leaves it as the recogniser was trained
    level: float | None = Field(default=None, ge=-4, le=4)
    # corpora of calm speech without labels, relative to the data folder, see `training.heads.linear`
    strangers: tuple[Path, ...] = ()
    strangers_each: int = Field(default=80, ge=2)  # so many utterances of each, spread evenly over it

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.corpus is None) == (self.corpora is None):
            raise ValueError("give either corpus or corpora")
        return self

    @property
    def sources(self) -> tuple[CorpusSource, ...]:
        """Every corpus, whichever key names it."""
        return self.corpora if self.corpora is not None else (CorpusSource(path=self.corpus or Path()),)


class RowConfig(Fitted):
    """One row of the table."""

    name: str = Field(min_length=1)  # as the table shows it
    model: ModelConfig  # what is trained
    recogniser: str | None = None  # whose layers it reads, instead of the recipe's
    repeats: Repeats = 1  # trainings of each fold, each from another initialisation
    # tell each speaker's frames in deviations from what is usual in all recordings of theirs, labels aside; whoever
    # is tested has to be known by many, then
    by_speaker: bool = False
    training: HeadTraining = HeadTraining()  # in epochs; a key left out is that of the recipe's ``[training]``
    # figure -> value that a paper reports, for the table to show beside ours ({uar = 0.571})
    published: dict[str, float] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _can_be_a_folder(cls, name: str) -> str:
        if not slug(name):
            raise ValueError("needs a letter or digit")
        return name

    @model_validator(mode="after")
    def _of_heads(self) -> Self:
        if isinstance(self.model, HeadConfig):
            self.check_head(self.model)
        elif not isinstance(self.way, HeadTraining):
            raise ValueError(f"[linear] and [hidden] train heads, not a {self.model.kind} row")
        return self

    @model_validator(mode="after")
    def _frozen_by_speaker(self) -> Self:
        if self.by_speaker and isinstance(self.model, HeadConfig) and self.model.tuned_from is not None:
            raise ValueError("by_speaker is for layers that stay as they are; leave out trained_from")
        return self


class ExperimentRecipe(OnCorpora, Predicted):
    """All that ``affetto experiment run`` needs.

    A row with a key ``x``, a list, stands for as many rows: every ``{x}`` in its texts becomes one value of the list.
    Its ``published`` is a table of tables then, one for each value.

    >>> rows = [{"name": "MP-{x}", "x": [1, 2], "model": {"kind": "mean_pooling", "layer": "gru{x}"}}]
    >>> [row.name for row in ExperimentRecipe.parse({"corpus": "crema-d", "rows": rows}).rows]
    ['MP-1', 'MP-2']
    """

    seed: Seed = 1  # of the folds, the variants of the sound and the trainings
    repeats: Repeats = 1  # of each row that does not say
    # folds of a row with GRU layers that are trained together, by one process; the last digits of results depend on it
    stack: int = Field(default=10, ge=1)
    # whose layers are reused, unless a row says otherwise: an embedded model's name, a folder relative to where the
    # command runs, or a name on the hub, see `open_encoder`
    recogniser: str = DEFAULT
    protocol: Protocol = GroupedKFold()  # who trains, validates and tests
    training: HeadTraining = HeadTraining()  # of each row, as far as it does not say
    rows: tuple[RowConfig, ...] = Field(min_length=1)  # of the table

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: Any) -> Any:
        """Writes every row out; what is of the wrong kind stays, for the fields' own checks to name it."""
        if not isinstance(values, dict) or not isinstance(values.get("rows"), list | tuple):
            return values
        shared = {"repeats": values.get("repeats", 1)}
        training = values.get("training", {})
        rows: list[Any] = []
        for row in values["rows"]:
            if not isinstance(row, dict):
                rows.append(row)
                continue
            for each in _each_x(row):
                own = each.get("training", {})
                merged = {**training, **own} if isinstance(training, dict) and isinstance(own, dict) else own
                rows.append({**shared, **each, "training": merged})
        return {**values, "rows": rows}

    @field_validator("rows")
    @classmethod
    def _names_differ(cls, rows: tuple[RowConfig, ...]) -> tuple[RowConfig, ...]:
        twice = [name for name, count in Counter(slug(row.name) for row in rows).items() if count > 1]
        if twice:
            alike = [row.name for row in rows if slug(row.name) == twice[0]]
            raise ValueError(f"names alike in all but punctuation: {', '.join(alike)}")
        return rows

    @model_validator(mode="after")
    def _strangers_have_no_speakers(self) -> Self:
        for row in self.rows if self.strangers else ():
            if row.by_speaker and isinstance(row.way, LinearTraining | HiddenTraining) and row.way.strength > 0:
                raise ValueError(
                    f"{row.name}: nothing is usual of strangers; leave out by_speaker, or set strength = 0"
                )
        return self

    @model_validator(mode="after")
    def _rows_predict_dimensions(self) -> Self:
        for row in self.rows if self.dimensions else ():
            if not isinstance(row.model, HeadConfig):
                raise ValueError(f"{row.name}: a {row.model.kind} row has classes, not dimensions")
            row.check_for_dimensions()
        return self

    def resolved(self) -> dict[str, Any]:
        """Every setting as TOML has it; what is not set (None) is left out."""
        return self.model_dump(mode="json", exclude_none=True)


def _each_x(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a row with a list ``x`` stands for."""
    if "x" not in row:
        if PLACE in str(row):
            raise ValueError(f"a row says {PLACE} but has no x: {row.get('name')!r}")
        return [row]
    values = row["x"]
    if not isinstance(values, list) or not values or not all(isinstance(value, int | str) for value in values):
        raise ValueError(f"x is a list of numbers or texts, not {values!r}")
    plain = {key: value for key, value in row.items() if key not in {"x", "published"}}
    published = row.get("published", {})
    unknown = set(published) - {str(value) for value in values} if isinstance(published, dict) else {str(published)}
    if unknown:
        raise ValueError(f"published for no x of {row.get('name')!r}: {', '.join(sorted(unknown))}")
    return [{**_put(plain, str(value)), "published": published.get(str(value), {})} for value in values]


def _put(value: Any, x: str) -> Any:
    """The value with x in the place of every "{x}"."""
    if isinstance(value, str):
        return value.replace(PLACE, x)
    if isinstance(value, dict):
        return {key: _put(each, x) for key, each in value.items()}
    if isinstance(value, list):
        return [_put(each, x) for each in value]
    return value
