"""Which units follow a target: chosen on one half of the speakers, measured on the other.

The largest of thousands of correlations is large by chance alone. So a unit is chosen by speakers who do not measure
it, and its correlation has a p-value that holds for all units together: how often the largest one of all units is as
large where chance has parted units and target (the maximum statistic; Westfall & Young 1993).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.probe.correlation import FEWEST, METHODS, Moments, Tally, correlations, ranks
from affetto.probe.targets import TARGETS
from affetto.stats import RESAMPLES, Interval, draw_crowds, interval_of

Floats = NDArray[np.float64]
LEAST_SHARE = 0.5  # A unit has to change in this share of the utterances at least: the mean of a few correlations jumps


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

    def best(self, target: int, count: int, units: slice = slice(None)) -> NDArray[np.int64]:
        """The units with the largest correlations by the choosing half, at most so many of these units."""
        strength = np.abs(self.chosen[target])
        strength = np.where(np.isnan(strength) | np.isnan(self.measured[target]), -1.0, strength)
        order = np.argsort(-strength[units], kind="stable")[:count] + (units.start or 0)
        return order[strength[order] >= 0]


def find(tally: Tally, choosing: NDArray[np.bool_], rng: np.random.Generator) -> Iterator[Found]:
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
                null = correlations(units, values[0][orders])
                highest[target] = _highest(null[None], measured[target][None], chosen[target][None])[0]
        yield Found("utterance", method, chosen, measured, highest)


def _within(tally: Tally, method: str, half: NDArray[np.bool_]) -> Floats:
    """Means over the utterances of a half, (targets, units)."""
    counts = tally.counts[half].sum(axis=0)
    sums = tally.sums[method][half].sum(axis=0, dtype=np.float64)
    most = counts.max(axis=1, keepdims=True, initial=0)
    enough = (counts > 0) & (counts >= LEAST_SHARE * most)
    found: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=enough)
    return found


def _highest(null: NDArray[np.floating], measured: Floats, chosen: Floats) -> Floats:
    """The largest of those units that are looked at: (targets, permutations, units) to (targets, permutations)."""
    looked_at = ~(np.isnan(measured) | np.isnan(chosen))
    found = np.where(looked_at[:, None, :] & ~np.isnan(null), np.abs(null), -1.0).max(axis=2, initial=-1.0)
    return np.where(found < 0, np.nan, found).astype(np.float64)


def _utterances(
    tally: Tally, target: int, half: NDArray[np.bool_], method: str
) -> tuple[NDArray[np.float32], Floats, NDArray[np.int64]]:
    """Means of a half's utterances, or their ranks in it: units (units, n), the target (1, n), speakers (n,).

    Those of one speaker stand together; those without the target are left out.
    """
    places = np.flatnonzero(half[tally.speakers] & tally.seen & ~np.isnan(tally.prosody[:, target]))
    places = places[np.argsort(tally.speakers[places], kind="stable")]
    units, values = np.ascontiguousarray(tally.means[places].T), tally.prosody[None, places, target]
    if method == "spearman":
        units, values = ranks(units), ranks(values).astype(np.float64)
    return units, values, tally.speakers[places]


def exchanged(speakers: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
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
    tally: Tally,
    found: Found,
    choosing: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    count: int,
    units: slice = slice(None),
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


def _interval(
    tally: Tally, found: Found, of: tuple[int, NDArray[np.int64]], half: NDArray[np.bool_], rng: np.random.Generator
) -> Interval:
    """Intervals over the speakers of a half for some units, (units,) each; ranks stay those of the whole half."""
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


def _crowds(count: int, rng: np.random.Generator) -> Floats:
    """Crowds of so many speakers; of one or none there is none to draw, and no interval."""
    return draw_crowds(count, rng, RESAMPLES).astype(np.float64) if count > 1 else np.ones((1, count))


def _pooled(
    tally: Tally, found: Found, target: int, units: NDArray[np.int64], half: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Pearson's r over all frames of a half, (units,)."""
    result = np.full(len(units), np.nan)
    if (found.level, found.method) != ("frame", "pearson"):
        return result
    for group, moments in zip(tally.groups, tally.frames, strict=True):
        mine = (units >= group.first) & (units < group.units.stop)
        weights = half.astype(np.float64)[None]
        result[mine] = moments[target].correlation(weights, units[mine] - group.first)[0]
    return result
