"""What the service answers, as its OpenAPI description has it; the keys are those of `Recording.as_dict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from affetto.audio import Channels
from affetto.config import Config
from affetto.formats import FORMATS
from affetto.models.transformers_folder import read_card
from affetto.models.voices import Speakers
from affetto.recognise import EmotionRecogniser
from affetto.recording import Segment, Word, join_segments
from affetto.timeline import Judgement

Share = Annotated[float, Field(ge=0, le=1)]

SureFrom = Annotated[float, Field(ge=0, le=1, description="The probability from which an emotion is sure.")]
FormatName = Literal["json", "jsonl", "csv", "vtt", "srt", "textgrid", "rttm"]
Texts = dict[FormatName, str]  # a recording in several formats, each the text of a file


class Options(Config):
    """How a recording is judged and written; as the options of ``affetto recognise``."""

    sure: SureFrom = 0.5
    smooth: float = Field(
        default=0.0, ge=0, le=3600, description="How far neighbouring segments count, seconds; 0: not."
    )
    channels: Channels = Field(default="mix", description="Mixed, or each a voice of its own, as in calls.")
    speakers: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] | None = Field(
        default=None, description="Who speaks is told apart: so many of them, or as many as are found."
    )
    format: tuple[FormatName, ...] = Field(
        default=("json",),
        min_length=1,
        max_length=len(FORMATS),
        description="How the result is written; several may be asked for.",
    )
    progress: bool = Field(default=False, description="Whether lines of JSON tell how far it is, before the result.")

    @field_validator("speakers")
    @classmethod
    def _of_mixed_channels(cls, speakers: Speakers | None, info: ValidationInfo) -> Speakers | None:
        if speakers is not None and info.data.get("channels") == "separate":
            raise PydanticCustomError("divided_twice", "of separate channels they are not told apart")
        return speakers


class WordAnswer(Config):
    """A word, when it was said, and how sure it is beside other words."""

    text: str
    start_s: float
    end_s: float
    confidence: Share


class Judged(Config):
    """With which emotion something was said."""

    emotion: str | None
    sure: bool
    familiar: bool
    probabilities: dict[str, Share]
    dimensions: dict[str, float | None] | None = Field(
        default=None, description="The value of each dimension, such as valence; only where the model predicts some."
    )


class SegmentAnswer(Judged):
    """A stretch of speech, at most 15 s long; it has a channel or a speaker where these are told apart."""

    channel: int | None = None
    speaker: int | None = None
    start_s: float
    end_s: float
    transcript: str
    words: list[WordAnswer]


class _SpeechAnswer(Judged):
    speech_s: float
    shares: dict[str, Share]
    unsure_share: Share
    transcript: str
    silent: bool


class ChannelAnswer(_SpeechAnswer):
    """What all the speech in a channel comes to."""

    channel: int


class SpeakerAnswer(_SpeechAnswer):
    """What all the speech of a speaker comes to."""

    speaker: int


class RecordingAnswer(_SpeechAnswer):
    """What was recognised in a recording (docs/output.md); it has channels or speakers where these are told apart."""

    version: int
    file: str
    duration_s: float
    judgement: Judgement
    channels: list[ChannelAnswer] | None = None
    speakers: list[SpeakerAnswer] | None = None
    segments: list[SegmentAnswer]


class Progress(Config):
    """How far a recording is, while it waits and is recognised, and segments of it."""

    progress_s: float = Field(ge=0, description="So much of it is done; it never becomes less.")
    duration_s: float = Field(ge=0, description="So long it is.")
    queue: int = Field(ge=0, description="Its place among those that wait, 1 is the next; 0: it is being recognised.")
    segments: list[SegmentAnswer] = Field(default=[], description="Those that are there since the line before.")


class ModelAnswer(Config):
    """A model, and what its card says."""

    name: str
    emotions: list[str]
    dimensions: dict[str, tuple[float, float]] = Field(
        default={}, description="Each dimension that it predicts, and its lowest and highest value in training."
    )
    licence: dict[str, str] = Field(description="Of the recogniser and of the emotion head.")
    facts: dict[str, dict[str, Any]] = Field(description="What was measured when they were trained.")
    card: str | None = Field(description="The model card, Markdown.")


class ListedModel(Config):
    """A model as OpenAI's API lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When the service was started, seconds since 1970.")
    owned_by: str = "affetto"


class ModelsAnswer(Config):
    """The models that this service has, and the same as OpenAI's API lists them."""

    object: Literal["list"] = "list"
    data: list[ListedModel]
    models: list[ModelAnswer]


class Health(Config):
    """Whether the service works."""

    status: Literal["ok"] = "ok"


_WORDS = (Word("where", 0.72, 1.0, 0.91), Word("were", 1.08, 1.28, 0.84), Word("you", 1.36, 1.6, 0.95))
_PROBABILITIES = {"anger": 0.81, "happiness": 0.1, "neutral": 0.05, "sadness": 0.04}
EXAMPLE = join_segments("call.wav", 3.2, [Segment(0.6, 2.6, "where were you", "anger", _PROBABILITIES, words=_WORDS)])
"""A made-up result, for the description."""

EXAMPLE_PROGRESS = Progress.parse(
    {"progress_s": 2.6, "duration_s": 3.2, "queue": 0, "segments": [each.as_dict() for each in EXAMPLE.segments]}
)
"""Made-up progress, likewise."""

EXAMPLE_MODELS = ModelsAnswer(
    data=[ListedModel(id="small", created=1_764_460_800)],
    models=[
        ModelAnswer(
            name="small",
            emotions=list(_PROBABILITIES),
            licence={"recogniser": "Apache-2.0 (weights)", "emotion": "Apache-2.0 (weights)"},
            facts={"recogniser": {"training_hours": 10.07, "epochs": 5}, "emotion": {"test": {"accuracy": 0.72}}},
            card="# Model card: small",
        )
    ],
).model_dump()
"""A made-up model, likewise."""

EXAMPLE_FIGURES = """# HELP affetto_requests_total Requests to recognise a recording, by outcome.
# TYPE affetto_requests_total counter
affetto_requests_total{outcome="ok"} 26.0
"""
"""Made-up figures, likewise."""

_FACTS = ("training_hours", "epochs", "validation_cer", "utterances", "test", "temperature")


def model_answer(model: str, recogniser: EmotionRecogniser) -> ModelAnswer:
    """What is known of a model; of a folder, its own name alone.

    >>> answer = model_answer("small", EmotionRecogniser.from_pretrained("small", "cpu"))
    >>> answer.licence["emotion"]
    'Apache-2.0 (weights); trained on CREMA-D, ODbL 1.0 and DbCL 1.0'
    >>> answer.card.splitlines()[0]  # without its metadata
    '# Model card: small'
    """
    encoder = recogniser.encoder
    facts = {"recogniser": {"licence": encoder.origin.licence, **encoder.facts}, "emotion": recogniser.facts}
    card = "" if encoder.origin.folder is None else read_card(encoder.origin.folder)[1]
    return ModelAnswer(
        name=Path(model).resolve().name if Path(model).is_dir() else model,
        emotions=list(recogniser.emotions),
        dimensions={} if recogniser.second is None else dict(recogniser.second.facts.get("range", {})),
        licence={part: str(each.get("licence") or "not stated") for part, each in facts.items()},
        facts={part: {key: each[key] for key in _FACTS if key in each} for part, each in facts.items()},
        card=card or None,
    )
