"""The cheapest sampler whose measured coin keeps the error within a bound, with a stated confidence.

Each way to sample needs the coin, asked at certain levels, to lie within certain windows (windows.py). The coin is
flipped at those levels, cheapest way first, and after each round the betting e-process of metrics/sequential.py is
asked about the two ends of the window:

    both ends refuted      the coin lies in the window: the way is certified
    the window refuted     the coin lies outside it: the next way
    neither                more flips, as long as the budget lasts

Looking after every round is allowed, because the e-process is valid at all times. Every level of every way that may be
tried gets an equal part of 1 − confidence, so the chance that any plan is certified wrongly is at most 1 − confidence.

The factory comes last: it is exact for any coin, given that calls are independent, and its price is that of the coin's
bias, which a few flips measure. Draws that measured are never used as samples: `next_draw` says where those may begin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from .coin import Coin
from .errors import VRSError
from .metrics.sequential import confidence_band, log_wealth
from .samplers.factory import cells, expected_bits
from .samplers.proposals import Dyadic
from .samplers.proposals import bits as proposal_bits
from .targets import Finite, binary, uniform_over
from .windows import Way, Window, direct_way, hybrid_way, way_bound

SAMPLERS = ("direct", "vrs_hybrid", "adaptive_q", "inversion", "factory")
FIRST_ROUND, LARGEST_ROUND = 50, 5000  # flips; a later round is half as large as all before it
PILOT_LEVELS, PILOT_FLIPS = 11, 40
FACTORY_FLIPS = 60


@dataclass(frozen=True)
class Measurement:
    """What was seen of the coin at a level: `ones` of `flips`, and the band that holds its probability.

    An exact reading has no flips and a band of no width.
    """

    level: float
    ones: int
    flips: int
    low: float
    high: float


@dataclass(frozen=True)
class Plan:
    """What to run.

    `sampler` is None where the budget did not certify any. `tv` is an upper bound of the result's total variation at
    `confidence`; 0 for the factory. `calls` and `bits` are a draw's, expected. `tried` says what came of each way.
    """

    sampler: str | None
    tv: float
    confidence: float
    calls: float
    bits: float
    proposal: Finite | None
    levels: tuple[float, ...]  # at which the sampler asks the coin
    measured: tuple[Measurement, ...]
    spent: int
    next_draw: int
    tried: tuple[tuple[str, str], ...]

    @property
    def certified(self) -> bool:
        return self.sampler is not None

    @property
    def sentence(self) -> str:
        if self.sampler is None:
            what = "; ".join(f"{name} {outcome}" for name, outcome in self.tried)
            return f"No sampler was certified within {self.spent:,} calls: {what}."
        how = f" with Q = {self.proposal!r}" if self.proposal is not None else ""
        if self.sampler == "inversion":
            how = f" at level {self.levels[0]:g}"
        bound = "exact if calls are independent" if self.sampler == "factory" else f"TV at most {self.tv:.4g}"
        return (
            f"{self.sampler}{how}: {bound} with confidence {self.confidence:g}, {self.calls:.3g} calls and "
            f"{self.bits:.3g} outside bits a draw, after {self.spent:,} calls of measurement."
        )


def certify(
    model: Any,
    target: Any,
    tv: float = 0.05,
    confidence: float = 0.95,
    budget: int = 20_000,
    *,
    samplers: Sequence[str] = SAMPLERS,
    first_draw: int = 0,
) -> Plan:
    """The plan with the fewest calls a draw, among `samplers`, whose result lies within `tv` of the target.

    Args:
        model: a Coin, or a model's client, whose coin is then counted.
        target: Bernoulli, or another finite target (for which vrs_hybrid, adaptive_q and factory exist).
        budget: most calls that the measurement may take; malformed replies may add to them.

    Raises:
        VRSError: tv outside (0, 0.5), a confidence outside (0, 1), a budget below 100, an unknown sampler, or a target
            that has no finite list of probabilities.
    """
    _check(target, tv, confidence, budget, samplers)
    coin = model if hasattr(model, "flip") else Coin(model, estimator="count")
    ways = _ways(target, tv, samplers)
    inverts = "inversion" in samplers and binary(target)
    claims = sum(len(way.windows) for way in ways) + inverts
    meter = _Meter(coin, budget, (1 - confidence) / max(claims, 1), first_draw)
    tried: list[tuple[str, str]] = []

    def made(way: Way | None, error: float) -> Plan:
        levels = tuple(window.level for window in way.windows) if way else ()
        measured = tuple(meter.measurement(level) for level in meter.levels)
        what = way or Way("", (), math.inf, 0.0)
        return Plan(
            way.sampler if way else None,
            error,
            confidence,
            what.calls,
            what.bits,
            what.proposal,
            levels,
            measured,
            meter.spent,
            meter.next_draw,
            tuple(tried),
        )

    waiting = len(ways) + inverts
    reserve = FACTORY_FLIPS if "factory" in samplers else 0
    for way in ways:
        verdict = meter.test(way.windows, (meter.left - reserve) // waiting)
        waiting -= 1
        tried.append((way.sampler, verdict or "certified"))
        if verdict is None:
            return made(way, way_bound(target, way, {w.level: meter.band(w.level) for w in way.windows}))
    if inverts:
        window = _inverted(meter, float(target.probabilities[1]), tv, reserve)
        verdict = meter.test([window], meter.left - reserve) if window else "was left no budget for its pilot"
        tried.append(("inversion", verdict or "certified"))
        if window and verdict is None:
            way = Way("inversion", (window,), 1.0, 0.0)
            return made(way, way_bound(target, way, {window.level: meter.band(window.level)}))
    if "factory" in samplers:
        b = meter.share(0.5, FACTORY_FLIPS)
        tried.append(("factory", "certified" if 0 < b < 1 else "shows one side only"))
        if 0 < b < 1:
            calls = expected_bits(cells(target)) / (b * (1 - b))
            return made(Way("factory", (Window(0.5, 0.5, 0.0, 1.0),), calls, 0.0), 0.0)
    return made(None, math.inf)


def _check(target: Any, tv: float, confidence: float, budget: int, samplers: Sequence[str]) -> None:
    if not 0 < tv < 0.5:
        raise VRSError(f"tv, the error allowed, must be between 0 and 0.5, not {tv!r}")
    if not 0 < confidence < 1:
        raise VRSError(f"confidence must be between 0 and 1, not {confidence!r}")
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 100:
        raise VRSError(f"budget must be a whole number of calls from 100, not {budget!r}")
    if not samplers:
        raise VRSError("certify needs at least one sampler to try")
    if unknown := [name for name in samplers if name not in SAMPLERS]:
        raise VRSError(f"certify knows the samplers {', '.join(SAMPLERS)}, not {unknown[0]!r}")
    if not isinstance(target, Finite):
        raise VRSError(f"certify needs a target with a finite list of probabilities, not {target!r}")


def _ways(target: Any, tv: float, samplers: Sequence[str]) -> list[Way]:
    """The ways that need the coin at levels known beforehand, cheapest first."""
    ways = []
    if "direct" in samplers and binary(target):
        ways.append(direct_way(target, tv))
    if "vrs_hybrid" in samplers:
        fair = uniform_over(target)
        ways.append(hybrid_way(target, fair, tv, proposal_bits(fair)))
    if "adaptive_q" in samplers:
        near = Dyadic(max(3, (len(target.support) - 1).bit_length() + 1))(target)
        ways.append(hybrid_way(target, near, tv, proposal_bits(near), "adaptive_q"))
    return sorted(ways, key=lambda way: (way.calls, way.bits))


def _inverted(meter: _Meter, p: float, tv: float, reserve: int) -> Window | None:
    """The level that gives p, found by a pilot whose flips do not count towards its certificate."""
    levels = np.round(np.linspace(0, 1, PILOT_LEVELS), 4)
    if not meter.exact and meter.left - reserve < PILOT_LEVELS * PILOT_FLIPS + FIRST_ROUND:
        return None
    curve = isotonic_regression(np.array([meter.pilot(level) for level in levels.tolist()])).x
    level = round(float(np.interp(p, curve + 1e-9 * np.arange(len(curve)), levels)), 4)
    return Window.around(p, tv, tv, level=level)


class _Meter:
    """The coin, what was seen of it, and what that cost."""

    def __init__(self, coin: Any, budget: int, doubt: float, first_draw: int) -> None:
        self.coin, self.budget, self.doubt, self.first_draw = coin, budget, doubt, first_draw
        self.exact = getattr(coin, "estimator", None) == "exact"
        self.spent = 0
        self._seen: dict[float, tuple[int, int]] = {}  # level -> (ones, flips) that count
        self._read: dict[float, float] = {}  # level -> exact probability
        self._next: dict[float, int] = {}  # level -> first draw that was not made

    @property
    def left(self) -> int:
        return self.budget - self.spent

    @property
    def levels(self) -> tuple[float, ...]:
        return tuple(self._read if self.exact else self._seen)

    @property
    def next_draw(self) -> int:
        return max(self._next.values(), default=self.first_draw)

    def measurement(self, level: float) -> Measurement:
        return Measurement(level, *self._seen.get(level, (0, 0)), *self.band(level))

    def band(self, level: float) -> tuple[float, float]:
        if self.exact:
            return self._read[level], self._read[level]
        low, high = confidence_band(*self._seen.get(level, (0, 0)), 1 - self.doubt)
        return float(low), float(high)

    def test(self, windows: Sequence[Window], most: int) -> str | None:
        """None where every window is shown to hold, with at most so many calls; else why not, in words."""
        until = self.spent + most
        for window in windows:
            if verdict := self._test_one(window, until):
                return verdict
        return None

    def _test_one(self, window: Window, until: int) -> str | None:
        where = f"ĉ({window.level:.4g}) in [{window.low:.4g}, {window.high:.4g}]"
        if self.exact:
            return None if window.holds(self.read(window.level)) else f"needs {where}, and it is not"
        limit = -math.log(self.doubt)
        while True:
            ones, flips = self._seen.get(window.level, (0, 0))
            share = ones / flips if flips else 0.5
            low_refuted = window.low <= 0 or float(log_wealth(window.low, ones, flips - ones)) >= limit
            high_refuted = window.high >= 1 or float(log_wealth(window.high, ones, flips - ones)) >= limit
            if window.holds(share) and low_refuted and high_refuted and flips:
                return None
            if (share < window.low and low_refuted) or (share > window.high and high_refuted):
                return f"needs {where}, and it is not"
            size = min(max(FIRST_ROUND, flips // 2), LARGEST_ROUND, until - self.spent)
            if size < 1:
                return f"needs {where}, neither shown nor refuted by {flips} flips"
            self._flip(window.level, size)

    def share(self, level: float, flips: int) -> float:
        """The coin's probability at a level, from at least so many flips as far as the budget goes."""
        if self.exact:
            return self.read(level)
        had = self._seen.get(level, (0, 0))[1]
        if (lacking := min(flips - had, self.left)) > 0:
            self._flip(level, lacking)
        ones, had = self._seen.get(level, (0, 0))
        return ones / had if had else 0.0

    def read(self, level: float) -> float:
        if level not in self._read:
            estimate = self.coin.probability(level)
            self.spent += int(estimate.n_calls)
            self._read[level] = float(estimate.p)
        return self._read[level]

    def pilot(self, level: float) -> float:
        """The share of ones of fresh flips, which are forgotten."""
        if self.exact:
            return self.read(level)
        ones, flips = self._fresh(level, PILOT_FLIPS)
        return ones / flips

    def _flip(self, level: float, n: int) -> None:
        ones, flips = self._fresh(level, n)
        had = self._seen.get(level, (0, 0))
        self._seen[level] = had[0] + ones, had[1] + flips

    def _fresh(self, level: float, n: int) -> tuple[int, int]:
        """(ones, flips) of draws at a level that were not made before."""
        found = self.coin.flip(level, n, self._next.get(level, self.first_draw))
        if not found.values:
            raise VRSError(f"the coin gave no flip at level {level:g}: every reply was malformed")
        self._next[level] = found.next_draw
        self.spent += n
        return sum(found.values), len(found.values)
