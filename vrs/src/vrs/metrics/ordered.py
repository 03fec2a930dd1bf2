"""Distances for targets whose outcomes have an order: Kolmogorov and Smirnov's, Cramér and von Mises'.

For a continuous target both are scipy's tests. For a finite ordered one the statistics are those of the stepwise
distribution functions and the p-values are simulated, since the textbook laws hold for continuous targets only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..continuous import Continuous
from ..errors import VRSError
from ..targets import Finite

REPLICATES = 2000


@dataclass(frozen=True)
class Distance:
    """The statistic of a sample, and how likely a sample of the target has one as large."""

    statistic: float
    p_value: float
    n: int


def kolmogorov_smirnov(sample: ArrayLike, target: Any, *, seed: int = 0) -> Distance:
    """sup |F̂ − F|.

    Raises:
        VRSError: an empty sample, a value that is no finite number, or a target whose outcomes have no order.
    """
    values = _numbers(sample)
    if isinstance(target, Continuous):
        found = stats.kstest(values, target.dist.cdf)
        return Distance(float(found.statistic), float(found.pvalue), len(values))
    return _stepwise(values, target, lambda gap, _: np.abs(gap).max(axis=-1), seed)


def cramer_von_mises(sample: ArrayLike, target: Any, *, seed: int = 0) -> Distance:
    """n ∫ (F̂ − F)² dF, for a finite target n Σ (F̂ − F)² P."""
    values = _numbers(sample)
    if isinstance(target, Continuous):
        found = stats.cramervonmises(values, target.dist.cdf)
        return Distance(float(found.statistic), float(found.pvalue), len(values))
    return _stepwise(values, target, lambda gap, p: len(values) * (gap**2 * p).sum(axis=-1), seed)


def _stepwise(values: NDArray[np.float64], target: Any, statistic: Any, seed: int) -> Distance:
    support = _ordered(target)
    p = target.probabilities
    n = len(values)
    places = np.searchsorted(support, values)
    if not (np.isin(values, support)).all():
        raise VRSError(f"{values[~np.isin(values, support)][0]} is no outcome of {target!r}")
    F = np.cumsum(p)
    observed = np.bincount(places, minlength=len(p))
    simulated = np.random.default_rng(seed).multinomial(n, p, REPLICATES)
    found = float(statistic(np.cumsum(observed) / n - F, p))
    law = statistic(np.cumsum(simulated, axis=1) / n - F, p)
    return Distance(found, float((1 + (law >= found - 1e-12).sum()) / (1 + REPLICATES)), n)


def _ordered(target: Any) -> NDArray[np.float64]:
    if not isinstance(target, Finite):
        raise VRSError(f"{target!r} has no ordered outcomes with probabilities")
    try:
        support = np.array(target.support, dtype=np.float64)
    except (TypeError, ValueError):
        raise VRSError(f"the outcomes of {target!r} are no numbers and have no order") from None
    if (np.diff(support) <= 0).any():
        raise VRSError(f"the outcomes of {target!r} do not rise: their order is not that of the numbers")
    return support


def _numbers(sample: ArrayLike) -> NDArray[np.float64]:
    try:
        values = np.asarray(sample, dtype=np.float64)
    except (TypeError, ValueError):
        raise VRSError("the sample must be a list of numbers") from None
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise VRSError("the sample must be a list of at least one finite number")
    return values
