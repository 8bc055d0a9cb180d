"""Decoded sound on disk is the sound of the files, and follows them when they change."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from affetto import audio
from affetto.data.transcribed import SoundCache, Transcribed, read_sound
from affetto.data.utterance import Utterance
from affetto.errors import AudioError, TrainingError

Make = Callable[..., Path]


def _item(path: Path, **times: Any) -> Transcribed:
    return Transcribed(Utterance(id=path.stem, audio=path, speaker="ann", corpus="mine", text="a", **times), "a", 0.5)


def test_gives_the_sound_to_16_bits(make_sound: Make, tmp_path: Path) -> None:
    items = [
        _item(make_sound("a.flac")),
        _item(make_sound("b.wav", sample_rate=8_000), start_s=0.1, end_s=0.3),
        _item(make_sound("b.wav", duration_s=1.0)),
    ]
    cache = SoundCache.make(tmp_path / "kept", items)
    for item in items:
        torch.testing.assert_close(cache.read(item), read_sound(item), atol=0.5 / 2**15 + 1e-7, rtol=0)


def test_decodes_once(make_sound: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [_item(make_sound())]
    wave = SoundCache.make(tmp_path / "kept", items).read(items[0])

    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(audio, "load", never)
    assert torch.equal(SoundCache.make(tmp_path / "kept", items).read(items[0]), wave)


def test_a_changed_file_is_decoded_anew(make_sound: Make, tmp_path: Path) -> None:
    items = [_item(make_sound(duration_s=0.5))]
    before = SoundCache.make(tmp_path / "kept", items)
    make_sound(duration_s=0.75)
    assert len(SoundCache.make(tmp_path / "kept", items).read(items[0])) == 12_000
    assert len(before.read(items[0])) == 12_000  # not what it was made of any more


def test_loud_sound_is_clipped_not_wrapped(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "loud.wav", [1.5, -1.5] * 400, 16_000, subtype="FLOAT")
    item = _item(tmp_path / "loud.wav")
    wave = SoundCache.make(tmp_path / "kept", [item]).read(item)
    assert (wave.max().item(), wave.min().item()) == (pytest.approx(1.0, abs=1e-4), -1.0)


def test_what_cannot_be_read_is_no_part_of_it(
    make_sound: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    good, broken = _item(make_sound("good.wav")), _item(tmp_path / "broken.wav")
    cache = SoundCache.make(tmp_path / "kept", [broken, good])
    assert "broken.wav" in caplog.text
    assert len(cache.read(good)) == 8_000
    with pytest.raises(AudioError, match=r"broken\.wav"):
        cache.read(broken)
    with pytest.raises(AudioError, match=r"broken\.wav"):
        SoundCache.make(tmp_path / "other", [broken]).read(broken)


def test_a_full_disk_leaves_nothing_half(make_sound: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    item = _item(make_sound())
    with monkeypatch.context() as patch:
        patch.setattr("affetto.files.os.fsync", full)
        with pytest.raises(TrainingError, match=r"cannot be kept \(No space left on device\); make room"):
            SoundCache.make(tmp_path / "kept", [item])
    assert list((tmp_path / "kept").iterdir()) == []
    assert len(SoundCache.make(tmp_path / "kept", [item]).read(item)) == 8_000
