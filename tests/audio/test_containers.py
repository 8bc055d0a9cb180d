"""All the sound in a file, whatever its headers say: joined files, wrong lengths, formats that cannot seek."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from affetto import audio
from affetto.audio.mpeg import frame
from affetto.errors import AudioError

Wave = NDArray[np.float32]

JOINABLE = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
    "voc": ("VOC", "PCM_16"),
}
UNSEEKABLE = [
    ("WAV", "GSM610"), ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_16"), ("WAV", "NMS_ADPCM_24"), ("WAV", "NMS_ADPCM_32"),
    ("AIFF", "GSM610"), ("AIFF", "DWVW_16"), ("W64", "GSM610"), ("AU", "G721_32"), ("AU", "G723_24"), ("AU", "G723_40"),
]  # fmt: skip


def tone(hz: float, seconds: float = 0.5, rate: int = 16_000, level: float = 0.5) -> Wave:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(wave: Wave, kind: tuple[str, str], rate: int = 16_000, **settings: object) -> bytes:
    content = io.BytesIO()
    with soundfile.SoundFile(
        content, "w", rate, wave.shape[1] if wave.ndim == 2 else 1, kind[1], format=kind[0], **settings
    ) as sound:
        sound.write(wave)
    return content.getvalue()


def decoded(content: bytes, **times: float) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(list(audio.stream(io.BytesIO(content), **times))))


def measured(content: bytes) -> float:
    return audio.duration(io.BytesIO(content))


def without_header(mp3: bytes) -> bytes:
    """An mp3 whose first frame, which tells how many follow, is lost."""
    first = frame(mp3[:4])
    assert first is not None
    assert mp3[first.tag : first.tag + 4] in {b"Info", b"Xing"}
    return mp3[first.size :]


def loudness(wave: torch.Tensor, start_s: float, end_s: float) -> float:
    return float(wave[round(start_s * 16_000) : round(end_s * 16_000)].square().mean().sqrt())


# Lengths that nobody told, or guessed.


@pytest.mark.parametrize("loud_first", [True, False])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_an_mp3_without_a_length_is_decoded_to_its_end(loud_first: bool, rate: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    loud = rng.uniform(-0.5, 0.5, rate).astype(np.float32)
    parts = [loud, tone(300, 9, rate, 0.1)] if loud_first else [tone(300, 9, rate, 0.001), loud]
    content = encoded(np.concatenate(parts), JOINABLE["mp3"], rate, bitrate_mode="VARIABLE")
    path = tmp_path / "a.mp3"
    path.write_bytes(without_header(content))
    wave = audio.load(path)
    assert len(wave) / 16_000 == pytest.approx(10, abs=0.1)
    assert audio.duration(path) == pytest.approx(len(wave) / 16_000, abs=0.001)
    begin, end = loudness(wave, 0.2, 0.8), loudness(wave, 9.2, 9.8)
    assert begin / end > 1.8 if loud_first else end / begin > 100


def test_an_mp3_whose_header_tells_of_too_few_frames_is_decoded_to_its_end() -> None:
    content = bytearray(encoded(tone(300, 3), JOINABLE["mp3"]))
    first = frame(bytes(content[:4]))
    assert first is not None
    place = first.tag + 8
    content[place : place + 4] = struct.pack(">I", 20)
    assert len(decoded(bytes(content))) / 16_000 == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize(
    "junk", [b"\0" * 3000, b"ID3\x04\0\0\0\0\x02\x00" + b"\xff\xfb\x90\x64" * 64, b"TAG" + b" " * 125]
)
def test_what_is_no_frame_in_an_mp3_is_left_out(junk: bytes) -> None:
    content = without_header(encoded(tone(300, 2), JOINABLE["mp3"]))
    half = frame(content[:4])
    assert half is not None
    cut = 30 * half.size
    assert measured(content[:cut] + junk + content[cut:] + junk) == pytest.approx(measured(content), abs=0.05)


def test_mp3_in_a_wav_is_decoded_to_its_end() -> None:
    rng = np.random.default_rng(1)
    wave = np.concatenate([rng.uniform(-0.5, 0.5, 16_000), tone(300, 9, level=0.1)]).astype(np.float32)
    mp3 = without_header(encoded(wave, JOINABLE["mp3"], bitrate_mode="VARIABLE"))
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 16_000, 8000, 1, 0, 12, 1, 2, 144, 1, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(mp3)) + mp3
    content = b"RIFF" + struct.pack("<I", len(body)) + body
    assert len(decoded(content)) / 16_000 == pytest.approx(10, abs=0.1)
    assert measured(content) == pytest.approx(10, abs=0.1)


def flac_without_length(wave: Wave) -> bytes:
    """As an encoder in a pipe leaves it: the 36 bits of STREAMINFO's total samples are 0."""
    content = bytearray(encoded(wave, JOINABLE["flac"]))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


def test_a_flac_without_a_length_is_decoded_to_its_end(tmp_path: Path) -> None:
    wave = tone(300, 3.3)
    path = tmp_path / "piped.flac"
    path.write_bytes(flac_without_length(wave))
    with mock.patch.object(audio.decoding, "_BLOCK_S", 0.5):
        blocks = list(audio.stream(path))
    np.testing.assert_allclose(np.concatenate(blocks), wave, atol=1e-4)
    np.testing.assert_allclose(audio.load(path, start_s=1, end_s=2), wave[16_000:32_000], atol=1e-4)
    assert audio.duration(path) == pytest.approx(3.3)
    assert audio.info(path) == audio.AudioInfo(None, 16_000, 1)
    joined = path.read_bytes() * 2
    assert (len(decoded(joined)), measured(joined)) == (2 * len(wave), pytest.approx(6.6))


# Sizes that were never written.


def resized(content: bytes, *places: int, order: str = "<I", value: int = 0) -> bytes:
    changed = bytearray(content)
    for place in places:
        struct.pack_into(order, changed, place, value)
    return bytes(changed)


def unfinished_wav(wave: Wave) -> bytes:
    content = encoded(wave, JOINABLE["wav"])
    return resized(content, 4, content.index(b"data") + 4)


def unfinished_data(wave: Wave) -> bytes:
    content = encoded(wave, JOINABLE["wav"])
    return resized(content, content.index(b"data") + 4)


def unfinished_rf64(wave: Wave) -> bytes:
    content = encoded(wave, ("RF64", "PCM_16"))
    return resized(content, 20, 28, 36, order="<Q")


def unfinished_aiff(wave: Wave) -> bytes:
    content = encoded(wave, JOINABLE["aiff"])
    return resized(content, 4, content.index(b"COMM") + 10, content.index(b"SSND") + 4, order=">I")


def unfinished_au(wave: Wave) -> bytes:
    return resized(encoded(wave, JOINABLE["au"]), 8, order=">I")


def piped_wav(wave: Wave) -> bytes:
    content = encoded(wave, JOINABLE["wav"])
    return resized(content, 4, content.index(b"data") + 4, value=0xFFFFFFFF)


def flac_of_too_few(wave: Wave) -> bytes:
    content = flac_without_length(wave)
    return content[:25] + b"\x64" + content[26:]


def au_of_too_few(wave: Wave) -> bytes:
    return resized(encoded(wave, JOINABLE["au"]), 8, order=">I", value=len(wave))


def au_of_too_many(wave: Wave) -> bytes:
    return resized(encoded(wave, JOINABLE["au"]), 8, order=">I", value=0x7FFFFFFF)


def rf64_of_too_many(wave: Wave) -> bytes:
    return resized(encoded(wave, ("RF64", "PCM_16")), 28, order="<Q", value=2**64 - 1)


UNFINISHED = [
    flac_of_too_few, au_of_too_few, au_of_too_many, rf64_of_too_many,
    unfinished_wav, unfinished_data, unfinished_rf64, unfinished_aiff, unfinished_au, piped_wav, flac_without_length,
]  # fmt: skip


@pytest.mark.parametrize("make", UNFINISHED, ids=lambda make: make.__name__)
@pytest.mark.parametrize("copies", [1, 3])
def test_files_whose_recorder_crashed_are_decoded_to_their_end(make: Callable[[Wave], bytes], copies: int) -> None:
    wave = tone(300)
    content = make(wave) * copies
    np.testing.assert_allclose(decoded(content), np.tile(wave, copies), atol=1e-4)
    assert measured(content) == pytest.approx(0.5 * copies)


def test_a_wav_with_nothing_in_it_is_no_unfinished_one() -> None:
    content = encoded(tone(300)[:0], JOINABLE["wav"]) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(AudioError, match="no samples"):
        decoded(resized(content, 4, value=len(content) - 8))


def test_a_chunk_without_its_pad_byte(tmp_path: Path) -> None:
    wave = tone(300)
    content = encoded(wave, JOINABLE["wav"])
    place = content.index(b"data")
    comment = b"LIST" + struct.pack("<I", 17) + b"INFOISFT" + struct.pack("<I", 5) + b"affet"
    mended = content[:place] + comment + content[place:]
    path = tmp_path / "a.wav"
    path.write_bytes(resized(mended, 4, value=len(mended) - 8))
    np.testing.assert_allclose(audio.load(path), wave, atol=1e-4)


# Several files in one.


def assert_all_is_there(parts: list[bytes], lengths_s: list[float]) -> None:
    """What is joined is heard as its parts are, one after the other."""
    whole = decoded(b"".join(parts))
    # The resampler, and a codec's padding, may take or give some samples a part.
    assert len(whole) / 16_000 == pytest.approx(sum(lengths_s), abs=0.1 * len(parts))
    torch.testing.assert_close(whole, torch.cat([decoded(part) for part in parts]), atol=1e-6, rtol=0)
    assert measured(b"".join(parts)) == pytest.approx(len(whole) / 16_000, abs=0.002)


@pytest.mark.parametrize("kind", JOINABLE)
def test_joined_files_are_decoded_to_their_end(kind: str) -> None:
    parts = [encoded(tone(hz, seconds), JOINABLE[kind]) for hz, seconds in ((300, 0.5), (500, 1.2), (300, 0.5))]
    assert_all_is_there(parts, [0.5, 1.2, 0.5])


@pytest.mark.parametrize("kind", JOINABLE)
def test_joined_files_may_be_of_different_kinds(kind: str) -> None:
    stereo = np.stack([tone(500, 0.8, 48_000)] * 2, axis=1)
    parts = [encoded(tone(300, 0.5), JOINABLE[kind]), encoded(stereo, JOINABLE[kind], 48_000)]
    assert_all_is_there(parts, [0.5, 0.8])


@pytest.mark.parametrize("kind", JOINABLE)
@pytest.mark.parametrize("other", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_a_file_of_another_format_may_follow_or_go_before(kind: str, other: str) -> None:
    parts = [encoded(tone(hz, seconds), JOINABLE[each]) for hz, seconds, each in ((300, 0.5, kind), (500, 1.2, other))]
    assert_all_is_there(parts, [0.5, 1.2])
    assert_all_is_there(parts[::-1], [1.2, 0.5])


def test_files_of_three_formats_may_be_joined() -> None:
    parts = [encoded(tone(300, 0.5), JOINABLE[kind]) for kind in ("wav", "wav", "flac", "flac", "ogg", "wav")]
    assert_all_is_there(parts, [0.5] * 6)


def test_what_looks_like_a_file_within_another_is_none() -> None:
    """FLAC in Ogg, the comments of a wav, and samples may hold what files begin with."""
    flac = encoded(tone(300), JOINABLE["flac"])
    wav = encoded(tone(300), JOINABLE["wav"])
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 0, 20]) + bytes(20)
    within = wav[:-100] + flac[:100]
    tagged = tag + flac
    noted = wav + b"id3 " + struct.pack("<I", len(tag)) + tag
    for content in (within, tagged, noted, resized(noted, 4, value=len(noted) - 8)):
        assert measured(content) == pytest.approx(0.5)


@pytest.mark.parametrize("between", [b"\n", bytes(512)])
def test_something_may_lie_between_joined_wavs(between: bytes) -> None:
    part = encoded(tone(300), JOINABLE["wav"])
    assert measured(part + between + part) == pytest.approx(1)


@pytest.mark.parametrize("magic", [b"RIFF", b"RIFX"])
@pytest.mark.parametrize("chunk", [b"", b"bext", b"JUNK"])
def test_joined_wavs_may_begin_with_any_chunk(magic: bytes, chunk: bytes) -> None:
    content = encoded(tone(300), JOINABLE["wav"], endian="BIG" if magic == b"RIFX" else "FILE")
    assert content[:4] == magic
    size = struct.pack("<I" if magic == b"RIFF" else ">I", 602)
    content = content[:12] + (chunk + size + bytes(602) if chunk else b"") + content[12:]
    assert measured(content * 3) == pytest.approx(1.5)


@pytest.mark.parametrize("first", ["headed", "headless"])
def test_an_mp3_without_a_header_may_follow(first: str) -> None:
    whole = encoded(tone(300, 2), JOINABLE["mp3"])
    parts = [whole, without_header(whole)] if first == "headed" else [without_header(whole), whole]
    assert len(decoded(b"".join(parts))) / 16_000 == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "opus"])
def test_cuts_may_lie_in_any_part(kind: str, tmp_path: Path) -> None:
    part = encoded(tone(440, 1), JOINABLE[kind])
    path = tmp_path / f"a.{kind}"
    path.write_bytes(part * 3)
    whole = audio.load(path)
    for start_s, end_s in ((0.0, 0.5), (0.9, 1.1), (1.0, 2.0), (1.5, 3.0), (2.25, 2.75)):
        cut = audio.load(path, start_s=start_s, end_s=end_s)
        expected = whole[round(start_s * 16_000) : round(end_s * 16_000)]
        assert abs(len(cut) - len(expected)) <= 1
        size = min(len(cut), len(expected)) - 800
        torch.testing.assert_close(cut[800:size], expected[800:size], atol=0.05, rtol=0)  # lossy ones begin anew


def test_one_of_joined_files_that_breaks_off_is_an_error() -> None:
    part = encoded(tone(300, 2), JOINABLE["flac"])
    with pytest.raises(AudioError, match="breaks off"):
        decoded(part + part[: len(part) // 2])


# Formats that libsndfile reads, but cannot seek in.


@pytest.mark.parametrize(("container", "subtype"), UNSEEKABLE)
def test_formats_that_cannot_seek(container: str, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(encoded(tone(300, 2, 8000), (container, subtype), 8000))
    wave = audio.load(path)
    assert len(wave) / 16_000 == pytest.approx(2, abs=0.05)
    assert loudness(wave, 0.1, 1.9) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    cut = audio.load(path, start_s=0.5, end_s=1.5)
    torch.testing.assert_close(cut[200:-200], wave[8200:23_800], atol=2e-3, rtol=0)


@pytest.mark.heavy
def test_a_wav_of_more_than_4_gb_is_decoded_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    content = piped_wav(np.zeros((2, 8), np.float32))
    with path.open("wb") as file:
        file.write(content)
        file.seek((1 << 32) + 1_600_000)  # a hole on the disk is silence
        file.write(np.repeat(8192 * tone(300, level=1.0, seconds=1), 8).astype("<i2").tobytes())
    assert audio.duration(path) == pytest.approx(((1 << 32) + 1_600_000) / 256_000 + 1, abs=0.01)
    end = audio.load(path, start_s=audio.duration(path) - 1)
    assert end.abs().max() > 0.2
