"""Pitch: the fundamental frequency of each frame and how clearly it is voiced (paper 3.3).

The paper takes openSMILE's tracker; ours is Praat's method: peaks of the autocorrelation of a window divided by that of
the window function, and the best path through them, where octave jumps and changes of voicing cost. But the spectrum
fades out above the voice's strong harmonics, which makes peaks smooth enough for a parabola, and silence is measured
against the loudest window. The costs were chosen on CREMA-D (docs/results/pitch.md). Source: P. Boersma (1993),
Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound, IFA
Proceedings 17, 97-110.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from affetto.audio import SAMPLE_RATE
from affetto.errors import ConfigError
from affetto.features.spectrogram import HOP_SAMPLES, WINDOW_SAMPLES, frame
from affetto.frames import Frames, Waves, time_mask

LOWEST_HZ = 50.0
HIGHEST_HZ = 500.0
ANALYSIS_SAMPLES = 800  # 50 ms, two and a half periods of the lowest pitch, centred on the frame's 20 ms
CANDIDATES = 6
FADE_HZ = (1500.0, 2500.0)  # Where the spectrum begins to fade, and where nothing is left of it
VOICING_THRESHOLD = 0.65  # The autocorrelation from which a frame is rather voiced than not
# The level, relative to the utterance's loudest window, under which voicing becomes less and less credible.
SILENCE_THRESHOLD = 0.05
SILENCE_LEVEL = 1e-4  # The root mean square, 80 dB under full scale, under which nothing is voiced
# What a candidate loses to one an octave above that is as strong: every multiple of a period is a period.
OCTAVE_COST = 0.01
JUMP_COST = 0.5  # What a change of pitch costs, per octave
VOICING_COST = 0.2  # What a change between voiced and unvoiced costs
_FFT_SAMPLES = 1152  # At least the window and the longest lag, and quick to transform: 2^7 x 9.
_SHORTEST_LAG = math.floor(SAMPLE_RATE / HIGHEST_HZ)
_LONGEST_LAG = math.ceil(SAMPLE_RATE / LOWEST_HZ)
_CHUNK_FRAMES = 4096  # Transformed at once: some 40 MB, whatever the length of the recordings.


class Candidates(NamedTuple):
    """What each frame's pitch may be."""

    f0_hz: Tensor  # (batch, time, candidates)
    # the autocorrelation at that period, (batch, time, candidates), 0 to 1; 0 where there is no candidate
    strength: Tensor
    level: Tensor  # root mean square of the window, (batch, time)


def centred_windows(waves: Waves) -> tuple[Tensor, Tensor]:
    """50 ms around the middle of each 20 ms frame, zeros beyond the ends: (batch, time, 800), and frames, (batch,)."""
    frames, lengths = frame(waves)
    samples = waves.values.shape[1]
    margin = (ANALYSIS_SAMPLES - WINDOW_SAMPLES) // 2
    needed = (frames.shape[1] - 1) * HOP_SAMPLES + ANALYSIS_SAMPLES
    padded = functional.pad(waves.values, (margin, max(0, needed - margin - samples)))
    return padded.unfold(1, ANALYSIS_SAMPLES, HOP_SAMPLES)[:, : frames.shape[1]], lengths


@lru_cache(maxsize=1)
def _shapes() -> tuple[Tensor, Tensor, Tensor]:
    """The window (800,), the fading of the spectrum (bins,) and one over the window's autocorrelation (lags,)."""
    window = torch.hann_window(ANALYSIS_SAMPLES, periodic=False, dtype=torch.float64)
    low, high = FADE_HZ
    hz = torch.fft.rfftfreq(_FFT_SAMPLES, 1 / SAMPLE_RATE, dtype=torch.float64)
    fade = torch.cos(((hz - low) / (high - low)).clamp(0, 1) * math.pi / 2).square()
    own = torch.fft.irfft(torch.fft.rfft(window, _FFT_SAMPLES).abs().square(), _FFT_SAMPLES)[: _LONGEST_LAG + 2]
    return window.float(), fade.float(), (own[0] / own).float()


def autocorrelation(windows: Tensor) -> tuple[Tensor, Tensor]:
    """How alike windows (..., 800) are to themselves so much later, (..., lags), 1 where they repeat; their level."""
    window, fade, correction = (shape.to(windows.device) for shape in _shapes())
    mean = windows @ (window / window.sum())
    spectrum = torch.fft.rfft((windows - mean[..., None]) * window, _FFT_SAMPLES)
    power = (spectrum.real.square() + spectrum.imag.square()) * fade
    products = torch.fft.irfft(power, _FFT_SAMPLES)[..., : _LONGEST_LAG + 2]
    energy = products[..., 0].clamp(min=0)
    level = (energy / window.square().sum()).sqrt()
    floor = SILENCE_LEVEL**2
    return products / energy.clamp(min=floor)[..., None] * correction, level


def peaks(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """The highest local maxima of a correlation (..., lags) within the pitch range, placed by a parabola.

    Frequencies in Hz and strengths, each (..., candidates). Where there are fewer maxima, strengths are 0.
    """
    before, here, after = (correlation[..., _SHORTEST_LAG - 1 + k : _LONGEST_LAG + k] for k in range(3))
    lags = torch.arange(_SHORTEST_LAG, _LONGEST_LAG + 1, device=correlation.device)
    preference = OCTAVE_COST * torch.log2(SAMPLE_RATE / LOWEST_HZ / lags)
    rank = torch.where((here > before) & (here >= after) & (here > 0), here + preference, -1.0)
    best = rank.topk(CANDIDATES, dim=-1)
    left, middle, right = (values.gather(-1, best.indices) for values in (before, here, after))
    curvature = (left - 2 * middle + right).clamp(max=-1e-9)
    shift = (0.5 * (left - right) / curvature).clamp(-0.5, 0.5)
    f0_hz = (SAMPLE_RATE / (lags[best.indices] + shift)).clamp(LOWEST_HZ, HIGHEST_HZ)
    strength = (middle - 0.25 * (left - right) * shift).clamp(0, 1)
    return f0_hz, torch.where(best.values > 0, strength, 0.0)


def candidates(windows: Tensor) -> Candidates:
    """What each window's pitch may be, of (batch, time, 800), a few thousand windows at a time."""
    parts = []
    for chunk in torch.split(windows, max(1, _CHUNK_FRAMES // len(windows)), dim=1):
        correlation, level = autocorrelation(chunk)
        parts.append(Candidates(*peaks(correlation), level))
    return Candidates(*(torch.cat(values, dim=1) for values in zip(*parts, strict=True)))


def frame_scores(found: Candidates, mask: Tensor) -> Tensor:
    """How well each state (the candidates and, last, unvoiced) explains each frame by itself, 0 in the padding."""
    loudest = (found.level * mask).amax(dim=1, keepdim=True).clamp(min=SILENCE_LEVEL)
    knee = SILENCE_THRESHOLD / (1 + VOICING_THRESHOLD)
    silence = (2 - found.level / loudest / knee).clamp(min=0)
    silence = torch.where(found.level < SILENCE_LEVEL, 2.0, silence)
    voiced = found.strength + OCTAVE_COST * torch.log2(found.f0_hz / LOWEST_HZ)
    voiced = torch.where(found.strength > 0, voiced, -2.0)
    return torch.cat([voiced, VOICING_THRESHOLD + silence[..., None]], dim=2) * mask[..., None]


def change_costs(f0_hz: Tensor, mask: Tensor) -> Tensor:
    """What going from each state to each state of the next frame costs, (batch, time - 1, states before, states after).

    Into the padding a state can only stay, so that an utterance's path ends where the utterance does.
    """
    octave = torch.log2(f0_hz)
    jumps = JUMP_COST * (octave[:, 1:, None, :] - octave[:, :-1, :, None]).abs()
    costs = functional.pad(jumps, (0, 1, 0, 1), value=VOICING_COST)
    costs[..., -1, -1] = 0
    stay = torch.where(torch.eye(CANDIDATES + 1, device=f0_hz.device) > 0, 0.0, torch.inf)
    return torch.where(mask[:, 1:, None, None], costs, stay)


def best_path(scores: Tensor, costs: Tensor) -> Tensor:
    """The states, (batch, time), with the highest sum of scores less costs (Viterbi), all utterances at once."""
    total = scores[:, 0]
    origins = []
    for cost, score in zip(costs.unbind(1), scores[:, 1:].unbind(1), strict=True):
        best, origin = (total[:, :, None] - cost).max(dim=1)
        total = best + score
        origins.append(origin)
    state = total.argmax(dim=1, keepdim=True)
    path = [state]
    for origin in reversed(origins):
        state = origin.gather(1, state)
        path.append(state)
    return torch.cat(path[::-1], dim=1)


def pitch(waves: Waves) -> Frames:
    """The pitch of each frame, 50 to 500 Hz, or 0 where unvoiced; and the strength of the voicing: (batch, time, 2).

    The strength, 0 to 1, is the normalised autocorrelation at that period, at the likeliest one where unvoiced.

    >>> tone = 0.1 * torch.sin(2 * torch.pi * 220 * torch.arange(16000) / 16000).sign()
    >>> pitch(Waves(tone[None], torch.tensor([16000]))).values[0, 50].round(decimals=1).tolist()
    [220.0, 1.0]
    """
    windows, lengths = centred_windows(waves)
    found = candidates(windows)
    mask = time_mask(lengths, windows.shape[1])
    path = best_path(frame_scores(found, mask), change_costs(found.f0_hz, mask))
    voiced = path < CANDIDATES
    chosen = path.clamp(max=CANDIDATES - 1)[..., None]
    f0_hz = torch.where(voiced, found.f0_hz.gather(2, chosen)[..., 0], 0.0)
    strength = torch.where(voiced, found.strength.gather(2, chosen)[..., 0], found.strength.amax(dim=2))
    return Frames(torch.stack([f0_hz, strength], dim=2), lengths).zero_padding()


def smooth(f0: Frames, window: int = 15) -> Frames:
    """The paper's moving average, over the voiced frames in the window only.

    Unvoiced frames hold 0, which is no pitch: averaged in, it would drag the contour down at each consonant. Of what
    `pitch` gives, the first column is smoothed where voiced and 0 elsewhere; the others stay. Raises ConfigError where
    the window has no middle frame.
    """
    if window < 1 or window % 2 == 0:
        raise ConfigError(f"{window} frames have no middle one", "smooth over an odd number of frames", "window")
    contour = f0.values[..., 0]
    voiced = (contour > 0).to(contour.dtype)
    sums, counts = functional.avg_pool1d(torch.stack([contour, voiced], dim=1), window, 1, window // 2).unbind(1)
    average = torch.where(contour > 0, sums / counts.clamp(min=0.5 / window), 0.0)
    return Frames(torch.cat([average[..., None], f0.values[..., 1:]], dim=2), f0.lengths)
