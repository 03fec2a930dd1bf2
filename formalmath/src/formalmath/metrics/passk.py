"""pass@K without bias: of n samples c are right, and K are drawn without replacement.

    pass@K = 1 − C(n − c, K) / C(n, K) = 1 − ∏_{i = n−c+1}^{n} (1 − K / i),   1 if n − c < K

(Chen et al. 2021, Eq. 1.) The whole curve K = 1 … n is one cumulative sum a distinct c, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FormalMathError
from .intervals import bootstrap, wilson


def pass_at_k(n: int | np.ndarray, c: np.ndarray, ks: Sequence[int], names: Sequence[str] | None = None) -> np.ndarray:
    """The estimate for each problem and K, float64 of shape [problems, len(ks)].

    Args:
        n: samples of each problem, one number or [problems].
        c: how many of them were accepted, [problems].
        ks: sizes, each from 1 to the smallest n.
        names: of the problems, for the refusal.

    Raises:
        FormalMathError: K over the n of a problem, or c outside 0 … n.
    """
    c = np.asarray(c)
    n = np.broadcast_to(np.asarray(n), c.shape)
    ks_ = np.asarray(ks)
    if ((c < 0) | (c > n)).any():
        raise FormalMathError("a problem has more accepted samples than samples, or fewer than none")
    if ks_.size and c.size:
        if ks_.min() < 1:
            raise FormalMathError(f"K must be at least 1, not {ks_.min()}")
        short = np.flatnonzero(n < ks_.max())
        if short.size:
            which = names[short[0]] if names is not None else f"number {short[0]}"
            raise FormalMathError(f"pass@{ks_.max()} needs {ks_.max()} samples, and problem {which} has {n[short[0]]}")
    result = np.empty((c.size, ks_.size))
    pairs = n.astype(np.int64) * (int(n.max(initial=0)) + 1) + c
    for value in np.unique(pairs):
        rows = pairs == value
        first = int(np.argmax(rows))
        result[rows] = _curve(int(n[first]), int(c[first]))[ks_ - 1]
    return result


def _curve(n: int, c: int) -> np.ndarray:
    """pass@K for K = 1 … n: log C(n−c, K) − log C(n, K) is a cumulative sum over K."""
    if c == 0:
        return np.zeros(n)
    k = np.arange(n, dtype=np.float64)  # K − 1 drawn already, none of them right
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log(np.maximum(n - c - k, 0) / (n - k))
    curve = -np.expm1(np.cumsum(steps))
    curve[n - c :] = 1.0
    return curve


@dataclass(frozen=True)
class PassCurve:
    """pass@K of a set of problems, with 95 % intervals: Wilson's at K = n, the bootstrap's over problems below.

    `low` and `high` are what the curve would be if every open sample (infra, unknown, unsupported) failed or passed.
    """

    ks: np.ndarray
    mean: np.ndarray
    interval: np.ndarray  # [len(ks), 2]
    low: np.ndarray
    high: np.ndarray
    problems: int
    samples: int

    def at(self, k: int) -> tuple[float, float, float]:
        """Mean and interval at one K."""
        (place,) = np.flatnonzero(self.ks == k)
        return float(self.mean[place]), float(self.interval[place, 0]), float(self.interval[place, 1])


def pass_curve(
    n: int,
    c: np.ndarray,
    ks: Sequence[int],
    *,
    open_samples: np.ndarray | None = None,
    seed: int = 0,
    draws: int = 10_000,
) -> PassCurve:
    """The mean curve over problems.

    Args:
        n: samples a problem.
        c: accepted ones, [problems].
        ks: sizes.
        open_samples: how many of each problem's samples have no verdict, [problems].
    """
    c = np.asarray(c)
    table = pass_at_k(n, c, ks)
    mean = table.mean(0)
    interval = bootstrap(table, draws, seed)
    for place, k in enumerate(ks):
        if k == n:
            interval[place] = wilson(int((c > 0).sum()), c.size)
    high = pass_at_k(n, np.minimum(c + open_samples, n), ks).mean(0) if open_samples is not None else mean
    return PassCurve(np.asarray(ks), mean, interval, mean, high, c.size, n)


def poststratify(
    solved: tuple[int, int], unsolved: tuple[int, int], share: float = 0.1018
) -> tuple[float, float, float]:
    """The accuracy on All that one on Lite suggests: Lite takes half of its problems from those that one prover solves.

    Args:
        solved: (accepted, problems) among those DeepSeek-Prover-V1.5-RL solves at pass@32.
        unsolved: the same among the rest.
        share: of All that it solves.

    Returns:
        Estimate and a 95 % interval (normal, of the two Wilson-centred proportions).
    """
    total, variance = 0.0, 0.0
    for (k, n), weight in ((solved, share), (unsolved, 1 - share)):
        if n == 0:
            raise FormalMathError("a stratum without problems")
        p = (k + 2) / (n + 4)
        total += weight * k / n
        variance += weight**2 * p * (1 - p) / (n + 4)
    half = 1.959964 * variance**0.5
    return total, max(0.0, total - half), min(1.0, total + half)
