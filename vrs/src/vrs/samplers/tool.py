"""Why not a tool? The model writes a Python expression that draws, and an interpreter of our own evaluates it.

The text is parsed and a whitelist of nodes and functions evaluated (tool_call.py); nothing of it is ever handed to
Python's exec or eval. What it shows is whether the model knows how to sample, not that it can: the randomness is a
generator's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..asking import Ways
from ..bits import CONTINUOUS
from ..errors import VRSError
from ..stream import Outcome, Trial
from ..wording import outcome
from .base import Plan, Sampler


@dataclass(frozen=True)
class Tool(Sampler):
    """One call a draw: every draw has an expression of its own, evaluated once."""

    name: ClassVar[str] = "tool"

    def plan(self, target: Any) -> Plan:
        return Plan(calls=1, bits=CONTINUOUS)

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        ways = Ways(self.words.tool(target))

        def trial(rng: np.random.Generator) -> Trial:
            ((source, labels),) = yield (ways.choose(rng),)
            try:
                value = outcome(source, random.Random(int(rng.integers(1 << 62))), labels, target.support)
            except VRSError:
                # it worked when it was read, and fails for some of the generator's numbers
                return Outcome(())
            return Outcome((value,), x=value, bits=ways.bits + CONTINUOUS)

        return trial
