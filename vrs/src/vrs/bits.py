"""What a draw from an outside generator costs, in fair coin flips."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache

from .errors import VRSError

CONTINUOUS = 53.0  # a real number costs as many fair bits as a double has digits


def knuth_yao(pmf: Iterable[float | Fraction]) -> float:
    """Expected fair bits that the best exact sampler of a finite distribution uses, Σ_x ν(P(x)), ν(p) = Σ_j j·p_j/2^j.

    p_j is digit j of p in binary (Knuth and Yao 1976). A fair coin costs 1, Bern(k/8) at most 7/4, Bern(p) at most 2.

    Raises:
        VRSError: a probability outside [0, 1], or a sum that is not 1 to 1e-9.
    """
    masses = Counter(pmf)
    if any(not 0 <= p <= 1 for p in masses) or abs(float(sum(p * k for p, k in masses.items()) - 1)) > 1e-9:
        raise VRSError("a distribution's probabilities lie in [0, 1] and sum to 1")
    return sum(k * _depth(Fraction(p)) for p, k in masses.items())


@lru_cache(maxsize=4096)
def _depth(p: Fraction) -> float:
    if p == 1:
        return 0.0
    terms, digit = [], 0
    # digits past the 64th weigh less than 1e-17
    while p and digit < 64:
        digit, p = digit + 1, 2 * p
        if p >= 1:
            p -= 1
            terms.append(digit * 0.5**digit)
    return math.fsum(terms)
