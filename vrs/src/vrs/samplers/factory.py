"""A Bernoulli factory: an exactly unbiased draw of any target from any model coin, however biased it is.

Two flips of one prompt that differ make a fair bit, 01 and 10 being equally likely (von Neumann 1951): no p, no bias
and no wording enters, only that the calls are independent. Fair bits refine a number u in [0, 1) digit by digit until
it is settled in which outcome's part of [0, 1) it lies. For Bern(p) this compares u with p's binary expansion and takes
two bits on average. The cost is 2/(b(1 − b)) calls a draw for a coin of bias b: 8 at b = ½, 22 at b = 0.9.

Peres' method (1992) also uses what von Neumann's throws away, which pairs differed and what the equal ones were, and
approaches the entropy of the coin. It works on blocks of flips, so a proposal is a group of draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np

from ..asking import Ask
from ..errors import VRSError
from ..scoring import Exactly
from ..stream import Outcome, Trial
from ..targets import HALF, fraction
from .base import Exact, Plan, Sampler


@dataclass(frozen=True, kw_only=True)
class Factory(Sampler):
    """Fair bits from one fixed prompt, the first wording of `question` at ½.

    `pairs` are asked at once in a wave: more of them shorten the wait and waste calls.
    """

    method: Literal["von_neumann", "peres"] = "von_neumann"
    pairs: int = 1
    group: int = 8  # draws that share the flips of one proposal, with Peres' method
    block: int = 64  # flips of one block of Peres' method

    name: ClassVar[str] = "factory"

    def __post_init__(self) -> None:
        if self.method not in ("von_neumann", "peres"):
            raise VRSError(f"factory.method is von_neumann or peres, not {self.method!r}")
        if min(self.pairs, self.group) < 1 or self.block < 2:
            raise VRSError("factory.pairs and factory.group must be at least 1, factory.block at least 2")

    def settings(self) -> Mapping[str, Any]:
        own = {"pairs": self.pairs} if self.method == "von_neumann" else {"group": self.group, "block": self.block}
        return {**super().settings(), "method": self.method, **own}

    def plan(self, target: Any) -> Plan:
        """Calls with a fair coin: 4 a bit by von Neumann's pairs, 1 and a little by Peres' blocks."""
        bits = expected_bits(cells(target))
        calls = 4 * bits if self.method == "von_neumann" else bits
        return Plan(calls=calls, values=1 if self.method == "von_neumann" else self.group)

    def flip(self) -> Ask:
        # a pair with a malformed flip is left out: whether it is malformed tells nothing of the order of its flips
        return replace(self.question.ways(HALF)[0][1], required=False)

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        parts = cells(target)
        ask = self.flip()
        asked = 2 * self.pairs if self.method == "von_neumann" else self.block
        extract = von_neumann if self.method == "von_neumann" else peres
        draws = 1 if self.method == "von_neumann" else self.group

        def trial(rng: np.random.Generator) -> Trial:
            bits: list[int] = []
            values = []
            for _ in range(draws):
                low, width = Fraction(0), Fraction(1)
                while (value := settled(parts, low, width)) is None:
                    while not bits:
                        flips = yield (ask,) * asked
                        bits = extract(flips)
                    width /= 2
                    low += width * bits.pop(0)
                values.append(parts[value][0])
            return Outcome(tuple(values))

        return trial

    def exactly(self, target: Any) -> Exactly[Exact]:
        """P itself, for any coin with 0 < b < 1; the scores give the price."""
        parts = cells(target)
        (score,) = yield (self.flip(),)
        b = score[1]
        if not 0 < b < 1:
            raise VRSError(f"the coin of this prompt always answers {round(b)}: no fair bit can be made of it")
        pmf = np.array([float(fraction(target, x)) for x in target.support])
        per_bit = 1 / (b * (1 - b)) if self.method == "von_neumann" else float("nan")
        flags = (f"the coin's bias is {b:.4f}",)
        return Exact(pmf, mass=score.mass, calls=per_bit * expected_bits(parts), flags=flags)


def cells(target: Any) -> list[tuple[Any, Fraction, Fraction]]:
    """(outcome, its part's lower and upper end) for each outcome with P > 0. Bernoulli: u < p gives 1."""
    if target.support is None:
        raise VRSError(f"the factory draws from a finite support, which {target!r} has not: discretise it")
    outcomes = [x for x in reversed(target.support) if fraction(target, x) > 0]
    masses = [fraction(target, x) for x in outcomes]
    total = sum(masses)
    ends = [end / total for end in accumulate(masses)]
    return list(zip(outcomes, [Fraction(0), *ends[:-1]], ends, strict=True))


def settled(parts: Sequence[tuple[Any, Fraction, Fraction]], low: Fraction, width: Fraction) -> int | None:
    """The part that holds all of [low, low + width), or None."""
    for i, (_, start, end) in enumerate(parts):
        if start <= low and low + width <= end:
            return i
    return None


def expected_bits(parts: Sequence[tuple[Any, Fraction, Fraction]]) -> float:
    """Expected number of digits until u's part is settled: Σ_k 2^-k · (unsettled intervals of width 2^-k)."""
    total, unsettled, width = 0.0, [Fraction(0)], Fraction(1)
    for _ in range(64):
        unsettled = [low for low in unsettled if settled(parts, low, width) is None]
        total += float(width) * len(unsettled)
        width /= 2
        unsettled = [start for low in unsettled for start in (low, low + width)]
        if not unsettled:
            break
    return total


def von_neumann(flips: Sequence[int | None]) -> list[int]:
    """The first flip of every pair that differs."""
    return [a for a, b in _pairs(flips) if a != b]


def peres(flips: Sequence[int | None]) -> list[int]:
    """Fair bits of independent flips of one coin: those of the pairs that differ, then, by the same method, those of
    which pairs differed, and those of the values of the equal ones."""
    pairs = list(_pairs(flips))
    if not pairs:
        return []
    return [
        *(a for a, b in pairs if a != b),
        *peres([a ^ b for a, b in pairs]),
        *peres([a for a, b in pairs if a == b]),
    ]


def _pairs(flips: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    for a, b in zip(flips[::2], flips[1::2], strict=False):
        if a is not None and b is not None:
            yield a, b
