"""Confidence intervals for a share of ones at a fixed number of draws (sequential.py is for peeking)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from ..errors import VRSError

Array = NDArray[np.float64]


def wilson(ones: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array]:
    """Wilson's score interval; shapes broadcast. Its coverage is near `confidence` on average over p."""
    k, size = _checked(ones, n, confidence)
    z = stats.norm.isf((1 - confidence) / 2)
    share = k / size
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    # at the ends the algebra gives exactly 0 and 1, which rounding misses
    return np.where(k == 0, 0.0, np.maximum(middle - half, 0)), np.where(k == size, 1.0, np.minimum(middle + half, 1))


def clopper_pearson(ones: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array]:
    """Clopper and Pearson's exact interval; shapes broadcast. Its coverage is at least `confidence` for every p."""
    k, size = _checked(ones, n, confidence)
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        low = special.betaincinv(np.maximum(k, 1), size - np.maximum(k, 1) + 1, tail)
        most = np.minimum(k, size - 1)
        high = special.betainccinv(most + 1, size - most, tail)
    return np.where(k == 0, 0.0, low), np.where(k == size, 1.0, high)


INTERVALS = {"wilson": wilson, "exact": clopper_pearson}


def _checked(ones: ArrayLike, n: ArrayLike, confidence: float) -> tuple[Array, Array]:
    if not 0 < confidence < 1:
        raise VRSError(f"confidence must be between 0 and 1, not {confidence!r}")
    try:
        k, size = np.broadcast_arrays(np.asarray(ones, dtype=np.float64), np.asarray(n, dtype=np.float64))
    except ValueError:
        raise VRSError("the counts of ones and of draws must have one shape") from None
    if not ((size >= 1) & np.isfinite(size)).all():
        raise VRSError("n, the number of draws, must be at least 1")
    if not ((k >= 0) & (k <= size) & (k == np.floor(k)) & (size == np.floor(size))).all():
        raise VRSError("the number of ones must be a whole number from 0 to the number of draws")
    return k, size
