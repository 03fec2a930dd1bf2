"""Verbalized Sampling (arXiv 2510.01171): one reply names several results with probabilities, and code draws from them.

It asks the model for its knowledge of the distribution instead of for a draw. The randomness is an outside generator's;
what error is left is that of the stated probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..asking import Ways
from ..bits import knuth_yao
from ..errors import VRSError
from ..stream import Outcome, Trial
from .base import Plan, Sampler


@dataclass(frozen=True, kw_only=True)
class Verbalized(Sampler):
    """1/k calls a draw: k results are asked for, and k draws made of one reply."""

    k: int = 5

    name: ClassVar[str] = "verbalized"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise VRSError(f"verbalized.k, the results of one reply, must be at least 1, not {self.k}")

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "k": self.k}

    def plan(self, target: Any) -> Plan:
        return Plan(calls=1 / self.k, bits=2.0, values=self.k)

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        ways = Ways(self.words.verbalized(target, self.k))
        support = target.support

        def trial(rng: np.random.Generator) -> Trial:
            (weights,) = yield (ways.choose(rng),)
            p = np.array(weights) / sum(weights)
            places = rng.choice(len(support), size=self.k, p=p)
            return Outcome(tuple(support[i] for i in places), bits=ways.bits + self.k * knuth_yao(p / p.sum()))

        return trial
