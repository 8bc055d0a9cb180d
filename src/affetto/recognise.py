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
from affetto.models.encoders import find_head, open_encoder
from affetto.models.encoders.encoder import TEXT, WORD_LAYERS, Encoder, TextDecoder, computed
from affetto.models.heads import EmotionHead, load_head
from affetto.models.words import Reading, WordReader, reopen_reader
from affetto.recognition import RecordingRecogniser, SegmentPrediction
from affetto.recording import Spelling
from affetto.streaming.segments import Spoken, join


class HeadInputs(NamedTuple):
    """What an emotion head is given of a batch, what each recording says, and when the head's tokens are said."""

    given: dict[str, Frames]
    spellings: list[Spelling]
    times_s: dict[str, list[tuple[float, ...]]]  # the middles of the tokens of each layer of words, in each recording


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
    """

    def __init__(
        self,
        encoder: Encoder,
        emotion: EmotionHead,
        decoder: TextDecoder | None,
        temperature: float = 1.0,
        facts: Mapping[str, Any] | None = None,
        reader: WordReader | None = None,
    ) -> None:
        self.encoder = encoder
        self.device = encoder.device
        self.emotion = emotion.to(encoder.device).eval()
        self.decoder = decoder
        self.temperature = temperature
        self.facts = facts or {}
        self.reader = reader
        self.speech_only = bool(self.facts.get("speech_only"))

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
            CheckpointError: there is no such model, it is damaged, it has no emotion head, or its parts do not belong
                together.
            ConfigError: there is no such device.
            MissingExtraError: what it needs is not installed.
        """
        encoder = open_encoder(model, device=device, precision=precision)
        path = find_head(encoder, model)
        emotion, description = load_head(path)
        if emotion.layers and description.facts.get("encoder_fingerprint") != encoder.fingerprint:
            raise CheckpointError("was trained on another recogniser", "put both files of one model there", path)
        words, reader, decoder = emotion.config.words, None, None
        if words is not None:
            reader = reopen_reader(encoder, words, description.facts.get("transcript") or {}, path)
        if spells:
            decoder = find_decoder(encoder, decoding)
            if reader is not None and reader.decoder.fingerprint == decoder.fingerprint:
                decoder = reader.decoder  # what is written once need not be written again
        return cls(encoder, emotion, decoder, _temperature(description, path), description.facts, reader)

    def __repr__(self) -> str:
        name, device = self.encoder.origin.name, str(self.encoder.device)
        return f"{type(self).__name__}({name!r}, emotions={self.emotions}, device={device!r})"

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions it can tell apart."""
        return self.emotion.classes

    def fingerprint(self) -> str:
        """A digest of all that its results depend on beside the sound."""
        networks = (computed(self.encoder), checkpoint.fingerprint(self.emotion))
        decoder = "none" if self.decoder is None else self.decoder.fingerprint
        words = () if self.reader is None else (self.reader.fingerprint(TEXT),)
        return "-".join((*networks, f"{self.temperature:g}", decoder, *words, *self.emotions))

    def understand(self, stretches: Sequence[Spoken]) -> list[SegmentPrediction]:
        """See `RecordingRecogniser.understand`."""
        return self.predict(join(stretches))

    @torch.inference_mode()
    def predict(self, waves: Waves) -> list[SegmentPrediction]:
        """What is in each recording of a batch, each taken as one segment."""
        given, spellings, _ = self.read(waves)
        vectors = self.emotion.represent(given)
        probabilities = (self.emotion.output(vectors) / self.temperature).softmax(dim=-1)
        known = self.emotion.familiarity
        familiar = torch.ones(len(vectors)) if known is None else known(vectors)
        return [
            SegmentPrediction(spelling, dict(zip(self.emotions, row, strict=True)), bool(is_familiar))
            for spelling, row, is_familiar in zip(spellings, probabilities.tolist(), familiar.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def read(self, waves: Waves) -> HeadInputs:
        """What comes before the emotion head."""
        waves = waves.to(self.encoder.device)
        own = [name for name in self.emotion.layers if name in WORD_LAYERS]
        sound = [name for name in self.emotion.layers if name not in WORD_LAYERS]
        if self.decoder is None and self.reader is None:
            layers, output = self.encoder.represent(waves, sound), None
        else:
            layers, output = self.encoder.encode(waves, sound)
        words = Reading([], {}, {}) if self.reader is None else self.reader.read(output, own)
        if self.decoder is None:
            spellings = [Spelling("", ())] * len(waves.lengths)
        elif self.reader is not None and self.decoder is self.reader.decoder:
            spellings = words.spellings
        else:
            spellings = self.decoder(output)
        return HeadInputs(self.given(waves, {**layers, **words.layers}), spellings, words.times_s)

    def given(self, waves: Waves, layers: Mapping[str, Frames]) -> dict[str, Frames]:
        """What the emotion head reads of a batch: all of it, or what lies where somebody speaks, and all its words."""
        if not self.speech_only:
            return self.emotion.read(waves, layers)
        spoken = {name: frames if name in WORD_LAYERS else waves.of_speech(frames) for name, frames in layers.items()}
        return self.emotion.read(waves.spoken(), spoken)


def _temperature(description: checkpoint.Description, where: Path) -> float:
    """What the head's facts say of its calibration; 1 leaves the scores as they are."""
    value = description.facts.get("temperature", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise CheckpointError(f"a temperature of {value!r}", "calibrate the head again, or leave it out", where)
    return float(value)
