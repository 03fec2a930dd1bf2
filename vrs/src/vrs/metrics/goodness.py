"""Tests of a sampled share against p: one p-value for each p, and what to make of many of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from ..errors import VRSError
from ..theory import Distribution, probabilities_of
from .stvd import counts

Array = NDArray[np.float64]


def g_test(ones: ArrayLike, n: ArrayLike, grid: ArrayLike) -> Array:
    """p-values of the likelihood-ratio test of X ~ Bin(n, p) at each p, shape (grid,).

    G = 2 Σ O ln(O/E) against chi-squared with one degree of freedom. At p = 0 and p = 1 the test is exact: 1 where
    every draw agrees, 0 where one does not.
    """
    p = np.asarray(grid, dtype=np.float64)
    if p.ndim != 1 or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise VRSError("the grid must be a list of at least one p in [0, 1]")
    size = counts(n, len(p))
    k = np.broadcast_to(np.asarray(ones, dtype=np.float64), p.shape)
    if not ((k >= 0) & (k <= size)).all():
        raise VRSError("the number of ones must be from 0 to the number of draws")
    # rel_entr is 0 for O = 0 and infinite for O > 0 = E, which gives the exact test at the ends
    statistic = 2 * (special.rel_entr(k, size * p) + special.rel_entr(size - k, size * (1 - p)))
    values = stats.chi2.sf(np.maximum(statistic, 0), 1)
    return np.where((p == 0) | (p == 1), (statistic < np.inf).astype(float), values)


def g_test_counts(observed: ArrayLike, P: Distribution) -> float:
    """p-value of the likelihood-ratio test of counts, shape (K,), against P, with K' − 1 degrees of freedom for the K'
    outcomes that P can give; 0 where one was seen that P never gives."""
    p, _ = probabilities_of(P)
    k = np.asarray(observed, dtype=np.float64)
    if k.shape != p.shape or not (k >= 0).all() or k.sum() < 1:
        raise VRSError(f"the counts must be {len(p)} numbers from 0, at least one of them above it")
    statistic = 2 * float(special.rel_entr(k, k.sum() * p).sum())
    free = int((p > 0).sum()) - 1
    if not np.isfinite(statistic):
        return 0.0
    return float(stats.chi2.sf(max(statistic, 0.0), free)) if free else 1.0


def holm(p_values: ArrayLike) -> Array:
    """Holm's adjusted p-values (1979), shape of the input: rejecting those at most α keeps the chance of any false
    rejection at α, whatever the dependence."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise VRSError("the p-values must be a list of numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted
