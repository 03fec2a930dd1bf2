"""How true a coin has to be: the range of its probabilities in which a sampler's result is within a given TV.

A way to sample a Bernoulli target through the model's coin asks it at one level a, and its TV is a function of the one
error e = ĉ(a) − a that falls as e goes to 0 from either side. So "TV <= δ" is an interval of ĉ(a) around a, a window:

    direct                       TV = |e|                              a = p
    VRS, code knows A = 1        TV = β π |e| / (1 + β e)              a = A(x̂)

with x̂ the state that is not always accepted, π = P(the other state) and β = M Q(x̂) (theory.exact_error; at Q = Bern(½)
β = π = P'). Solved for e: −δ/(β(π + δ)) <= e <= δ/(β(π − δ)), without an upper limit where π <= δ.

For more outcomes the coin is asked at a level for each x with A(x) < 1. By Proposition 2 errors of at most
c = δ/(M q̂ (1 + δ)) at every one of them keep TV <= δ, so each level has the window a ± c.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .targets import Bernoulli, Finite
from .theory import SURE, acceptance, bound_prop2

TOLD = 4  # decimals of a level that a prompt tells


@dataclass(frozen=True)
class Window:
    """The coin asked at `level` is to show a 1 with probability `wanted`, and may do so with one in [low, high]."""

    level: float
    wanted: float
    low: float
    high: float

    @classmethod
    def around(cls, wanted: float, below: float, above: float, level: float | None = None) -> Window:
        asked = round(wanted, TOLD) if level is None else level
        return cls(asked, wanted, max(0.0, wanted - below), min(1.0, wanted + above))

    def holds(self, p: float) -> bool:
        return self.low <= p <= self.high


@dataclass(frozen=True)
class Way:
    """A way to sample, with what it needs of the coin and what it costs a draw if the coin is true.

    `windows` is empty where the model is not asked at all; `bits` are fair bits from outside.
    """

    sampler: str
    windows: tuple[Window, ...]
    calls: float
    bits: float
    proposal: Finite | None = None


def direct_way(target: Bernoulli, tv: float) -> Way:
    """One flip at level p."""
    p = float(target.p)
    return Way("direct", (Window.around(p, tv, tv, level=p),), 1.0, 0.0)


def hybrid_way(target: Finite, proposal: Finite, tv: float, bits: float, name: str = "vrs_hybrid") -> Way:
    """Rejection sampling in which code takes the certain decisions and the coin the others.

    `bits` is what a draw of the proposal costs.
    """
    accept = acceptance(target, proposal)
    values, q = np.asarray(accept.values), proposal.probabilities
    # a state that the proposal never gives is never asked about
    unsure = np.flatnonzero((values < SURE) & (q > 0))
    share = accept.M * float(q[unsure].sum())
    if len(values) == 2 and len(unsure) == 1:
        other = float(target.probabilities[1 - unsure[0]])
        above = tv / (share * (other - tv)) if other > tv else math.inf
        windows: tuple[Window, ...] = (Window.around(float(values[unsure[0]]), tv / (share * (other + tv)), above),)
    else:
        c = tv / (share * (1 + tv)) if share else math.inf
        windows = tuple(Window.around(a, c, c) for a in sorted(set(values[unsure].tolist())))
    return Way(name, windows, share, accept.M * bits, proposal)


def way_error(target: Finite, way: Way, coin: Mapping[float, float]) -> float:
    """TV of a way when the coin asked at a level shows a 1 with probability coin[level]."""
    if way.proposal is None:
        return abs(coin[way.windows[0].level] - float(target.probabilities[1]))
    levels = np.asarray(acceptance(target, way.proposal).values)
    q = way.proposal.probabilities
    asked = [1.0 if a >= SURE or q[i] == 0 else coin[round(a, TOLD)] for i, a in enumerate(levels.tolist())]
    weight = q * np.array(asked)
    return 0.5 * float(np.abs(weight / weight.sum() - target.probabilities).sum()) if weight.sum() else 1.0


def way_bound(target: Finite, way: Way, bands: Mapping[float, tuple[float, float]]) -> float:
    """The largest TV of a way when the coin asked at each level lies in that level's band; for several levels
    Proposition 2's bound on it."""
    if len(way.windows) == 1:
        window = way.windows[0]
        return max(way_error(target, way, {window.level: end}) for end in bands[window.level])
    if not way.windows or way.proposal is None:
        return 0.0
    accept = acceptance(target, way.proposal)
    c = max(abs(end - w.wanted) for w in way.windows for end in bands[w.level])
    return bound_prop2(accept.M, c, accept.q_hat)
