"""openSMILE's functionals: the numbers it gives itself, and what becomes of sounds that it cannot take."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
import torch

from affetto.errors import MissingExtraError
from affetto.features.functionals import SHORTEST_SAMPLES, WIDTHS, FeatureSet, _smile, available, functionals
from affetto.features.pitch import pitch
from affetto.frames import Waves, pad_waves

RATE = 16_000
SETS: tuple[FeatureSet, ...] = get_args(FeatureSet)
needs_opensmile = pytest.mark.skipif(
    not available(), reason="opensmile is not installed: the extra classical brings it"
)


def voice(seconds: float = 0.6, f0_hz: float = 150.0) -> torch.Tensor:
    """Harmonics in faint noise."""
    orders = torch.arange(1, 30)[:, None]
    phase = 2 * torch.pi * f0_hz * torch.arange(int(seconds * RATE)) / RATE
    wave = (torch.sin(orders * phase) / orders**1.5).sum(dim=0)
    noise = torch.randn(len(wave), generator=torch.Generator().manual_seed(1))
    return 0.3 * wave / wave.abs().max() + 0.001 * noise


@pytest.fixture
def no_opensmile(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "opensmile", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    _smile.cache_clear()
    yield
    _smile.cache_clear()


@needs_opensmile
@pytest.mark.parametrize("feature_set", SETS)
def test_the_numbers_are_those_of_opensmile(feature_set: FeatureSet) -> None:
    import opensmile

    smile = opensmile.Smile(feature_set=opensmile.FeatureSet[feature_set])
    expected = smile.process_signal(voice().numpy(), RATE)
    ours = functionals(pad_waves([voice()]), feature_set)
    assert ours.values.shape == (1, 1, WIDTHS[feature_set])
    assert ours.lengths.tolist() == [1]
    assert ours.values.dtype == torch.float32
    np.testing.assert_array_equal(ours.values[0], expected.to_numpy())


@needs_opensmile
def test_the_pitch_in_it_is_the_pitch_we_hear() -> None:
    import opensmile

    wave = pad_waves([voice(f0_hz=180.0)])
    column = opensmile.Smile(feature_set="eGeMAPSv02").feature_names.index("F0semitoneFrom27.5Hz_sma3nz_amean")
    heard_hz = 27.5 * 2 ** (functionals(wave, "eGeMAPSv02").values[0, 0, column] / 12)
    assert heard_hz.item() == pytest.approx(pitch(wave).values[0, 3:-3, 0].mean().item(), rel=0.01)


@needs_opensmile
@pytest.mark.parametrize("threads", [1, 2])
def test_neither_company_nor_padding_nor_threads_matter(threads: int) -> None:
    sounds = [voice(0.3), voice(0.6, 220.0), voice(0.45, 100.0)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = functionals(pad_waves(sounds), "eGeMAPSv02").values
    finally:
        torch.set_num_threads(before)
    alone = torch.cat([functionals(pad_waves([sound]), "eGeMAPSv02").values for sound in sounds])
    assert torch.equal(together, alone)


@needs_opensmile
@pytest.mark.parametrize("feature_set", SETS)
@pytest.mark.parametrize("samples", [0, 1, 400, SHORTEST_SAMPLES - 1, SHORTEST_SAMPLES])
def test_of_a_short_sound_there_is_something(samples: int, feature_set: FeatureSet) -> None:
    sound = voice()[:samples]
    values = functionals(Waves(sound[None], torch.tensor([samples])), feature_set).values
    assert values.isfinite().all()
    prolonged = torch.nn.functional.pad(sound, (0, SHORTEST_SAMPLES - samples))
    assert torch.equal(values, functionals(pad_waves([prolonged]), feature_set).values)


@needs_opensmile
@pytest.mark.filterwarnings("ignore:Segment too short")
def test_the_shortest_sound_is_what_opensmile_says() -> None:
    smile = _smile("eGeMAPSv02")
    assert np.isnan(smile(voice()[None, : SHORTEST_SAMPLES - 1].numpy(), RATE)).all()
    assert np.isfinite(smile(voice()[None, :SHORTEST_SAMPLES].numpy(), RATE)).all()


@needs_opensmile
@pytest.mark.parametrize("feature_set", SETS)
def test_silence_has_finite_functionals(feature_set: FeatureSet) -> None:
    assert functionals(pad_waves([torch.zeros(8000)]), feature_set).values.isfinite().all()


@needs_opensmile
def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    loud = voice() * 4
    clipped = functionals(pad_waves([loud.clamp(-1, 32767 / 32768)]), "eGeMAPSv02").values
    assert torch.equal(functionals(pad_waves([loud]), "eGeMAPSv02").values, clipped)


@needs_opensmile
def test_what_is_no_number_becomes_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    row = np.arange(88, dtype=np.float32)
    row[[3, 5, 7]] = np.nan, np.inf, -np.inf
    monkeypatch.setattr("affetto.features.functionals._smile", lambda _: lambda *_: row.reshape(1, 88, 1))
    values = functionals(pad_waves([voice()]), "eGeMAPSv02").values[0, 0]
    assert values[:9].tolist() == [0, 1, 2, 0, 4, 0, 6, 0, 8]


def test_a_missing_opensmile_is_named(no_opensmile: None) -> None:
    assert not available()
    with pytest.raises(MissingExtraError, match=r"affetto\[classical\]"):
        functionals(pad_waves([voice(0.1)]), "eGeMAPSv02")
