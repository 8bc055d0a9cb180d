"""Utterances that were never spoken: activations and prosody made by chance, with what the tests plant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from affetto.models.encoders.encoder import LayerInfo
from affetto.probe.correlation import Tally
from affetto.probe.frame_reader import TARGETS, Group, Part, Prosody, UtteranceFrames, groups

Plant = Callable[[np.ndarray, np.ndarray], None]
"""Changes activations (units, frames) after the prosody (frames, targets)."""


def layers(*widths: int) -> tuple[Group, ...]:
    return groups([LayerInfo(f"gru{place}", width, 25.0) for place, width in enumerate(widths, start=1)])


def heard(place: int, units: int, frames: int, rng: np.random.Generator, plant: Plant | None = None) -> UtteranceFrames:
    values = rng.standard_normal((frames, len(TARGETS)))
    valid = np.ones(values.shape, dtype=bool)
    valid[:, 1] = np.arange(frames) % 3 > 0  # pitch does not count everywhere
    activations = rng.standard_normal((units, frames))
    if plant is not None:
        plant(activations, values)
    spoken = Prosody(values, valid)
    return UtteranceFrames(place, (Part(activations.astype(np.float32), spoken),), spoken)


def empty(places: tuple[Group, ...], speakers: np.ndarray, choosing: np.ndarray, permutations: int, seed: int) -> Tally:
    return Tally(
        places,
        speakers,
        shuffled=~choosing[speakers],
        permutations=permutations,
        rng=np.random.default_rng(seed),
    )
