"""The largest value of the density ratio of a continuous target to its proposal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from .errors import VRSError

FINE = 4001  # points of the grid on which the maximum is looked for, and checked
CLOSE = 1e-9  # on the log scale


def largest_ratio(P: Any, Q: Any) -> tuple[float, Callable[[Any], Any]]:
    """(log M, x ↦ log P(x)/Q(x)) of two frozen scipy.stats distributions.

    The ratio is taken on a grid of quantiles of both, down to tails of 1e-300, and its largest cells are searched by
    bounded maximisation; a grid a thousand times finer around the result then has to agree.

    Raises:
        VRSError: the ratio has no finite maximum: the proposal does not cover the target, or its tails are lighter.
    """

    def log_ratio(x: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            p, q = P.logpdf(x), Q.logpdf(x)
            # where neither has mass the ratio plays no part
            return np.where(np.isneginf(p), -np.inf, p - q)

    x = _grid(P, Q)
    values = np.asarray(log_ratio(x))
    if np.isposinf(values).any() or np.isnan(values).any():
        raise VRSError(
            f"the proposal has no density at {x[np.argmax(~(values < np.inf))]:.4g}, where the target has some, or the "
            "target's is infinite: M is infinite and rejection sampling cannot work"
        )
    _refuse_growing(x, values, P)
    best = float(values.max())
    for at in np.argsort(values)[-8:]:
        low, high = x[max(at - 1, 0)], x[min(at + 1, len(x) - 1)]
        if not low < high:
            continue
        found = optimize.minimize_scalar(
            lambda t: -float(log_ratio(t)), bounds=(low, high), method="bounded", options={"xatol": 1e-12}
        )
        check = float(np.max(log_ratio(np.linspace(low, high, 1001))))
        best = max(best, -float(found.fun), check)
    if not np.isfinite(best):
        raise VRSError("the target and the proposal have no mass in common")
    return best, log_ratio


def _grid(P: Any, Q: Any) -> NDArray[np.float64]:
    tails = np.logspace(-300, -3, 300)
    middle = np.linspace(0.001, 0.999, FINE)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # quantiles this far out fail for some families, and are left out
        warnings.simplefilter("ignore", RuntimeWarning)
        points = np.concatenate([f(u) for d in (P, Q) for f, u in ((d.ppf, tails), (d.ppf, middle), (d.isf, tails))])
        ends = np.array([*P.support(), *Q.support()])
    points = np.concatenate([points, ends])
    points = np.unique(points[np.isfinite(points)])
    low, high = P.support()
    return points[(points >= low) & (points <= high)]


def _refuse_growing(x: NDArray[np.float64], values: NDArray[np.float64], P: Any) -> None:
    """Refuse a ratio that is largest at the end of an unbounded tail and still rises there."""
    low, high = P.support()
    for bounded, end, inner in ((np.isfinite(high), values[-1], values[-9]), (np.isfinite(low), values[0], values[8])):
        if not bounded and end >= values.max() - CLOSE and end - inner > 1e-6:
            raise VRSError(
                "the ratio of target to proposal still grows in the tail: the proposal's tail is lighter, M is "
                "infinite and rejection sampling cannot work; take a proposal with heavier tails"
            )
