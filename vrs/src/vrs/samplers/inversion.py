"""Ask for the level that gives p, not for p: inversion of the measured curve ĉ(a) = P(1) when Bern(a) is asked.

A pilot measures ĉ on a grid of levels. Where the model tells its probabilities the measurement is exact; where draws
are counted an isotonic fit (pool adjacent violators) makes it monotone. A draw asks one of the two levels between whose
values p lies, each so often that the mean is p. Where p is beyond the range of the curve the nearest end is asked, and
flagged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.optimize import isotonic_regression

from ..asking import Ask, Ways
from ..errors import VRSError
from ..scoring import Exactly, chances, solve
from ..targets import Bernoulli, fraction
from .base import Exact, OneCall, Plan
from .direct import Direct
from .proposals import only_binary

LEVELS = tuple(f"{i / 20:.2f}" for i in range(21))


@dataclass(frozen=True, kw_only=True)
class Inversion(OneCall):
    """One call a draw, after a pilot of `pilot` flips at each level, or of one exact score."""

    levels: tuple[str, ...] = LEVELS
    estimator: Literal["exact", "count"] = "count"
    pilot: int = 50
    curve: tuple[float, ...] | None = None  # ĉ at each level where it is known; otherwise the pilot measures it

    name: ClassVar[str] = "inversion"

    def __post_init__(self) -> None:
        if self.estimator not in ("exact", "count"):
            raise VRSError(f"inversion.estimator is exact or count, not {self.estimator!r}")
        if len(self.levels) < 2 or list(map(float, self.levels)) != sorted(set(map(float, self.levels))):
            raise VRSError(f"inversion.levels must be two or more numbers, rising, not {self.levels}")
        if self.curve is not None and len(self.curve) != len(self.levels):
            raise VRSError(f"inversion.curve has {len(self.curve)} values for {len(self.levels)} levels")

    def settings(self) -> Mapping[str, Any]:
        return {
            **super().settings(),
            "levels": list(self.levels),
            "estimator": self.estimator,
            "pilot": self.pilot if self.estimator == "count" else None,
            "curve": None if self.curve is None else list(self.curve),
        }

    def prepared(self, targets: Sequence[Any], seed: int) -> Inversion:
        if self.curve is not None:
            return self
        if self.estimator == "exact":
            (curve,) = solve(self.llm, [self._measure()], ledger=self.ledger)
        else:
            coin = Direct(self.llm, question=self.question, ledger=self.ledger, engine=self.engine)
            pilot = coin.sample_many([Bernoulli(a) for a in self.levels], self.pilot, rng=seed)
            curve = tuple(samples.p_hat() for samples in pilot)
        # rounded, so that the last digits of another machine's scores do not make other streams
        return replace(self, curve=tuple(round(c, 6) for c in curve))

    def _measure(self) -> Exactly[tuple[float, ...]]:
        ways = [Ways(self.question.ways(Bernoulli(a))) for a in self.levels]
        found = yield tuple(ask for w in ways for ask in w.asks)
        return tuple(chances(ways, found).tolist())

    def mixture(self, p: float) -> tuple[tuple[float, str], ...]:
        """The levels to ask for a chance p of a 1, each with its weight."""
        assert self.curve is not None
        c = np.array(self.curve)
        if self.estimator == "count":
            c = np.asarray(isotonic_regression(c).x)
        # an exact curve need not rise: then the levels are taken in the order of what they give
        order = np.argsort(c, kind="stable")
        c, levels = c[order], [self.levels[i] for i in order]
        above = int(np.searchsorted(c, p))
        if above == len(c) or above == 0 or c[above] == p:
            return ((1.0, levels[min(above, len(c) - 1)]),)
        weight = float((p - c[above - 1]) / (c[above] - c[above - 1]))
        return (1 - weight, levels[above - 1]), (weight, levels[above])

    def ways(self, target: Any) -> Ways:
        mixed: list[tuple[float, Ask]] = []
        for weight, level in self.mixture(float(fraction(target, 1))):
            mixed += [(weight * w, ask) for w, ask in self.question.ways(Bernoulli(level))]
        return Ways(mixed)

    def plan(self, target: Any) -> Plan:
        only_binary(self.name, target)
        return Plan(calls=1, bits=2)

    def flags(self, target: Any) -> tuple[str, ...]:
        low, high = min(self.curve or (0.0,)), max(self.curve or (1.0,))
        if low <= float(fraction(target, 1)) <= high:
            return ()
        p = f"p = {float(fraction(target, 1)):g}"
        return (f"{p} is beyond the range of the model's coin, [{low:.3f}, {high:.3f}]: its end was asked",)

    def exactly(self, target: Any) -> Exactly[Exact]:
        ready = self
        if self.curve is None:
            curve = yield from self._measure()
            ready = replace(self, curve=curve)
        found = yield from super(Inversion, ready).exactly(target)
        return replace(found, flags=ready.flags(target))
