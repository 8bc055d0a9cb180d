"""Sound comes from files, folders, pipes and memory, and is the same sound from each."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from affetto import audio
from affetto.errors import AudioError
from affetto.streaming.sources import Deferred, Samples, Source, Stretch, blocks, label, sound_files


def heard(source: Source) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(list(blocks(source))))


@pytest.mark.parametrize(("sample_rate", "channels"), [(16_000, 1), (16_000, 2), (44_100, 1), (8_000, 8)])
@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_samples_sound_like_their_file(
    make_sound: Callable[..., Path], sample_rate: int, channels: int, dtype: str
) -> None:
    path = make_sound(sample_rate=sample_rate, channels=channels)
    values, _ = soundfile.read(path, dtype=dtype)
    torch.testing.assert_close(heard(Samples(values, sample_rate)), audio.load(path), atol=2e-5, rtol=0)


def test_tensors_are_samples_too(make_sound: Callable[..., Path]) -> None:
    sound = audio.load(make_sound())
    torch.testing.assert_close(heard(Samples(sound, 16_000)), sound, atol=0.01, rtol=0)  # its offset is looked for anew


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_16_bit_values_in_a_wider_type_are_taken_for_16_bits(
    dtype: str, make_sound: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    values, _ = soundfile.read(make_sound(), dtype="int16")
    torch.testing.assert_close(heard(Samples(values.astype(dtype), 16_000)), heard(Samples(values, 16_000)))
    assert "samples: values up to" in caplog.text
    assert "are taken for 16-bit samples" in caplog.text


def test_channels_that_cancel_in_memory_do_not(make_sound: Callable[..., Path]) -> None:
    values, _ = soundfile.read(make_sound(), dtype="float32")
    torch.testing.assert_close(
        heard(Samples(np.stack([values, -values], axis=1), 16_000)), heard(Samples(values, 16_000))
    )


@pytest.mark.parametrize(
    ("values", "rate", "problem"),
    [
        (np.zeros(0, np.float32), 16_000, "no samples"),
        (np.zeros((2, 100), np.float32), 16_000, r"shape \(2, 100\)"),
        (np.zeros((5, 2, 2), np.float32), 16_000, "shape"),
        (np.zeros(100, np.uint8), 16_000, "uint8"),
        (np.zeros(100, np.complex64), 16_000, "complex64"),
        (np.full(100, np.nan, np.float32), 16_000, "not finite"),
        (np.zeros(100, np.float32), 16, "sampling rate of 16 Hz"),
        (np.zeros(100, np.float32), None, "sampling rate of None"),
        (np.zeros(100, np.float32), "16k", "sampling rate of '16k'"),
        (np.zeros(100, np.float32), float("nan"), "sampling rate"),
    ],
)
def test_impossible_samples_are_refused(values: NDArray[np.generic], rate: Any, problem: str) -> None:
    with pytest.raises(AudioError, match=problem):
        heard(Samples(values, rate))


def test_deferred_sound_is_made_when_its_turn_comes() -> None:
    made: list[int] = []

    def make() -> Iterator[torch.Tensor]:
        made.append(1)
        yield torch.ones(3)
        yield torch.ones(2)

    source = Deferred("mine", make)
    assert (label(source), made) == ("mine", [])
    assert torch.equal(heard(source), torch.ones(5))
    assert made == [1]


def test_a_stretch_is_part_of_its_file(make_sound: Callable[..., Path]) -> None:
    path = make_sound(duration_s=1.0)
    torch.testing.assert_close(heard(Stretch(path, 0.25, 0.5)), audio.load(path)[4000:8000], atol=0.02, rtol=0)


def test_pipes_are_recognised(make_sound: Callable[..., Path]) -> None:
    path = make_sound()
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(path.read_bytes())

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        assert torch.equal(heard(pipe), audio.load(path))
    thread.join()


def test_an_empty_pipe_says_so() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, pytest.raises(AudioError, match="nothing came in"):
        heard(pipe)


def test_open_files_go_by_their_names(make_sound: Callable[..., Path]) -> None:
    path = make_sound()
    with path.open("rb") as file:
        assert label(file) == str(path)
        assert torch.equal(heard(file), audio.load(path))


def test_folders_are_searched(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    wanted = [make_sound("b/c/two.WAV"), make_sound("one.flac")]
    make_sound("b/.hidden.wav")
    make_sound(".cache/three.wav")
    (tmp_path / "folder.wav").mkdir()
    assert sound_files(tmp_path) == (wanted, Counter(), [])


def test_what_is_left_out_of_a_folder_is_counted_by_kind(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    calls = make_sound("calls/one.wav").parent
    outside = make_sound("elsewhere/two.wav").parent
    for name in ("notes.txt", "NOTES.TXT", "README", "calls.docx"):
        (calls / name).write_text("no sound")
    (calls / "linked").symlink_to(outside)
    (calls / "linked.flac").symlink_to(outside / "two.wav")
    (calls / "gone.flac").symlink_to(outside / "gone.flac")
    os.mkfifo(calls / "pipe.wav")
    found = sound_files(calls)
    assert found.files == [calls / name for name in ("gone.flac", "linked.flac", "one.wav")]
    assert found.left_out == {".txt": 2, "without a suffix": 1, ".docx": 1, "linked folder": 1, "no file": 1}


def test_folders_without_permission_are_reported(
    make_sound: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sound("one.wav")
    secret = make_sound("secret/two.wav").parent
    scan = os.scandir

    def forbid(path: str) -> object:
        if path == str(secret):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbid)
    found = sound_files(tmp_path)
    assert found.files == [tmp_path / "one.wav"]
    assert [str(error) for error in found.unreadable] == [f"{secret}: Permission denied; check its permissions"]


def test_folders_without_sound_say_so(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no sound file in this folder"):
        sound_files(tmp_path)


def test_an_open_file_is_read_from_its_beginning_each_time(make_sound: Callable[..., Path]) -> None:
    path = make_sound(duration_s=1.0)
    with path.open("rb") as file:
        file.seek(100)
        source = Deferred("call", partial(audio.stream, file))
        assert torch.equal(heard(source), audio.load(path))
        assert torch.equal(heard(source), audio.load(path))
