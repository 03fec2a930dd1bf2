"""Many draws in one reply. They are cheap and depend on one another: a model that has just written 1, 1, 1 writes 0.

The dependence is told with the draws: lag-1 autocorrelation and runs test (metrics/dependence.py) of all draws in their
order, in which the ends of replies, one draw in `length`, weigh little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..asking import Ways
from ..errors import VRSError
from ..metrics.dependence import dependence
from ..samples import SampleSet
from ..stream import Outcome, Trial
from .base import Plan, Sampler


@dataclass(frozen=True, kw_only=True)
class Sequence(Sampler):
    """1/length calls a draw, no outside bit."""

    length: int = 100  # draws of one reply

    name: ClassVar[str] = "sequence"

    def __post_init__(self) -> None:
        if self.length < 2:
            raise VRSError(f"sequence.length, the draws of one reply, must be at least 2, not {self.length}")

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "length": self.length}

    def plan(self, target: Any) -> Plan:
        ways = Ways(self.words.sequence(target, self.length))
        return Plan(calls=1 / self.length, bits=ways.bits / self.length, values=self.length)

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        ways = Ways(self.words.sequence(target, self.length))

        def trial(rng: np.random.Generator) -> Trial:
            (values,) = yield (ways.choose(rng),)
            return Outcome(tuple(values), bits=ways.bits)

        return trial

    def remarks(self, samples: SampleSet) -> tuple[str, ...]:
        if len(samples.values) < 2:
            return ()
        found = dependence(above_median(samples.values))
        told = (
            f"draws of one reply may depend on one another: lag-1 autocorrelation {found.lag1:.3f}, {found.runs} runs "
            f"where {found.expected:.1f} are expected of independent draws (p = {found.p_value:.3g})"
        )
        return (told,)


def above_median(values: tuple[Any, ...]) -> np.ndarray:
    """1 where a draw lies above the median of all, else 0, (n,); of the outcomes 0 and 1 the draws themselves."""
    order = {x: i for i, x in enumerate(sorted(set(values), key=lambda x: (isinstance(x, str), x)))}
    ranks = np.array([order[x] for x in values])
    above = (ranks > np.median(ranks)).astype(int)
    return above if above.any() else (ranks >= np.median(ranks)).astype(int)
