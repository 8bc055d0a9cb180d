"""Cached representations: computed once, never mixed up, and made good where they are damaged."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from affetto import audio
from affetto import represent as module
from affetto.data.utterance import Utterance
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames, Waves, pad_waves
from affetto.models.encoders.deepspeech2 import DeepSpeech2Encoder
from affetto.models.recogniser_checkpoint import load_recogniser
from affetto.represent import Acoustics, PooledLayers, represent


class Counting:
    """Says of a recording how long it is and how loud, and counts what it is asked."""

    def __init__(self, key: str = "counting") -> None:
        self.key = key
        self.heard = 0

    def extract(self, waves: Waves) -> dict[str, Frames]:
        self.heard += len(waves.lengths)
        rows = torch.stack([waves.lengths.float(), waves.values.square().sum(dim=1)], dim=-1)
        return {"length/energy": Frames(rows[:, None], torch.ones_like(waves.lengths))}


@pytest.fixture
def utterances(make_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> list[Utterance]:
    """Seven, of different lengths, in shards of three."""
    monkeypatch.setattr(module, "SHARD_UTTERANCES", 3)
    monkeypatch.setattr(module, "BATCH_UTTERANCES", 2)
    lengths_s = [0.3, 0.1, 0.2, 0.25, 0.15, 0.35, 0.12]
    return [_of(make_sound(f"{number}.wav", duration_s=each)) for number, each in enumerate(lengths_s)]


def _of(path: Path, **times: Any) -> Utterance:
    return Utterance(id=path.stem, audio=path, speaker="ann", corpus="mine", **times)


def _lengths(found: list[dict[str, torch.Tensor] | None]) -> list[int | None]:
    return [None if each is None else int(each["length/energy"][0, 0]) for each in found]


def test_each_utterance_gets_its_own_and_the_cache_the_same(utterances: list[Utterance], tmp_path: Path) -> None:
    extractor = Counting()
    first = represent(utterances, extractor, tmp_path / "cache")
    assert _lengths(first) == [4800, 1600, 3200, 4000, 2400, 5600, 1920]
    assert extractor.heard == 7
    again = represent(utterances, extractor, tmp_path / "cache")
    assert extractor.heard == 7
    torch.testing.assert_close(again, first, rtol=0, atol=0)


def test_progress_is_told_after_every_shard(utterances: list[Utterance], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    represent(utterances, Counting(), tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_a_stopped_run_goes_on(utterances: list[Utterance], tmp_path: Path) -> None:
    class Stopped(Counting):
        def extract(self, waves: Waves) -> dict[str, Frames]:
            if self.heard >= 4:
                raise KeyboardInterrupt
            return super().extract(waves)

    with pytest.raises(KeyboardInterrupt):
        represent(utterances, Stopped(), tmp_path)
    (tmp_path / f"counting-v{module.CACHE_VERSION}" / "half.1.partial").write_bytes(b"cut sho")
    extractor = Counting()
    assert _lengths(represent(utterances, extractor, tmp_path)) == [4800, 1600, 3200, 4000, 2400, 5600, 1920]
    assert extractor.heard == 4  # the first three were kept


@pytest.mark.parametrize("spoil", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[:0], lambda raw: b"\xff" + raw])
def test_a_damaged_shard_is_computed_again(
    utterances: list[Utterance],
    tmp_path: Path,
    spoil: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = represent(utterances, Counting(), tmp_path)
    shard = sorted((tmp_path / f"counting-v{module.CACHE_VERSION}").iterdir())[0]
    shard.write_bytes(spoil(shard.read_bytes()))
    extractor = Counting()
    with caplog.at_level(logging.WARNING, logger="affetto"):
        torch.testing.assert_close(represent(utterances, extractor, tmp_path), first, rtol=0, atol=0)
    assert extractor.heard in {1, 3}
    assert shard.name in caplog.text
    represent(utterances, extractor, tmp_path)
    assert extractor.heard in {1, 3}


def test_what_older_code_kept_is_not_read(
    utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    represent(utterances, Counting(), tmp_path)
    monkeypatch.setattr(module, "CACHE_VERSION", module.CACHE_VERSION + 1)
    extractor = Counting()
    represent(utterances, extractor, tmp_path)
    assert extractor.heard == 7


def test_a_changed_file_is_heard_again(
    utterances: list[Utterance], tmp_path: Path, make_sound: Callable[..., Path]
) -> None:
    represent(utterances, Counting(), tmp_path)
    make_sound("1.wav", duration_s=0.4)
    extractor = Counting()
    assert _lengths(represent(utterances, extractor, tmp_path))[1] == 6400
    assert extractor.heard == 3  # its shard


def test_a_file_changed_within_its_size_is_heard_again(utterances: list[Utterance], tmp_path: Path) -> None:
    represent(utterances, Counting(), tmp_path)
    os.utime(utterances[6].audio, ns=(1, 1))
    extractor = Counting()
    represent(utterances, extractor, tmp_path)
    assert extractor.heard == 1


def test_stretches_of_one_file_are_told_apart(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    path = make_sound(duration_s=0.5)
    whole, part = [_of(path)], [_of(path, start_s=0.1, end_s=0.2)]
    assert _lengths(represent(whole, Counting(), tmp_path)) == [8000]
    assert _lengths(represent(part, Counting(), tmp_path)) == [1600]


def test_another_extractor_has_a_cache_of_its_own(utterances: list[Utterance], tmp_path: Path) -> None:
    represent(utterances, Counting(), tmp_path)
    other = Counting("other")
    represent(utterances, other, tmp_path)
    assert other.heard == 7


def test_an_unreadable_file_leaves_the_others_as_they_are(
    utterances: list[Utterance], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    utterances[1].audio.write_bytes(b"no sound")
    utterances[6].audio.unlink()
    with caplog.at_level(logging.WARNING, logger="affetto"):
        found = represent(utterances, Counting(), tmp_path)
    assert _lengths(found) == [4800, None, 3200, 4000, 2400, 5600, None]
    assert _lengths(represent(utterances, Counting(), tmp_path)) == _lengths(found)
    assert "1.wav" in caplog.text
    assert "6.wav" in caplog.text


def test_a_missing_file_that_comes_back_is_heard(
    utterances: list[Utterance], tmp_path: Path, make_sound: Callable[..., Path]
) -> None:
    utterances[0].audio.unlink()
    assert _lengths(represent(utterances, Counting(), tmp_path))[0] is None
    make_sound("0.wav", duration_s=0.3)
    assert _lengths(represent(utterances, Counting(), tmp_path))[0] == 4800


def test_an_encoders_layers_are_averaged(utterances: list[Utterance], tmp_path: Path, tiny_model: Path) -> None:
    recogniser, _ = load_recogniser(tiny_model / "recogniser.safetensors")
    pooled = PooledLayers(DeepSpeech2Encoder(recogniser), ("gru1", "gru2"))
    found = represent(utterances[:4], pooled, tmp_path)[3]
    assert found is not None
    with torch.no_grad():
        layers = recogniser(pad_waves([audio.load(utterances[3].audio)]), collect=["gru1", "gru2"]).layers
    expected = {name: frames.unpad()[0].mean(dim=0, keepdim=True) for name, frames in layers.items()}
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_keys_tell_extractors_apart(tiny_model: Path) -> None:
    encoder = DeepSpeech2Encoder(load_recogniser(tiny_model / "recogniser.safetensors")[0])
    assert PooledLayers(encoder, ("gru1",)).key != PooledLayers(encoder, ("gru2",)).key
    assert Acoustics(AcousticConfig()).key == Acoustics(AcousticConfig()).key
    assert Acoustics(AcousticConfig()).key != Acoustics(AcousticConfig(loudness=True)).key
