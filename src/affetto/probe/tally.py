"""What is kept of the frames that went by: correlations within utterances, sums over frames, utterance means.

Kept by speaker, so that any crowd of speakers can be looked at afterwards; its size depends on the numbers of speakers,
units and utterances, never on that of frames.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from affetto.probe.correlation import FEWEST, Moments, Single, ranks, standardised
from affetto.probe.frame_reader import Group, Part, UtteranceFrames
from affetto.probe.targets import TARGETS

METHODS = ("pearson", "spearman")


class Tally:
    """Sums over utterances, each added once.

    Spearman's correlation is that of ranks within an utterance, exact and with ties; so no distribution over the whole
    corpus has to be estimated.

    The permutation null turns a target round within each utterance by a number of frames that chance draws, as if its
    beginning followed its end: how slowly it changes and how it is distributed stay, and when it happens does not. Two
    things that merely both fall from the beginning of an utterance to its end follow each other in this sense.

    Args:
        groups: of the layers.
        speakers: the number of each utterance's speaker, (utterances,).
        shuffled: whether an utterance counts for the null, (utterances,).
        permutations: of the null.
        rng: draws its shifts.
    """

    def __init__(
        self,
        groups: tuple[Group, ...],
        speakers: NDArray[np.int64],
        *,
        shuffled: NDArray[np.bool_],
        permutations: int,
        rng: np.random.Generator,
    ) -> None:
        self.groups, self.speakers, self.shuffled, self.permutations = groups, speakers, shuffled, permutations
        self._rng = rng
        units, people = groups[-1].units.stop, int(speakers.max()) + 1
        self.seen = np.zeros(len(speakers), dtype=np.bool_)
        """Which utterances were added, (utterances,)."""
        self.means = np.full((len(speakers), units), np.nan, dtype=np.float32)
        """Each unit's mean over each utterance's frames."""
        self.prosody = np.full((len(speakers), len(TARGETS)), np.nan)
        """Each target's mean over the frames of each utterance in which it counts."""
        self.sums = {name: np.zeros((people, len(TARGETS), units), dtype=np.float32) for name in METHODS}
        """Correlations within utterances, summed over each speaker's."""
        self.counts = np.zeros((people, len(TARGETS), units), dtype=np.int32)
        """How many utterances are in those sums: those in which the unit and the target change."""
        self.null = {name: np.zeros((len(TARGETS), permutations, units), dtype=np.float32) for name in METHODS}
        """The sums of all utterances that count for the null, once for each permutation."""
        self.frames = [[Moments(people, group.units.stop - group.first) for _ in TARGETS] for group in groups]
        """Sums over all frames, whichever utterance they are of: of each group, of each target."""

    def add(self, frames: UtteranceFrames) -> None:
        """Takes an utterance."""
        self.seen[frames.place] = True
        self.prosody[frames.place] = frames.prosody.means()
        turns = self._rng.random(self.permutations) if self.shuffled[frames.place] else np.zeros(0)
        for number, (group, part) in enumerate(zip(self.groups, frames.parts, strict=True)):
            self.means[frames.place, group.units] = part.units.mean(axis=1)
            for units, values, targets in _by_mask(part):
                speaker = int(self.speakers[frames.place])
                for target, row in zip(targets, values, strict=True):
                    self.frames[number][target].add(speaker, units, row)
                if units.shape[1] >= FEWEST:
                    self._add_within(speaker, group.units, units, (targets, values), turns)

    def _add_within(
        self,
        speaker: int,
        places: slice,
        units: Single,
        compared: tuple[list[int], NDArray[np.float64]],
        turns: NDArray[np.float64],
    ) -> None:
        """The correlations within one utterance, with the targets as they are and turned round."""
        targets, values = compared
        for name in METHODS:
            scaled, varies = standardised(ranks(units) if name == "spearman" else units)
            rows, changes = standardised(ranks(values) if name == "spearman" else values)
            for target, row, changing in zip(targets, rows, changes, strict=True):
                if not changing:
                    continue
                self.sums[name][speaker, target, places] += scaled @ row
                if name == METHODS[0]:
                    self.counts[speaker, target, places] += varies
                if len(turns):
                    self.null[name][target, :, places] += turned(row, turns) @ scaled.T


def turned(values: Single, turns: NDArray[np.float64]) -> Single:
    """The same values in a circle, begun elsewhere.

    Args:
        values: (frames,).
        turns: how much of the circle to go, from 0 to 1, (turns,).

    Returns:
        (turns, frames).

    >>> turned(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.3])).tolist()
    [[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 1.0]]
    """
    steps = (turns * len(values)).astype(np.int64)
    found: Single = values[(np.arange(len(values)) + steps[:, None]) % len(values)]
    return found


def _by_mask(part: Part) -> Iterator[tuple[Single, NDArray[np.float64], list[int]]]:
    """Units (units, n) and targets (targets, n) in the frames in which those targets count, once for each such mask."""
    masks: dict[bytes, list[int]] = {}
    for target, mask in enumerate(part.prosody.valid.T):
        masks.setdefault(mask.tobytes(), []).append(target)
    for targets in masks.values():
        valid = part.prosody.valid[:, targets[0]]
        if valid.any():
            units = part.units if valid.all() else np.ascontiguousarray(part.units[:, valid])
            yield units, part.prosody.values[valid][:, targets].T, targets
