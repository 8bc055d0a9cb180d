"""The route of OpenAI's API: what its forms may hold, and a recording in its shape, with the emotion beside the words.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from affetto.config import Config
from affetto.recording import Recording
from affetto.server.answers import EXAMPLE, Judged, Share
from affetto.server.problems import RequestError
from affetto.server.uploads import Fields

_PLACEHOLDER = "whisper-1"  # what programs send that know no other model


class TranscriptionForm(Config):
    """The fields beside the file."""

    model: str = Field(default=_PLACEHOLDER, description=f"The one that is served, or {_PLACEHOLDER}.")
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = Field(
        default=("segment",), alias="timestamp_granularities[]", description="word: verbose_json has the words, too."
    )
    language: str = Field(default="en", description="Is given back by verbose_json, no more.")
    prompt: str = Field(default="", description="Without effect.")
    temperature: float = Field(default=0.0, ge=0, le=1, description="Without effect.")
    stream: Literal["false", "False"] = "false"


class Transcription(Judged):
    """What ``json`` has."""

    text: str


class TranscribedSegment(Transcription):
    """A stretch of speech."""

    id: int
    start: float
    end: float


class TranscribedWord(Config):
    """A word, and how sure it is beside other words."""

    word: str
    start: float
    end: float
    confidence: Share


class VerboseTranscription(Transcription):
    """What ``verbose_json`` has."""

    task: Literal["transcribe"]
    language: str
    duration: float
    segments: list[TranscribedSegment]
    words: list[TranscribedWord] | None = None


def read_form(fields: Fields, served: str) -> TranscriptionForm:
    """What is asked for; `served` is the model's name.

    >>> read_form({"model": ["tiny"], "timestamp_granularities[]": ["word"]}, "tiny").timestamp_granularities
    ('word',)
    """
    values = {name: given if name.endswith("[]") else given[-1] for name, given in fields.items()}
    try:
        form = TranscriptionForm.model_validate(values)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from error
    if form.model not in {served, _PLACEHOLDER}:
        remedy = f"ask for {served!r} or {_PLACEHOLDER!r}"
        raise RequestError("not_found", f"model: {form.model!r:.60} is not served here", remedy)
    return form


def transcription(recording: Recording, form: TranscriptionForm) -> dict[str, Any]:
    """The object for ``json`` or ``verbose_json``.

    >>> transcription(EXAMPLE, TranscriptionForm())["text"]
    'where were you'
    """
    values = recording.as_dict()
    if form.response_format == "json":
        return _judged(values)
    answer = {"task": "transcribe", "language": form.language, "duration": values["duration_s"], **_judged(values)}
    segments = enumerate(values["segments"])
    answer["segments"] = [{"id": number, **_times(each), **_judged(each)} for number, each in segments]
    if "word" in form.timestamp_granularities:
        words = [word for each in values["segments"] for word in each["words"]]
        answer["words"] = [{"word": each["text"], **_times(each), "confidence": each["confidence"]} for each in words]
    return answer


def _times(values: dict[str, Any]) -> dict[str, float]:
    return {"start": values["start_s"], "end": values["end_s"]}


def _judged(values: dict[str, Any]) -> dict[str, Any]:
    return {"text": values["transcript"], **{name: values[name] for name in Judged.model_fields if name in values}}


FIELDS = TranscriptionForm.model_json_schema()["properties"]
EXAMPLES = {
    name: {"value": transcription(EXAMPLE, TranscriptionForm(response_format=name))}
    for name in ("json", "verbose_json")
}
"""Made-up results, for the description as the fields are."""
