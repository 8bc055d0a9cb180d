"""Sound files of every kind, whole and damaged, in one go and block by block."""

import io
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly

from affetto.audio import SAMPLE_RATE, AudioInfo, decoding, duration, info, load, stream, write_flac
from affetto.errors import AudioError

in_blocks_of = partial(mock.patch.object, decoding, "_BLOCK_S")
"""Sets how many seconds are decoded at a time."""

COMMON_VOICE = Path(os.environ.get("AFFETTO_DATA", "../shared/data")) / "speech" / "common-voice" / "en" / "clips"


@dataclass(frozen=True)
class Encoding:
    """One way to write sound: file suffix, libsndfile's names, and what may be lost in it."""

    suffix: str
    container: str
    subtype: str
    error: float


WAV8 = Encoding(".wav", "WAV", "PCM_U8", 1 / 128)
WAV16 = Encoding(".wav", "WAV", "PCM_16", 1 / 32768)
WAV24 = Encoding(".wav", "WAV", "PCM_24", 1e-6)
WAV32 = Encoding(".wav", "WAV", "PCM_32", 1e-6)
FLOAT = Encoding(".wav", "WAV", "FLOAT", 0)
DOUBLE = Encoding(".wav", "WAV", "DOUBLE", 1e-7)
FLAC = Encoding(".flac", "FLAC", "PCM_16", 1 / 32768)
AIFF = Encoding(".aiff", "AIFF", "PCM_16", 1 / 32768)
NIST = Encoding(".sph", "NIST", "PCM_16", 1 / 32768)
VORBIS = Encoding(".ogg", "OGG", "VORBIS", 0.1)
OPUS = Encoding(".opus", "OGG", "OPUS", 0.1)
MP3 = Encoding(".mp3", "MP3", "MPEG_LAYER_III", 0.1)
LOSSLESS = [WAV8, WAV16, WAV24, WAV32, FLOAT, DOUBLE, FLAC, AIFF, NIST]
LOSSY = [VORBIS, OPUS, MP3]


def name(value: object) -> str | None:
    return f"{value.container}-{value.subtype}" if isinstance(value, Encoding) else None


def sine(hz: float = 440, seconds: float = 0.5, rate: int = SAMPLE_RATE, level: float = 0.5) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples: int) -> NDArray[np.float32]:
    """Without an offset, however short a stretch of it is."""
    half = np.random.default_rng(0).uniform(-0.5, 0.5, samples // 2 + 1)
    return np.stack([half, -half], axis=1).reshape(-1)[:samples].astype(np.float32)


def write(folder: Path, wave: NDArray[np.float32], rate: int = SAMPLE_RATE, encoding: Encoding = FLOAT) -> Path:
    path = folder / f"sound{encoding.suffix}"
    soundfile.write(path, wave, rate, format=encoding.container, subtype=encoding.subtype)
    return path


def spectrum_peak(wave: torch.Tensor) -> tuple[float, float]:
    """Frequency in Hz and amplitude of the strongest component of one second."""
    size = torch.fft.rfft(wave[:SAMPLE_RATE] * torch.hann_window(SAMPLE_RATE)).abs() / (SAMPLE_RATE / 4)
    return float(size.argmax()), float(size.max())


# What is written is what is heard.


@pytest.mark.parametrize("encoding", LOSSLESS, ids=name)
def test_lossless_samples_come_back(tmp_path: Path, encoding: Encoding) -> None:
    wave = noise(5000)
    heard = load(write(tmp_path, wave, encoding=encoding))
    assert heard.dtype == torch.float32
    np.testing.assert_allclose(heard, wave, atol=encoding.error)


@pytest.mark.parametrize("encoding", LOSSY, ids=name)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_lossy_samples_come_back_in_their_place(tmp_path: Path, encoding: Encoding, rate: int) -> None:
    path = write(tmp_path, sine(rate=rate), rate, encoding)
    heard = load(path)
    assert abs(len(heard) - 8000) <= 1
    np.testing.assert_allclose(heard[400:7600], sine()[400:7600], atol=encoding.error)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_any_rate_and_any_channels(tmp_path: Path, rate: int, channels: int) -> None:
    wave = sine(1000, 1.2, rate)
    path = write(tmp_path, np.stack([wave] * channels, axis=1), rate, WAV16)
    assert info(path) == AudioInfo(1.2, rate, channels)
    assert duration(path) == 1.2
    heard = load(path)
    assert abs(len(heard) - 19_200) <= 1
    hz, amplitude = spectrum_peak(heard)
    assert hz == 1000
    assert amplitude == pytest.approx(0.5, rel=1e-3)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = sine(300), sine(2000)
    heard = load(write(tmp_path, np.stack([left, right], axis=1)))
    np.testing.assert_allclose(heard, (left + right) / 2, atol=1e-6)


def test_a_file_is_known_by_its_content_not_its_suffix(tmp_path: Path) -> None:
    path = write(tmp_path, noise(1000), encoding=FLAC).rename(tmp_path / "sound.bin")
    assert len(load(path)) == 1000


def test_an_open_file_is_decoded(tmp_path: Path) -> None:
    path = write(tmp_path, noise(1000))
    assert len(np.concatenate(list(stream(io.BytesIO(path.read_bytes()))))) == 1000


# Resampling.


@pytest.mark.parametrize("rate", [8000, 48_000, 192_000])
def test_resampling_agrees_with_scipy(tmp_path: Path, rate: int) -> None:
    wave = np.sum([sine(hz, 1, rate, 0.1) for hz in (110, 700, 1900, 2500)], axis=0) * np.hanning(rate)
    heard = load(write(tmp_path, wave.astype(np.float32), rate))
    up, down = SAMPLE_RATE // np.gcd(SAMPLE_RATE, rate), rate // np.gcd(SAMPLE_RATE, rate)
    np.testing.assert_allclose(heard, resample_poly(wave, up, down, window=("kaiser", 12.0)), atol=2e-3)


@pytest.mark.parametrize("rate", [44_100, 48_000, 192_000])
@pytest.mark.parametrize("hz", [8800, 12_000, 15_900, 20_000])
def test_nothing_is_folded_down(tmp_path: Path, rate: int, hz: float) -> None:
    heard = load(write(tmp_path, sine(hz, 1, rate), rate))
    assert heard[1000:-1000].abs().max() < 0.5 * 10 ** (-80 / 20)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("block_s", [0.001, 0.01, 0.033, 0.3, 100])
def test_streaming_equals_loading(tmp_path: Path, rate: int, block_s: float) -> None:
    path = write(tmp_path, noise(rate // 3), rate)
    with in_blocks_of(block_s):
        blocks = list(stream(path))
    assert all(len(block) > 0 for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks), load(path), atol=1e-6)


@pytest.mark.parametrize("encoding", [WAV8, FLAC, VORBIS, OPUS, MP3, NIST], ids=name)
def test_streaming_equals_loading_in_any_encoding(tmp_path: Path, encoding: Encoding) -> None:
    path = write(tmp_path, noise(30_000), encoding=encoding)
    with in_blocks_of(0.3):
        parts = list(stream(path))
    np.testing.assert_allclose(np.concatenate(parts), load(path), atol=1e-6)


@pytest.mark.skipif(not COMMON_VOICE.is_dir(), reason="needs Common Voice: set AFFETTO_DATA")
def test_mp3_files_of_the_wild_are_decoded_to_the_end() -> None:
    # These hold a few milliseconds less than libsndfile counts, which is no damage.
    paths = sorted(COMMON_VOICE.glob("*.mp3"))[::100]
    lost_s = [info(path).duration_s - len(load(path)) / SAMPLE_RATE for path in paths]
    assert len(lost_s) > 10
    assert max(lost_s) < 0.05


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block_s=st.floats(1e-4, 1), samples=st.integers(1, 20_000), rate=st.sampled_from([11_025, 16_000, 44_100]))
def test_streaming_equals_loading_for_any_length(tmp_path: Path, block_s: float, samples: int, rate: int) -> None:
    path = write(tmp_path, noise(samples + rate // 100), rate)
    with in_blocks_of(block_s):
        parts = list(stream(path))
    np.testing.assert_allclose(np.concatenate(parts), load(path), atol=1e-6)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block_s=st.floats(1e-3, 1), count=st.integers(1, 8), rate=st.sampled_from([8000, 16_000, 44_100]))
def test_a_separate_channel_is_as_if_it_were_alone(tmp_path: Path, block_s: float, count: int, rate: int) -> None:
    waves = [np.roll(noise(rate), 100 * number) + 0.1 * number for number in range(count)]
    path = write(tmp_path, np.stack(waves, axis=1), rate)
    with in_blocks_of(block_s):
        together = np.concatenate(list(stream(path, channels="separate")), axis=1)
        alone = [np.concatenate(list(stream(write(tmp_path, wave, rate)))) for wave in waves]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_separate_channels_are_as_many_throughout(tmp_path: Path) -> None:
    parts = [noise(SAMPLE_RATE), np.stack([noise(SAMPLE_RATE)] * 2, axis=1), noise(SAMPLE_RATE)]
    content = b"".join(write(tmp_path, part, encoding=VORBIS).read_bytes() for part in parts)
    assert len(np.concatenate(list(stream(io.BytesIO(content))))) == 3 * SAMPLE_RATE
    with pytest.raises(AudioError, match="streams of 1 and of 2 channels"):
        list(stream(io.BytesIO(content), channels="separate"))


def test_streaming_a_long_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", samplerate=48_000, channels=2, subtype="PCM_16") as sound:
        second = np.stack([sine(rate=48_000, seconds=1)] * 2, axis=1)
        for _ in range(120):
            sound.write(second)
    tracemalloc.start()
    try:
        with in_blocks_of(0.5):
            samples = sum(len(block) for block in stream(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert abs(samples - 120 * SAMPLE_RATE) <= 1
    block_bytes = 0.5 * 48_000 * 2 * 4
    assert peak < 5 * block_bytes  # the whole would be 240


# Cuts.


@pytest.mark.parametrize("encoding", [WAV16, FLAC, VORBIS, OPUS, MP3, NIST, AIFF], ids=name)
@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 4000), (1, 2), (1234, 7777), (4321, None), (7999, 8000)])
def test_cuts_are_exact_to_a_sample(tmp_path: Path, encoding: Encoding, start: int, end: int | None) -> None:
    path = write(tmp_path, noise(8000), encoding=encoding)
    end_s = None if end is None else end / SAMPLE_RATE
    cut = load(path, start_s=start / SAMPLE_RATE, end_s=end_s)
    # Opus decodes a little differently after a jump; one sample aside it would differ by about 0.3.
    np.testing.assert_allclose(cut, load(path)[start:end], atol=0.02)


def test_a_cut_at_another_rate_begins_where_it_should(tmp_path: Path) -> None:
    path = write(tmp_path, sine(440, 1, 48_000), 48_000)
    cut = load(path, start_s=0.25, end_s=0.75)
    assert len(cut) == 8000
    np.testing.assert_allclose(cut[200:-200], sine(440, 1)[4200:11_800], atol=1e-3)


def test_an_end_beyond_the_file_is_its_end(tmp_path: Path) -> None:
    assert len(load(write(tmp_path, noise(1000)), end_s=60)) == 1000


@pytest.mark.parametrize(("start_s", "end_s"), [(0.5, 0.5), (0.6, 0.2), (9, None), (9, 10), (0, -1)])
def test_a_cut_without_samples_is_an_error(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    with pytest.raises(AudioError, match="no samples"):
        load(write(tmp_path, sine(seconds=1)), start_s=start_s, end_s=end_s)


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-0.1, None), (float("nan"), None), (float("inf"), None), (0, float("nan"))]
)
def test_times_that_are_none_are_errors(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    with pytest.raises(AudioError, match="cannot"):
        load(write(tmp_path, sine()), start_s=start_s, end_s=end_s)


# Odd but sound.


def test_digital_silence_is_sound(tmp_path: Path) -> None:
    assert not load(write(tmp_path, np.zeros(3000, np.float32), encoding=WAV16)).any()


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_a_millisecond_is_sound(tmp_path: Path, rate: int) -> None:
    assert len(load(write(tmp_path, sine(seconds=0.001, rate=rate), rate))) == 16


def test_a_cut_wav_is_as_much_as_there_is(tmp_path: Path) -> None:
    path = write(tmp_path, noise(8000), encoding=WAV16)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 5000])
    np.testing.assert_allclose(load(path), noise(8000)[:5000], atol=1e-4)


def test_a_cut_opus_is_as_much_as_there_is(tmp_path: Path) -> None:
    path = write(tmp_path, noise(64_000), encoding=OPUS)
    whole = load(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    heard = load(path)
    assert 16_000 < len(heard) < 48_000
    np.testing.assert_allclose(heard, whole[: len(heard)], atol=1e-4)


# Not sound.


@pytest.mark.parametrize("read", [load, duration])
def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret.wav"
    soundfile.write(path, noise(1600), SAMPLE_RATE)
    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(AudioError, match="Permission denied; check the path and its permissions"):
        read(path)


@pytest.mark.parametrize("listen", [info, load])
def test_a_missing_file(tmp_path: Path, listen: object) -> None:
    assert callable(listen)
    with pytest.raises(AudioError, match="no such file; check the path"):
        listen(tmp_path / "none.wav")


@pytest.mark.parametrize("listen", [info, load])
def test_a_folder(tmp_path: Path, listen: object) -> None:
    assert callable(listen)
    with pytest.raises(AudioError, match="a folder, not a sound file"):
        listen(tmp_path)


def test_a_device() -> None:
    with pytest.raises(AudioError, match="pipe or a device"):
        load(Path("/dev/null"))


def test_a_name_too_long_for_the_disk(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="too long"):
        load(tmp_path / ("a" * 300 + ".wav"))


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("empty.wav", b"", "the file is empty"),
        ("text.wav", b"I am a text, whatever my name may say.\n" * 50, "cannot be read as sound"),
        ("page.mp3", b"<!doctype html><title>404 Not Found</title>" * 50, "cannot be read as sound"),
        ("headerless.raw", bytes(3200), "cannot be read as sound"),
        ("header.wav", b"RIFF\x24\x00\x00\x00WAVE", "cannot be read as sound"),
        ("zeros.wav", bytes(3200), "cannot be read as sound"),
    ],
)
def test_what_is_not_sound(tmp_path: Path, file: str, content: bytes, problem: str) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(AudioError, match=problem) as caught:
        load(path)
    assert caught.value.where == path
    assert caught.value.remedy


def test_no_samples(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no samples"):
        load(write(tmp_path, np.zeros(0, np.float32)))


def test_too_short_for_a_sample_at_16_khz(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no samples"):
        load(write(tmp_path, noise(1), 192_000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(tmp_path: Path, value: float) -> None:
    wave = noise(1000)
    wave[500] = value
    with pytest.raises(AudioError, match="not finite"):
        load(write(tmp_path, wave))


@pytest.mark.parametrize("encoding", [FLAC, MP3], ids=name)
def test_a_cut_file_whose_header_tells(tmp_path: Path, encoding: Encoding) -> None:
    path = write(tmp_path, noise(64_000), encoding=encoding)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(AudioError, match="breaks off"):
        load(path)


@pytest.mark.parametrize("rate", [10, 2_000_000])
def test_a_rate_that_is_none_of_sound(tmp_path: Path, rate: int) -> None:
    with pytest.raises(AudioError, match="sampling rate"):
        load(write(tmp_path, noise(100), rate))


def test_errors_carry_the_name_given() -> None:
    with pytest.raises(AudioError, match=r"^upload\.wav: "):
        list(stream(io.BytesIO(b"no sound"), where="upload.wav"))


# Fuzz: anything else than sound or an AudioError is a bug.


@cache
def encoded(encoding: Encoding) -> bytes:
    buffer = io.BytesIO()
    wave = np.stack([sine(330), sine(500)], axis=1)
    soundfile.write(buffer, wave, SAMPLE_RATE, format=encoding.container, subtype=encoding.subtype)
    return buffer.getvalue()


def is_sound_or_audio_error(content: bytes) -> bool:
    try:
        blocks = list(stream(io.BytesIO(content)))
    except AudioError:
        return True
    return len(blocks) > 0 and all(bool(np.isfinite(block).all()) and len(block) > 0 for block in blocks)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"FORM", b"NIST_1A", b".snd", b"caff"]),
    st.binary(max_size=500),
)
def test_random_bytes(magic: bytes, tail: bytes) -> None:
    assert is_sound_or_audio_error(magic + tail)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*LOSSLESS, *LOSSY]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=20),
    st.booleans(),
    st.floats(0.01, 1),
)
def test_damaged_encodings(encoding: Encoding, flips: list[tuple[float, int]], in_header: bool, kept: float) -> None:
    content = bytearray(encoded(encoding))
    reach = min(64, len(content)) if in_header else len(content)
    for place, bit in flips:
        content[int(place * reach)] ^= 1 << bit
    assert is_sound_or_audio_error(bytes(content[: int(kept * len(content))]))


@pytest.mark.parametrize("cuts", [(), (1, 5000), (16_000,)])
def test_flac_is_written_as_libsndfile_reads_it(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    wave = noise(16_001)
    blocks = [torch.from_numpy(block) for block in np.split(wave, cuts)]
    assert write_flac(tmp_path / "a.flac", blocks) == 16_001 / SAMPLE_RATE
    heard, rate = soundfile.read(tmp_path / "a.flac", dtype="float32")
    assert rate == SAMPLE_RATE
    assert np.abs(heard - wave).max() <= 1 / 32768
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]


def test_flac_is_clipped_not_wrapped_beyond_full_scale(tmp_path: Path) -> None:
    write_flac(tmp_path / "a.flac", [torch.tensor([1.5, -1.5, 1.0, -1.0] * 100)])
    heard, _ = soundfile.read(tmp_path / "a.flac", dtype="int16")
    assert heard[:4].tolist() == [32767, -32768, 32767, -32768]


def test_flac_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_flac(tmp_path / "nowhere" / "a.flac", [torch.zeros(100)])
    assert list(tmp_path.iterdir()) == []
