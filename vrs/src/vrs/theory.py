"""Rejection sampling with a wrong acceptance probability: how far the result is from the target.

Notation (arXiv 2506.09998). P target, Q proposal, M = max_x P(x)/Q(x), A(x) = P(x)/(M Q(x)). The acceptor
accepts with Ã(x) = A(x) + e(x), |e(x)| <= c, and the accepted values have P̃(x) ∝ Q(x) Ã(x).

**Exact error** (ours). Z = Σ Q Ã = 1/M + ē with ē = Σ Q e, since Σ Q A = 1/M. So

    P̃_i − P_i = (P_i/M + Q_i e_i)/(1/M + ē) − P_i = M (Q_i e_i − P_i ē) / (1 + M ē),
    TV = ½ Σ_i M |Q_i e_i − P_i ē| / (1 + M ē).

For two outcomes Q_1 e_1 − P_1 ē = P_0 Q_1 e_1 − P_1 Q_0 e_0, and the other term is its negative:

    TV = M |P_0 Q_1 e_1 − P_1 Q_0 e_0| / (1 + M (Q_1 e_1 + Q_0 e_0)).

Hence **scale invariance**: Ã = κA is e = (κ − 1) A with Q_i A_i = P_i/M, so that Q_i e_i = P_i ē and TV = 0.

**Proposition 1** on any state space. With B a set where P̃ >= P, TV = P̃(B) − P(B) = M (Σ_B Q e − P(B) ē)/(1 + M ē).
The numerator is M ((1 − P(B)) Σ_B Q e − P(B) Σ_{B'} Q e) <= M c (1 − P(B)) Q(B) + M c P(B) Q(B') <= M c, since both
products are at most the smaller mass of each and (1−s)t + s(1−t) <= 1; and 1 + M ē >= 1 − M c. So
TV <= M c/(1 − M c) where M c < 1. Sums may be integrals: nothing used that there are two outcomes.

**Proposition 2** on any state space. If e = 0 where A = 1, both Σ Q|e| and |ē| are at most c Q(x̂), where Q(x̂) stands
for Q{x : A(x) < 1}; the same lines give TV <= M c Q(x̂)/(1 − M c Q(x̂)).

**Corollary 1**. Direct sampling with the error c has TV c. The bound of Proposition 2 is below c iff
M Q(x̂) < 1 − M Q(x̂) c, that is Q(x̂) < 1/(M(1 + c)). For a Bernoulli target and Q = Bern(½), with
P' = max(p, 1 − p): M = 2P', M Q(x̂) = P', and the condition is c < (1 − P')/P'.

**Fair proposal, e = 0 where A = 1** (ours). The exact error with M = 2P', Q = ½ and the one error e at x̂ is

    TV = P'² |e| / (1 + P' e).

Ã(x̂) >= 0 says e >= −(1 − P')/P', so 1 + P' e >= P' and TV/|e| <= P' <= 1: with a fair proposal VRS never loses to
direct sampling with the same |e|. Were e not so bounded, a negative e would still gain iff P'² < 1 − P'|e|, that is
|e| < (1 − P'²)/P': wider than Corollary 1 by the factor 1 + P'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .continuous import Continuous
from .density_ratio import largest_ratio
from .errors import VRSError
from .targets import Finite, Outcome, Target

Distribution = Target | Sequence[float] | NDArray[np.float64]

SUM_TOLERANCE = 1e-9
SURE = 1 - 1e-12  # an acceptance from here on is certain


@dataclass(frozen=True)
class Acceptance:
    """The exact acceptor of rejection sampling from P with proposals from Q.

    `values` is A in the order of the support, shape (K,); None for continuous targets, where A(x) evaluates it.
    """

    M: float
    support: tuple[Outcome, ...] | None
    values: NDArray[np.float64] | None
    q_hat: float  # Q{x : A(x) < 1}; 1.0 for continuous targets
    log_ratio: Callable[[Any], Any] | None = field(default=None, repr=False)

    @property
    def rate(self) -> float:
        """α = Σ Q(x) A(x) = 1/M: the share of proposals that is accepted."""
        return 1 / self.M

    def A(self, x: Outcome) -> float:
        """The probability to accept x.

        Raises:
            VRSError: x is no outcome of a finite target.
        """
        if self.values is None:
            assert self.log_ratio is not None
            log_ratio = float(self.log_ratio(x))
            return 0.0 if math.isnan(log_ratio) else min(1.0, math.exp(min(0.0, log_ratio - math.log(self.M))))
        assert self.support is not None
        try:
            return float(self.values[self.support.index(x)])
        except ValueError:
            raise VRSError(f"{x!r} is no outcome of the target: its outcomes are {self.support!r}") from None


def acceptance(P: Distribution, Q: Distribution) -> Acceptance:
    """M, A and the acceptance rate of the pair. P and Q are targets or vectors of probabilities, shape (K,).

    Raises:
        VRSError: different supports, or P(x) > 0 where Q(x) = 0 (M would be infinite).
    """
    if isinstance(P, Continuous) or isinstance(Q, Continuous):
        if not (isinstance(P, Continuous) and isinstance(Q, Continuous)):
            raise VRSError("a continuous target needs a continuous proposal, and a finite one a finite proposal")
        log_m, log_ratio = largest_ratio(P.dist, Q.dist)
        return Acceptance(math.exp(log_m), None, None, 1.0, log_ratio)
    p, q, support = _pair(P, Q)
    open_ = q > 0
    if (p[~open_] > 0).any():
        x = support[int(np.argmax((p > 0) & ~open_))]
        raise VRSError(
            f"the proposal never gives {x!r}, which the target gives with probability {p[~open_].max():g}: M is "
            "infinite and rejection sampling cannot work"
        )
    ratio = np.divide(p, q, out=np.zeros_like(p), where=open_)
    M = float(ratio.max())
    values = ratio / M
    values.setflags(write=False)
    return Acceptance(M, support, values, float(q[values < 1].sum()))


def vrs_distribution(P: Distribution, Q: Distribution, A_tilde: ArrayLike) -> NDArray[np.float64]:
    """P̃ ∝ Q Ã, shape (K,): the law of the accepted values. P gives the support and is not otherwise used.

    Raises:
        VRSError: Ã outside [0, 1], of another length, or such that nothing is ever accepted.
    """
    _, q, _ = _pair(P, Q)
    a = np.asarray(A_tilde, dtype=np.float64)
    if a.shape != q.shape:
        raise VRSError(f"A_tilde must have shape {q.shape}, not {a.shape}")
    if not ((a >= 0) & (a <= 1)).all():
        raise VRSError(f"A_tilde must lie in [0, 1], not {a[~((a >= 0) & (a <= 1))][0]}")
    weight = q * a
    total = weight.sum()
    if total <= 0:
        raise VRSError("this acceptor never accepts a value that the proposal gives: it has no distribution")
    return weight / total


def tv(P: Distribution, Q: Distribution) -> float:
    """Total variation ½ Σ |P − Q| of two distributions on one finite support."""
    p, q, _ = _pair(P, Q)
    return 0.5 * float(np.abs(p - q).sum())


def exact_error(P: Distribution, Q: Distribution, e: ArrayLike) -> float:
    """TV(P̃, P) for the acceptance errors e, shape (K,), in the order of the support.

    Raises:
        VRSError: A + e outside [0, 1], or a total acceptance of zero.
    """
    p, q, _ = _pair(P, Q)
    accept = acceptance(P, Q)
    error = np.asarray(e, dtype=np.float64)
    if error.shape != p.shape:
        raise VRSError(f"e must have shape {p.shape}, not {error.shape}")
    outside = np.asarray(accept.values) + error
    if not ((outside >= -1e-12) & (outside <= 1 + 1e-12)).all():
        raise VRSError("A + e must lie in [0, 1]")
    mean = float(q @ error)
    scale = 1 + accept.M * mean
    if scale <= 1e-15:
        raise VRSError("these errors leave nothing accepted")
    return 0.5 * accept.M * float(np.abs(q * error - p * mean).sum()) / scale


def bound_prop1(M: float, c: float) -> float:
    """Proposition 1: TV(P̃, P) <= Mc/(1 − Mc); infinite where Mc >= 1."""
    return bound_prop2(M, c, 1.0)


def bound_prop2(M: float, c: float, q_hat: float) -> float:
    """Proposition 2: TV <= M c q̂/(1 − M c q̂) with q̂ = Q{A < 1} and e = 0 elsewhere; infinite where M c q̂ >= 1.

    Raises:
        VRSError: M below 1, c negative, or q_hat outside [0, 1].
    """
    if not 1 - SUM_TOLERANCE <= M < math.inf:
        raise VRSError(f"M must be at least 1 and finite, not {M!r}")
    if not c >= 0:
        raise VRSError(f"c must be at least 0, not {c!r}")
    if not 0 <= q_hat <= 1 + SUM_TOLERANCE:
        raise VRSError(f"q_hat must be in [0, 1], not {q_hat!r}")
    share = M * c * q_hat
    return share / (1 - share) if share < 1 else math.inf


def improves(P: Distribution, Q: Distribution, c: float) -> bool:
    """Corollary 1: whether the bound of VRS with e = 0 where A = 1 is below c, the error of direct sampling."""
    if not c > 0:
        raise VRSError(f"c must be above 0, not {c!r}: without an error there is nothing to improve")
    accept = acceptance(P, Q)
    return bound_prop2(accept.M, c, accept.q_hat) < c


def c_max(p: ArrayLike) -> NDArray[np.float64]:
    """Corollary 1 at Q = Bern(½): the error below which VRS surely gains, (1 − P')/P'; shape of p."""
    larger = _larger(p)
    return (1 - larger) / larger


def c_max_negative(p: ArrayLike) -> NDArray[np.float64]:
    """The exact limit for a negative error at Q = Bern(½), (1 − P'²)/P'; positive errors have none. Shape of p."""
    larger = _larger(p)
    return (1 - larger**2) / larger


def fair_error(p: ArrayLike, e: ArrayLike) -> NDArray[np.float64]:
    """TV = P'²|e|/(1 + P'e) at Q = Bern(½) with the error e at x̂ and none where A = 1; p and e broadcast."""
    larger, error = np.broadcast_arrays(_larger(p), np.asarray(e, dtype=np.float64))
    return larger**2 * np.abs(error) / (1 + larger * error)


def fair_sensitivity(p: ArrayLike) -> NDArray[np.float64]:
    """dTV/d|e| at e = 0, Q = Bern(½): P'². Its mean over the 101 grid is 0.587."""
    return _larger(p) ** 2


def expected_proposals(p: ArrayLike, n: int) -> float:
    """Proposals for n accepted values at each p with Q = Bern(½): n Σ 2P'; 15 200 for the 101 grid and n = 100."""
    return float(n * 2 * _larger(p).sum())


def probabilities_of(P: Distribution) -> tuple[NDArray[np.float64], tuple[Outcome, ...]]:
    """The vector of probabilities, shape (K,), and the support of a finite target or of a plain vector.

    Raises:
        VRSError: a target without numeric probabilities, or a vector that does not sum to one within 1e-9.
    """
    if isinstance(P, Finite):
        return P.probabilities, P.support
    if isinstance(P, Target):
        raise VRSError(f"{P!r} has no finite list of probabilities")
    values = np.asarray(P, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise VRSError(f"a distribution must be a target or a vector of probabilities, not of shape {values.shape}")
    if not ((values >= 0) & (values <= 1 + SUM_TOLERANCE)).all():
        raise VRSError("a vector of probabilities must lie in [0, 1]")
    if abs(math.fsum(values) - 1) > SUM_TOLERANCE:
        raise VRSError(f"the probabilities sum to {math.fsum(values):.12g}, and must sum to 1 within 1e-9")
    return values, tuple(range(len(values)))


def _pair(P: Distribution, Q: Distribution) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[Outcome, ...]]:
    p, support = probabilities_of(P)
    q, other = probabilities_of(Q)
    if len(p) != len(q) or (isinstance(P, Finite) and isinstance(Q, Finite) and support != other):
        raise VRSError(f"target and proposal must have one support: {support!r} and {other!r} differ")
    return p, q, support if isinstance(P, Finite) else other


def _larger(p: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise VRSError("p must be in [0, 1]")
    return np.maximum(values, 1 - values)
