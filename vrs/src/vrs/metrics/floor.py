"""The noise floor: the STVD that a perfect coin has on n draws, and how far a measured one lies above it.

With X ~ Bin(n, p) and k = ⌊np⌋ + 1 the mean absolute deviation is (de Moivre 1730)

    E|X/n − p| = 2 k (1 − p) C(n, k) p^k (1 − p)^{n−k} / n,   Var|X/n − p| = p(1 − p)/n − (E|X/n − p|)²,

and both add over the grid, whose points are sampled independently. Quantiles and p-values are by simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import VRSError
from .stvd import Array, counts, curve

REPLICATES = 20_000
LEVELS = (0.005, 0.05, 0.5, 0.95, 0.995)


@dataclass(frozen=True)
class Floor:
    """STVD of a perfect coin: mean and sd exact, quantiles (level -> STVD) by simulation."""

    mean: float
    sd: float
    quantiles: Mapping[float, float]
    grid: tuple[float, ...]
    n: tuple[int, ...]

    def z(self, value: float) -> float:
        """How many sd `value` lies above the mean; 0 for a floor without spread that `value` equals."""
        if self.sd == 0:
            return 0.0 if value == self.mean else float(np.copysign(np.inf, value - self.mean))
        return (value - self.mean) / self.sd

    def p_value(self, value: float) -> float:
        """Monte-Carlo p-value against the perfect coin, (1 + #{simulated >= value})/(1 + replicates)."""
        simulated = _simulated(self.grid, self.n)
        return float((1 + (simulated >= value - 1e-9).sum()) / (1 + len(simulated)))


def stvd_floor(grid: ArrayLike, n: ArrayLike = 100) -> Floor:
    """The floor on a grid of p for n draws at each; n is one number or of shape (grid,).

    Raises:
        VRSError: an empty grid, a p outside [0, 1], or n below 1.
    """
    p = np.asarray(grid, dtype=np.float64)
    _, p = curve(p, p)
    draws = counts(n, len(p))
    mean = mean_deviation(p, draws)
    variance = np.maximum(p * (1 - p) / draws - mean**2, 0.0)
    key = tuple(p.tolist()), tuple(draws.astype(int).tolist())
    quantiles = dict(zip(LEVELS, np.quantile(_simulated(*key), LEVELS).tolist(), strict=True))
    return Floor(float(mean.sum()), float(np.sqrt(variance.sum())), quantiles, *key)


def mean_deviation(p: ArrayLike, n: ArrayLike) -> Array:
    """E|X/n − p| for X ~ Bin(n, p), shapes broadcast."""
    p, n = np.broadcast_arrays(np.asarray(p, dtype=np.float64), np.asarray(n, dtype=np.float64))
    k = np.floor(n * p) + 1
    # p = 1 has k = n + 1, of no probability
    return 2 * k * (1 - p) * stats.binom.pmf(k, n, p) / n


def expected_stvd(p_tilde: ArrayLike, grid: ArrayLike, n: ArrayLike = 100) -> float:
    """E Σ|X/n − p| for X ~ Bin(n, p̃): what a coin with the shares p̃ shows on n draws. Shapes (grid,)."""
    measured, p = curve(p_tilde, grid)
    draws = counts(n, len(p)).astype(int)
    total = 0.0
    for size in np.unique(draws):
        of_size = draws == size
        x = np.arange(size + 1)
        law = stats.binom.pmf(x[None, :], size, measured[of_size, None])
        total += float((law * np.abs(x / size - p[of_size, None])).sum())
    return total


@lru_cache(maxsize=64)
def _simulated(grid: tuple[float, ...], n: tuple[int, ...]) -> NDArray[np.float64]:
    """STVDs of a perfect coin, sorted, (REPLICATES,); the same on every call."""
    rng = np.random.default_rng(2506_09998)
    p, draws = np.array(grid), np.array(n)
    found = np.zeros(REPLICATES)
    # one p after the other: a table of all replicates and points would take megabytes for nothing
    for level, size in zip(p, draws, strict=True):
        if size > 1 << 40:
            raise VRSError(f"n is too large to simulate: {size}")
        found += np.abs(rng.binomial(size, level, REPLICATES) / size - level)
    return np.sort(found)
