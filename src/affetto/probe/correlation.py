"""Correlation of many units with one target at a time, and which units follow a target.

The largest of thousands of correlations is large by chance alone. So a unit is chosen by speakers who do not measure
it, and its p-value holds for all units together: how often the largest correlation of all is as large where chance has
parted units and target (the maximum statistic; Westfall & Young 1993).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import rankdata

from affetto.probe.frame_reader import TARGETS, Group, Part, UtteranceFrames
from affetto.stats import RESAMPLES, Interval, draw_crowds, interval_of

Single = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

METHODS = ("pearson", "spearman")
FEWEST = 3  # Two points always lie on a line: a correlation of fewer than three means nothing
_CONSTANT = 1e-6  # A deviation below this share of the largest value is the last digits of a constant
LEAST_SHARE = 0.5  # A unit has to change in this share of the utterances at least: the mean of a few correlations jumps


def ranks(values: NDArray[np.floating]) -> Single:
    """Ranks from 0 along the last axis of (units, frames); equal values share the mean of theirs."""
    found: Single = (rankdata(values, axis=-1) - 1).astype(np.float32)
    return found


def standardised(values: NDArray[np.floating]) -> tuple[Single, Mask]:
    """Each row of (rows, frames) with mean 0 and length 1, constant ones as zeros; and which are not constant, (rows,).

    A product of two is their correlation.

    >>> standardised(np.array([[1.0, 9.0, 1.0, 9.0], [2.0, 2.0, 2.0, 2.0]]))[0].tolist()
    [[-0.5, 0.5, -0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]
    """
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.sqrt(np.einsum("rf,rf->r", centred, centred))
    largest = np.abs(values).max(axis=-1)
    varies = length > _CONSTANT * largest * np.sqrt(values.shape[-1])
    scaled = np.divide(centred, length[:, None], out=np.zeros_like(centred), where=varies[:, None])
    return scaled.astype(np.float32, copy=False), varies


def correlations(units: NDArray[np.floating], targets: NDArray[np.floating]) -> Floats:
    """Pearson's correlation of units (units, n) with targets (targets, n): (targets, units); of ranks, Spearman's.

    It is not a number where either is constant, or n below 3.
    """
    if units.shape[-1] < FEWEST:
        return np.full((len(targets), len(units)), np.nan)
    left, left_varies = standardised(targets)
    right, right_varies = standardised(units)
    found = (left @ right.T).astype(np.float64).clip(-1, 1)
    return np.where(left_varies[:, None] & right_varies[None, :], found, np.nan)


class Moments:
    """Sums over any number of frames that arrive in pieces, kept apart by group: all that Pearson's r needs.

    Means and squared deviations are merged piece by piece (Chan, Golub & LeVeque 1983), so that nothing is lost where
    a unit's mean is far from 0.
    """

    def __init__(self, groups: int, units: int) -> None:
        self.counts = np.zeros(groups)
        self.target_means, self.target_squares = np.zeros(groups), np.zeros(groups)
        self.means, self.squares, self.products = np.zeros((3, groups, units))

    def add(self, group: int, units: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Takes another piece of a group: units (units, n) and target (n,)."""
        piece = units.shape[-1]
        if piece == 0:
            return
        mean, target_mean = units.mean(axis=-1), float(target.mean())
        centred, deviation = units - mean[:, None], target - target_mean
        count = self.counts[group]
        shift, target_shift = mean - self.means[group], target_mean - self.target_means[group]
        weight = count * piece / (count + piece)
        self.squares[group] += np.einsum("un,un->u", centred, centred) + weight * shift**2
        self.products[group] += centred @ deviation.astype(centred.dtype) + weight * shift * target_shift
        self.target_squares[group] += float(deviation @ deviation) + weight * target_shift**2
        self.means[group] += shift * piece / (count + piece)
        self.target_means[group] += target_shift * piece / (count + piece)
        self.counts[group] = count + piece

    def correlation(self, weights: Floats, units: Integers | slice = slice(None)) -> Floats:
        """Pearson's r of all units, or some, over all groups together: (crowds, units).

        How often each group counts in each crowd stands in ``weights``, (crowds, groups).
        """
        means = self.means[:, units]
        if not self.counts.any():
            return np.full((len(weights), means.shape[1]), np.nan)
        here = float(np.average(self.target_means, weights=self.counts))
        middle = np.average(means, axis=0, weights=self.counts)
        shift, target_shift = means - middle, self.target_means - here
        total = (weights @ self.counts)[:, None]
        sums = weights @ (self.counts[:, None] * shift)
        target_sums = (weights @ (self.counts * target_shift))[:, None]
        squares = weights @ (self.squares[:, units] + self.counts[:, None] * shift**2)
        target_squares = (weights @ (self.target_squares + self.counts * target_shift**2))[:, None]
        products = weights @ (self.products[:, units] + (self.counts * target_shift)[:, None] * shift)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = squares - sums**2 / total
            target_variance = target_squares - target_sums**2 / total
            found = (products - sums * target_sums / total) / np.sqrt(variance * target_variance)
        scale = np.abs(middle)[None, :] + np.abs(shift).max(axis=0, initial=0.0)[None, :]
        varies = (variance > total * (_CONSTANT * scale) ** 2) & (target_variance > 0) & (total >= FEWEST)
        return np.where(varies, found.clip(-1, 1), np.nan)


class Tally:
    """What is kept of the frames that went by: correlations within utterances, sums over frames, utterance means.

    Kept by speaker, so that any crowd of speakers can be looked at afterwards; its size never depends on the number of
    frames. Spearman's correlation is that of ranks within an utterance, exact and with ties.

    The permutation null turns a target round within each utterance by a number of frames that the rng draws, as if its
    beginning followed its end: how slowly it changes and how it is distributed stay, and when it happens does not. Two
    things that merely both fall from the beginning of an utterance to its end follow each other in this sense.

    Each utterance has the number of its speaker, (utterances,), and counts for the null if ``shuffled``, (utterances,).
    """

    def __init__(
        self, groups: tuple[Group, ...], speakers: Integers, *, shuffled: Mask, permutations: int, rng: Generator
    ) -> None:
        self.groups, self.speakers, self.shuffled, self.permutations = groups, speakers, shuffled, permutations
        self._rng = rng
        units, people = groups[-1].units.stop, int(speakers.max()) + 1
        # Which utterances were added; each unit's and each target's mean over the frames in which it counts.
        self.seen = np.zeros(len(speakers), dtype=np.bool_)
        self.means = np.full((len(speakers), units), np.nan, dtype=np.float32)
        self.prosody = np.full((len(speakers), len(TARGETS)), np.nan)
        # Correlations within utterances, summed over each speaker's in which the unit and the target change, how many
        # these are, and the sums of all utterances that count for the null, once for each permutation.
        self.sums = {name: np.zeros((people, len(TARGETS), units), dtype=np.float32) for name in METHODS}
        self.counts = np.zeros((people, len(TARGETS), units), dtype=np.int32)
        self.null = {name: np.zeros((len(TARGETS), permutations, units), dtype=np.float32) for name in METHODS}
        # Sums over all frames, whichever utterance they are of: of each group, of each target.
        self.frames = [[Moments(people, group.units.stop - group.first) for _ in TARGETS] for group in groups]

    def add(self, frames: UtteranceFrames) -> None:
        """Takes an utterance."""
        self.seen[frames.place] = True
        self.prosody[frames.place] = frames.prosody.means()
        turns = self._rng.random(self.permutations) if self.shuffled[frames.place] else np.zeros(0)
        for number, (group, part) in enumerate(zip(self.groups, frames.parts, strict=True)):
            self.means[frames.place, group.units] = part.units.mean(axis=1)
            for masked in _by_mask(part):
                speaker = int(self.speakers[frames.place])
                for target, row in zip(masked.targets, masked.values, strict=True):
                    self.frames[number][target].add(speaker, masked.units, row)
                if masked.units.shape[1] >= FEWEST:
                    self._add_within(speaker, group.units, masked, turns)

    def _add_within(self, speaker: int, places: slice, masked: _Masked, turns: Floats) -> None:
        """The correlations within one utterance, with the targets as they are and turned round."""
        units, values, targets = masked
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


def turned(values: Single, turns: Floats) -> Single:
    """The same values (frames,) in a circle, begun after each part (turns,) of it, from 0 to 1: (turns, frames).

    >>> turned(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.3])).tolist()
    [[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 1.0]]
    """
    steps = (turns * len(values)).astype(np.int64)
    found: Single = values[(np.arange(len(values)) + steps[:, None]) % len(values)]
    return found


class _Masked(NamedTuple):
    """Units and targets in the frames in which these targets count."""

    units: Single  # (units, frames)
    values: Floats  # (targets, frames)
    targets: list[int]


def _by_mask(part: Part) -> Iterator[_Masked]:
    """Targets that count in the same frames, together."""
    masks: dict[bytes, list[int]] = {}
    for target, mask in enumerate(part.prosody.valid.T):
        masks.setdefault(mask.tobytes(), []).append(target)
    for targets in masks.values():
        valid = part.prosody.valid[:, targets[0]]
        if valid.any():
            units = part.units if valid.all() else np.ascontiguousarray(part.units[:, valid])
            yield _Masked(units, part.prosody.values[valid][:, targets].T, targets)


class Found(NamedTuple):
    """The correlations of every unit with every target, at one level, by one method; no numbers where there is none."""

    level: str  # "frame", the mean of the correlations within utterances, or "utterance", that of utterance means
    method: str
    chosen: Floats  # (targets, units) by the choosing half of the speakers
    measured: Floats  # (targets, units) by the other half
    highest: Floats  # (targets, permutations) the largest absolute one of all units, by the measuring half

    def p(self) -> Floats:
        """A p-value for each unit and target that holds for all units together, (targets, units)."""
        at_least = (self.highest[:, None, :] >= np.abs(self.measured)[:, :, None] - 1e-12).sum(axis=2)
        found = (1 + at_least) / (1 + self.highest.shape[1])
        return np.where(np.isnan(self.measured), np.nan, found)

    def best(self, target: int, count: int, units: slice = slice(None)) -> Integers:
        """The units with the largest correlations by the choosing half, at most so many of these units."""
        strength = np.abs(self.chosen[target])
        strength = np.where(np.isnan(strength) | np.isnan(self.measured[target]), -1.0, strength)
        order = np.argsort(-strength[units], kind="stable")[:count] + (units.start or 0)
        return order[strength[order] >= 0]


def find(tally: Tally, choosing: Mask, rng: Generator) -> Iterator[Found]:
    """Every unit's correlation with every target, at both levels, by both methods; the rng draws the null.

    Speakers marked in ``choosing``, (speakers,), choose; the others measure.
    """
    for method in METHODS:
        chosen, measured = (_within(tally, method, half) for half in (choosing, ~choosing))
        with np.errstate(invalid="ignore", divide="ignore"):
            null = tally.null[method] / tally.counts[~choosing].sum(axis=0)[:, None, :]
        yield Found("frame", method, chosen, measured, _highest(null, measured, chosen))
    for method in METHODS:
        chosen, measured = np.full((2, len(TARGETS), tally.means.shape[1]), np.nan)
        highest = np.full((len(TARGETS), tally.permutations), np.nan)
        for target in range(len(TARGETS)):
            chosen[target] = correlations(*_utterances(tally, target, choosing, method)[:2])[0]
            units, values, speakers = _utterances(tally, target, ~choosing, method)
            measured[target] = correlations(units, values)[0]
            if units.shape[1] >= FEWEST:
                orders = np.stack([exchanged(speakers, rng) for _ in range(tally.permutations)])
                highest[target] = _highest(correlations(units, values[0][orders]), measured[target], chosen[target])
        yield Found("utterance", method, chosen, measured, highest)


def _within(tally: Tally, method: str, half: Mask) -> Floats:
    """Means over the utterances of a half, (targets, units)."""
    counts = tally.counts[half].sum(axis=0)
    sums = tally.sums[method][half].sum(axis=0, dtype=np.float64)
    most = counts.max(axis=1, keepdims=True, initial=0)
    enough = (counts > 0) & (counts >= LEAST_SHARE * most)
    found: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=enough)
    return found


def _highest(null: NDArray[np.floating], measured: Floats, chosen: Floats) -> Floats:
    """The largest of those units that are looked at: (..., permutations, units) to (..., permutations)."""
    looked_at = ~(np.isnan(measured) | np.isnan(chosen))
    found = np.where(looked_at[..., None, :] & ~np.isnan(null), np.abs(null), -1.0).max(axis=-1, initial=-1.0)
    return np.where(found < 0, np.nan, found).astype(np.float64)


def _utterances(tally: Tally, target: int, half: Mask, method: str) -> tuple[Single, Floats, Integers]:
    """Means of a half's utterances, or their ranks in it: units (units, n), the target (1, n), speakers (n,).

    Those of one speaker stand together; those without the target are left out.
    """
    places = np.flatnonzero(half[tally.speakers] & tally.seen & ~np.isnan(tally.prosody[:, target]))
    places = places[np.argsort(tally.speakers[places], kind="stable")]
    units, values = np.ascontiguousarray(tally.means[places].T), tally.prosody[None, places, target]
    if method == "spearman":
        units, values = ranks(units), ranks(values).astype(np.float64)
    return units, values, tally.speakers[places]


def exchanged(speakers: Integers, rng: Generator) -> Integers:
    """An order of utterances in which each speaker's stand where another's stood.

    Utterances of one speaker are alike; shuffled one by one, they would be taken for as many independent ones, and a
    unit that knows nothing but the speaker for one that follows the pitch. So speakers change places with all their
    utterances, which change places among themselves; those of one stand together in ``speakers``, (utterances,).

    >>> exchanged(np.array([3, 3, 3, 5, 5, 5]), np.random.default_rng(0)).tolist()
    [4, 3, 5, 2, 0, 1]
    """
    queue = rng.permutation(int(speakers.max()) + 1)
    return np.lexsort((rng.random(len(speakers)), queue[speakers]))


class BestUnit(NamedTuple):
    """A line of the tables of best units; level and method as in `Found`."""

    level: str
    method: str
    target: str
    place: int  # among the units by the choosing half, from 1
    layer: str
    number: int  # in the layer, from 0
    chosen: float  # its correlation by the choosing half
    measured: float  # by the other half
    low: float  # with other speakers, it lies between this
    high: float  # and this
    p: float  # for all units together
    pooled: float  # Pearson's r over all frames of the measuring half; no number for utterances and for ranks


def best_rows(
    tally: Tally, found: Found, choosing: Mask, rng: Generator, *, count: int, units: slice = slice(None)
) -> Iterator[BestUnit]:
    """The best ``count`` units of each target among some; the rng draws crowds of speakers for the intervals."""
    p = found.p()
    owners = [(layer.name, number) for group in tally.groups for layer in group.layers for number in range(layer.width)]
    for target, name in enumerate(TARGETS):
        chosen = found.best(target, count, units)
        low, high = _interval(tally, found, (target, chosen), ~choosing, rng)
        pooled = _pooled(tally, found, target, chosen, ~choosing)
        for place, unit in enumerate(chosen.tolist()):
            r = found.chosen[target, unit], found.measured[target, unit]
            figures = map(float, (*r, low[place], high[place], p[target, unit], pooled[place]))
            yield BestUnit(found.level, found.method, name, place + 1, *owners[unit], *figures)


def _interval(tally: Tally, found: Found, of: tuple[int, Integers], half: Mask, rng: Generator) -> Interval:
    """Intervals over the speakers of a half for a target and units; ranks stay those of the whole half."""
    target, chosen = of
    if found.level == "frame":
        counts = tally.counts[half][:, target, chosen]
        people = np.flatnonzero(counts.any(axis=1))
        crowds = _crowds(len(people), rng)
        sums = tally.sums[found.method][half][people][:, target, chosen]
        with np.errstate(invalid="ignore", divide="ignore"):
            values: Floats = (crowds @ sums) / (crowds @ counts[people])
        return interval_of(values, len(people))
    units, values, speakers = _utterances(tally, target, half, found.method)
    names, numbers = np.unique(speakers, return_inverse=True)
    moments = Moments(len(names), len(chosen))
    for number in range(len(names)):
        mine = numbers == number
        moments.add(number, units[chosen][:, mine].astype(np.float64), values[0, mine])
    return interval_of(moments.correlation(_crowds(len(names), rng)), len(names))


def _crowds(count: int, rng: Generator) -> Floats:
    """Crowds of so many speakers; of one or none there is none to draw, and no interval."""
    return draw_crowds(count, rng, RESAMPLES).astype(np.float64) if count > 1 else np.ones((1, count))


def _pooled(tally: Tally, found: Found, target: int, units: Integers, half: Mask) -> Floats:
    """Pearson's r over all frames of a half, (units,)."""
    result = np.full(len(units), np.nan)
    if (found.level, found.method) != ("frame", "pearson"):
        return result
    for group, moments in zip(tally.groups, tally.frames, strict=True):
        mine = (units >= group.first) & (units < group.units.stop)
        weights = half.astype(np.float64)[None]
        result[mine] = moments[target].correlation(weights, units[mine] - group.first)[0]
    return result
