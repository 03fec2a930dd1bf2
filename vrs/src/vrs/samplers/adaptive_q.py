"""Rejection sampling with Q near P: any VRS with q from the dyadic set k/2^b.

The nearer Q is to P, the nearer M is to 1 and the smaller Q(x̂), the share of proposals on whose answer the model's bias
acts. Q stays a number of few fair bits: at most b a proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..errors import VRSError
from ..scoring import Exactly
from ..stream import Trial
from .base import Exact, Plan, Sampler
from .proposals import Dyadic
from .vrs import VRS, VRSM
from .vrs_hybrid import VRSHybrid

INNER: Mapping[str, type[VRS | VRSHybrid]] = {kind.name: kind for kind in (VRS, VRSM, VRSHybrid)}


@dataclass(frozen=True, kw_only=True)
class AdaptiveQ(Sampler):
    """`inner` (vrs, vrs_m or vrs_hybrid) with another proposal."""

    inner: str = "vrs_hybrid"
    bits: int = 3  # b of k/2^b

    name: ClassVar[str] = "adaptive_q"

    def __post_init__(self) -> None:
        if self.inner not in INNER:
            raise VRSError(f"adaptive_q wraps {', '.join(INNER)}, not {self.inner!r}")

    @cached_property
    def adapted(self) -> VRS | VRSHybrid:
        return INNER[self.inner](self.llm, question=self.question, proposal=Dyadic(self.bits))

    def settings(self) -> Mapping[str, Any]:
        return {"inner": self.inner, **self.adapted.settings()}

    def plan(self, target: Any) -> Plan:
        return self.adapted.plan(target)

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        return self.adapted.trials(target)

    def exactly(self, target: Any) -> Exactly[Exact]:
        return self.adapted.exactly(target)
