"""String Seed of Thought (arXiv 2510.21150): the model writes a string that looks random, and lets it decide.

In one reply the model writes the string and maps it to an outcome: a number computed from its characters, in [0, 100),
falls into intervals as wide as the probabilities. With `hashed` the model writes the string alone, and code computes
the number: what is left of the model's bias is that of its strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from ..asking import Ways
from ..errors import VRSError
from ..stream import Outcome, Trial
from .base import OneCall
from .factory import cells

MODULUS = {"sum": 100, "rolling": 10_007}  # a prime for the rolling hash
BASE = 257


@dataclass(frozen=True, kw_only=True)
class SSoT(OneCall):
    """One call a draw, no outside bit. `hashed`: "sum" of the characters' codes modulo 100, or a "rolling" hash."""

    hashed: Literal["sum", "rolling"] | None = None
    length: int = 40  # characters that the model is asked for, with `hashed`

    name: ClassVar[str] = "ssot"

    def __post_init__(self) -> None:
        if self.hashed not in (None, *MODULUS):
            raise VRSError(f"ssot.hashed is sum, rolling or none, not {self.hashed!r}")
        if self.length < 1:
            raise VRSError(f"ssot.length, the characters of a string, must be at least 1, not {self.length}")

    def settings(self) -> Mapping[str, Any]:
        return {**super().settings(), "hashed": self.hashed, "length": self.length}

    def ways(self, target: Any) -> Ways:
        return Ways(self.words.random_string(self.length) if self.hashed else self.words.string_seed(target))

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        if not self.hashed:
            return super().trials(target)
        ways, parts, hashed = self.ways(target), cells(target), self.hashed

        def trial(rng: np.random.Generator) -> Trial:
            (string,) = yield (ways.choose(rng),)
            return Outcome((outcome(parts, number(string, hashed)),), bits=ways.bits)

        return trial


def number(string: str, hashed: str) -> Fraction:
    """A number in (0, 1) from the codes of a string's characters: the middle of one of 100 or 10007 equal parts."""
    modulus = MODULUS[hashed]
    value = 0
    for character in string:
        value = (value + ord(character) if hashed == "sum" else value * BASE + ord(character)) % modulus
    return Fraction(2 * value + 1, 2 * modulus)


def outcome(parts: Sequence[tuple[Any, Fraction, Fraction]], u: Fraction) -> Any:
    """The outcome in whose part of [0, 1) u lies."""
    return next(x for x, start, end in parts if start <= u < end)
