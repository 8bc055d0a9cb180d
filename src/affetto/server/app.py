"""The routes, and what answers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from affetto import __version__
from affetto.errors import AffettoError
from affetto.formats import FORMATS
from affetto.models.voices import check_speakers
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording, Segment
from affetto.server import answers, transcriptions
from affetto.server.answers import EXAMPLE, Health, ModelAnswer, ModelsAnswer, Options, Progress
from affetto.server.gate import RECOGNISE_PATH, TRANSCRIBE_PATH, Gate
from affetto.server.live import Stream, add_live
from affetto.server.page import add_page
from affetto.server.problems import RequestError, documented
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics
from affetto.server.uploads import FIELD, Fields, Intake
from affetto.server.worker import Job, T, Worker
from affetto.timeline import Judgement

_MEDIA_TYPES = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "vtt": "text/vtt",
    "srt": "application/x-subrip",
    "textgrid": "text/plain",
    "rttm": "text/plain",
}
_PROGRESS_S = 0.5  # between two lines of it
Tell = Callable[[Progress, Sequence[Segment]], None]
_DESCRIPTION = """Recognises the emotion in speech, how sure it is, when, and what was said.

The answer is a guess from the sound of a voice; see the card of the model for how often it is right."""
_TEXT = {"type": "string"}
_ANYTHING: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FILE = {"type": "string", "format": "binary", "description": "A wav, flac, ogg, opus or mp3 file."}
_SCHEME = HTTPBearer(auto_error=False, description="The token that the service was started with.")
_FIGURES = {
    "content": {"text/plain": {"schema": _TEXT, "example": answers.EXAMPLE_FIGURES}},
    "description": "In the format of Prometheus.",
}
_MODELS = {"content": {"application/json": {"example": answers.EXAMPLE_MODELS}}}
_HEALTH = {"content": {"application/json": {"example": Health().model_dump()}}}
_ANYWHERE = ("bad_request", "unknown_host", "large_head")
_UNAUTHORISED = documented("unauthorised", *_ANYWHERE)
_OF_RECORDINGS = (
    *_ANYWHERE,
    *("unauthorised", "foreign_page", "bad_form", "slow_upload", "too_large", "too_long", "wrong_type"),
    *("bad_option", "no_sound", "busy", "internal", "stopping", "timeout"),
)


def create_app(recogniser: EmotionRecogniser, model: ModelAnswer, settings: Settings) -> FastAPI:
    """The application; `model` is what it says of its recogniser."""
    metrics = Metrics()
    worker = Worker(recogniser, settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(worker.stop)

    app = FastAPI(
        title="affetto",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy they would lead from https to http
        lifespan=lifespan,
    )
    _handle_errors(app)
    intake = Intake(settings, metrics, worker.busy)
    _add_recognise(app, intake, worker, settings)
    _add_transcribe(app, intake, worker, settings, model.name)
    _add_others(app, worker, settings, model, metrics)
    add_live(app, lambda socket: Stream(socket, worker, settings, metrics, recogniser.emotions))
    if settings.page:
        add_page(app, settings, recogniser.emotions)
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    return app


def _guard(settings: Settings) -> list[params.Depends]:
    """Lets in who shows the token; everyone, if there is none."""
    if settings.token is None:
        return []

    async def check(shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_SCHEME)]) -> None:
        if not settings.admits(None if shown is None else shown.credentials):
            raise RequestError("unauthorised", headers={"WWW-Authenticate": "Bearer"})

    return [Depends(check)]


def _body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a body: a form with the file and what may stand beside it, or the file itself."""
    properties = {FIELD: _FILE, **fields}
    form = {"type": "object", "required": [FIELD], "additionalProperties": False, "properties": properties}
    kinds = {"multipart/form-data": {"schema": form}, "application/octet-stream": _ANYTHING, "audio/*": _ANYTHING}
    return {"requestBody": {"required": True, "content": kinds}}


def _texts(*names: str) -> dict[str, Any]:
    return {_MEDIA_TYPES[name]: {"schema": _TEXT, "example": FORMATS[name].write(EXAMPLE)} for name in names}


def _written(recording: Recording, name: str) -> Response:
    return Response(FORMATS[name].write(recording), media_type=_MEDIA_TYPES[name])


def _add_recognise(app: FastAPI, intake: Intake, worker: Worker, settings: Settings) -> None:
    content = {"application/json": {"example": EXAMPLE.as_dict()}, **_texts("jsonl", "csv", "vtt", "srt", "rttm")}
    line = content[_MEDIA_TYPES["jsonl"]].pop("example")
    lines = f"{answers.EXAMPLE_PROGRESS.model_dump_json(exclude_unset=True)}\n{line}"
    content[_MEDIA_TYPES["jsonl"]]["examples"] = {"jsonl": {"value": line}, "progress": {"value": lines}}
    result = {"content": content, "description": "What was recognised."}

    @app.post(
        RECOGNISE_PATH,
        summary="Recognise a recording",
        response_model=answers.RecordingAnswer | answers.Texts,
        responses={200: result, **documented(*_OF_RECORDINGS)},
        openapi_extra=_body({}),
        dependencies=_guard(settings),
    )
    async def recognise(request: Request, options: Annotated[Options, Query()]) -> Response:
        """Send a form with the file, or the file itself; get the result of `affetto recognise`.

        Of several formats asked for, each comes as the text of a file, by name, in one object.

        With `progress`, lines say how far it is as soon as it is decoded, and have the segments of long recordings as
        they come; the last is that object, or a problem.
        """
        if options.speakers is not None:
            check_speakers(options.speakers)

        async def recognised(tell: Tell | None = None) -> Recording:
            return (await _recognised(request, intake, worker, _no_fields, options, tell))[0]

        def as_object(recording: Recording) -> dict[str, Any]:
            if options.format == ("json",):
                return recording.as_dict()
            return {name: FORMATS[name].write(recording) for name in options.format}

        if options.progress:
            return _Lines(recognised, as_object)
        recording = await recognised()
        if len(options.format) > 1 or options.format == ("json",):
            return JSONResponse(as_object(recording))
        return _written(recording, *options.format)


def _no_fields(fields: Fields) -> None:
    if fields:
        raise RequestError("bad_form")


def _add_transcribe(app: FastAPI, intake: Intake, worker: Worker, settings: Settings, model: str) -> None:
    content = {"application/json": {"examples": transcriptions.EXAMPLES}, **_texts("vtt", "srt")}
    content["text/plain"] = {"schema": _TEXT, "example": EXAMPLE.transcript}
    result = {"content": content, "description": "What was said, and with which emotion."}

    @app.post(
        TRANSCRIBE_PATH,
        summary="Transcribe a recording as OpenAI's API does",
        response_model=transcriptions.Transcription | transcriptions.VerboseTranscription,
        responses={200: result, **documented(*_OF_RECORDINGS, "not_found", path=TRANSCRIBE_PATH)},
        openapi_extra=_body(transcriptions.FIELDS),
        dependencies=_guard(settings),
    )
    async def transcribe(request: Request) -> Response:
        """For programs that speak OpenAI's API: its forms and formats, with the emotion beside the words."""
        read = partial(transcriptions.read_form, served=model)
        recording, form = await _recognised(request, intake, worker, read, Options())
        if form.response_format == "text":
            return Response(f"{recording.transcript}\n", media_type="text/plain")
        if form.response_format in {"srt", "vtt"}:
            return _written(recording, form.response_format)
        return JSONResponse(transcriptions.transcription(recording, form))


def _add_others(app: FastAPI, worker: Worker, settings: Settings, model: ModelAnswer, metrics: Metrics) -> None:
    guard = _guard(settings)
    listed = answers.ListedModel(id=model.name, created=round(time.time()))
    models_answer = ModelsAnswer(data=[listed], models=[model])

    @app.get(
        "/v1/models",
        summary="The models, and their cards",
        responses={200: _MODELS, **_UNAUTHORISED},
        dependencies=guard,
    )
    async def models() -> ModelsAnswer:
        """What the service recognises with: emotions, licences, what was measured."""
        return models_answer

    @app.get("/healthz", summary="Does it work?", responses={200: _HEALTH, **documented("stopping", *_ANYWHERE)})
    async def health() -> Health:
        """Needs no token."""
        worker.check_well()
        return Health()

    @app.get(
        "/readyz",
        summary="Would it take a recording now?",
        responses={200: _HEALTH, **documented("stopping", "busy", *_ANYWHERE)},
    )
    async def ready() -> Health:
        """Needs no token; takes no place."""
        worker.check_well()
        worker.check_room()
        return Health()

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={200: _FIGURES, **_UNAUTHORISED},
        dependencies=guard,
    )
    async def figures_now() -> Response:
        """Requests by outcome, seconds of sound, latency, the queue."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _recognised(
    request: Request,
    intake: Intake,
    worker: Worker,
    read: Callable[[Fields], T],
    options: Options,
    tell: Tell | None = None,
) -> tuple[Recording, T]:
    """Takes the recording in and waits for its result, for as long as the client does; reads its form, too.

    `tell` is called now and then from when the recording is decoded, with all segments that are there.
    """
    worker.check_room()  # before anything of it is read
    with intake.counting() as count:
        upload = await intake.receive(request, count)
        try:
            form = read(upload.fields)
        except BaseException:
            upload.sound.close()
            raise
        job = Job(upload, Judgement(sure=options.sure, smooth_s=options.smooth), options.channels, options.speakers)
        job.found = None if tell is None or job.speakers is not None else []  # who speaks is known at the end
        result = asyncio.ensure_future(worker.recognise(job))
        leaves = asyncio.ensure_future(_left(request))
        try:
            every_s = None if tell is None else _PROGRESS_S
            while True:
                await asyncio.wait({result, leaves}, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
                if result.done():
                    return result.result(), form
                if leaves.done():
                    raise RequestError("hung_up")
                if tell is not None and (progress := worker.progress(job)) is not None:
                    tell(progress, job.found or [])
        finally:
            leaves.cancel()
            result.cancel()


class _Lines(Response):
    """Lines of JSON: how far a recording is, its segments, and its result, or what went wrong after the first line."""

    def __init__(
        self, recognised: Callable[[Tell], Awaitable[Recording]], as_object: Callable[[Recording], dict[str, Any]]
    ) -> None:
        super().__init__(media_type=_MEDIA_TYPES["jsonl"], headers={"X-Accel-Buffering": "no"})  # nginx hands them on
        del self.headers["Content-Length"]
        self._recognised = recognised
        self._as_object = as_object

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # `_left` receives
        """Sends them."""
        sending: asyncio.Task[None] | None = None
        sent = 0  # segments

        async def write(line: dict[str, Any], *, first: bool, last: bool = False) -> None:
            if first:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            body = bytes(JSONResponse(line).body) + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": not last})

        def tell(progress: Progress, found: Sequence[Segment]) -> None:
            nonlocal sending, sent
            if sending is None or sending.done():  # who reads slowly has fewer lines, and keeps nothing waiting
                new = found[sent:]
                sent += len(new)
                line = progress.model_dump(exclude_unset=True)
                line |= {"segments": [each.as_dict() for each in new]} if new else {}
                sending = asyncio.ensure_future(write(line, first=sending is None))

        try:
            line = self._as_object(await self._recognised(tell))
        except BaseException as error:
            if sending is None:  # it is answered as ever
                raise
            problem = RequestError("stopping") if isinstance(error, asyncio.CancelledError) else RequestError.of(error)
            scope["state"]["course"].problem = problem.code
            await sending
            await write(problem.body.model_dump(), first=False, last=True)
            if not isinstance(error, AffettoError):
                raise  # the gate logs it
        else:
            if sending is not None:
                await sending
            await write(line, first=sending is None, last=True)


async def _left(request: Request) -> None:
    """Comes back when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _faults(errors: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with the options of a query or a form, one fault each.

    >>> fault = {"loc": ("query", "format", 0), "type": "literal_error", "input": "xml", "ctx": {"expected": "'json'"}}
    >>> _faults([fault, {"loc": ("query", "format"), "type": "too_short", "msg": "Tuple should have at least 1 item"}])
    "format: 'xml' is not 'json'"
    """
    found: dict[str, str] = {}
    for each in errors:
        name = str(each["loc"][1])
        if each["type"] == "literal_error":
            found.setdefault(name, f"{each['input']!r:.60} is not {each['ctx']['expected']}")
        elif each["type"] == "extra_forbidden":
            found.setdefault(name, "there is no such option")
        else:
            found.setdefault(name, each["msg"])
    return "; ".join(f"{name}: {fault}" for name, fault in found.items())


def _handle_errors(app: FastAPI) -> None:
    """Every problem has the same shape, whoever found it."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = RequestError.of(error)
        if isinstance(error, RequestValidationError):
            problem = RequestError("bad_option", _faults(error.errors()))
        elif isinstance(error, HTTPException):
            code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "bad_request")
            problem = RequestError(code, headers=error.headers)
        request.state.course.problem = problem.code
        return problem.response(request.scope["path"])

    for kind in (AffettoError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)
