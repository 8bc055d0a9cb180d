"""Explanations: every step of time gets what its frames add, whatever the sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.explain.explanation import HOP_S, WINDOW_S, Explainer, see, spread
from affetto.frames import pad_waves
from affetto.models.heads import ACOUSTIC
from affetto.recognise import EmotionRecogniser


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path) -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained(tiny_model, "cpu")


@pytest.fixture(scope="module")
def explainer(recogniser: EmotionRecogniser) -> Explainer:
    return Explainer(recogniser)


def silence(rng: np.random.Generator) -> torch.Tensor:
    return torch.zeros(8_000)


def whisper(rng: np.random.Generator) -> torch.Tensor:
    """Noise alone: nothing in it is voiced."""
    return torch.from_numpy(0.05 * rng.standard_normal(24_000)).float()


def click(rng: np.random.Generator) -> torch.Tensor:
    """Shorter than a window of analysis."""
    return torch.from_numpy(0.1 * rng.standard_normal(200)).float()


@pytest.mark.parametrize("make", [silence, whisper, click])
def test_any_sound_can_be_looked_into(explainer: Explainer, make: object, rng: np.random.Generator) -> None:
    wave = make(rng)  # type: ignore[operator]
    duration_s = len(wave) / 16_000
    what = explainer.inputs(pad_waves([wave]))
    decision = explainer.decide(what, "anger", duration_s)
    assert np.isfinite(decision.steps).all()
    assert decision.steps.sum() == pytest.approx(decision.score - decision.baseline, abs=0.02)
    assert sum(part.total for part in decision.parts) == pytest.approx(decision.steps.sum(), abs=1e-6)
    assert len(decision.occluded) == len(decision.steps) == len(decision.edges_s) - 1
    assert (decision.edges_s[0], decision.edges_s[-1]) == (0, pytest.approx(duration_s))
    course = explainer.follow(what, duration_s)
    np.testing.assert_allclose(course.probabilities.sum(axis=1), 1, atol=1e-6)
    assert 0 < course.times_s[0] <= course.times_s[-1] < duration_s
    assert np.isnan(see(wave).f0_hz).all()


def test_a_window_as_long_as_the_sound_says_what_the_head_says(
    recogniser: EmotionRecogniser, explainer: Explainer, demo: dict[str, torch.Tensor]
) -> None:
    wave = demo["happy"][8_000 : 8_000 + round(WINDOW_S * 16_000)]
    course = explainer.follow(explainer.inputs(pad_waves([wave])), WINDOW_S)
    (opinion,) = recogniser.predict(pad_waves([wave]))
    np.testing.assert_allclose(course.probabilities[0], list(opinion.probabilities.values()), atol=1e-5)
    assert len(course.times_s) == 1


def test_windows_follow_each_other(explainer: Explainer, demo: dict[str, torch.Tensor]) -> None:
    wave = demo["angry"]
    course = explainer.follow(explainer.inputs(pad_waves([wave])), len(wave) / 16_000)
    np.testing.assert_allclose(np.diff(course.times_s), HOP_S)
    assert course.times_s[-1] == pytest.approx(len(wave) / 16_000 - WINDOW_S / 2, abs=HOP_S)


def test_frames_of_both_clocks_lie_where_they_belong(explainer: Explainer) -> None:
    clocks = explainer.inputs(pad_waves([torch.zeros(16_000)])).clocks
    np.testing.assert_allclose(clocks["gru2"][:3], [0.01, 0.05, 0.09])  # a frame every 40 ms, 20 ms windows
    np.testing.assert_allclose(clocks[ACOUSTIC][:3], [0.01, 0.02, 0.03])


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=40),
    st.floats(0.01, 0.3),
    st.integers(1, 30),
    st.floats(0.05, 5),
)
def test_nothing_is_lost_between_frames_and_steps(
    values: list[float], period_s: float, steps: int, duration_s: float
) -> None:
    middles_s = 0.01 + period_s * np.arange(len(values))
    found = spread(np.array(values), middles_s, np.linspace(0, duration_s, steps + 1))
    assert len(found) == steps
    assert found.sum() == pytest.approx(sum(values), abs=1e-9)
