"""VRS without a generator (our ablation): the model proposes x itself, by a direct draw of a fair coin.

Its own coin is biased, Q̂(1) = q̂ ≠ ½. The prompt describes Q as the fair coin that it was asked for (`described` is
"fair"), or as what it turned out to be in a pilot ("measured"). 2M calls a draw, no outside bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ..asking import Ways
from ..errors import VRSError
from ..scoring import Exactly, chance, chances
from ..stream import Outcome, Trial
from ..targets import HALF, Bernoulli
from ..theory import acceptance
from .base import Exact, Plan, Sampler, accepted
from .direct import Direct
from .proposals import only_binary

EDGE = 0.01  # the described q̂ stays this far from 0 and 1, where M would be infinite


@dataclass(frozen=True, kw_only=True)
class VRSSelf(Sampler):
    """The model proposes and decides. `measured` is q̂ where it is known; otherwise a pilot of `pilot` draws tells."""

    described: Literal["fair", "measured"] = "fair"
    measured: str | None = None  # q̂ as two decimals
    pilot: int = 200

    name: ClassVar[str] = "vrs_self"

    def __post_init__(self) -> None:
        if self.described not in ("fair", "measured"):
            raise VRSError(f"vrs_self describes Q as fair or measured, not {self.described!r}")

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "described": self.described, "measured": self.measured}

    def prepared(self, targets: Any, seed: int) -> VRSSelf:
        if self.described == "fair" or self.measured is not None:
            return self
        coin = Direct(self.llm, question=self.question, ledger=self.ledger, engine=self.engine)
        return replace(self, measured=shown(coin.sample(HALF, self.pilot, rng=seed).p_hat()))

    def proposal(self, target: Any) -> Bernoulli:
        """Q as the prompt describes it."""
        only_binary(self.name, target)
        return HALF if self.described == "fair" or self.measured is None else Bernoulli(self.measured)

    def flags(self, target: Any) -> tuple[str, ...]:
        return () if self.measured is None else (f"the model's own proposals were 1 with frequency {self.measured}",)

    def plan(self, target: Any) -> Plan:
        M = acceptance(target, self.proposal(target)).M
        return Plan(calls=2 * M, M=M)

    def asks(self, target: Any) -> tuple[Ways, Ways]:
        """The questions about x = 0 and x = 1."""
        Q = self.proposal(target)
        acceptance(target, Q)  # refuses an infinite M
        zero, one = (Ways(self.words.judge(target, Q, x)) for x in (0, 1))
        return zero, one

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        propose, decide = Ways(self.question.ways(HALF)), self.asks(target)

        def trial(rng: np.random.Generator) -> Trial:
            (x,) = yield (propose.choose(rng),)
            (yes,) = yield (decide[x].choose(rng),)
            return Outcome((x,) if yes else (), x=x, bits=propose.bits + decide[x].bits)

        return trial

    def exactly(self, target: Any) -> Exactly[Exact]:
        propose = Ways(self.question.ways(HALF))
        found = yield propose.asks
        q_hat = chance(propose, found)
        decide = replace(self, measured=self.measured or shown(q_hat)).asks(target)
        judged = yield tuple(ask for ways in decide for ask in ways.asks)
        return accepted(
            (0, 1),
            np.array([1 - q_hat, q_hat]),
            chances(decide, judged),
            calls=2,
            bits=propose.bits + decide[0].bits,
            mass=min(s.mass for s in (*found, *judged)),
            flags=(f"the model's own proposals are 1 with probability {q_hat:.4f}",),
        )


def shown(q: float) -> str:
    return f"{min(max(q, EDGE), 1 - EDGE):.2f}"
