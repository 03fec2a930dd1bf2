"""Whether draws that came in one reply depend on one another: the runs test and the lag-1 autocorrelation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import VRSError


@dataclass(frozen=True)
class Dependence:
    """`lag1` is the autocorrelation at lag one, `runs` the number of runs, `expected` that of independent draws with
    these counts, `p_value` the two-sided p-value of the runs test (Wald and Wolfowitz 1940, normal form). All but
    `runs` are NaN where every draw is the same."""

    lag1: float
    runs: int
    expected: float
    p_value: float
    n: int


def dependence(bits: ArrayLike) -> Dependence:
    """The dependence of a sequence of zeros and ones in its order, shape (n,).

    Raises:
        VRSError: fewer than two values, or others than 0 and 1.
    """
    values = np.asarray(bits)
    if values.ndim != 1 or len(values) < 2 or not np.isin(values, (0, 1)).all():
        raise VRSError("dependence needs a list of at least two zeros and ones")
    x = values.astype(np.float64)
    n, ones = len(x), int(x.sum())
    zeros = n - ones
    runs = 1 + int((x[1:] != x[:-1]).sum())
    if not ones or not zeros:
        return Dependence(float("nan"), runs, float("nan"), float("nan"), n)
    centred = x - x.mean()
    lag1 = float((centred[1:] * centred[:-1]).sum() / (centred**2).sum())
    expected = 1 + 2 * ones * zeros / n
    variance = (expected - 1) * (expected - 2) / (n - 1)
    if variance <= 0:
        return Dependence(lag1, runs, expected, 1.0, n)
    return Dependence(lag1, runs, expected, float(2 * stats.norm.sf(abs(runs - expected) / np.sqrt(variance))), n)
