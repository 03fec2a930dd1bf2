"""Rejection sampling with the model as nothing but the coin.

Code draws x ~ Q and computes A(x) = P(x)/(M·Q(x)). Where A(x) = 1 it accepts without a question, which makes the
assumption of Prop. 2 (arXiv 2506.09998) true; otherwise the model draws from Bern(A(x)) by direct sampling.
With Q a fair coin and P' = max(p, 1 − p), an error e of the model's coin becomes

    TV = P'²·|e| / (1 + P'·e),      and the calls are M·Q(x̂) = P' a draw, fewer than direct sampling's one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..asking import Ways
from ..scoring import Exactly, chances
from ..stream import Outcome, Trial
from ..targets import Bernoulli
from ..theory import SURE, acceptance
from .base import Exact, Plan, Sampler, accepted
from .proposals import Fair, Proposal, bits, draw


@dataclass(frozen=True, kw_only=True)
class VRSHybrid(Sampler):
    """The model's direct coin at level A(x), inside a loop that code runs."""

    proposal: Proposal = field(default_factory=Fair)

    name: ClassVar[str] = "vrs_hybrid"

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "proposal": repr(self.proposal)}

    def plan(self, target: Any) -> Plan:
        Q = self.proposal(target)
        M = acceptance(target, Q).M
        if Q.support is None:
            return Plan(calls=M, bits=M * bits(Q), M=M)
        _, shares, coins = self._coins(target, Q)
        asked = [(q, coin.bits) for q, coin in zip(shares, coins, strict=True) if coin]
        return Plan(calls=M * sum(q for q, _ in asked), bits=M * (bits(Q) + sum(q * b for q, b in asked)), M=M)

    def coin(self, level: float) -> Ways:
        """The question for Bern(A(x)), A to four decimals."""
        return Ways(self.question.ways(Bernoulli(f"{level:.4f}")))

    def _coins(self, target: Any, Q: Any) -> tuple[tuple[Any, ...], np.ndarray, list[Ways | None]]:
        """(x, Q(x), question for A(x)) of each state; none where code accepts. A level of 0 is asked too."""
        levels = acceptance(target, Q).values
        assert levels is not None
        return Q.support, Q.probabilities, [None if a >= SURE else self.coin(a) for a in levels.tolist()]

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        Q = self.proposal(target)
        accept = acceptance(target, Q)
        price = bits(Q)
        coins: dict[Any, Ways] = {}

        def trial(rng: np.random.Generator) -> Trial:
            x = draw(Q, rng)
            level = accept.A(x)
            if level >= SURE:
                return Outcome((x,), x=x, bits=price)
            coin = coins.get(x) or self.coin(level).about(x)
            if Q.support is not None:
                coins[x] = coin
            (heads,) = yield (coin.choose(rng),)
            return Outcome((x,) if heads else (), x=x, bits=price + coin.bits)

        return trial

    def exactly(self, target: Any) -> Exactly[Exact]:
        Q = self.proposal(target)
        support, shares, coins = self._coins(target, Q)
        unsure = np.array([coin is not None for coin in coins])
        asked = [coin for coin in coins if coin is not None]
        found = yield tuple(ask for ways in asked for ask in ways.asks)
        curve = np.ones(len(coins))
        curve[unsure] = chances(asked, found)
        return accepted(
            support,
            shares,
            curve,
            calls=float(shares[unsure].sum()),
            bits=bits(Q) + float(shares[unsure] @ [ways.bits for ways in asked]),
            mass=min((s.mass for s in found), default=1.0),
            flags=(f"Q is {Q!r}",),
        )
