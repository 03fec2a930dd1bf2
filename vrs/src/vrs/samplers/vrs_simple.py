"""VRS-simple (arXiv 2506.09998, Table 2): the accept decision alone, without a generator.

x is always 1 and Q a fair coin. The target is a = A(1), the probability with which a true coin accepts, and the prompt
gets p = a/(1 + a), the inverse of A(1) = p/(1 − p) for p <= 1/2. A draw is 1 where the model accepts: n calls a level,
none of them rejected, scored as Σ_a |Ã(1) − a|.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..asking import Ways
from ..targets import HALF, fraction, simple_target
from .base import OneCall
from .proposals import only_binary


@dataclass(frozen=True)
class VRSSimple(OneCall):
    """One call a draw, no outside bit."""

    name: ClassVar[str] = "vrs_simple"
    with_m: ClassVar[bool] = False

    def ways(self, target: Any) -> Ways:
        only_binary(self.name, target)
        return Ways(self.words.judge(simple_target(fraction(target, 1)), HALF, 1, with_m=self.with_m))


@dataclass(frozen=True)
class VRSSimpleM(VRSSimple):
    """VRS-simple-M: with the instruction to compute M and A(x)."""

    name: ClassVar[str] = "vrs_simple_m"
    with_m: ClassVar[bool] = True
