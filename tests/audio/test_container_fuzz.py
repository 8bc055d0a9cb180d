"""Every format that ffmpeg and sox write, whole, joined, cut and with damaged headers: never less than ffmpeg hears,
and never more than was written."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from affetto import audio
from affetto.errors import AudioError

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        shutil.which("ffmpeg") is None or shutil.which("sox") is None, reason="needs the programs ffmpeg and sox"
    ),
]

FFMPEG = [
    "wav", "flac", "ogg", "oga", "opus", "spx", "mp3", "mp2", "aiff", "au", "caf", "w64", "voc", "m4a", "mp4", "mov",
    "aac", "ac3", "eac3", "webm", "mkv", "mka", "wma", "wmv", "avi", "flv", "mpg", "ts", "tta", "wv",
]  # fmt: skip
SOX = [
    "wav", "aiff", "aifc", "au", "snd", "caf", "flac", "ogg", "mp3", "w64", "voc", "sph", "nist", "amb", "avr", "8svx",
    "ircam", "paf", "pvf", "sds", "gsm",
]  # fmt: skip
PIPED = ("wav", "flac", "au", "mp3", "ogg", "adts", "matroska")
WRITERS = [
    *(f"ffmpeg {name}" for name in FFMPEG),
    *(f"sox {name}" for name in SOX),
    *(f"pipe {name}" for name in PIPED),
]
MARKED = {
    "wav", "flac", "ogg", "oga", "opus", "spx", "aiff", "aifc", "au", "snd", "caf", "w64", "voc", "sph", "nist", "amb",
    "m4a", "mp4", "mov", "webm", "mkv", "mka",
}  # fmt: skip
"""Formats whose beginning is found behind another file; of mp3 those that begin with a tag or a Xing header."""
LEFT_OUT_S = 0.3
"""A frame or two at each end, which codecs add or take."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, a loud tone, near silence, and a tone: lengths that are guessed from a beginning are wrong."""
    rate = 16_000
    time_s = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 300 * time_s)
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(4 * rate)
    sound = np.concatenate([np.random.default_rng(1).uniform(-0.5, 0.5, rate), 0.5 * tone, quiet, 0.1 * tone])
    path = tmp_path_factory.mktemp("original") / "original.wav"
    soundfile.write(path, sound, rate)
    return path


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, original: Path, tmp_path: Path) -> Path:
    program, name = request.param.split()
    path = tmp_path / f"a.{name}"
    if program == "sox":
        done = subprocess.run(["sox", "-q", str(original), "-r", "8000", str(path)], capture_output=True, check=False)
    elif program == "pipe":
        with path.open("wb") as out:
            command = ["ffmpeg", "-v", "error", "-i", str(original), "-ar", "48000", "-f", name, "pipe:1"]
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False)
    else:
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            str(original),
            "-ar",
            "16000" if name == "spx" else "48000",
            "-ac",
            "1",
            str(path),
        ]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot be written here: {done.stderr.decode(errors='replace').strip()[:100]}")
    return path


def by_ffmpeg(path: Path) -> float:
    """Seconds that ffmpeg decodes."""
    command = [
        "ffmpeg",
        "-v",
        "quiet",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-ac",
        "1",
        "-ar",
        "16000",
        "-f",
        "s16le",
        "-",
    ]
    return len(subprocess.run(command, capture_output=True, check=False).stdout) / 32_000


def by_affetto(path: Path) -> float | None:
    """Seconds that affetto decodes; None where it says that it cannot."""
    try:
        return sum(len(block) for block in audio.stream(path)) / audio.SAMPLE_RATE
    except AudioError:
        return None


def sizes_in(content: bytes, duration_s: float) -> list[tuple[int, str, int]]:
    """What in a header may be a size in bytes or frames: place, order of bytes, value."""
    found = []
    for place in range(4, min(256, len(content) - 4)):
        for order in ("<I", ">I"):
            (size,) = struct.unpack_from(order, content, place)
            frames = any(abs(size / rate - duration_s) < LEFT_OUT_S for rate in (8_000, 16_000, 48_000))
            if frames or abs(size - len(content)) < 600:
                found.append((place, order, size))
    return found


def test_whole_files_are_decoded_to_their_end(written: Path, original: Path) -> None:
    found = by_affetto(written)
    assert found is not None
    assert found == pytest.approx(soundfile.info(original).duration, abs=LEFT_OUT_S)
    assert audio.duration(written) == pytest.approx(found, abs=0.05)


def test_of_joined_files_all_is_decoded_or_none(written: Path) -> None:
    once = by_affetto(written)
    assert once is not None
    written.write_bytes(written.read_bytes() * 3)
    found = by_affetto(written)
    if found is not None:
        assert max(by_ffmpeg(written), 3 * once) - 3 * LEFT_OUT_S <= found <= 3 * once + LEFT_OUT_S


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_of_files_of_two_formats_joined_all_is_decoded_or_none(written: Path, original: Path, suffix: str) -> None:
    once, content = by_affetto(written), written.read_bytes()
    assert once is not None
    other = written.with_name(f"b.{suffix}")
    soundfile.write(other, *soundfile.read(original))
    joined = [content + other.read_bytes()]
    if written.suffix[1:] in MARKED:
        joined.append(other.read_bytes() + content)
    for each in joined:
        written.write_bytes(each)
        found = by_affetto(written)
        assert found is None or found == pytest.approx(once + soundfile.info(original).duration, abs=2 * LEFT_OUT_S)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_of_cut_files_as_much_is_decoded_as_there_is(written: Path, share: float) -> None:
    content, whole = written.read_bytes(), by_affetto(written)
    assert whole is not None
    written.write_bytes(content[: round(share * len(content))])
    found = by_affetto(written)
    assert found is None or by_ffmpeg(written) - LEFT_OUT_S <= found <= whole + LEFT_OUT_S


@pytest.mark.parametrize(("times", "value"), [(0, 0), (0, 0xFFFFFFFF), (0, 0x7FFFFFFF), (0.5, 0), (0.1, 0), (2, 0)])
def test_wrong_sizes_in_headers_take_no_sound_away(written: Path, times: float, value: int) -> None:
    """What ffmpeg decodes in spite of them, up to all of it and no more, is decoded, or they are an error."""
    content, whole = written.read_bytes(), by_affetto(written)
    assert whole is not None
    wrong = []
    for place, order, size in sizes_in(content, whole):
        changed = bytearray(content)
        struct.pack_into(order, changed, place, min(round(times * size) + value, 0xFFFFFFFF))
        written.write_bytes(changed)
        found = by_affetto(written)
        if found is None:
            continue
        if not min(by_ffmpeg(written), whole) - LEFT_OUT_S <= found <= whole + LEFT_OUT_S:
            wrong.append((place, order, size, found))
    assert not wrong


@pytest.mark.parametrize("seed", range(8))
def test_damaged_headers_end_in_sound_or_an_error(written: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = np.frombuffer(written.read_bytes(), np.uint8).copy()
    content[rng.integers(4, min(200, len(content)), rng.integers(1, 9))] = rng.choice([0, 255, rng.integers(256)])
    written.write_bytes(content.tobytes())
    found = by_affetto(written)
    assert found is None or found >= 0
