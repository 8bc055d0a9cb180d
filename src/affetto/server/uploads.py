"""A request's body as an open sound file: counted while it comes in, and never under a name of the client's choosing.

A little stays in memory. More goes into a temporary file that has no name, so that it is gone as soon as it is closed,
even where the process is killed. What is still coming in takes none of the places of what waits to be heard, so that
clients who send slowly keep nobody else waiting; what all of it takes together is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple, cast

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from affetto.server.problems import RequestError
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics

UNNAMED = "upload"
"""What results call a recording that came without a name."""

FIELD = "file"
"""The form's field."""

_IN_MEMORY_BYTES = 1 << 16
_LONGEST_NAME = 200
_FORM = "multipart/form-data"
_PLAIN = frozenset({"", _FORM, "application/octet-stream", "application/ogg"})


class Upload(NamedTuple):
    """A recording that has come in.

    Attributes:
        sound: the open file; whoever takes it closes it.
        name: what the client calls it; it is only ever repeated to the client.
        size: bytes.
    """

    sound: IO[bytes]
    name: str
    size: int


def clean_name(given: str | None) -> str:
    r"""A client's name for its file, without folders and without what would not print.

    >>> clean_name("C:\\calls\\monday.wav"), clean_name("../../etc/passwd"), clean_name("a\x1b[m\n.wav"), clean_name("")
    ('monday.wav', 'passwd', 'a[m.wav', 'upload')
    """
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in last if character.isprintable())[:_LONGEST_NAME]
    return kept if kept.strip(". ") else UNNAMED


class Intake:
    """All recordings that come in or wait: together they take no more room than a full queue of the largest.

    Args:
        settings: the limits.
        metrics: what is counted.
        busy: what a client is told where there is no more room.
    """

    def __init__(self, settings: Settings, metrics: Metrics, busy: Callable[[], RequestError]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._busy = busy
        self._free_bytes = settings.queue * settings.max_upload_bytes

    @contextmanager
    def counting(self) -> Iterator[Callable[[int], None]]:
        """Gives what counts the bytes of a request; they are free again at its end.

        Raises:
            RequestError: there is no more room, from what counts.
        """
        taken = 0

        def count(size: int) -> None:
            nonlocal taken
            if size > self._free_bytes:
                raise self._busy()
            self._free_bytes -= size
            taken += size

        self._metrics.taken.inc()
        try:
            yield count
        finally:
            self._free_bytes += taken
            self._metrics.taken.dec()

    async def receive(self, request: Request, count: Callable[[int], None]) -> Upload:
        """Takes in the body of a request.

        Raises:
            RequestError: it is too large, too slow, of another kind, no form, or the client hung up.
        """
        limit = self._settings.max_upload_bytes
        kind = _media_type(request.headers)
        _check_promise(request.headers, limit)
        body = _counted(request.stream(), limit, count)
        try:
            async with asyncio.timeout(self._settings.upload_s):
                return await (_from_form(request.headers, body) if kind == _FORM else _raw(body))
        except TimeoutError as error:
            raise RequestError("slow_upload", f"not there after {self._settings.upload_s:g} s") from error
        except ClientDisconnect as error:
            raise RequestError("hung_up") from error


def _media_type(headers: Headers) -> str:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _PLAIN and not kind.startswith(("audio/", "video/")):
        raise RequestError("wrong_type")
    return kind


def _check_promise(headers: Headers, limit: int) -> None:
    """Before anything is read; what comes in is counted all the same."""
    promised = headers.get("content-length", "")
    if promised.isdecimal() and int(promised[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> RequestError:
    return RequestError("too_large", f"the upload is larger than {limit / 1e6:g} MB")


async def _counted(body: AsyncIterator[bytes], limit: int, count: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        count(len(chunk))
        yield chunk


class _FormParser(MultiPartParser):
    spool_max_size = _IN_MEMORY_BYTES


async def _raw(body: AsyncIterator[bytes]) -> Upload:
    sound = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115  # the upload's owner closes it
    try:
        async for chunk in body:
            sound.write(chunk)
        return _checked(Upload(cast(IO[bytes], sound), UNNAMED, sound.tell()))
    except BaseException:
        sound.close()
        raise


async def _from_form(headers: Headers, body: AsyncGenerator[bytes, None]) -> Upload:
    try:
        form = await _FormParser(headers, body, max_files=1, max_fields=0).parse()
    except (MultiPartException, ValueError) as error:  # of names and boundaries that are no text
        raise RequestError("bad_form") from error
    file = form.get(FIELD)
    if not isinstance(file, UploadFile):
        await form.close()
        raise RequestError("bad_form", f"no file in the field {FIELD!r}")
    try:
        return _checked(Upload(cast(IO[bytes], file.file), clean_name(file.filename), file.size or 0))
    except RequestError:
        await form.close()
        raise


def _checked(upload: Upload) -> Upload:
    if upload.size == 0:
        raise RequestError("no_sound", "the file is empty", "record or copy it again")
    return upload
