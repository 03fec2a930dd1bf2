"""The paper's metric: the total-variation distance summed over a grid of p (arXiv 2506.09998).

    STVD = Σ_i |p̃_i − p_i|,   p̃_i the share of ones among n draws; TV of two Bernoullis is |p̃ − p|.

Lower is better. Even a perfect coin has an STVD above zero (floor.py), so a sampled one is printed with its floor. Sums
over different grids do not compare, not even scaled: a constant ½ has 25.5 on the 101 grid and 5.5, scaled 26.45, on
21.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import VRSError

Array = NDArray[np.float64]


def stvd(p_hat: Any, grid: ArrayLike | None = None) -> float:
    """Σ |p̃ − p|. `p_hat` has shape (grid,); or it is a calibration curve with `p_hat` and `p`, and no grid is given.

    Raises:
        VRSError: an empty grid, shapes that differ, or values outside [0, 1].
    """
    return float(np.abs(bias(p_hat, grid)).sum())


def mean_tv(p_hat: Any, grid: ArrayLike | None = None) -> float:
    """STVD/|grid|, which compares across grids of one spacing rule."""
    return float(np.abs(bias(p_hat, grid)).mean())


def worst_tv(p_hat: Any, grid: ArrayLike | None = None) -> tuple[float, float]:
    """(the largest |p̃ − p|, the p where it is; the first of equals)."""
    error = np.abs(bias(p_hat, grid))
    _, p = curve(p_hat, grid)
    at = int(np.argmax(error))
    return float(error[at]), float(p[at])


def bias(p_hat: Any, grid: ArrayLike | None = None) -> Array:
    """The signed bias p̃ − p at each p, shape (grid,)."""
    measured, p = curve(p_hat, grid)
    return measured - p


def unbiased_squared(p_hat: Any, grid: ArrayLike | None = None, n: ArrayLike = 100) -> float:
    """Σ [(p̃ − p)² − p̃(1 − p̃)/(n − 1)], whose mean is Σ (E p̃ − p)²: zero for a perfect coin, for every n >= 2.

    `n` is the number of draws, one for all or of shape (grid,).
    """
    measured, p = curve(p_hat, grid)
    draws = counts(n, len(p), least=2)
    return float(((measured - p) ** 2 - measured * (1 - measured) / (draws - 1)).sum())


def curve(p_hat: Any, grid: ArrayLike | None = None) -> tuple[Array, Array]:
    """p̃ and p as arrays of one shape (grid,); p̃ may be NaN nowhere."""
    if grid is None:
        if not hasattr(p_hat, "p_hat") or not hasattr(p_hat, "p"):
            raise VRSError("give the measured shares and their grid of p, or a calibration curve")
        p_hat, grid = p_hat.p_hat, p_hat.p
    measured, p = np.asarray(p_hat, dtype=np.float64), np.asarray(grid, dtype=np.float64)
    if p.ndim != 1 or not len(p):
        raise VRSError("the grid of p is empty: give at least one p in [0, 1]")
    if measured.shape != p.shape:
        raise VRSError(f"there are {measured.shape} measured shares for a grid of {p.shape} values of p")
    for name, values in (("p", p), ("a measured share", measured)):
        wrong = ~((values >= 0) & (values <= 1))
        if wrong.any():
            raise VRSError(f"{name} must be in [0, 1], not {values[wrong][0]}")
    return measured, p


def counts(n: ArrayLike, size: int, *, least: int = 1) -> Array:
    """Numbers of draws as an array of shape (size,).

    Raises:
        VRSError: not whole, or below `least`.
    """
    try:
        draws = np.broadcast_to(np.asarray(n, dtype=np.float64), (size,))
    except ValueError:
        raise VRSError(f"n must be one number of draws, or one for each of the {size} values of p") from None
    wrong = ~((draws >= least) & (draws == np.floor(draws)) & np.isfinite(draws))
    if wrong.any():
        raise VRSError(f"n, the number of draws, must be a whole number from {least}, not {draws[wrong][0]}")
    return draws
