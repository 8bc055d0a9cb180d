"""Training speech made a little faster or slower, louder or softer (paper 3.3.1).

Tempo changes without pitch by Signalsmith's stretcher, which gives back each moment at its place divided by the tempo.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import soxr
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from affetto.audio import SAMPLE_RATE
from affetto.config import Config
from affetto.errors import MissingExtraError


def ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    """Bounds as a recipe gives them, the lower one first."""
    if bounds[0] > bounds[1]:
        raise ValueError("give the lower bound first")
    return bounds


_Factor = Annotated[float, Field(ge=0.5, le=2.0)]
_Gain = Annotated[float, Field(ge=-60.0, le=60.0)]
Factors = Annotated[tuple[_Factor, _Factor], AfterValidator(ascending)]
Gains = Annotated[tuple[_Gain, _Gain], AfterValidator(ascending)]


class Perturbation(Config):
    """How far speech is changed; both are drawn evenly between their bounds."""

    # 1.15 is 15 % faster; between half and double, beyond which the stretcher adds noise
    tempo: Factors = (0.85, 1.15)
    gain_db: Gains = (-3.0, 6.0)  # what is added to the level, dB


def perturb(wave: Tensor, config: Perturbation, generator: np.random.Generator) -> Tensor:
    """Changes tempo and gain at random, drawn in this order: (samples,), float32, to (samples / tempo,).

    Nothing is clipped: what the gain lifts beyond full scale stays there. See `stretch` for what it raises.
    """
    tempo, gain_db = generator.uniform(*config.tempo), generator.uniform(*config.gain_db)
    return amplify(stretch(wave, tempo), gain_db)


def amplify(wave: Tensor, gain_db: float) -> Tensor:
    """Adds decibels to the level, without clipping."""
    return wave * 10 ** (gain_db / 20)


def resample(wave: Tensor, speed: float) -> Tensor:
    """Plays a recording faster or slower as a tape does: pitch and voice rise with the speed (Ko et al. 2015).

    Far cheaper than `stretch`, and it makes voices of other sizes besides. (samples,), float32, to about (samples /
    speed,), at least one; at exactly 1 the wave itself is given back.
    """
    if speed == 1 or len(wave) == 0:
        return wave
    resampled = soxr.resample(wave.numpy(), speed * SAMPLE_RATE, SAMPLE_RATE, quality="MQ")
    return torch.from_numpy(resampled) if len(resampled) else wave[:1]


def stretch(wave: Tensor, tempo: float) -> Tensor:
    """Plays speech 0.5 to 2 times as fast at the same pitch: (samples,), float32, to (samples / tempo,), rounded.

    At least one sample is left; at exactly 1 the wave itself is given back. Raises MissingExtraError where the
    stretcher is not installed.
    """
    if tempo == 1 or len(wave) == 0:
        return wave
    try:
        from python_stretch.Signalsmith import Stretch
    except ImportError as error:
        raise MissingExtraError("python-stretch is not installed", 'pip install "affetto[train]"') from error
    stretcher = Stretch()
    stretcher.preset(1, SAMPLE_RATE)
    stretcher.setTimeFactor(tempo)
    # Where the input ends, the output fades: with a block of silence behind it, the fading is beyond what is kept.
    padded = torch.nn.functional.pad(wave, (0, stretcher.blockSamples()))
    stretched = np.asarray(stretcher.process(padded.numpy()[None]))[0]
    return torch.from_numpy(stretched)[: max(1, round(len(wave) / tempo))].to(wave.dtype)
