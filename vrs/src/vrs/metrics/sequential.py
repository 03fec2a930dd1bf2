"""Confidence sequences for a Bernoulli mean: intervals that may be looked at after every draw.

An e-process of betting. Against the hypothesis that the mean is m, a bettor stakes on the next draw with the odds m :
1 − m; one who mixes over all shares with a Beta(½, ½) prior has after S ones and F zeros the wealth

    K_t(m) = B(S + ½, F + ½) / (B(½, ½) m^S (1 − m)^F),

a martingale of mean one if the mean is m. By Ville's inequality it ever exceeds 1/α with probability at most α, so

    C_t = {m : K_t(m) < 1/α}

holds the mean at all times at once with probability at least 1 − α, and so does the intersection of all of them so far
(Robbins 1970; Waudby-Smith and Ramdas 2024). A run may stop when the band is narrow enough, or at any other moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlog1py, xlogy

from ..errors import VRSError

Array = NDArray[np.float64]
STEPS = 60  # of bisection: to the last bit of a double


def log_wealth(m: ArrayLike, ones: ArrayLike, zeros: ArrayLike) -> Array:
    """ln K_t(m); shapes broadcast. Infinite where m is 0 or 1 and a draw contradicts it."""
    m, s, f = (np.asarray(v, dtype=np.float64) for v in (m, ones, zeros))
    return betaln(s + 0.5, f + 0.5) - betaln(0.5, 0.5) - xlogy(s, m) - xlog1py(f, -m)


def confidence_band(ones: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array]:
    """The ends of C_t after n draws with so many ones; shapes broadcast. [0, 1] before the first draw.

    Raises:
        VRSError: a confidence outside (0, 1), or counts that do not fit.
    """
    if not 0 < confidence < 1:
        raise VRSError(f"confidence must be between 0 and 1, not {confidence!r}")
    s, total = np.broadcast_arrays(np.asarray(ones, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if not ((s >= 0) & (s <= total)).all():
        raise VRSError("the number of ones must be from 0 to the number of draws")
    f = total - s
    limit = -math.log1p(-confidence)
    share = np.divide(s, total, out=np.full(s.shape, 0.5), where=total > 0)
    # ln K falls to the left of the share of ones and rises to its right: one crossing on each side
    ends = []
    for far in (0.0, 1.0):
        inside, outside = share.copy(), np.full(s.shape, far)
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            holds = log_wealth(middle, s, f) < limit
            inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
        ends.append(np.where(log_wealth(far, s, f) < limit, far, outside))
    return ends[0], ends[1]


class ConfidenceSequence:
    """The band of one mean as its draws come in; it never widens.

    Raises:
        VRSError: a confidence outside (0, 1), or a draw that is neither 0 nor 1.
    """

    def __init__(self, confidence: float = 0.95) -> None:
        if not 0 < confidence < 1:
            raise VRSError(f"confidence must be between 0 and 1, not {confidence!r}")
        self.confidence = confidence
        self.ones = self.n = 0
        self.low, self.high = 0.0, 1.0

    def update(self, draws: Iterable[int]) -> tuple[float, float]:
        """Take further draws, each looked at in turn, and give the band."""
        values = np.asarray(draws if isinstance(draws, np.ndarray) else list(draws), dtype=np.float64)
        if not np.isin(values, (0, 1)).all():
            raise VRSError("the draws of a confidence sequence must be 0 or 1")
        if len(values):
            ones = self.ones + np.cumsum(values)
            low, high = confidence_band(ones, self.n + np.arange(1, len(values) + 1), self.confidence)
            self.ones, self.n = int(ones[-1]), self.n + len(values)
            self.low, self.high = max(self.low, float(low.max())), min(self.high, float(high.min()))
        return self.low, self.high

    @property
    def width(self) -> float:
        """At most 0 where the draws contradict one another so far that no mean is left (probability 1 − confidence)."""
        return self.high - self.low

    def narrower_than(self, delta: float) -> bool:
        """Whether a run that wants a band narrower than delta may stop."""
        if not 0 < delta <= 1:
            raise VRSError(f"delta must be in (0, 1], not {delta!r}")
        return self.width < delta
