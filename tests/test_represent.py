"""Cached representations: computed once, never mixed up, and made good where they are damaged."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tests.training.banks import make_bank

from affetto import audio
from affetto.data.sound import Surroundings, crowd_of
from affetto.data.utterance import Utterance
from affetto.errors import RunError
from affetto.features.acoustic import AcousticConfig, acoustic
from affetto.features.conditions import Chance, Condition
from affetto.features.perturbation import Perturbation
from affetto.frames import Frames, Waves, pad_waves, pooled
from affetto.models.encoders.native import NativeEncoder
from affetto.models.network import load_recogniser
from affetto.represent import (
    Acoustics,
    Bank,
    Extractor,
    Functionals,
    Inputs,
    Layers,
    SpeakersOwn,
    Variants,
    represent,
)
from affetto.represent import cache as module
from affetto.represent.cache import one_frame


class Counting:
    """Says of a recording how long it is and how loud, and counts what it is asked."""

    def __init__(self, key: str = "counting", names: tuple[str, ...] = ("length",)) -> None:
        self._key = key
        self.names = names
        self.heard = 0

    def key(self, name: str) -> str:
        return f"{self._key}-{name}"

    def dtype(self, name: str) -> torch.dtype:  # noqa: ARG002
        return torch.float32

    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        self.heard += len(waves.lengths)
        rows = torch.stack([waves.lengths.float(), waves.values.square().sum(dim=1)], dim=-1)
        return {name: one_frame(rows) for name in names}


@pytest.fixture
def utterances(make_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> list[Utterance]:
    """Seven, of different lengths, in shards of three."""
    monkeypatch.setattr(module, "SHARD_UTTERANCES", 3)
    monkeypatch.setattr(module, "BATCH_UTTERANCES", 2)
    lengths_s = [0.3, 0.1, 0.2, 0.25, 0.15, 0.35, 0.12]
    return [_of(make_sound(f"{number}.wav", duration_s=each)) for number, each in enumerate(lengths_s)]


def _of(path: Path, **times: Any) -> Utterance:
    return Utterance(id=path.stem, audio=path, speaker="ann", corpus="mine", **times)


def _lengths(found: dict[str, Bank]) -> list[int | None]:
    bank = found["length"]
    return [
        int(bank.batch(np.array([place])).values[0, 0, 0]) if bank.readable[place] else None
        for place in range(len(bank))
    ]


def test_each_utterance_gets_its_own_and_the_cache_the_same(utterances: list[Utterance], tmp_path: Path) -> None:
    extractor = Counting()
    first = represent(utterances, extractor, tmp_path / "cache")
    assert _lengths(first) == [4800, 1600, 3200, 4000, 2400, 5600, 1920]
    assert first["length"].durations.tolist() == [[4800, 1600, 3200, 4000, 2400, 5600, 1920]]
    assert extractor.heard == 7
    again = represent(utterances, extractor, tmp_path / "cache")
    assert extractor.heard == 7
    assert torch.equal(again["length"].dense, first["length"].dense)


def test_progress_is_reported_after_every_shard(utterances: list[Utterance], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    represent(utterances, Counting(), tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_a_stopped_run_goes_on(utterances: list[Utterance], tmp_path: Path) -> None:
    class Stopped(Counting):
        def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
            if self.heard >= 4:
                raise KeyboardInterrupt
            return super().extract(waves, names)

    with pytest.raises(KeyboardInterrupt):
        represent(utterances, Stopped(), tmp_path)
    (tmp_path / f"counting-length-v{module.CACHE_VERSION}" / "half.1.partial").write_bytes(b"cut sho")
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
    shard = sorted((tmp_path / f"counting-length-v{module.CACHE_VERSION}").iterdir())[0]
    shard.write_bytes(spoil(shard.read_bytes()))
    extractor = Counting()
    with caplog.at_level(logging.WARNING, logger="affetto"):
        again = represent(utterances, extractor, tmp_path)
    assert torch.equal(again["length"].dense, first["length"].dense)
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


def test_a_changed_file_is_decoded_again(
    utterances: list[Utterance], tmp_path: Path, make_sound: Callable[..., Path]
) -> None:
    represent(utterances, Counting(), tmp_path)
    make_sound("1.wav", duration_s=0.4)
    extractor = Counting()
    assert _lengths(represent(utterances, extractor, tmp_path))[1] == 6400
    assert extractor.heard == 3  # its shard


def test_a_file_changed_within_its_size_is_recognised_again(utterances: list[Utterance], tmp_path: Path) -> None:
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


def test_a_missing_file_that_comes_back_is_recognised(
    utterances: list[Utterance], tmp_path: Path, make_sound: Callable[..., Path]
) -> None:
    utterances[0].audio.unlink()
    assert _lengths(represent(utterances, Counting(), tmp_path))[0] is None
    make_sound("0.wav", duration_s=0.3)
    assert _lengths(represent(utterances, Counting(), tmp_path))[0] == 4800


def test_a_shard_of_which_nothing_can_be_read(utterances: list[Utterance], tmp_path: Path) -> None:
    for utterance in utterances[:3]:
        utterance.audio.write_bytes(b"no sound")
    found = represent(utterances, Counting(), tmp_path)
    assert _lengths(found) == [None, None, None, 4000, 2400, 5600, 1920]
    assert found["length"].width == 2


def test_only_what_is_missing_is_computed(utterances: list[Utterance], tmp_path: Path) -> None:
    represent(utterances, Counting(names=("length",)), tmp_path)
    more = Counting(names=("length", "other"))
    found = represent(utterances, more, tmp_path)
    assert more.heard == 7
    assert torch.equal(found["length"].dense, found["other"].dense)


def test_a_full_disk_is_reported_and_loses_nothing(
    utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if written:
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path)
        written.append(path)

    monkeypatch.setattr(module, "save_file", save)
    with pytest.raises(RunError, match=r"No space left.*; make room and run again"):
        represent(utterances, Counting(), tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.partial"))
    extractor = Counting()
    monkeypatch.setattr(module, "SHARD_UTTERANCES", 3)
    assert _lengths(represent(utterances, extractor, tmp_path)) == [4800, 1600, 3200, 4000, 2400, 5600, 1920]
    assert extractor.heard == 4


@pytest.fixture
def layers(utterances: list[Utterance], tmp_path: Path, tiny_model: Path) -> tuple[dict[str, Bank], dict[str, Frames]]:
    """Banks of the first four, and what the recogniser says of the fourth."""
    recogniser, _ = load_recogniser(tiny_model / "recogniser.safetensors")
    names = ("gru1", "gru2", pooled("gru2"))
    found = represent(utterances[:4], Layers(NativeEncoder(recogniser), names), tmp_path)
    with torch.no_grad():
        said = recogniser(pad_waves([audio.load(utterances[3].audio)]), collect=["gru1", "gru2"]).layers
    return found, said


def test_an_encoders_layers_are_kept(layers: tuple[dict[str, Bank], dict[str, Frames]]) -> None:
    found, said = layers
    for name in ("gru1", "gru2"):
        batch = found[name].batch(np.array([3]))
        torch.testing.assert_close(batch.values, said[name].values, atol=1e-3, rtol=1e-3)
        assert batch.lengths.tolist() == said[name].lengths.tolist()
    torch.testing.assert_close(found["gru2/mean"].dense[0, 3], said["gru2"].mean()[0], atol=1e-5, rtol=1e-4)


def test_a_batch_is_padded_and_in_the_order_asked(layers: tuple[dict[str, Bank], dict[str, Frames]]) -> None:
    bank = layers[0]["gru1"]
    batch = bank.batch(np.array([3, 0, 2]))
    for row, place in enumerate((3, 0, 2)):
        alone = bank.batch(np.array([place]))
        torch.testing.assert_close(batch.unpad()[row], alone.values[0], rtol=0, atol=0)
    assert not batch.values[~batch.mask].any()


def test_moments_are_numpys(layers: tuple[dict[str, Bank], dict[str, Frames]]) -> None:
    bank, members = layers[0]["gru1"], np.array([0, 3])
    rows = torch.cat(bank.batch(members).unpad()).double().numpy()
    mean, deviation = bank.moments.of(members)
    np.testing.assert_allclose(mean, rows.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(deviation, rows.std(axis=0), atol=1e-6)


def test_a_bank_in_another_process_reads_the_same(layers: tuple[dict[str, Bank], dict[str, Frames]]) -> None:
    bank = layers[0]["gru1"]
    batch = bank.batch(np.arange(4))
    carried = pickle.dumps(bank)  # as joblib does
    assert len(carried) < 4_000
    assert torch.equal(pickle.loads(carried).batch(np.arange(4)).values, batch.values)  # noqa: S301


def test_variants_differ_from_the_sound_and_from_each_other(utterances: list[Utterance], tmp_path: Path) -> None:
    variants = Variants(count=2, perturbation=Perturbation(tempo=(0.85, 1.15), gain_db=(-3.0, 6.0)), seed=3)
    bank = represent(utterances, Counting(), tmp_path, variants=variants)["length"]
    plain = represent(utterances, Counting(), tmp_path)["length"]
    assert (bank.variants, plain.variants) == (2, 0)
    assert torch.equal(bank.dense[0], plain.dense[0])
    tempo = bank.durations[0] / bank.durations[1:]
    assert ((tempo > 0.84) & (tempo < 1.16)).all()
    assert len(np.unique(tempo.round(3))) > 10
    chosen = bank.batch(np.array([1, 1, 4]), np.array([0, 2, 1])).values[:, 0, 0].int().tolist()
    assert chosen == [bank.durations[0, 1], bank.durations[2, 1], bank.durations[1, 4]]


def test_the_same_seed_gives_the_same_variants_and_another_others(utterances: list[Utterance], tmp_path: Path) -> None:
    def heard(seed: int, cache: str) -> torch.Tensor:
        return represent(utterances, Counting(), tmp_path / cache, variants=Variants(count=1, seed=seed))[
            "length"
        ].dense

    assert torch.equal(heard(1, "one"), heard(1, "two"))
    assert not torch.equal(heard(1, "one")[1], heard(2, "one")[1])


def test_variants_may_be_represented_elsewhere(utterances: list[Utterance], tmp_path: Path) -> None:
    still = Perturbation(tempo=(1.0, 1.0), gain_db=(0.0, 0.0))
    conditions = {"silence": Chance(chance=1.0, between=(0.5, 1.0))}
    variants = Variants(count=2, perturbation=still, conditions=conditions)
    bank = represent(utterances, Counting(), tmp_path, variants=variants)["length"]
    added = (bank.durations[1:] - bank.durations[0]) / 16_000
    assert ((added >= 1.0) & (added <= 2.0)).all()
    assert len(np.unique(added)) == added.size


def test_a_bank_may_be_of_one_condition(utterances: list[Utterance], tmp_path: Path) -> None:
    louder, plain = Surroundings(Condition.parse("gain-6")), represent(utterances, Counting(), tmp_path)["length"].dense
    extractor = Counting()
    heard = represent(utterances, extractor, tmp_path, surroundings=louder)["length"].dense
    torch.testing.assert_close(heard[..., 1], plain[..., 1] * 10**0.6, rtol=1e-2, atol=0)
    again = represent(utterances, extractor, tmp_path, surroundings=louder)["length"].dense
    assert torch.equal(again, heard)
    assert extractor.heard == 7


def _copies(utterances: list[Utterance], cache: Path, gain_db: float) -> torch.Tensor:
    """What is found of variants that all have this gain."""
    variants = Variants(count=1, perturbation=Perturbation(tempo=(1.0, 1.0), gain_db=(gain_db, gain_db)))
    return represent(utterances, Counting(), cache, variants=variants)["length"].dense[1]


def test_another_perturbation_has_a_cache_of_its_own(utterances: list[Utterance], tmp_path: Path) -> None:
    softer, softest = (_copies(utterances, tmp_path, gain_db) for gain_db in (-6.0, -12.0))
    torch.testing.assert_close(softest[..., 1], softer[..., 1] / 10**0.6, rtol=1e-2, atol=0)


def test_another_encoder_has_a_cache_of_its_own(utterances: list[Utterance], tmp_path: Path, tiny_model: Path) -> None:
    encoders = [NativeEncoder(load_recogniser(tiny_model / "recogniser.safetensors")[0]) for _ in range(2)]
    with torch.no_grad():
        next(encoders[1].network.parameters()).mul_(2.0)
    found = [represent(utterances[:1], Layers(each, ("gru1",)), tmp_path)["gru1"] for each in encoders]
    waves = pad_waves([audio.load(utterances[0].audio)])
    for each, bank in zip(encoders, found, strict=True):
        expected = each.represent(waves, ["gru1"])["gru1"].values
        torch.testing.assert_close(bank.batch(np.array([0])).values, expected, atol=1e-3, rtol=1e-3)


def _kept(variants: Variants, surroundings: Surroundings, utterances: list[Utterance], cache: Path) -> set[str]:
    represent(utterances, Counting(), cache, variants=variants, surroundings=surroundings)
    return {path.name for path in cache.iterdir()}


def test_the_cache_holds_the_whole_recipe_of_a_sound(utterances: list[Utterance], tmp_path: Path) -> None:
    def chances(snr_db: float) -> dict[str, Chance]:
        return {"babble": Chance(chance=1.0, between=(snr_db, snr_db))}

    others = [replace(each, speaker="bob", id=f"{each.id}-bob") for each in utterances]
    crowd, fewer = crowd_of([*utterances, *others]), crowd_of(others)
    plain = Variants()
    recipes = [
        (plain, Surroundings()),
        (plain, Surroundings(Condition.parse("white-10"))),
        (plain, Surroundings(Condition.parse("white-11"))),
        (plain, Surroundings(Condition.parse("babble-10"), crowd)),
        (plain, Surroundings(Condition.parse("babble-10"), fewer)),
        (Variants(count=1), Surroundings()),
        (Variants(count=1, conditions=chances(10)), Surroundings(crowd=crowd)),
        (Variants(count=1, conditions=chances(10)), Surroundings(crowd=fewer)),
        (Variants(count=1, conditions=chances(11)), Surroundings(crowd=crowd)),
    ]
    kept = [_kept(*recipe, utterances[:1], tmp_path / str(number)) for number, recipe in enumerate(recipes)]
    assert len(set.union(*kept)) == len(recipes)  # the first is among the variants' too
    same = [
        _kept(plain, Surroundings(Condition.parse("white-10"), each), utterances, tmp_path) for each in (None, crowd)
    ]
    assert len({name for name in same[1] if "under" in name}) == 1


def test_keys_tell_extractors_apart(tiny_model: Path) -> None:
    encoder = NativeEncoder(load_recogniser(tiny_model / "recogniser.safetensors")[0])
    extractors: list[Extractor] = [
        Layers(encoder, ("gru1", "gru2", pooled("gru1"))),
        Inputs(encoder),
        Layers(encoder, (pooled("gru1", "deviation"),)),
        Acoustics(AcousticConfig()),
        Acoustics(AcousticConfig(loudness=True)),
        Functionals("eGeMAPSv02"),
        Functionals("ComParE_2016"),
    ]
    named = [(name, extractor.key(name)) for extractor in extractors for name in extractor.names]
    assert len({name for name, _ in named}) == len({key for _, key in named}) == len(named) == 9


@pytest.mark.parametrize("kind", ["inputs", "acoustics"])
def test_what_is_kept_is_what_the_features_are(
    kind: str, utterances: list[Utterance], tmp_path: Path, tiny_model: Path
) -> None:
    recogniser = load_recogniser(tiny_model / "recogniser.safetensors")[0]
    extractor: Extractor = (
        Inputs(NativeEncoder(recogniser)) if kind == "inputs" else Acoustics(AcousticConfig(stride=4))
    )
    waves = pad_waves([audio.load(utterances[0].audio)])
    expected = recogniser.features(waves) if kind == "inputs" else acoustic(waves, AcousticConfig(stride=4))
    (bank,) = represent(utterances[:1], extractor, tmp_path).values()
    found = bank.batch(np.array([0]))
    torch.testing.assert_close(found.values, expected.values, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("longest", [1, 8])
def test_frames_by_speaker(tmp_path: Path, longest: int) -> None:
    bank, speakers = make_bank(tmp_path / "bank", 12, 4, longest=longest), np.arange(12) % 3
    own = pickle.loads(pickle.dumps(SpeakersOwn.of(bank, speakers)))  # noqa: S301
    for number in range(3):
        places = np.flatnonzero(speakers == number)
        frames = torch.cat(own.batch(places).unpad())
        torch.testing.assert_close(frames.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(frames.std(dim=0, correction=0), torch.ones(4))
        plain = torch.cat(bank.batch(places).unpad())
        varied = torch.cat(bank.batch(places, np.ones_like(places)).unpad())
        told = torch.cat(own.batch(places, np.ones_like(places)).unpad())  # by what is usual as it was recorded
        torch.testing.assert_close(told, (varied - plain.mean(dim=0)) / plain.std(dim=0, correction=0))
    padded = own.batch(np.arange(12))
    assert not padded.values[~padded.mask].any()


def test_one_recording_says_nothing_of_its_speaker(tmp_path: Path) -> None:
    bank = make_bank(tmp_path / "bank", 3, 4, longest=1)
    bank.lengths[:, 2] = 0  # and one whose recordings cannot be read
    own = SpeakersOwn.of(bank, np.arange(3))
    assert not own.dense[0].any()
    assert own.readable.tolist() == [True, True, False]
