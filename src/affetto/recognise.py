"""Sound to segments with what was said, which emotion it was said with, how sure that is, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from affetto import pretrained
from affetto.devices import Precision
from affetto.errors import CheckpointError
from affetto.frames import Frames, Waves
from affetto.models import checkpoint
from affetto.models.decoding import DecoderChoice, find_decoder
from affetto.models.encoders import find_heads, open_encoder
from affetto.models.encoders.encoder import TEXT, WORD_LAYERS, Encoder, TextDecoder, bring_to, computed
from affetto.models.heads import EmotionHead, load_head
from affetto.models.words import Reading, WordReader, reopen_reader
from affetto.recognition import RecordingRecogniser, SegmentPrediction
from affetto.recording import Spelling
from affetto.streaming.segments import Spoken, join


class HeadInputs(NamedTuple):
    """What comes before the heads, of a batch."""

    given: dict[str, Frames]  # what the emotion head is given
    spellings: list[Spelling]  # what each recording says
    times_s: dict[str, list[tuple[float, ...]]]  # the middles of the tokens of each layer of words, in each recording
    second: dict[str, Frames]  # what the head that predicts dimensions is given, where there is one


class TrainedHead(NamedTuple):
    """A head, what its description says, and what gives it the words that it reads, if it reads any."""

    head: EmotionHead
    facts: Mapping[str, Any]
    reader: WordReader | None = None

    @property
    def words(self) -> list[str]:
        """The layers of words that it reads."""
        return [name for name in self.head.layers if name in WORD_LAYERS]

    def read(self, output: Any) -> Reading:
        """Its words, of what a recogniser put out."""
        return Reading([], {}, {}) if self.reader is None else self.reader.read(output, self.words)

    def given(self, waves: Waves, layers: Mapping[str, Frames]) -> dict[str, Frames]:
        """What it reads of a batch: all of it, or what lies where somebody speaks, and all its words."""
        if not self.facts.get("speech_only"):
            return self.head.read(waves, layers)
        spoken = {name: frames if name in WORD_LAYERS else waves.of_speech(frames) for name, frames in layers.items()}
        return self.head.read(waves.spoken(), spoken)


class EmotionRecogniser(RecordingRecogniser):
    """Predicts what is said and with which emotion.

    Args:
        encoder: the speech recogniser.
        emotion: the emotion head that was trained on it.
        decoder: how what the recogniser puts out becomes text; None spells nothing, which takes less time.
        temperature: by which the head's scores are divided before they become probabilities, so that these are as
            often right as they say; above 1 they are less extreme.
        facts: what the head's description says: training data, licence, metrics.
        reader: what gives the head the words that it reads, if it reads any.
        second: a head trained on the same recogniser that predicts dimensions; None predicts none.
    """

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        encoder: Encoder,
        emotion: EmotionHead,
        decoder: TextDecoder | None,
        temperature: float = 1.0,
        facts: Mapping[str, Any] | None = None,
        reader: WordReader | None = None,
        second: TrainedHead | None = None,
    ) -> None:
        self.encoder, self.device = encoder, encoder.device
        self.decoder = decoder
        self.temperature = temperature
        self.heads = [TrainedHead(emotion, facts or {}, reader), *([] if second is None else [second])]
        self.emotion, self.facts, self.reader = self.heads[0]
        self.second = second
        for each in self.heads:
            each.head.to(encoder.device).eval()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = pretrained.DEFAULT,
        device: str = "auto",
        decoding: DecoderChoice | None = None,
        *,
        spells: bool = True,
        precision: Precision = "auto",
    ) -> EmotionRecogniser:
        """Loads a model.

        Args:
            model: the name of an embedded model, a folder, or a name on the hub, see `open_encoder`.
            device: see `choose_device`.
            decoding: how to decode; None is a beam search where the model has a language model, greedy where not.
            spells: whether words are wanted at all.
            precision: see `choose_precision`.

        Raises:
            CheckpointError: there is no such model, it or its emotion head is damaged or missing, or its parts differ.
            ConfigError: there is no such device.
            MissingExtraError: what it needs is not installed.
        """
        encoder = open_encoder(model, device=device, precision=precision)
        path, second_path = find_heads(encoder, model)
        emotion, facts, reader = _open_head(path, encoder)
        second = None if second_path is None else _open_head(second_path, encoder)
        level = _level(facts, encoder, path)
        if second is not None and second_path is not None and _level(second.facts, encoder, second_path) != level:
            raise CheckpointError("was trained at another level than the emotion head", "train both alike", second_path)
        bring_to(encoder, level)
        decoder = find_decoder(encoder, decoding) if spells else None
        if decoder is not None and reader is not None and reader.decoder.fingerprint == decoder.fingerprint:
            decoder = reader.decoder  # what is written once need not be written again
        temperature = _number(facts.get("temperature", 1.0), "temperature", path, above=0)
        return cls(encoder, emotion, decoder, temperature, facts, reader, second)

    def __repr__(self) -> str:
        name = self.encoder.origin.name
        return f"{type(self).__name__}({name!r}, emotions={self.emotions}, device={str(self.device)!r})"

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions it can tell apart."""
        return self.emotion.classes

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that it predicts beside them."""
        return () if self.second is None else self.second.head.dimensions

    def fingerprint(self) -> str:
        """A digest of all that its results depend on beside the sound."""
        networks = (computed(self.encoder), *(checkpoint.fingerprint(each.head) for each in self.heads))
        decoder = "none" if self.decoder is None else self.decoder.fingerprint
        words = [each.reader.fingerprint(TEXT) for each in self.heads if each.reader is not None]
        return "-".join((*networks, f"{self.temperature:g}", decoder, *words, *self.emotions))

    def understand(self, stretches: Sequence[Spoken]) -> list[SegmentPrediction]:
        """See `RecordingRecogniser.understand`."""
        return self.predict(join(stretches))

    @torch.inference_mode()
    def predict(self, waves: Waves) -> list[SegmentPrediction]:
        """What is in each recording of a batch, each taken as one segment."""
        given, spellings, _, of_second = self.read(waves)
        vectors = self.emotion.represent(given)
        probabilities = (self.emotion.output(vectors) / self.temperature).softmax(dim=-1)
        known = self.emotion.familiarity
        familiar = torch.ones(len(vectors)) if known is None else known(vectors)
        values = [[]] * len(vectors) if self.second is None else self.second.head(of_second).tolist()
        emotions = [dict(zip(self.emotions, row, strict=True)) for row in probabilities.tolist()]
        dimensions = [dict(zip(self.dimensions, row, strict=True)) for row in values]
        rows = zip(spellings, emotions, map(bool, familiar.tolist()), dimensions, strict=True)
        return [SegmentPrediction(*row) for row in rows]

    @torch.inference_mode()
    def read(self, waves: Waves) -> HeadInputs:
        """What comes before the heads."""
        waves = waves.to(self.encoder.device)
        sound = dict.fromkeys(name for each in self.heads for name in each.head.layers if name not in WORD_LAYERS)
        if self.decoder is None and not any(each.reader for each in self.heads):
            layers, output = self.encoder.represent(waves, list(sound)), None
        else:
            layers, output = self.encoder.encode(waves, list(sound))
        words = [each.read(output) for each in self.heads]
        if self.decoder is None:
            spellings = [Spelling("", ())] * len(waves.lengths)
        elif self.reader is not None and self.decoder is self.reader.decoder:
            spellings = words[0].spellings
        else:
            spellings = self.decoder(output)
        given = [each.given(waves, {**layers, **own.layers}) for each, own in zip(self.heads, words, strict=True)]
        return HeadInputs(given[0], spellings, words[0].times_s, given[-1] if self.second else {})

    @property
    def speech_only(self) -> bool:
        """Whether the emotion head reads of a batch what lies where somebody speaks alone."""
        return bool(self.facts.get("speech_only"))

    def given(self, waves: Waves, layers: Mapping[str, Frames]) -> dict[str, Frames]:
        """What the emotion head reads of a batch, see `TrainedHead.given`."""
        return self.heads[0].given(waves, layers)


def _open_head(path: Path, encoder: Encoder) -> TrainedHead:
    """A head that was trained on this recogniser, of the kind that its file's name says."""
    head, description = load_head(path)
    if head.layers and description.facts.get("encoder_fingerprint") != encoder.fingerprint:
        raise CheckpointError("was trained on another recogniser", "put files of one model there", path)
    if bool(head.dimensions) != (path.name == pretrained.DIMENSIONS):
        predicted = "dimensions" if head.dimensions else "classes"
        raise CheckpointError(f"predicts {predicted}", "name the files as affetto train does", path)
    words = head.config.words
    transcript = description.facts.get("transcript") or {}
    reader = None if words is None else reopen_reader(encoder, words, transcript, path)
    return TrainedHead(head, description.facts, reader)


def _level(facts: Mapping[str, Any], encoder: Encoder, where: Path) -> float | None:
    """What recordings are brought to for a head: what its facts say, or what the recogniser does by itself."""
    value = facts.get("level")
    if value is not None:
        return _number(value, "level", where)
    return None if encoder.network is None else encoder.network.level


def _number(value: object, name: str, where: Path, *, above: float = -math.inf) -> float:
    """One of the head's facts."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > above):
        raise CheckpointError(f"a {name} of {value!r}", "train the head again, or leave it out", where)
    return float(value)
