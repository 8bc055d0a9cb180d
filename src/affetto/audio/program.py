"""Sound that libsndfile does not decode (m4a, webm, wma, amr, video) through the program ffmpeg, where it is installed.

What comes from strangers is kept within bounds: the first bytes decide the format and ffmpeg may take it for no
other, no shell sees a name, the network is out of reach, and a program that hangs or wants too much memory ends.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from threading import Event, Timer
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.audio.mpeg import after_tags
from affetto.audio.spans import Bytes
from affetto.errors import AudioError

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # sampling rates in Hz beyond which a header is taken to be damaged
STALLED_S = 60.0  # so long ffmpeg may say nothing
_LONGEST_S = 7 * 24 * 3600  # more sound than that is a bomb
_HEAD = 512
_MEMORY = 1 << 28  # bytes of one allocation
_AU_HEAD = 24
_AU_FLOATS = 6
_STDIN = "file:/dev/stdin" if os.name == "posix" else "pipe:0"
_REMEDY = "copy or convert it again"
_PICTURES = re.compile(rb"^\[(mjpeg|png|h26|hevc|vp[89]|av1|mpeg[124]|wmv|theora|rawvideo|libdav)")


class Container(NamedTuple):
    """A format that ffmpeg reads."""

    demuxer: str  # ffmpeg's name of it
    name: str  # the users' name; empty where libsndfile reads it, too, but for some codecs
    magic: bytes  # what a file begins with, a pattern
    again: bytes | None = None  # what later ones of several that were joined begin with, where ffmpeg stops there


_ASF = rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"

CONTAINERS = (
    Container("mov", "m4a, mp4 or mov", rb".{4}(ftyp|moov|mdat|wide|free|skip)", rb"\0\0\0[\x08-\x40]ftyp[ -~]{4}"),
    Container("matroska", "webm or mkv", rb"\x1a\x45\xdf\xa3"),
    Container("asf", "wma or wmv", _ASF, _ASF),
    Container("amr", "amr", rb"#!AMR"),
    Container("aac", "aac", rb"\xff[\xf0\xf1\xf8\xf9]"),
    Container("avi", "avi", rb"RIFF.{4}AVI "),
    Container("flv", "flv", rb"FLV\x01", rb"FLV\x01[\0-\x05]\0\0\0\x09"),
    Container("mpeg", "mpeg video", rb"\x00\x00\x01\xba"),
    Container("mpegts", "mpeg transport stream", rb"(.{4})?\x47.{187}(.{4})?\x47"),
    Container("wav", "", rb"(RIFF|RIFX|RF64).{4}WAVE"),
    Container("w64", "", rb"riff\x2e\x91\xcf\x11"),
    Container("caf", "", rb"caff\x00\x01"),
    Container("ogg", "", rb"OggS\x00"),
    Container("aiff", "", rb"FORM.{4}AIF[FC]"),
    Container("iff", "iff", rb"FORM.{4}(8SVX|16SV|MAUD)"),
    Container("au", "", rb"\.snd\x00"),
    Container("voc", "", rb"Creative Voice File\x1a"),
    Container("wv", "wavpack", rb"wvpk"),
    Container("tta", "true audio", rb"TTA1", rb"TTA1[\x01-\x03]\0.\0.\0"),
    Container("ape", "monkey's audio", rb"MAC "),
    Container("tak", "tak", rb"tBaK"),
    Container("mpc", "musepack", rb"MP\+"),
    Container("mpc8", "musepack", rb"MPCK"),
    Container("eac3", "e-ac3", rb"\x0b\x77.{3}[\x58-\x87]"),
    Container("ac3", "ac3", rb"\x0b\x77"),
    Container("dts", "dts", rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80"),
    Container("rm", "real audio", rb"\.RMF|\.ra\xfd"),
    Container("dsf", "dsf", rb"DSD "),
    Container("sox", "sox", rb"\.SoX|XoS\."),
)
"""The first that fits is the one."""


def container(file: IO[bytes]) -> Container | None:
    """What a file is that begins like this, after ID3 tags; None if it is unknown.

    >>> import io
    >>> container(io.BytesIO(b"....ftypM4A ")).demuxer, container(io.BytesIO(b"a text"))
    ('mov', None)
    """
    content = Bytes(file)
    start = content.at(after_tags(content), _HEAD)
    return next((each for each in CONTAINERS if re.match(each.magic, start, re.DOTALL)), None)


class Program:
    """The first stream of sound of a file, decoded by ffmpeg from its beginning to its end.

    The file is on a disk, and just opened; ffmpeg opens it anew. Raises AudioError where ffmpeg is not installed, or
    does not find sound in it.
    """

    promised: int | None = None  # frames, as far as is known: they are not
    scaled = True  # whether full scale is 1 for sure

    def __init__(self, file: IO[bytes], kind: Container, where: object) -> None:
        self._where = where
        path = shutil.which("ffmpeg")
        if path is None:
            problem = f"{kind.name} needs the program ffmpeg, which is not installed"
            raise AudioError(problem, "install ffmpeg, or convert the file to wav, flac, mp3 or ogg", where)
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the program
        # The first stream of sound; standard input is opened by its name, for then ffmpeg can jump about in it.
        command = [
            path, "-nostdin", "-hide_banner", "-v", "error", "-max_alloc", str(_MEMORY),
            "-protocol_whitelist", "file,pipe", "-threads", "1", "-f", kind.demuxer, "-i", _STDIN,
            "-map", "0:a:0", "-vn", "-sn", "-dn", "-threads", "1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=self._complaints)
        self._read_frames = 0
        try:
            self._read_head()
        except BaseException:
            self.close()
            raise

    def _read_head(self) -> None:
        """Reads that of the AU file that ffmpeg writes."""
        head = self._read(_AU_HEAD)
        if len(head) < _AU_HEAD:
            self._check()
            raise AudioError("holds no sound", "give a recording", self._where)
        _, offset, _, encoding, self.samplerate, self.channels = struct.unpack(">6I", head)
        assert encoding == _AU_FLOATS
        if not LOWEST_RATE <= self.samplerate <= HIGHEST_RATE:
            raise AudioError(f"a sampling rate of {self.samplerate} Hz is not one of sound", _REMEDY, self._where)
        self._read(offset - _AU_HEAD)

    def close(self) -> None:
        """Ends it, whatever it was doing."""
        with self._complaints, self._process:  # which waits for its end
            self._process.kill()

    def next(self, frames: int) -> NDArray[np.float32]:
        """At most so many, (frames, channels), none at the end; AudioError where it complained of the file, hangs, or
        gives more than anybody could hear.
        """
        data = self._read(4 * frames * self.channels)
        block = np.frombuffer(data[: len(data) // (4 * self.channels) * (4 * self.channels)], ">f4")
        self._read_frames += len(block) // self.channels
        if self._read_frames > _LONGEST_S * self.samplerate:
            raise AudioError("lasts more than a week", "cut it into parts", self._where)
        if len(data) < 4 * frames * self.channels:
            self._check()
        return block.reshape(-1, self.channels).astype(np.float32)

    def jump(self, frames: int) -> int:  # noqa: ARG002  # sound from a pipe can only be read
        """Goes as far as that quickly, or less far."""
        return 0

    def _read(self, size: int) -> bytes:
        """As many bytes as there are; a program that keeps others waiting is ended."""
        stalled = Event()

        def end() -> None:
            stalled.set()
            self._process.kill()

        timer = Timer(STALLED_S, end)
        timer.daemon = True
        timer.start()
        try:
            assert self._process.stdout is not None
            data = self._process.stdout.read(size)
        finally:
            timer.cancel()
        if stalled.is_set():
            raise AudioError(f"ffmpeg said nothing for {STALLED_S:g} s", _REMEDY, self._where)
        return data

    def _check(self) -> None:
        """After the end: that nothing of the file was left out."""
        code = self._process.wait(STALLED_S)
        self._complaints.seek(0)
        lines = [line for line in self._complaints.read(1 << 16).splitlines() if line and not _PICTURES.match(line)]
        if lines or code:
            said = re.sub(r"^\[[^]]*\] ", "", lines[0].decode(errors="replace")) if lines else f"exit code {code}"
            if "matches no streams" in said:
                raise AudioError("holds no sound", "give a recording", self._where)
            raise AudioError(f"breaks off or is damaged (ffmpeg: {said.rstrip('. ')})", _REMEDY, self._where)
