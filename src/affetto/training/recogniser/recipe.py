"""What a recogniser is trained on and how, as a TOML recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from affetto.config import Config, Seed, read_toml
from affetto.errors import ConfigError
from affetto.features.perturbation import Factors, Gains
from affetto.models.deepspeech2 import PRESETS
from affetto.models.network import RecogniserConfig, parse_shape
from affetto.represent import Variants


class SpeechSource(Config):
    """A transcribed corpus, relative to the data folder, and which part of it validates."""

    path: Path  # its folder
    validation_speakers: float = Field(default=0.0, ge=0.0, lt=1.0)  # share of the speakers held out
    validation_partition: str | None = None  # an official part held out, too
    # a random choice of so many of what is held out validates; None takes all
    validation_utterances: int | None = Field(default=None, ge=1)
    # the official parts to train on; all but the one that validates where there are none
    training_partitions: tuple[str, ...] = ()


class PublicEncoder(Config):
    """The public recogniser whose encoder a model begins with, and the licence of its weights, for the model card.

    Its name is its folder, relative to the data folder, or "owner/name" on the hub, with "@revision" to pin one.
    """

    name: str  # the folder's, or that on the hub
    licence: str  # of its weights


class SpecAugment(Config):
    """Masks over the input (Park et al. 2019): how many a stretch of speech, and how wide at most."""

    frequency_masks: int = Field(default=0, ge=0)  # number for each utterance
    # bins, of a spectrogram's 161, or features of the highest frozen layer
    frequency_width: int = Field(default=24, ge=0)
    time_masks_per_s: float = Field(default=0.0, ge=0)  # number for each second
    time_width: int = Field(default=10, ge=0)  # frames of the input: of 10 ms, or of the highest frozen layer
    # the first epoch with masks; a network that does not align yet trains faster without
    from_epoch: int = Field(default=0, ge=0)


class SpeedAndGain(Config):
    """How far speech is changed before its spectrogram is taken; both are drawn evenly between their bounds.

    A speed of 1.1 is 10 % faster and higher, as a tape would play it (Ko et al. 2015); gain is added to the level, dB.
    A normalised spectrogram changes in faint sound alone.
    """

    speed: Factors = (1.0, 1.0)  # the slowest and the fastest
    gain_db: Gains = (0.0, 0.0)  # the softest and the loudest


class RecogniserTraining(Config):
    """How to train; the defaults are the paper's (3.1.1, 3.2.2, 3.3.1). More on them: ``docs/training.md``."""

    epochs: int = Field(default=35, ge=1)  # at most so many
    # epochs without a lower CER on the validation speakers before training stops
    patience: int = Field(default=3, ge=1)
    batch_size: int = Field(default=32, ge=1)  # utterances a batch, of each process that trains
    # at most so much sound a batch, padding counted; ``batch_size`` is then the most utterances
    batch_seconds: float | None = Field(default=None, gt=0)
    # the first epochs, which run from the shortest utterances to the longest (SortaGrad)
    sorted_epochs: int = Field(default=1, ge=0)
    accumulate: int = Field(default=1, ge=1)  # batches whose gradients make one step
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"  # mixed: products with half the bits
    optimiser: Literal["sgd", "adamw"] = "sgd"  # stochastic gradient descent with momentum 0.9, or AdamW
    # of the first epoch; the layers that a public encoder began with have ``encoder_rate`` times that
    learning_rate: float = Field(default=3e-4, gt=0)
    # of the learning rate, for the layers that a public encoder began with and that are not frozen
    encoder_rate: float = Field(default=1.0, gt=0)
    anneal: float = Field(default=1.1, ge=1)  # what the learning rate is divided by after every epoch
    warmup_steps: int = Field(default=0, ge=0)  # batches over which the learning rate grows to its value
    cooldown_epochs: int = Field(default=0, ge=0)  # the last epochs, over which it falls to nothing in a line
    weight_decay: float = Field(default=0.0, ge=0)  # of AdamW
    clip_norm: float = Field(default=15.0, gt=0)  # the norm to which gradients are clipped
    max_duration_s: float = Field(default=15.0, gt=0)  # longer utterances are left out
    # a random choice of so many, the same for every seed, validates each epoch
    validation_utterances: int = Field(default=500, ge=1)
    # also try the mean of the weights after so many last epochs; what decodes the validation speakers best is kept
    average_last: int = Field(default=1, ge=1)
    average_best: int = Field(default=1, ge=1)  # so many best epochs, see ``average_last``
    keep_every: int = Field(default=0, ge=0)  # keep a model of its own after so many epochs; 0 keeps none
    augment: SpecAugment = SpecAugment()  # masks
    perturb: SpeedAndGain = SpeedAndGain()  # another speed and level in each epoch
    frozen: str | None = None  # the highest layer that stays as it is; None trains them all
    variants: Variants = Variants()  # of the sound that frozen layers are given, computed once
    share_statistics: bool = True  # whether several processes normalise by the statistics of all their batches
    cache_sound: bool = False  # keep decoded sound in the run folder, 115 MB an hour
    workers: int = Field(default=0, ge=0)  # processes that load ahead (where new processes are forked, as on Linux)
    most_skipped: int = Field(default=20, ge=1)  # so many steps in a row without a usable gradient end the training

    @model_validator(mode="after")
    def _frozen_layers_read_variants(self) -> Self:
        if self.frozen is not None and (self.perturb != SpeedAndGain() or self.cache_sound):
            raise ValueError("beneath frozen layers, sound is changed by variants, and not read in each epoch")
        if self.frozen is None and self.variants.count:
            raise ValueError("variants are kept of frozen layers; name the highest of these")
        return self


class RecogniserRecipe(Config):
    """All that ``affetto asr train`` needs."""

    seed: Seed = 1  # of initialisation, batches and masks
    preset: str | None = None  # a shape by name
    # ... or a shape in full
    model: Annotated[SerializeAsAny[RecogniserConfig], BeforeValidator(parse_shape)] | None = None
    encoder: PublicEncoder | None = None  # a public recogniser whose encoder the model's begins with
    # a model to begin with instead of random numbers: the name of one that comes with affetto, or the folder of one, of
    # the same shape
    initial: str | None = None
    # ... or another recipe, whose result this one begins with; in TOML its path, relative to this recipe
    first: Self | None = None
    corpora: tuple[SpeechSource, ...] = Field(min_length=1)  # what to train and validate on
    training: RecogniserTraining = RecogniserTraining()  # how
    licence: str = "unstated"  # of the trained model, for its card

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.preset is None) == (self.model is None):
            raise ValueError("give either a preset or a model")
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"no preset {self.preset!r}; choose one of {', '.join(PRESETS)}")
        return self

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if sum(each is not None for each in (self.encoder, self.initial, self.first)) > 1:
            raise ValueError("give either a public encoder, an initial model or a first recipe")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a TOML recipe, and the one that comes first, if any; raises ConfigError."""
        return cls._read(path, ())

    @classmethod
    def _read(cls, path: Path, later: tuple[Path, ...]) -> Self:
        values = read_toml(path)
        if path.resolve() in later:
            raise ConfigError("this recipe would come before itself", "take one of the keys 'first' out", path)
        if isinstance(values.get("first"), str):
            values["first"] = cls._read(path.parent / values["first"], (*later, path.resolve()))
        return cls.parse(values, where=path)

    @property
    def shape(self) -> RecogniserConfig:
        """The network that the recipe asks for."""
        return self.model if self.model is not None else PRESETS[self.preset or ""]
