"""A recording that comes in: the body of a request as an open file, and that as sound, both within bounds.

More than a little goes into a file without a name, which is gone even where the process is killed. What is still coming
in takes no place of what waits, so that slow clients keep nobody waiting; what all take together is bounded.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from affetto import audio
from affetto.audio import SAMPLE_RATE
from affetto.server.problems import RequestError
from affetto.server.settings import Settings
from affetto.server.telemetry import Metrics

FIELD = "file"  # the form's field
_UNNAMED = "upload"
_LONGEST_NAME = 200
_MOST_FIELDS = 16
_FORM = "multipart/form-data"
_PLAIN = frozenset({"", _FORM, "application/octet-stream", "application/ogg"})
_UPLOAD_IN_MEMORY_BYTES, _SOUND_IN_MEMORY_BYTES = 1 << 16, 1 << 20
_BLOCK_BYTES = 4 * 10 * SAMPLE_RATE
_SLOWEST_BYTES_S = 250_000  # a second, of a large body: 2 Mbit/s
_PADDING_S = 1.0  # by so much encoders make a recording longer, and people stop it later
_USUAL_VALUES = 192_000  # a second, as of two channels at 96 kHz; recordings with more may last less long
_USUAL_VOICES = 2  # of a call; of more separate channels, less may be recognised

Fields = Mapping[str, list[Any]]  # name -> texts


class Upload(NamedTuple):
    """A recording that has come in, what the client calls it and adds to it; whoever takes it closes the file."""

    sound: IO[bytes]
    name: str
    fields: Fields
    take_room: Callable[[int], None]  # for so many bytes; raises where there is no more


class Decoded(NamedTuple):
    """Sound, float32 at 16 kHz, in a file without a name, which whoever takes it closes."""

    samples: IO[bytes]  # (samples, channels)
    duration_s: float  # of all separate channels together
    channels: int | None  # None where they are mixed

    @property
    def length_s(self) -> float:
        """Of the recording, however many channels it has."""
        return self.duration_s / (self.channels or 1)

    def blocks(self, watch: Callable[[], None]) -> Iterator[NDArray[np.float32]]:
        """All of it from its beginning, as `audio.stream` gave it; `watch` is called before each and raises to stop."""
        self.samples.seek(0)
        while data := self.samples.read(_BLOCK_BYTES * (self.channels or 1)):
            watch()
            block = np.frombuffer(bytearray(data), np.float32)
            yield block if self.channels is None else block.reshape(-1, self.channels).T


class Intake:
    """All recordings that come in or wait, which together take no more than a certain room."""

    def __init__(self, settings: Settings, metrics: Metrics, busy: Callable[[], RequestError]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._busy = busy
        self._free_bytes = int(settings.room_mb * 1e6)
        self._counts = threading.Lock()  # threads that decode count, too

    @contextmanager
    def counting(self) -> Iterator[Callable[[int], None]]:
        """Gives what counts the bytes of a request and raises where there is no more room; the end frees them again."""
        taken, ended = 0, False

        def count(size: int) -> None:
            nonlocal taken
            with self._counts:
                if ended:
                    raise RequestError("hung_up")
                if size > self._free_bytes:
                    raise self._busy()
                self._free_bytes -= size
                taken += size

        try:
            with self._metrics.taken.track_inprogress():
                yield count
        finally:
            with self._counts:
                self._free_bytes += taken
                ended = True

    async def receive(self, request: Request, count: Callable[[int], None]) -> Upload:
        """Takes in the body of a request.

        Raises RequestError where it is empty, too large, too slow, of another kind, no form, or the client hung up.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _PLAIN and not kind.startswith(("audio/", "video/")):
            raise RequestError("wrong_type")
        limit = self._settings.max_upload_bytes
        promised = request.headers.get("content-length", "")
        if promised.isdecimal() and int(promised[:20]) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self._settings.upload_s) as time:
                body = _counted(request.stream(), limit, count, time)
                upload = Upload(*await (_from_form(request.headers, body) if kind == _FORM else _raw(body)), count)
        except TimeoutError as error:
            more = f"1 s more for each {_SLOWEST_BYTES_S / 1e6:g} MB"
            raise RequestError("slow_upload", f"not there after {self._settings.upload_s:g} s and {more}") from error
        except ClientDisconnect as error:
            raise RequestError("hung_up") from error
        if not upload.sound.seek(0, os.SEEK_END):
            upload.sound.close()
            raise RequestError("no_sound", "the file is empty", "record or copy it again")
        return upload


def _too_large(limit: int) -> RequestError:
    return RequestError("too_large", f"the upload is larger than {limit / 1e6:g} MB")


async def _counted(
    body: AsyncIterator[bytes], limit: int, count: Callable[[int], None], time: asyncio.Timeout
) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        count(len(chunk))
        time.reschedule((time.when() or 0.0) + len(chunk) / _SLOWEST_BYTES_S)
        yield chunk


async def _raw(body: AsyncIterator[bytes]) -> tuple[IO[bytes], str, Fields]:
    sound = SpooledTemporaryFile(max_size=_UPLOAD_IN_MEMORY_BYTES)  # noqa: SIM115  # the upload's owner closes it
    try:
        async for chunk in body:
            sound.write(chunk)
    except BaseException:
        sound.close()
        raise
    return cast(IO[bytes], sound), _UNNAMED, {}


async def _from_form(headers: Headers, body: AsyncGenerator[bytes, None]) -> tuple[IO[bytes], str, Fields]:
    try:
        limits = {"max_files": 1, "max_fields": _MOST_FIELDS, "max_part_size": _UPLOAD_IN_MEMORY_BYTES // _MOST_FIELDS}
        parser = MultiPartParser(headers, body, **limits)
        parser.spool_max_size = _UPLOAD_IN_MEMORY_BYTES  # of the file, and as much of all other fields
        form = await parser.parse()
    except (MultiPartException, ValueError) as error:  # of names and boundaries that are no text
        raise RequestError("bad_form") from error
    fields: dict[str, list[Any]] = {name: form.getlist(name) for name in form}
    match fields.pop(FIELD, []):
        case [UploadFile() as file]:
            return cast(IO[bytes], file.file), _clean_name(file.filename), fields
    await form.close()
    raise RequestError("bad_form", f"no file in the field {FIELD!r}")


def _clean_name(given: str | None) -> str:
    r"""A client's name for its file, without folders and without what would not print.

    >>> [_clean_name(name) for name in ("C:\\calls\\monday.wav", "../../etc/passwd", "a\x1b[m\n.wav", "")]
    ['monday.wav', 'passwd', 'a[m.wav', 'upload']
    """
    last = (given or "").replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in last if character.isprintable())[:_LONGEST_NAME]
    return kept if kept.strip(". ") else _UNNAMED


def decode(upload: Upload, most_s: float, watch: Callable[[], None], channels: audio.Channels) -> Decoded:
    """Decodes a recording of at most so many seconds; the upload stays open. `watch` is called now and then.

    Raises AudioError where it is no sound, RequestError where it is too long or there is no room for it.
    """
    watch()
    allowance = _Allowance(most_s, channels)
    samples = cast(IO[bytes], SpooledTemporaryFile(max_size=_SOUND_IN_MEMORY_BYTES))  # noqa: SIM115  # its taker closes it
    try:
        separate = None
        for block in audio.stream(upload.sound, where=upload.name, check=allowance.check, channels=channels):
            separate = None if block.ndim == 1 else len(block)
            allowance.spend(block.shape[-1] / SAMPLE_RATE)
            data = block.T.tobytes()
            upload.take_room(len(data))
            samples.write(data)
            watch()
        return Decoded(samples, samples.tell() / (4 * SAMPLE_RATE), separate)
    except BaseException:
        samples.close()
        raise


class _Allowance:
    """How much may be decoded: a header is believed where it promises too much, but not where it promises little."""

    def __init__(self, most_s: float, channels: audio.Channels) -> None:
        self._most_s = most_s
        self._channels = channels
        self._spent_s = 0.0
        self._weight = 1.0
        self._kind = ""

    def check(self, info: audio.AudioInfo) -> None:
        """Before a stream of sound is decoded."""
        voices = info.channels if self._channels == "separate" else 1
        self._weight = max(1.0, info.channels * info.sample_rate / _USUAL_VALUES, voices / _USUAL_VOICES)
        self._kind = f" with {info.channels} channels at {info.sample_rate} Hz" if self._weight > 1 else ""
        self.spend(0.0, info.duration_s or 0.0)

    def spend(self, seconds: float, promised_s: float = 0.0) -> None:
        """After some of it was."""
        self._spent_s += seconds * self._weight
        if self._spent_s + promised_s * self._weight > self._most_s + _PADDING_S:
            longest_s = self._most_s / self._weight
            raise RequestError("too_long", f"the recording is longer than {longest_s:g} s{self._kind}")
