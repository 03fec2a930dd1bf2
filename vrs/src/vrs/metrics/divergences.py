"""Distances between distributions on one finite support (total variation itself is theory.tv)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..errors import VRSError
from ..theory import Distribution, probabilities_of

Array = NDArray[np.float64]


def hellinger(P: Distribution, Q: Distribution) -> float:
    """√(½ Σ (√P − √Q)²), in [0, 1]."""
    p, q = _pair(P, Q)
    return float(np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()))


def kl(P: Distribution, Q: Distribution) -> float:
    """Σ P ln(P/Q) in nats; infinite where P(x) > 0 = Q(x)."""
    p, q = _pair(P, Q)
    return float(special.rel_entr(p, q).sum())


def kl_from_counts(observed: ArrayLike, P: Distribution) -> float:
    """KL(P̂ ‖ P) in nats of counts, shape (K,), with ½ added to every outcome that P can give.

    Without the ½ an outcome that was not drawn says as much as one that cannot be.
    """
    p, _ = probabilities_of(P)
    k = np.asarray(observed, dtype=np.float64)
    if k.shape != p.shape or not (k >= 0).all():
        raise VRSError(f"the counts must be {len(p)} numbers from 0")
    smoothed = np.where((p > 0) | (k > 0), k + 0.5, 0.0)
    return float(special.rel_entr(smoothed / smoothed.sum(), p).sum())


def js(P: Distribution, Q: Distribution) -> float:
    """Jensen and Shannon's divergence in nats, in [0, ln 2]."""
    p, q = _pair(P, Q)
    middle = (p + q) / 2
    return float((special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum() / 2)


def chi_squared(P: Distribution, Q: Distribution) -> float:
    """Σ (P − Q)²/Q; infinite where P(x) > 0 = Q(x)."""
    p, q = _pair(P, Q)
    seen = (p > 0) | (q > 0)
    with np.errstate(divide="ignore"):
        return float(((p[seen] - q[seen]) ** 2 / q[seen]).sum())


def _pair(P: Distribution, Q: Distribution) -> tuple[Array, Array]:
    p, q = probabilities_of(P)[0], probabilities_of(Q)[0]
    if len(p) != len(q):
        raise VRSError(f"the two distributions have {len(p)} and {len(q)} outcomes; they must have one support")
    return p, q
