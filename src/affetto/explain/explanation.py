"""Why an emotion is predicted for a stretch of speech, in numbers: sound, emotion over time, frames that decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.explain.attribution import Given, attribute, average_frame, occlude
from affetto.features.acoustic import AcousticConfig
from affetto.features.pitch import pitch
from affetto.features.spectrogram import FRAME_RATE_HZ, WINDOW_SAMPLES, log_power, loudness
from affetto.frames import Frames, Waves, pad, pad_waves
from affetto.models.encoders.encoder import WORD_LAYERS
from affetto.models.heads import ACOUSTIC
from affetto.recognise import EmotionRecogniser
from affetto.recording import Word
from affetto.timeline import Moment

Floats = NDArray[np.float64]
WINDOW_S, HOP_S = 1.0, 0.1  # Emotion over time: what the head predicts for one second, every tenth of a second
STEP_S = 0.12  # What decided is given in steps of so many seconds: three frames of the model `small`, a short syllable
UNITS = 6  # Units shown by themselves
DECIDING = 0.5  # The steps that decided: as few as make up this part of all that speaks for the emotion
_MIDDLE_S = WINDOW_SAMPLES / SAMPLE_RATE / 2  # of the first spectrogram frame
_BATCH = 64


class Sight(NamedTuple):
    """What can be seen of the sound, 100 frames a second, each 20 ms long."""

    wave: NDArray[np.float32]  # (samples,) at 16 kHz
    spectrum: Floats  # (time, 161) natural logarithm of the power, 50 Hz a bin
    f0_hz: Floats  # (time,) the pitch, not a number where unvoiced
    loudness: Floats  # (time,) as openSMILE defines it


class Inputs(NamedTuple):
    """What the head is given of a sound, and the middle of each frame in it, seconds; both by the names it goes by."""

    given: Given
    clocks: dict[str, Floats]


class Course(NamedTuple):
    """Emotion over time."""

    times_s: Floats  # (windows,) their middles
    probabilities: Floats  # (windows, classes) what the head predicts when it is given that window alone


class Part(NamedTuple):
    """A unit of a layer, all its other units together, words, or a kind of acoustic feature; what it adds over time."""

    name: str  # "unit 17", or "gru3 unit 17" where several layers are read, "pitch", "text", ...
    steps: Floats  # (steps,) logits
    total: float  # their sum


class Decision(NamedTuple):
    """What spoke for an emotion, in steps of time; see `affetto.explain.attribution`."""

    emotion: str
    layers: tuple[str, ...]  # the recogniser's, which the head reads
    edges_s: Floats  # (steps + 1,) where the steps begin and end, from the beginning of the sound
    parts: tuple[Part, ...]  # the units that add or take most, the other units, words, kinds of acoustic features
    occluded: Floats  # (steps,) how far the score falls without a step
    score: float  # the emotion's logit less the mean of the others'
    baseline: float  # the same, had the voice been the average frame of the training speech all the time
    baseline_emotion: str  # what the head would predict then

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of what kinds its parts are: "unit", "word" and "feature", as far as there are any."""
        names = [part.name for part in self.parts]
        found = ("unit" if "unit" in name else "word" if name in WORD_LAYERS else "feature" for name in names)
        return tuple(dict.fromkeys(found))

    @property
    def steps(self) -> Floats:
        """What each step adds, (steps,); together they are the score less the baseline's."""
        return np.asarray(np.sum([part.steps for part in self.parts], axis=0), dtype=np.float64)

    @property
    def deciding(self) -> NDArray[np.bool_]:
        """The fewest steps that make up half of all that speaks for the emotion, (steps,).

        >>> part = Part("pitch", np.array([3.0, -9.0, 1.0, 2.0]), -3.0)
        >>> Decision("anger", (), np.arange(5.0), (part,), np.zeros(4), 0, 0, "anger").deciding.tolist()
        [True, False, False, False]
        """
        speaking = np.clip(self.steps, 0, None)
        order = np.argsort(-speaking, kind="stable")
        before = np.cumsum(speaking[order]) - speaking[order]
        chosen = np.zeros(len(speaking), dtype=np.bool_)
        chosen[order] = (before < DECIDING * speaking.sum()) & (speaking[order] > 0)
        return chosen

    @property
    def agreement(self) -> float:
        """Pearson's r of what the steps add and how far the score falls without them; not a number where undefined."""
        steps = self.steps
        if len(steps) < 3 or steps.std() == 0 or self.occluded.std() == 0:
            return float("nan")
        return float(np.corrcoef(steps, self.occluded)[0, 1])


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of speech, what is predicted for it, and why; course and decision count from `since_s` on."""

    since_s: float  # where its sound begins in the recording, with some of the pause before the speech
    moment: Moment  # where the speech begins and ends in the recording, and the probability of each emotion
    statement: str  # the emotion, or "not sure"
    words: tuple[Word, ...]  # with times in the recording
    sight: Sight
    course: Course
    decision: Decision  # what spoke for the most probable emotion

    @property
    def until_s(self) -> float:
        """Where its sound ends in the recording."""
        return self.since_s + len(self.sight.wave) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Explanation:
    """A recording, and why its emotions are predicted."""

    source: str  # its name
    duration_s: float
    statement: str  # the emotion of the whole, "not sure" or "no speech"
    probabilities: Mapping[str, float]  # of each emotion, for the whole
    moments: tuple[Moment, ...]  # every stretch of speech in it
    outline: Floats  # (parts, 2) the lowest and the highest sample of each of as many equal parts of the recording
    passages: tuple[Passage, ...]  # those stretches that are looked into, in time
    silent: bool = False  # digital silence throughout


def see(wave: Tensor) -> Sight:
    """What can be seen of a sound, (samples,) at 16 kHz."""
    waves = pad_waves([wave])
    f0_hz = pitch(waves).values[0, :, 0].double().numpy()
    spectrum, loud = log_power(waves).values[0].double().numpy(), loudness(waves).values[0, :, 0].double().numpy()
    return Sight(wave.numpy(), spectrum, np.where(f0_hz > 0, f0_hz, np.nan), loud)


class Explainer:
    """A recogniser and its head, whose decisions are looked into."""

    def __init__(self, recogniser: EmotionRecogniser) -> None:
        self.encoder = recogniser.encoder
        self.head = recogniser.emotion
        self._recogniser = recogniser

    def inputs(self, waves: Waves) -> Inputs:
        """What the head is given of a sound, a batch of one; see `EmotionRecogniser.read`."""
        found = self._recogniser.read(waves)
        given = {name: frames.values[0] for name, frames in found.given.items()}
        start, end = (0, int(waves.lengths[0])) if waves.speech is None else waves.speech[0].tolist()
        since_s = start / SAMPLE_RATE if self._recogniser.speech_only else 0.0
        nowhere = ((start + end) / 2 / SAMPLE_RATE,)  # of sound without words: a frame of zeros in its middle
        words = {name: np.array(times_s or nowhere) - since_s for name, (times_s,) in found.times_s.items()}
        return Inputs(given, {**self._clocks(given), **words})

    def _clocks(self, given: Given) -> dict[str, Floats]:
        """The middle of each frame of the sound's layers and features.

        A layer's frame is centred on a spectrogram frame (see `affetto.probe.frame_reader.align`), an acoustic one on
        the middle of those that were averaged into it.
        """
        rates_hz = {layer.name: layer.frame_rate_hz for layer in self.encoder.layers if layer.name in given}
        clocks = {name: np.arange(len(given[name])) / rate_hz + _MIDDLE_S for name, rate_hz in rates_hz.items()}
        if self.head.config.acoustic is not None:
            stride = self.head.config.acoustic.stride
            places = np.arange(len(given[ACOUSTIC]), dtype=np.float64) * stride + (stride - 1) / 2
            clocks[ACOUSTIC] = places / FRAME_RATE_HZ + _MIDDLE_S
        return clocks

    def follow(self, inputs: Inputs, duration_s: float) -> Course:
        """What the head predicts for each second of a sound, had it been given that second alone."""
        windows = 1 + int(max(0.0, duration_s - WINDOW_S) / HOP_S + 1e-6)
        times_s: Floats = min(WINDOW_S, duration_s) / 2 + HOP_S * np.arange(windows, dtype=np.float64)
        (given, clocks), rows = inputs, []
        for some in np.array_split(times_s, -(-len(times_s) // _BATCH)):
            frames = {name: pad([part[_near(clocks[name], time_s)] for time_s in some]) for name, part in given.items()}
            rows.append(self._probabilities(frames))
        return Course(times_s, np.concatenate(rows))

    @torch.inference_mode()
    def _probabilities(self, frames: Mapping[str, Frames]) -> Floats:
        logits: Tensor = self.head(frames) / self._recogniser.temperature
        return logits.softmax(dim=-1).double().cpu().numpy()

    def decide(self, inputs: Inputs, emotion: str, duration_s: float) -> Decision:
        """What spoke for an emotion."""
        count = max(1, round(duration_s / STEP_S))
        edges_s = np.linspace(0, duration_s, count + 1)
        given, clocks = inputs
        found = attribute(self.head, given, emotion)
        added = {name: each.double().cpu().numpy() for name, each in found.parts.items()}
        steps = {name: np.searchsorted(edges_s, each, "right").clip(1, count) - 1 for name, each in clocks.items()}
        sound = tuple(name for name in self.head.layers if name not in WORD_LAYERS)
        parts = _units({name: added[name] for name in sound}, clocks, edges_s)
        words = {name: added[name].sum(axis=1) for name in self.head.layers if name in WORD_LAYERS}
        for name, each in words.items():
            sums: Floats = np.bincount(steps[name], each, count).astype(np.float64)
            parts.append(Part(name, sums, float(each.sum())))
        if self.head.config.acoustic is not None:
            for name, columns in kinds(self.head.config.acoustic).items():
                parts.append(_part(name, added[ACOUSTIC][:, columns].sum(axis=1), clocks[ACOUSTIC], edges_s))
        stretches = {name: torch.from_numpy(each) for name, each in steps.items()}
        falls = occlude(self.head, given, emotion, stretches).double().numpy()
        occluded = np.pad(falls, (0, count - len(falls)))
        calm = {name: pad([part]) for name, part in average_frame(self.head, given).items()}
        then = self.head.classes[int(self._probabilities(calm).argmax())]
        return Decision(emotion, sound, edges_s, tuple(parts), occluded, found.score, found.baseline, then)


def kinds(config: AcousticConfig) -> dict[str, slice]:
    """Which columns of the acoustic features are what.

    >>> kinds(AcousticConfig(loudness=True))["loudness"]
    slice(27, 28, None)
    """
    names = ["timbre (MFCC)", "its change (deltas)", "pitch"]
    names += ["voicing"] * config.voicing + ["loudness"] * config.loudness
    edges = [0, 13, 26, 27, 28, 29]
    return {name: slice(first, last) for name, (first, last) in zip(names, pairwise(edges), strict=False)}


def spread(values: Floats, middles_s: Floats, edges_s: Floats) -> Floats:
    """What frames add (frames,), shared out over steps of time; a frame that lies in two adds to both.

    Frames lie equally far apart around their middles, and last as long; what is beyond the edges (steps + 1,) counts
    for the first and the last step. The sum of the steps (steps,) is that of the frames.
    """
    period_s = middles_s[1] - middles_s[0] if len(middles_s) > 1 else edges_s[-1]
    ends_s = np.append(middles_s - period_s / 2, middles_s[-1] + period_s / 2)
    sums = np.interp(edges_s, ends_s, np.append(0.0, np.cumsum(values)))
    sums[0], sums[-1] = 0.0, values.sum()
    return np.diff(sums)


def _part(name: str, values: Floats, middles_s: Floats, edges_s: Floats) -> Part:
    return Part(name, spread(values, middles_s, edges_s), float(values.sum()))


def _units(layers: Mapping[str, Floats], clocks: Mapping[str, Floats], edges_s: Floats) -> list[Part]:
    """The units of all layers that add or take most, (frames, units) given, and of each layer all others together."""
    totals = [(name, unit, total) for name, each in layers.items() for unit, total in enumerate(each.sum(axis=0))]
    first = sorted(totals, key=lambda place: -abs(place[2]))[:UNITS]
    prefix = {name: f"{name} " if len(layers) > 1 else "" for name in layers}
    parts = []
    for name, unit, _ in first:
        parts.append(_part(f"{prefix[name]}unit {unit}", layers[name][:, unit], clocks[name], edges_s))
    for name, values in layers.items():
        shown = [unit for layer, unit, _ in first if layer == name]
        if rest := values.shape[1] - len(shown):
            others = values.sum(axis=1) - values[:, shown].sum(axis=1)
            parts.append(_part(f"{rest} other {prefix[name]}units", others, clocks[name], edges_s))
    return parts


def _near(middles_s: Floats, time_s: float) -> slice:
    """The frames of the window around a time; at least one."""
    first, last = np.searchsorted(middles_s, (time_s - WINDOW_S / 2, time_s + WINDOW_S / 2)).tolist()
    first = min(first, len(middles_s) - 1)
    return slice(first, max(last, first + 1))
