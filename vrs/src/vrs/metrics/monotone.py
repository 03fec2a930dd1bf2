"""How far a measured curve rises with p: the share of its variance that a monotone function explains."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from ..errors import VRSError


def monotonicity(p_hat: ArrayLike, weights: ArrayLike | None = None) -> float:
    """1 − Σ w (p̃ − isotonic fit)² / Σ w (p̃ − mean)², in [0, 1], for p̃ in the order of rising p, shape (grid,).

    1 for a curve that never falls (a constant one too), 0 for one that never rises.
    """
    values = np.asarray(p_hat, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise VRSError("the curve must be a list of at least one finite number")
    w = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != values.shape or not (w > 0).all():
        raise VRSError("the weights must be above 0, one for each point of the curve")
    spread = float((w * (values - np.average(values, weights=w)) ** 2).sum())
    if spread <= 1e-15 * w.sum():
        return 1.0
    fit = isotonic_regression(values, weights=w).x
    return max(0.0, 1 - float((w * (values - fit) ** 2).sum()) / spread)
