"""What libsndfile does not decode goes through ffmpeg, within bounds, and says so where ffmpeg is missing."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from affetto import audio
from affetto.audio import program
from affetto.errors import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
RATE = 44_100
FORMATS = {
    "a.m4a": (), "a.mp4": (), "a.aac": (), "a.webm": (), "a.mkv": (), "a.wma": (), "a.flv": (), "a.mpg": (),
    "a.avi": (), "a.mov": (), "a.wv": (), "a.tta": (), "a.ac3": (), "a.eac3": (), "a.spx": (), "a.oga": (), "a.ts": (),
    "alac.m4a": ("-c:a", "alac"), "alac.caf": ("-c:a", "alac"), "g726.wav": ("-c:a", "g726", "-ar", "8000", "-ac", "1"),
    "first.mp4": ("-movflags", "faststart"), "live.webm": ("-f", "webm", "-live", "1"),
}  # fmt: skip


def ffmpeg(*arguments: str) -> None:
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], capture_output=True, check=False)
    if done.returncode and b"ncoder" in done.stderr:
        pytest.skip(f"this ffmpeg cannot write it: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds: a tone that rises after the first."""
    time_s = np.arange(3 * RATE) / RATE
    tone = np.sin(2 * np.pi * np.where(time_s < 1, 300, 500) * time_s) * np.where(time_s < 1, 0.1, 0.5)
    path = tmp_path_factory.mktemp("original") / "a.wav"
    soundfile.write(path, np.stack([tone, 0.5 * tone], axis=1), RATE)
    return path


def video(folder: Path, original: Path) -> Path:
    path = folder / "video.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=3", "-i", str(original), "-c:v", "mpeg4", str(path))
    return path


def assert_is(wave: torch.Tensor, original: Path) -> None:
    """The same sound, give or take what codecs add at the ends and take from the height."""
    expected = audio.load(original)
    assert len(wave) / 16_000 == pytest.approx(3, abs=0.15)
    for start_s, end_s in ((0.3, 0.8), (1.4, 2.6)):
        place = slice(round(start_s * 16_000), round(end_s * 16_000))
        assert float(wave[place].std()) == pytest.approx(float(expected[place].std()), rel=0.2)


@needs_ffmpeg
@pytest.mark.parametrize(
    "name", ["a.m4a", "a.webm", *(pytest.param(name, marks=pytest.mark.heavy) for name in FORMATS)]
)
def test_other_formats_are_decoded(name: str, original: Path, tmp_path: Path) -> None:
    ffmpeg("-i", str(original), *FORMATS[name], str(tmp_path / name))
    assert_is(audio.load(tmp_path / name), original)


@needs_ffmpeg
def test_what_a_file_is_called_does_not_matter(original: Path, tmp_path: Path) -> None:
    ffmpeg("-i", str(original), str(tmp_path / "a.m4a"))
    path = (tmp_path / "a.m4a").rename(tmp_path / "-i 'no name' http:$(x)\n.bin")
    wave = torch.from_numpy(np.concatenate(list(audio.stream(io.BytesIO(path.read_bytes())))))
    assert_is(wave, original)
    assert audio.duration(path) == pytest.approx(len(wave) / 16_000, abs=0.001)
    assert audio.info(path).duration_s is None


@needs_ffmpeg
def test_the_sound_of_a_video_is_decoded(original: Path, tmp_path: Path) -> None:
    path = video(tmp_path, original)
    assert_is(audio.load(path), original)
    cut = audio.load(path, start_s=0.5, end_s=1.5)
    assert len(cut) == 16_000
    assert cut[9000:].std() > 3 * cut[:7000].std()


@needs_ffmpeg
def test_a_video_without_sound_says_so(original: Path, tmp_path: Path) -> None:
    ffmpeg("-i", str(video(tmp_path, original)), "-an", "-c:v", "copy", str(tmp_path / "mute.mp4"))
    with pytest.raises(AudioError, match="holds no sound"):
        audio.load(tmp_path / "mute.mp4")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "first.mp4", "a.webm"])
def test_what_breaks_off_is_an_error(name: str, original: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    ffmpeg("-i", str(original), *FORMATS[name], str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(AudioError, match=r"breaks off or is damaged \(ffmpeg: "):
        audio.load(path)


@needs_ffmpeg
def test_only_the_file_itself_is_opened(original: Path, tmp_path: Path) -> None:
    """A list of files that names another one is no sound, whatever it is called."""
    secret = tmp_path / "secret.wav"
    shutil.copy(original, secret)
    (tmp_path / "list.m4a").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    (tmp_path / "list.webm").write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    for name in ("list.m4a", "list.webm"):
        with pytest.raises(AudioError, match="cannot be read as sound"):
            audio.load(tmp_path / name)


def test_without_ffmpeg_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match="m4a, mp4 or mov needs the program ffmpeg, which is not installed; install"):
        audio.load(path)


def fake_ffmpeg(folder: Path, script: str) -> Path:
    """A program of this name that does something else."""
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    sound = folder / "a.m4a"
    sound.write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    return sound


def test_one_that_hangs_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sound = fake_ffmpeg(tmp_path, "exec /bin/sleep 600")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(program, "STALLED_S", 0.5)
    began = time.monotonic()
    with pytest.raises(AudioError, match=r"ffmpeg said nothing for 0.5 s"):
        audio.load(sound)
    assert time.monotonic() - began < 120


def test_one_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    head = r"printf '.snd\0\0\0\030\377\377\377\377\0\0\0\006\0\0\037\100\0\0\0\001'"
    sound = fake_ffmpeg(tmp_path, f"{head}; exec /bin/cat /dev/zero")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(program, "_LONGEST_S", 100)
    with pytest.raises(AudioError, match="lasts more than"):
        audio.load(sound)


def test_one_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sound = fake_ffmpeg(tmp_path, "exit 3")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="exit code 3"):
        audio.load(sound)
