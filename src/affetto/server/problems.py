"""What can be wrong with a request, and the shape in which that is answered: ours, or that of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, NamedTuple

from pydantic import Field
from starlette.responses import JSONResponse

from affetto.config import Config
from affetto.errors import AudioError, MissingExtraError, ServiceError


class ProblemBody(Config):
    """Why there is no result."""

    code: str = Field(description="Stable, for programs; docs/serve.md lists them.")
    problem: str = Field(description="What was found.")
    remedy: str = Field(description="What to do about it.")


class OpenAIProblem(Config):
    """The same under the paths of OpenAI's API."""

    error: dict[Literal["message", "type", "param", "code"], str | None]


_OPENAI_PATHS = "/v1/audio/"


class _Kind(NamedTuple):
    status: int
    problem: str
    remedy: str


KINDS: dict[str, _Kind] = {
    "bad_request": _Kind(400, "not HTTP that can be understood", "mend the request"),
    "bad_form": _Kind(400, "not a form that can be read", "send one file and nothing else: curl -F file=@call.wav"),
    "bad_message": _Kind(400, "not a message that is understood", 'send samples as bytes, then: {"type": "end"}'),
    "unknown_host": _Kind(400, "this service does not go by that name", "call it by another, or start it with --name"),
    "unauthorised": _Kind(401, "no token, or not the right one", "send the header: Authorization: Bearer TOKEN"),
    "foreign_page": _Kind(403, "a web page from elsewhere asks", "open it under a name of this service; see --name"),
    "not_found": _Kind(404, "there is nothing here", "see /openapi.json for what there is"),
    "wrong_method": _Kind(405, "this cannot be done here", "see /openapi.json for what can"),
    "slow_upload": _Kind(408, "the recording came in too slowly", "send it faster, or a smaller file, such as FLAC"),
    "idle": _Kind(408, "nothing comes in", "send sound as it is spoken, silence too, or end the stream"),
    "too_large": _Kind(413, "the upload is too large", "send a smaller file, such as FLAC or Opus, or a part of it"),
    "too_long": _Kind(413, "the recording is too long", "cut it, or use the shell: affetto recognise"),
    "wrong_type": _Kind(
        415,
        "this kind of content is none of sound",
        "send a form, or the file with Content-Type: audio/wav or the like",
    ),
    "bad_option": _Kind(422, "an option is not what it should be", "see docs/serve.md for the options"),
    "no_sound": _Kind(422, "cannot be read as sound", "send a wav, flac, ogg, opus or mp3 file"),
    "no_socket": _Kind(426, "live sound comes over a WebSocket", "connect to it with ws:// or wss://"),
    "busy": _Kind(429, "too many requests at a time", "try again after the seconds in Retry-After"),
    "hung_up": _Kind(499, "the client is gone", "stay for the answer"),  # only in the log: nobody is there to read it
    "large_head": _Kind(431, "the head of the request is too long", "send fewer and shorter headers"),
    "internal": _Kind(500, "something went wrong in the service", "try again; its log says more"),
    "stopping": _Kind(503, "the service is being stopped", "try again later"),
    "timeout": _Kind(504, "it took too long", "send a shorter recording, or try again when there is less to do"),
}
"""Code -> what it means; the status is one of HTTP's, save for 499."""


class RequestError(ServiceError):
    """A request without a result; problem and remedy are those of its kind, unless there is more to say.

    >>> problem = RequestError("too_long", "a recording of 7,200 s, and 600 s are allowed")
    >>> problem.status, str(problem)
    (413, 'a recording of 7,200 s, and 600 s are allowed; cut it, or use the shell: affetto recognise')
    """

    def __init__(
        self, code: str, problem: str | None = None, remedy: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        kind = KINDS[code]
        super().__init__(problem or kind.problem, remedy or kind.remedy)
        self.code = code
        self.status = kind.status
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, error: BaseException) -> RequestError:
        """What any error becomes; of ours, the name of a file is left out."""
        match error:
            case RequestError():
                return error
            case AudioError():
                return cls("no_sound", error.problem, error.remedy)
            case MissingExtraError():
                return cls("bad_option", error.problem, error.remedy)
        return cls("internal")

    @property
    def body(self) -> ProblemBody:
        """What is sent."""
        return ProblemBody(code=self.code, problem=self.problem, remedy=self.remedy)

    def body_at(self, path: str) -> ProblemBody | OpenAIProblem:
        """What is sent to who asked for this path."""
        if not path.startswith(_OPENAI_PATHS):
            return self.body
        kind = "server_error" if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        return OpenAIProblem(error={"message": str(self), "type": kind, "param": None, "code": self.code})

    def response(self, path: str) -> JSONResponse:
        """The answer to a request for this path."""
        return JSONResponse(self.body_at(path).model_dump(), self.status, self.headers)


def documented(*codes: str, path: str = "") -> dict[int | str, dict[str, object]]:
    """The problems that a route may answer with, for its OpenAPI description, each with an example.

    >>> list(documented("too_large", "too_long", "busy"))
    [413, 429]
    """
    found: dict[int | str, dict[str, object]] = {}
    for status in dict.fromkeys(KINDS[code].status for code in codes):
        bodies = {code: RequestError(code).body_at(path) for code in codes if KINDS[code].status == status}
        examples = {code: {"value": body.model_dump()} for code, body in bodies.items()}
        found[status] = {
            "model": type(next(iter(bodies.values()))),
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"examples": examples}},
        }
    return found
