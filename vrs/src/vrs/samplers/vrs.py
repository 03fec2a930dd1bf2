"""Verbalized rejection sampling (arXiv 2506.09998): an outside generator proposes, the model decides.

    repeat:  x ~ Q;   the model reads P, Q and x in words and answers T or F;   T keeps x

With M = max_x P(x)/Q(x) a true coin accepts x with A(x) = P(x)/(M·Q(x)), 1/M of all proposals, and the accepted x
follow P. The model accepts with Ã(x), and what is kept follows P̃(x) ∝ Q(x)·Ã(x). Nothing computes A(x) for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..asking import Ways
from ..scoring import Exactly, chances
from ..stream import Outcome, Trial
from ..theory import acceptance
from .base import Exact, Plan, Sampler, accepted
from .proposals import Fair, Proposal, bits, draw


@dataclass(frozen=True, kw_only=True)
class VRS(Sampler):
    """M calls and, with a fair coin as Q, M outside bits a draw: 1.505 in the mean over the paper's grid."""

    proposal: Proposal = field(default_factory=Fair)  # which Q belongs to a target

    name: ClassVar[str] = "vrs"
    with_m: ClassVar[bool] = False

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "proposal": repr(self.proposal)}

    def plan(self, target: Any) -> Plan:
        Q = self.proposal(target)
        M = acceptance(target, Q).M
        return Plan(calls=M, bits=M * bits(Q), M=M)

    def asks(self, target: Any, Q: Any, x: Any) -> Ways:
        return Ways(self.words.judge(target, Q, x, with_m=self.with_m))

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        Q = self.proposal(target)
        acceptance(target, Q)  # refuses an infinite M
        price = bits(Q)
        known: dict[Any, Ways] = {}

        def trial(rng: np.random.Generator) -> Trial:
            x = draw(Q, rng)
            ways = known.get(x) or self.asks(target, Q, x)
            if Q.support is not None:
                known[x] = ways
            (yes,) = yield (ways.choose(rng),)
            return Outcome((x,) if yes else (), x=x, bits=price + ways.bits)

        return trial

    def exactly(self, target: Any) -> Exactly[Exact]:
        Q = self.proposal(target)
        acceptance(target, Q)
        asked = [self.asks(target, Q, x) for x in Q.support]
        found = yield tuple(ask for ways in asked for ask in ways.asks)
        return accepted(
            Q.support,
            Q.probabilities,
            chances(asked, found),
            calls=1,
            bits=bits(Q) + asked[0].bits,
            mass=min(s.mass for s in found),
            flags=(f"Q is {Q!r}",),
        )


@dataclass(frozen=True, kw_only=True)
class VRSM(VRS):
    """VRS-M (Table 2): the prompt also tells the model to compute M = max_x P(x)/Q(x), and to accept with
    probability P(x)/(M·Q(x))."""

    name: ClassVar[str] = "vrs_m"
    with_m: ClassVar[bool] = True
