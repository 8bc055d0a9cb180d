"""Pearson's and Spearman's correlation of many units with one thing at a time, and the sums they follow from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Single = NDArray[np.float32]
Floats = NDArray[np.float64]

FEWEST = 3
"""Two points always lie on a line: a correlation of fewer than three means nothing."""

_CONSTANT = 1e-6
"""A deviation below this share of the largest value is the last digits of a constant."""


def ranks(values: NDArray[np.floating]) -> Single:
    """Ranks from 0 along the last axis; equal values share the mean of theirs.

    Args:
        values: (units, frames).

    >>> ranks(np.array([[5.0, 1.0, 5.0, 7.0]])).tolist()
    [[1.5, 0.0, 1.5, 3.0]]
    """
    found: Single = (rankdata(values, axis=-1) - 1).astype(np.float32)
    return found


def standardised(values: NDArray[np.floating]) -> tuple[Single, NDArray[np.bool_]]:
    """Each row with mean 0 and length 1, so that a product of two is their correlation.

    Args:
        values: (rows, frames).

    Returns:
        The rows, those that are constant as zeros, and which are not constant, (rows,).

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
    """Pearson's correlation of every unit with every target; of ranks, it is Spearman's.

    Args:
        units: (units, n).
        targets: (targets, n).

    Returns:
        (targets, units); not a number where either is constant, or n below 3.

    >>> correlations(np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]]), np.array([[1.0, 2.0, 4.0]])).round(6).tolist()
    [[1.0, nan]]
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

    Args:
        groups: how many are kept apart (speakers).
        units: how many units.
    """

    def __init__(self, groups: int, units: int) -> None:
        self.counts = np.zeros(groups)
        self.target_means, self.target_squares = np.zeros(groups), np.zeros(groups)
        self.means, self.squares, self.products = np.zeros((3, groups, units))

    def add(self, group: int, units: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Takes another piece.

        Args:
            group: whose it is.
            units: (units, n).
            target: (n,).
        """
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

    def correlation(self, weights: Floats, units: NDArray[np.int64] | None = None) -> Floats:
        """Pearson's r over all groups together.

        Args:
            weights: how often each group counts, (crowds, groups).
            units: which; None takes all.

        Returns:
            (crowds, units); not a number where the unit or the target is constant.
        """
        chosen = np.arange(self.means.shape[1]) if units is None else units
        means = self.means[:, chosen]
        counted = self.counts > 0
        here = float(np.average(self.target_means, weights=self.counts)) if counted.any() else 0.0
        middle = np.average(means, axis=0, weights=self.counts) if counted.any() else np.zeros(len(chosen))
        shift, target_shift = means - middle, self.target_means - here
        total = (weights @ self.counts)[:, None]
        sums = weights @ (self.counts[:, None] * shift)
        target_sums = (weights @ (self.counts * target_shift))[:, None]
        squares = weights @ (self.squares[:, chosen] + self.counts[:, None] * shift**2)
        target_squares = (weights @ (self.target_squares + self.counts * target_shift**2))[:, None]
        products = weights @ (self.products[:, chosen] + (self.counts * target_shift)[:, None] * shift)
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = squares - sums**2 / total
            target_variance = target_squares - target_sums**2 / total
            found = (products - sums * target_sums / total) / np.sqrt(variance * target_variance)
        scale = np.abs(middle)[None, :] + np.abs(shift).max(axis=0, initial=0.0)[None, :]
        varies = (variance > total * (_CONSTANT * scale) ** 2) & (target_variance > 0) & (total >= FEWEST)
        return np.where(varies, found.clip(-1, 1), np.nan)
