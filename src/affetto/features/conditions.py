"""Listening conditions by name: a telephone, noise, a room, a codec, another level.

A name joins effects and their amounts: "telephone", "reverb-0.5+babble-15+opus-8". What is random comes from the
generator alone, sound stays where it is in time, and levels are relative to its own, so that silence stays silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field
from scipy import signal
from torch import Tensor

from affetto.audio import G711, SAMPLE_RATE, mp3, opus, recode
from affetto.config import Config
from affetto.errors import ConfigError
from affetto.features.perturbation import ascending

Wave: TypeAlias = NDArray[np.float32]

# Draws the sound of somebody who speaks: (samples,), float32 at 16 kHz.
Voices: TypeAlias = Callable[[np.random.Generator], Tensor]
TALKERS = 6  # Voices that make up babble
TELEPHONE_BAND_HZ = (300.0, 3400.0)

_TELEPHONE_RATE = 8_000
_WIDEST_PCM = 32_768  # of 16 bits
_ROOM_DB = -40.0  # faint noise beside speech, relative to it
_FIRST_ECHO_S = 0.003
_LOWEST_BAND_HZ = 62.5  # of the equaliser, whose bands are an octave wide


class Scene(NamedTuple):
    """What an effect draws from."""

    generator: np.random.Generator
    voices: Voices | None


class Effect(NamedTuple):
    """One thing that happens to sound between a mouth and a file."""

    apply: Callable[[Wave, float, Scene], Wave]  # (wave, amount, scene) -> wave, never given an empty one
    meaning: str  # of the amount
    bounds: tuple[float, float]  # of the amount
    usual: float | None = None  # the amount where none is named; None where one has to be


def _equalise(wave: Wave, amount: float, scene: Scene) -> Wave:
    """Raises and lowers octaves at random, smoothly and without delay."""
    octaves = int(np.log2(SAMPLE_RATE / 2 / _LOWEST_BAND_HZ)) + 1
    gains_db = scene.generator.uniform(-amount, amount, octaves)
    size = 2 * len(wave)
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), _LOWEST_BAND_HZ)
    curve_db = np.interp(np.log2(frequencies / _LOWEST_BAND_HZ), np.arange(octaves), gains_db)
    return _kept(np.fft.irfft(np.fft.rfft(wave, size) * 10 ** (curve_db / 20), size), wave)


def _reverberate(wave: Wave, rt60_s: float, scene: Scene) -> Wave:
    """A room whose echoes, together as strong as the direct sound, fall by 60 dB in a time; the level stays."""
    echoes = scene.generator.standard_normal(max(1, round(1.2 * rt60_s * SAMPLE_RATE)))
    time_s = np.arange(len(echoes)) / SAMPLE_RATE
    echoes *= 10 ** (-3 * time_s / rt60_s) * (time_s >= min(_FIRST_ECHO_S, time_s[-1]))
    response = echoes / np.linalg.norm(echoes)
    response[0] += 1.0
    wet = signal.fftconvolve(wave, response)[: len(wave)]
    return _kept(wet * _level(wave) / max(_level(wet), np.finfo(np.float32).tiny), wave)


def _coloured(length: int, slope: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Noise whose power falls with frequency ** slope: 0 is white, 1 pink, 2 brown; its level is 1."""
    size = max(length, 16)
    spectrum = np.fft.rfft(generator.standard_normal(size))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (slope / 2)
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, size)[:length]
    return noise / max(_level(noise), np.finfo(np.float64).tiny)


def _add(wave: Wave, noise: NDArray[np.floating], snr_db: float) -> Wave:
    """Over the whole wave, pauses counted."""
    return _kept(wave + noise * (_level(wave) * 10 ** (-snr_db / 20)), wave)


def _noise(wave: Wave, snr_db: float, scene: Scene, slope: float | None = None) -> Wave:
    """Of that colour, or of any from white to brown."""
    slope = scene.generator.uniform(0.0, 2.0) if slope is None else slope
    return _add(wave, _coloured(len(wave), slope, scene.generator), snr_db)


def _babble(wave: Wave, snr_db: float, scene: Scene) -> Wave:
    """Several people, each as loud as the others, from anywhere in their recording on, over and over."""
    if scene.voices is None:
        raise ConfigError("babble needs voices", "say which corpus it is made of", "babble")
    mixture = np.zeros(len(wave))
    for _ in range(TALKERS):
        voice = scene.voices(scene.generator).numpy()
        turned = np.roll(np.resize(voice, max(len(voice), len(wave))), -scene.generator.integers(len(voice)))
        level = _level(turned)
        mixture += turned[: len(wave)] / level if level > 0 else 0.0
    return _add(wave, mixture / max(_level(mixture), np.finfo(np.float64).tiny), snr_db)


def _telephone(wave: Wave, _amount: float, _scene: Scene) -> Wave:
    """8 kHz, 300 to 3400 Hz, G.711."""
    narrow = soxr.resample(wave, SAMPLE_RATE, _TELEPHONE_RATE)
    if len(narrow) == 0:
        return wave
    band = signal.butter(4, TELEPHONE_BAND_HZ, "bandpass", fs=_TELEPHONE_RATE, output="sos")
    passed = signal.sosfiltfilt(band, narrow, padlen=min(3 * (2 * len(band) + 1), len(narrow) - 1))
    passed = recode(passed.astype(np.float32), G711, _TELEPHONE_RATE)
    return _kept(soxr.resample(passed, _TELEPHONE_RATE, SAMPLE_RATE), wave)


def _clip(wave: Wave, over_db: float, _scene: Scene) -> Wave:
    """Cuts off what is less than that below the peak."""
    limit = np.abs(wave).max() * 10 ** (-over_db / 20)
    return np.clip(wave, -limit, limit)


def _gain(wave: Wave, gain_db: float, _scene: Scene) -> Wave:
    """Another level, kept in 16 bits: what is beyond full scale is clipped."""
    steps = np.round(wave * (10 ** (gain_db / 20) * _WIDEST_PCM))
    return _kept(np.clip(steps, -_WIDEST_PCM, _WIDEST_PCM - 1) / _WIDEST_PCM, wave)


def _room(wave: Wave, beside_s: float, scene: Scene) -> Wave:
    """Pink noise, 40 dB below the sound, where it is not."""
    beside = round(beside_s * SAMPLE_RATE)
    if beside == 0:
        return wave
    faint = _coloured(2 * beside, 1.0, scene.generator) * (_level(wave) * 10 ** (_ROOM_DB / 20))
    return np.concatenate([faint[:beside], wave, faint[beside:]]).astype(np.float32)


def _level(wave: NDArray[np.floating]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0


def _kept(values: NDArray[np.floating], wave: Wave) -> Wave:
    """As long as the wave, and of its type."""
    kept = values[: len(wave)].astype(np.float32)
    return np.pad(kept, (0, len(wave) - len(kept)))


EFFECTS: Mapping[str, Effect] = {
    "eq": Effect(_equalise, "dB that octaves are raised or lowered by at most", (0.0, 20.0), 6.0),
    "reverb": Effect(_reverberate, "s in which echoes fall by 60 dB", (0.05, 5.0)),
    "room": Effect(_room, "s of faint noise on either side", (0.0, 60.0)),
    "white": Effect(partial(_noise, slope=0.0), "dB of speech over white noise", (-20.0, 60.0)),
    "pink": Effect(partial(_noise, slope=1.0), "dB of speech over pink noise", (-20.0, 60.0)),
    "noise": Effect(_noise, "dB of speech over noise between white and brown", (-20.0, 60.0)),
    "babble": Effect(_babble, "dB of speech over six others' speech", (-20.0, 60.0)),
    "clip": Effect(_clip, "dB below the peak at which it is cut off", (0.0, 60.0)),
    "telephone": Effect(_telephone, "none", (0.0, 0.0), 0.0),
    "opus": Effect(lambda wave, kbit_s, _: recode(wave, opus(kbit_s)), "kbit/s", (6.0, 256.0)),
    "mp3": Effect(lambda wave, kbit_s, _: recode(wave, mp3(kbit_s)), "kbit/s", (8.0, 160.0)),
    "gain": Effect(_gain, "dB, kept in 16 bits", (-60.0, 60.0)),
    "dc": Effect(lambda wave, offset, _: wave + np.float32(offset), "of full scale added", (-1.0, 1.0)),
    "silence": Effect(
        lambda wave, beside_s, _: np.pad(wave, round(beside_s * SAMPLE_RATE)),
        "s of digital zeros on either side",
        (0.0, 60.0),
    ),
}
"""Name -> effect, in the order in which they happen to sound."""

BABBLE = "babble"  # The effect that needs voices
_CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class Condition:
    """Effects, one after the other, by name and amount; none leaves the sound as it is."""

    steps: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Reads a condition's name; ConfigError where there is no such effect, or not by that amount.

        >>> Condition.parse("gain--40+telephone").steps
        (('gain', -40.0), ('telephone', 0.0))
        """
        return cls() if text.strip() == _CLEAN else cls(tuple(_parse_step(part.strip()) for part in text.split("+")))

    @property
    def name(self) -> str:
        """As `parse` reads it.

        >>> Condition((("pink", 10.0), ("telephone", 0.0))).name, Condition().name
        ('pink-10+telephone', 'clean')
        """
        parts = [name if EFFECTS[name].usual == amount else f"{name}-{amount:.12g}" for name, amount in self.steps]
        return "+".join(parts) or _CLEAN

    @property
    def needs_voices(self) -> bool:
        """Whether others speak in it."""
        return any(name == BABBLE for name, _ in self.steps)

    def __call__(self, wave: Tensor, generator: np.random.Generator, voices: Voices | None = None) -> Tensor:
        """Sound under the condition, (samples,), float32 at 16 kHz, as long unless silence is added.

        The generator is of all that is drawn; voices are what babble is made of, ConfigError where it lacks them.

        >>> Condition.parse("dc-0.25+silence-0.0001")(torch.zeros(1), np.random.default_rng(1)).tolist()
        [0.0, 0.0, 0.25, 0.0, 0.0]
        """
        if len(wave) == 0:
            return wave
        samples, scene = wave.numpy(), Scene(generator, voices)
        for name, amount in self.steps:
            samples = EFFECTS[name].apply(samples, amount, scene)
        return torch.from_numpy(np.ascontiguousarray(samples))


CLEAN = Condition()  # The sound as it is


def _parse_step(text: str) -> tuple[str, float]:
    name, dash, amount = text.partition("-")
    effect = EFFECTS.get(name)
    if effect is None:
        raise ConfigError(f"no listening condition {text!r}", f"choose among {known_conditions()}")
    try:
        value = float(amount) if dash else effect.usual
    except ValueError:
        value = None
    if value is None or not effect.bounds[0] <= value <= effect.bounds[1]:
        low, high = effect.bounds
        remedy = f"write {name}-N, N from {low:g} to {high:g} ({effect.meaning})"
        raise ConfigError(f"no amount for {name} in {text!r}", remedy)
    return name, value


def known_conditions() -> str:
    """What there is, for people."""
    names = [name if effect.usual is not None else f"{name}-N" for name, effect in EFFECTS.items()]
    return ", ".join([_CLEAN, *names]) + ", or several joined by +"


class Chance(Config):
    """How often an effect happens, and by how much."""

    chance: float = Field(ge=0.0, le=1.0)  # the share of recordings that it happens to
    # bounds of its amount, which is drawn evenly
    between: Annotated[tuple[float, float], AfterValidator(ascending)] = (0.0, 0.0)


def _known(chances: dict[str, Chance]) -> dict[str, Chance]:
    for name, chance in chances.items():
        if name not in EFFECTS:
            raise ValueError(f"no effect {name!r}; choose among {', '.join(EFFECTS)}")
        (low, high), (first, last) = EFFECTS[name].bounds, chance.between
        if not low <= first <= last <= high:
            raise ValueError(f"{name} goes from {low:g} to {high:g} ({EFFECTS[name].meaning})")
    return {name: chances[name] for name in EFFECTS if name in chances}


PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "everyday": {
        "eq": {"chance": 0.3, "between": (0.0, 9.0)},
        "reverb": {"chance": 0.25, "between": (0.1, 0.9)},
        "room": {"chance": 0.15, "between": (0.0, 2.0)},
        "white": {"chance": 0.15, "between": (5.0, 30.0)},
        "noise": {"chance": 0.25, "between": (5.0, 30.0)},
        "clip": {"chance": 0.1, "between": (3.0, 20.0)},
        "telephone": {"chance": 0.25},
        "opus": {"chance": 0.1, "between": (6.0, 24.0)},
        "mp3": {"chance": 0.1, "between": (8.0, 32.0)},
        "gain": {"chance": 0.5, "between": (-40.0, 6.0)},
        "dc": {"chance": 0.1, "between": (-0.05, 0.05)},
        "silence": {"chance": 0.15, "between": (0.0, 2.0)},
    }
}
"""Name -> chances that a recipe may name; "everyday" is all that happens to recordings but for others' voices."""


def _preset(values: Any) -> Any:
    if not isinstance(values, str):
        return values
    if values not in PRESETS:
        raise ValueError(f"no set of conditions {values!r}; choose among {', '.join(PRESETS)}, or list effects")
    return PRESETS[values]


# Effect -> how often and how much, in the order in which effects happen; a recipe may give a preset's name.
Chances = Annotated[dict[str, Chance], BeforeValidator(_preset), AfterValidator(_known)]


def draw_condition(chances: Mapping[str, Chance], generator: np.random.Generator) -> Condition:
    """A condition in which each effect happens or not; two numbers an effect are drawn either way."""
    drawn = [
        (name, generator.random() < each.chance, generator.uniform(*each.between)) for name, each in chances.items()
    ]
    return Condition(tuple((name, float(amount)) for name, happens, amount in drawn if happens))
