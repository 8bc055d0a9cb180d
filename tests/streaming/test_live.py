"""Samples without a header come as they are read, whatever their encoding and however they are torn."""

from __future__ import annotations

import io
import sys
import types

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affetto.errors import AudioError
from affetto.streaming.live import ENCODINGS, microphone, raw_blocks


class Torn(io.BytesIO):
    """A pipe that gives so many bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self.size = size

    def read1(self, _: int | None = -1, /) -> bytes:
        return self.read(self.size)


@settings(max_examples=30)
@given(st.lists(st.integers(-(2**15), 2**15 - 1), max_size=50), st.integers(1, 9), st.sampled_from(list(ENCODINGS)))
def test_samples_survive_any_tearing(samples: list[int], size: int, encoding: str) -> None:
    values = np.array(samples, np.int16)
    data = {
        "s16le": values.astype("<i2"),
        "s32le": values.astype("<i4") * 65536,
        "f32le": (values / 32768).astype("<f4"),
    }[encoding].tobytes()
    heard = [block for block in raw_blocks(Torn(data, size), encoding) if len(block)]
    np.testing.assert_array_equal(torch.cat([torch.zeros(0), *heard]), values / np.float32(32768))


def test_other_rates_are_resampled(rng: np.random.Generator) -> None:
    values = (rng.standard_normal(48_000) * 3000).astype("<i2")
    heard = torch.cat(list(raw_blocks(Torn(values.tobytes(), 4000), "s16le", 48_000)))
    np.testing.assert_allclose(heard, soxr.resample(values / np.float32(32768), 48_000, 16_000), atol=1e-4)


@pytest.mark.parametrize(
    ("data", "encoding", "rate", "problem"),
    [
        (b"", "mp3", 16_000, "no encoding 'mp3'"),
        (bytes(8), "s16le", 3, "sampling rate of 3 Hz"),
        (np.array([np.nan], "<f4").tobytes(), "f32le", 16_000, "no sound"),
        (np.array([1e30], "<f4").tobytes(), "f32le", 16_000, "no sound"),
        (b"\x1aE\xdf\xa3" + bytes(400), "s16le", 16_000, "a sound file where samples"),
        (b"\0\0\0 ftypM4A " + bytes(400), "s16le", 16_000, "a sound file where samples"),
        (b"RIFF\xff\xff\xff\xffWAVE" + bytes(400), "s16le", 16_000, "a sound file where samples"),
    ],
)
def test_what_is_no_sound_says_so(data: bytes, encoding: str, rate: int, problem: str) -> None:
    with pytest.raises(AudioError, match=problem):
        list(raw_blocks(io.BytesIO(data), encoding, rate))


def test_a_sound_file_in_the_smallest_pieces_says_so() -> None:
    with pytest.raises(AudioError, match="a sound file"):
        list(raw_blocks(Torn(b"OggS" + bytes(400), 1)))


class Device:
    """Stands for the system's microphone, which no test machine has; what it hears is handed over as PortAudio does."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, heard: list[np.ndarray]) -> None:
        self.heard = heard

    def module(self) -> types.ModuleType:
        device, module = self, types.ModuleType("sounddevice")

        class InputStream:
            def __init__(self, *, callback: object, **_: object) -> None:
                self.callback = callback

            def __enter__(self) -> None:
                for block in device.heard:
                    self.callback(block, len(block), None, None)  # type: ignore[operator]

            def __exit__(self, *_: object) -> None:
                pass

        def query_devices(kind: str) -> dict[str, float]:
            if not device.heard:
                raise device.PortAudioError("Error querying device -1")
            return {"default_samplerate": 16_000.0}

        vars(module).update(InputStream=InputStream, query_devices=query_devices, PortAudioError=self.PortAudioError)
        return module


def test_a_microphone_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Device([np.full((800, 1), 0.5, np.float32)] * 2).module())
    blocks = microphone()
    assert [next(blocks).tolist() for _ in range(2)] == [[0.5] * 800] * 2


def test_no_microphone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Device([]).module())
    with pytest.raises(AudioError, match=r"no microphone can be used.*affetto listen -"):
        next(microphone())
