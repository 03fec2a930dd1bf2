"""Acceptors with a name: how a model would decide that made one particular mistake and no other.

Each is drawn as a line on the calibration plot. `omits_m` forgets the constant M and accepts with min(1, P/Q); a true
coin with that one mistake gives an STVD of 5.68 on the 101 grid (6.29 with the noise of 100 draws), and 11.37 (11.40)
in VRS-simple. The paper observes that Llama computes P/Q alone and measures 6.20 and 11.85; that the two agree without
a free parameter is our observation, not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import VRSError
from .targets import Bernoulli
from .theory import Distribution, acceptance, probabilities_of, vrs_distribution

Acceptor = Callable[[Distribution, Distribution], NDArray[np.float64]]
Curve = NDArray[np.float64]

FAIR = Bernoulli("0.5")


def ideal(P: Distribution, Q: Distribution) -> Curve:
    """A(x) = P(x)/(M Q(x)), shape (K,)."""
    values = acceptance(P, Q).values
    if values is None:
        raise VRSError("a continuous target has no vector of acceptance probabilities; use acceptance(P, Q).A(x)")
    return values


def omits_m(P: Distribution, Q: Distribution) -> Curve:
    """min(1, P(x)/Q(x)): M is forgotten."""
    accept = acceptance(P, Q)
    return np.minimum(1.0, ideal(P, Q) * accept.M)


def constant(P: Distribution, Q: Distribution) -> Curve:
    """½ whatever x is; every constant gives P̃ = Q."""
    return np.full_like(ideal(P, Q), 0.5)


def argmax(P: Distribution, Q: Distribution) -> Curve:
    """1 where P(x) >= Q(x), else 0: a decision without chance."""
    return (probabilities_of(P)[0] >= probabilities_of(Q)[0]).astype(np.float64)


ACCEPTORS: Mapping[str, Acceptor] = MappingProxyType(
    {"ideal": ideal, "omits_m": omits_m, "constant": constant, "argmax": argmax}
)


def vrs_simple_ideal(a: ArrayLike) -> Curve:
    """Ã(1) of VRS-simple by a true coin: the level a itself."""
    return _levels(a)


def vrs_simple_omits_m(a: ArrayLike) -> Curve:
    """Ã(1) of VRS-simple where M is forgotten: P(1)/Q(1) = 2a/(1 + a); shape of a."""
    levels = _levels(a)
    return 2 * levels / (1 + levels)


SIMPLE_ACCEPTORS: Mapping[str, Callable[[ArrayLike], Curve]] = MappingProxyType(
    {"vrs_simple_ideal": vrs_simple_ideal, "vrs_simple_omits_m": vrs_simple_omits_m}
)


def acceptor_curve(name: str, grid: ArrayLike, Q: Bernoulli = FAIR) -> Curve:
    """The share of ones that the acceptor `name` leads to at each p of the grid (VRS-simple: at each level), (grid,).

    Raises:
        VRSError: an unknown acceptor.
    """
    if name in SIMPLE_ACCEPTORS:
        return SIMPLE_ACCEPTORS[name](grid)
    accept = _named(name)
    targets = [Bernoulli(p) for p in _levels(grid).tolist()]
    return np.array([vrs_distribution(P, Q, accept(P, Q))[1] for P in targets])


def acceptance_curve(name: str, grid: ArrayLike, Q: Bernoulli = FAIR) -> Curve:
    """Ã(0), Ã(1) and the rate Σ Q Ã of an acceptor at each p of the grid, (grid, 3).

    Raises:
        VRSError: an unknown acceptor.
    """
    accept = _named(name)
    rows = []
    for p in _levels(grid).tolist():
        curve = accept(Bernoulli(p), Q)
        rows.append([*curve, float(Q.probabilities @ curve)])
    return np.array(rows)


def _named(name: str) -> Acceptor:
    try:
        return ACCEPTORS[name]
    except KeyError:
        known = ", ".join([*ACCEPTORS, *SIMPLE_ACCEPTORS])
        raise VRSError(f"acceptor must be one of {known}, not {name!r}") from None


def _levels(a: ArrayLike) -> NDArray[np.float64]:
    values = np.atleast_1d(np.asarray(a, dtype=np.float64))
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise VRSError("the levels must be a list of at least one number in [0, 1]")
    return values
