"""Speech is found where it is, to 50 ms, cut at pauses, always at the same places, and where there is none, none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.streaming import segments
from affetto.streaming.activity import FRAME
from affetto.streaming.segments import LONGEST_S, PAUSE_S, Segmenter, Spoken, cut, edges, merge, neighbours

STATEMENTS = ["angry", "happy", "neutral"]
"""They are said without a pause inside, but for the first."""


def silence(duration_s: float) -> Tensor:
    return torch.zeros(round(duration_s * SAMPLE_RATE))


def noise(duration_s: float, level: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(round(duration_s * SAMPLE_RATE), generator=generator)


def said(demo: dict[str, Tensor], name: str) -> Tensor:
    """A statement, up to the first pause."""
    return trimmed(demo[name][: 24_000 if name == "angry" else None])


def trimmed(sound: Tensor) -> Tensor:
    """From the first to the last hundredth of a second within 25 dB of the loudest."""
    level = sound[: len(sound) // 160 * 160].reshape(-1, 160).square().mean(dim=1)
    loud = (level > level.max() * 10**-2.5).nonzero()[:, 0]
    return sound[int(loud[0]) * 160 : (int(loud[-1]) + 1) * 160]


def spliced(demo: dict[str, Tensor], pauses_s: list[float], level: float) -> tuple[Tensor, list[tuple[float, float]]]:
    """The statements with pauses of these lengths before them, in noise, and when each is said."""
    parts: list[Tensor] = []
    times = []
    for pause_s, name in zip(pauses_s, STATEMENTS, strict=True):
        parts += [silence(pause_s), said(demo, name)]
        end = sum(map(len, parts))
        times.append(((end - len(parts[-1])) / SAMPLE_RATE, end / SAMPLE_RATE))
    sound = torch.cat([*parts, silence(1.0)])
    return sound + noise(len(sound) / SAMPLE_RATE, level), times


def times(found: list[Spoken]) -> list[tuple[float, float]]:
    return [(each.start_s, each.end_s) for each in found]


@pytest.fixture(scope="module")
def talk(demo: dict[str, Tensor]) -> Tensor:
    """45 s without a pause."""
    voices = [said(demo, name) for name in STATEMENTS]
    return torch.cat(voices * 8)[: 45 * SAMPLE_RATE]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("pauses_s", [[1.0, 0.7, 2.0], [0.0, 1.5, 0.6], [3.0, 5.0, 9.3]])
def test_times_are_exact_to_50_ms(demo: dict[str, Tensor], pauses_s: list[float], level: float, live: bool) -> None:
    # In the loudest noise, the last sound of a statement may be softer than the noise is: a little more is allowed.
    sound, truth = spliced(demo, pauses_s, level)
    found = times(list(cut([sound], live=live)))
    assert len(found) == len(truth)
    np.testing.assert_allclose(found, truth, atol=0.05 if level < 1e-3 else 0.12)


@settings(max_examples=6)
@given(block_s=st.floats(0.01, 20), pause_s=st.floats(0.5, 12))
def test_what_is_found_depends_on_the_sound_alone(demo: dict[str, Tensor], block_s: float, pause_s: float) -> None:
    sound, _ = spliced(demo, [0.3, pause_s, 0.8], 1e-4)
    expected, found = list(cut([sound])), list(cut(sound.split(round(block_s * SAMPLE_RATE))))
    assert times(found) == times(expected)
    assert all(np.array_equal(one.wave, other.wave) for one, other in zip(found, expected, strict=True))


def test_live_and_file_agree(demo: dict[str, Tensor], talk: Tensor) -> None:
    sound = torch.cat([spliced(demo, [1.0, 1.0, 1.0], 1e-4)[0], talk])
    assert times(list(cut([sound], live=True))) == times(list(cut([sound])))


def test_long_speech_is_cut_and_nothing_of_it_is_lost(talk: Tensor) -> None:
    found = list(cut([silence(1), talk, silence(1)]))
    lengths_s = [each.end_s - each.start_s for each in found]
    assert len(found) >= 3
    assert max(lengths_s) <= LONGEST_S
    assert min(lengths_s) >= 2.9
    assert [each.start for each in found[1:]] == [each.end for each in found[:-1]]
    np.testing.assert_allclose((found[0].start_s, found[-1].end_s), (1.0, 46.0), atol=0.05)


@pytest.mark.parametrize("pause_s", [9.3, 11.5, 14.0])
def test_long_speech_is_cut_where_it_is_quiet(talk: Tensor, pause_s: float) -> None:
    sound = talk[: 25 * SAMPLE_RATE].clone()
    begin, end = round((pause_s - 0.12) * SAMPLE_RATE), round((pause_s + 0.12) * SAMPLE_RATE)
    sound[begin:end] *= 0.001
    assert begin < next(cut([sound])).end < end


def test_a_stretch_is_recognised_with_the_pauses_around_it(demo: dict[str, Tensor]) -> None:
    sound, _ = spliced(demo, [2.0, 0.6, 3.0], 1e-4)
    found = list(cut([sound]))
    lengths = [len(each.wave) - (each.end - each.start) for each in found]
    assert abs(lengths[2] - 2 * SAMPLE_RATE) <= 0.1 * SAMPLE_RATE
    # The second begins after a short pause: none of the first's speech is heard again.
    assert found[1].start - found[0].end < 0.7 * SAMPLE_RATE
    assert lengths[1] <= (0.7 + 1.0) * SAMPLE_RATE
    assert np.array_equal(found[1].wave, sound[found[0].end : found[0].end + len(found[1].wave)])


def test_neighbours_together_are_the_sound_between_them(demo: dict[str, Tensor]) -> None:
    sound, _ = spliced(demo, [0.6, 1.5, 4.0], 0.0)
    groups = list(neighbours(cut([sound]), 30.0))
    assert len(groups) > 1
    assert max(map(len, groups)) > 1
    for group in groups:
        whole = merge(group)
        assert (whole.start, whole.end) == (group[0].start, group[-1].end)
        assert np.array_equal(whole.wave, sound[whole.since : group[-1].until])
    assert [each.start for group in groups for each in group] == [each.start for each in cut([sound])]
    assert {len(group) for group in neighbours(cut([sound]), 0.0)} == {1}


def sounds_without_speech() -> Iterator[tuple[str, Tensor]]:
    time_s = torch.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    generator = torch.Generator().manual_seed(5)
    scale = torch.tensor([220.0, 247, 262, 294, 330, 349, 392, 440])
    pitch = scale[torch.randint(8, (80,), generator=generator)].repeat_interleave(SAMPLE_RATE // 4)
    phase = 2 * torch.pi * (pitch.double().cumsum(0) / SAMPLE_RATE)
    plucked = torch.exp(-(torch.arange(len(phase)) % (SAMPLE_RATE // 4)) / 3000)
    yield "digital silence", silence(20)
    yield "dithered silence", noise(20, 1e-5)
    yield "faint noise", noise(20, 1e-3)
    yield "loud noise", noise(20, 0.3)
    yield "throbbing noise", noise(20, 0.1) * (1 + torch.sin(2 * torch.pi * 4 * time_s))
    yield "hum", sum(torch.sin(2 * torch.pi * 50 * part * time_s) / part for part in range(1, 6)) * 0.1
    yield "a sweep", 0.3 * torch.sin(2 * torch.pi * (100 * time_s + 50 * time_s**2))
    yield "a chord", 0.1 * sum(torch.sin(2 * torch.pi * note * time_s) for note in (220, 277, 330))
    yield "a melody", (0.1 * plucked * sum(torch.sin(part * phase) / part for part in range(1, 7))).float()
    clicks = silence(20)
    clicks[::7919] = 0.9
    yield "clicks", clicks
    yield "a constant", torch.full((20 * SAMPLE_RATE,), 0.25)


@pytest.mark.parametrize(
    ("name", "sound"), list(sounds_without_speech()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_where_nobody_speaks_nothing_is_found(name: str, sound: Tensor) -> None:
    assert list(cut([sound])) == []


class _Sure:
    """A detector that is so sure of speech, frame by frame, whatever it hears."""

    def __init__(self, probabilities: list[float]) -> None:
        self._left = iter(probabilities)

    def feed(self, samples: np.ndarray) -> list[float]:
        return [next(self._left) for _ in range(-(-len(samples) // FRAME))]


def test_speech_begins_at_one_half_and_goes_on_at_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = [*[0.01] * 30, *[0.51] * 10, *[0.26] * 20, *[0.24] * 13, *[0.05] * 30]
    monkeypatch.setattr(segments, "Activity", lambda: _Sure(probabilities))
    (found,) = cut([torch.zeros(FRAME * len(probabilities))])
    assert (found.start // FRAME, found.end // FRAME) == (30, 60)


@pytest.mark.parametrize("doubt", [0.2, 0.3, 0.43])
def test_a_detector_that_keeps_doubting_has_found_speech(doubt: float, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = [*[0.01] * 30, *[doubt] * 40, *[0.01] * 30]
    monkeypatch.setattr(segments, "Activity", lambda: _Sure(probabilities))
    (found,) = cut([torch.zeros(FRAME * len(probabilities))])
    assert abs(found.start // FRAME - 30) <= 8
    assert found.end // FRAME == 70


@pytest.mark.parametrize("beat", [[0.46], [0.45, 0.3, 0.2], [0.14] * 14])
def test_a_detector_that_doubts_now_and_then_has_not(beat: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does at the beginning of notes."""
    probabilities = [*[0.04] * (15 - len(beat)), *beat] * 20
    monkeypatch.setattr(segments, "Activity", lambda: _Sure(probabilities))
    assert list(cut([torch.zeros(FRAME * len(probabilities))])) == []


@pytest.mark.parametrize("length", [0, 1, 100, 511, 512, 513])
def test_next_to_nothing_is_nothing(length: int) -> None:
    assert list(cut([torch.zeros(length)])) == []
    assert list(cut([])) == []


@pytest.mark.parametrize("sound", ["speech", "silence"])
def test_little_is_held(talk: Tensor, sound: str) -> None:
    segmenter = Segmenter(live=True)
    most = 0
    for block in (talk if sound == "speech" else torch.zeros_like(talk)).split(1600):
        segmenter.feed(block)
        most = max(most, len(segmenter._sound))
    assert most <= (20 if sound == "speech" else 2) * SAMPLE_RATE
    assert segmenter._sound.base is None  # it holds no more than what is seen of it


def test_live_speech_is_given_once_the_pause_is_certain(demo: dict[str, Tensor]) -> None:
    sound, truth = spliced(demo, [1.0, 2.0, 2.0], 1e-4)
    segmenter = Segmenter(live=True)
    heard = 0
    delays = []
    for block in sound.split(512):
        heard += len(block)
        delays += [heard / SAMPLE_RATE - spoken.end_s for spoken in segmenter.feed(block)]
    assert len(delays) == len(truth)
    # The detector notices an end some 0.15 s late; then it is the pause, and up to four frames.
    assert max(delays) < PAUSE_S + 0.2 + 0.13


@given(begin_s=st.floats(0, 3), length_s=st.floats(0, 3), seed=st.integers(0, 9))
@settings(max_examples=25)
def test_edges_stay_near(begin_s: float, length_s: float, seed: int) -> None:
    sound = noise(4.0, 0.1, seed) * noise(4.0, 1.0, seed + 1).abs().sqrt()
    begin, end = round(begin_s * SAMPLE_RATE), round(min(begin_s + length_s, 4.0) * SAMPLE_RATE)
    first, last = edges(sound.numpy(), begin, end)
    assert abs(first - begin) <= 0.21 * SAMPLE_RATE
    assert abs(last - end) <= 0.36 * SAMPLE_RATE
    assert first <= last


def test_edges_of_nothing_stay() -> None:
    assert edges(np.zeros(16_000, np.float32), 4000, 9000) == (4000, 9000)
    assert edges(np.zeros(10, np.float32), 2, 5) == (2, 5)
