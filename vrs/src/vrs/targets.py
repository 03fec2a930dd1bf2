"""Distributions to sample from: what they hold, how likely each outcome is, and how they are told in words.

A target with a finite support has `support` (its outcomes, in order) and `probabilities` (float64, the same order). A
continuous one has support None and a density. `Words` has a support and no numbers: it can be sampled by a model and
never scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from . import phrasing as words
from .decimals import Number, decimal_text, probability, to_decimal
from .errors import VRSError

Outcome = Any  # a whole number or a text; a float for continuous targets

SUM_TOLERANCE = 1e-9
TOLD_PLACES = 4  # decimals told of a probability that is no short decimal
MOST_OUTCOMES = 100_000


@runtime_checkable
class Target(Protocol):
    """What a sampler needs of a distribution."""

    @property
    def support(self) -> tuple[Outcome, ...] | None:
        """The outcomes in order; None for a continuous target."""
        ...

    @property
    def default_phrasing(self) -> str: ...

    def pmf(self, x: Outcome) -> float:
        """The probability of x, or the density at x of a continuous target; 0 outside the support."""
        ...

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        """n independent draws by an ordinary generator, shape (n,)."""
        ...

    def describe(self, phrasing: str | None = None, *, labels: tuple[str, ...] | None = None, seed: int = 0) -> str:
        """A noun phrase without a full stop (see phrasing.py)."""
        ...


class Finite:
    """A distribution over finitely many outcomes.

    Raises:
        VRSError: probabilities that are no numbers in [0, 1] or do not sum to one within 1e-9; outcomes that are
            doubled, or as many as there are no probabilities for.
    """

    support: tuple[Outcome, ...]
    probabilities: NDArray[np.float64]
    default_phrasing = "P01"

    def _set(self, support: Sequence[Outcome], probabilities: Any) -> None:
        name = type(self).__name__
        support = tuple(x.item() if isinstance(x, np.generic) else x for x in support)
        values = np.array(probabilities, dtype=np.float64)
        if values.ndim != 1 or not len(values):
            raise VRSError(f"{name} needs a list of at least one probability")
        if len(support) != len(values):
            raise VRSError(f"{name} has {len(support)} outcomes and {len(values)} probabilities")
        if len({str(x) for x in support}) != len(support):
            raise VRSError(f"{name} has an outcome twice: its outcomes must be written differently")
        outside = ~((values >= 0) & (values <= 1 + SUM_TOLERANCE))
        if outside.any():
            raise VRSError(f"{name}: a probability must be in [0, 1], not {values[outside][0]}")
        total = math.fsum(values)
        if abs(total - 1) > SUM_TOLERANCE:
            raise VRSError(f"{name}: the probabilities sum to {total:.12g}, and must sum to 1 within 1e-9")
        values /= total
        values.setflags(write=False)
        object.__setattr__(self, "support", support)
        object.__setattr__(self, "probabilities", values)

    def pmf(self, x: Outcome) -> float:
        """The probability of x; 0.0 for what is no outcome."""
        return float(self.probabilities[self.support.index(x)]) if x in self.support else 0.0

    def index(self, x: Outcome) -> int:
        """The place of x in the support.

        Raises:
            VRSError: x is no outcome.
        """
        try:
            return self.support.index(x)
        except ValueError:
            raise VRSError(f"{x!r} is no outcome of {self!r}") from None

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        """n independent draws, shape (n,)."""
        edges = np.cumsum(self.probabilities)
        edges[-1] = 1.0
        return np.array(self.support)[np.searchsorted(edges, rng.random(count(n)), side="right")]

    def decimals(self) -> tuple[Decimal, ...]:
        """The probabilities as a prompt tells them: exact where they are short, else rounded."""
        exact = tuple(to_decimal("a probability", float(p)) for p in self.probabilities)
        short = all(d == round(d, TOLD_PLACES) for d in exact) and sum(exact) == 1
        return exact if short else tuple(_told(d) for d in exact)

    def describe(self, phrasing: str | None = None, *, labels: tuple[str, ...] | None = None, seed: int = 0) -> str:
        """The description under `phrasing`; None takes the target's own.

        Raises:
            VRSError: an unknown phrasing or one that does not fit, or too many outcomes to name one by one.
        """
        chosen = words.phrasing(phrasing or self.default_phrasing)
        own = tuple(str(x) for x in self.support)
        labels = words.outcome_labels(self, chosen.name, seed=seed) if labels is None else tuple(labels)
        if len(labels) != len(self.support) or len(set(labels)) != len(labels):
            raise VRSError(
                f"{self!r} has {len(self.support)} outcomes and needs as many distinct labels, not {labels!r}"
            )
        if chosen.name == "named" and (text := self.named()) is not None:
            if labels == own:
                return text
            written = ", ".join(f"{x} is written {label}" for x, label in zip(own, labels, strict=True))
            return f"{text}; {written}"
        if len(self.support) > words.LARGEST_LISTING:
            raise VRSError(
                f"{self!r} has {len(self.support)} outcomes: a prompt names at most {words.LARGEST_LISTING} one by one"
                + ("; phrasing named tells the family instead" if self.named() is not None else "")
            )
        return chosen.say(words.Wording(labels, self.decimals(), seed))

    def named(self) -> str | None:
        """The family and its parameters in words, for phrasing `named`; None where the outcomes are listed."""
        return None


@dataclass(frozen=True)
class Bernoulli(Finite):
    """1 with probability p, 0 otherwise.

    `p` may be a float (read to 12 decimals, so that 1 − 0.7 is told as 0.3), a text, a Decimal or a Fraction; `exact`
    is the decimal that prompts tell, and `p` afterwards the nearest float.
    """

    p: Number
    exact: Decimal = field(init=False, repr=False)

    default_phrasing = "P1"

    def __post_init__(self) -> None:
        exact = probability("p", self.p)
        object.__setattr__(self, "exact", exact)
        object.__setattr__(self, "p", float(exact))
        self._set((0, 1), (float(1 - exact), float(exact)))

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        return (rng.random(count(n)) < self.probabilities[1]).astype(np.int64)

    def decimals(self) -> tuple[Decimal, ...]:
        return 1 - self.exact, self.exact

    def named(self) -> str:
        return f"a sample from the Bernoulli distribution on {{0, 1}} with success probability {self._told}"

    @property
    def _told(self) -> str:
        return decimal_text(self.exact)


@dataclass(frozen=True)
class Categorical(Finite):
    """Outcomes with given probabilities; the outcomes are 0, 1, … unless `outcomes` names them."""

    weights: Sequence[Number]
    outcomes: Sequence[Outcome] | None = None

    def __post_init__(self) -> None:
        exact = [probability("a probability of Categorical", w) for w in self.weights]
        # the fractions 1/3 + 1/3 + 1/3 are no short decimals: such weights stay the floats they are
        values = exact if sum(exact) == 1 else [float(w) for w in self.weights]
        self._set(range(len(values)) if self.outcomes is None else self.outcomes, [float(v) for v in values])
        object.__setattr__(self, "weights", tuple(self.probabilities.tolist()))
        object.__setattr__(self, "outcomes", self.support)

    @classmethod
    def uniform(cls, outcomes: Sequence[Outcome]) -> Categorical:
        """Every outcome equally likely."""
        if not len(outcomes):
            raise VRSError("a uniform distribution needs at least one outcome")
        return cls([1 / len(outcomes)] * len(outcomes), tuple(outcomes))

    def named(self) -> str | None:
        if np.ptp(self.probabilities) > 0:
            return None
        labels = tuple(str(x) for x in self.support)
        return f"a sample from the set {words.set_of(labels)}, each of its members equally likely"


@dataclass(frozen=True)
class Binomial(Finite):
    """How many of `trials` independent trials succeed, each with probability p."""

    trials: int
    p: Number

    default_phrasing = "named"

    def __post_init__(self) -> None:
        whole("trials", self.trials, 1, MOST_OUTCOMES - 1)
        exact = probability("p", self.p)
        object.__setattr__(self, "p", float(exact))
        self._set(range(self.trials + 1), stats.binom.pmf(np.arange(self.trials + 1), self.trials, float(exact)))

    def named(self) -> str:
        told = decimal_text(probability("p", self.p))
        return (
            f"a sample from the binomial distribution with {self.trials} trials and success probability {told}, a "
            f"whole number from 0 to {self.trials}"
        )


@dataclass(frozen=True)
class Poisson(Finite):
    """Poisson with the given rate, cut off where at most `tail` of its mass is left and scaled up to one.

    `tail_mass` is what was cut off.
    """

    rate: float
    tail: float = 1e-6
    tail_mass: float = field(init=False, repr=False)

    default_phrasing = "named"

    def __post_init__(self) -> None:
        _positive("rate", self.rate)
        _set_truncated(self, stats.poisson(self.rate), 0, self.tail)

    def named(self) -> str:
        return (
            f"a sample from the Poisson distribution with rate {self.rate:g}, given that it is at most "
            f"{self.support[-1]}, a whole number from 0 to {self.support[-1]}"
        )


@dataclass(frozen=True)
class Geometric(Finite):
    """The number of the first success in independent trials, from 1; cut off like Poisson."""

    p: Number
    tail: float = 1e-6
    tail_mass: float = field(init=False, repr=False)

    default_phrasing = "named"

    def __post_init__(self) -> None:
        exact = probability("p", self.p)
        if exact == 0:
            raise VRSError("p must be above 0 for Geometric: with p = 0 no trial succeeds")
        object.__setattr__(self, "p", float(exact))
        _set_truncated(self, stats.geom(float(exact)), 1, self.tail)

    def named(self) -> str:
        told = decimal_text(probability("p", self.p))
        return (
            f"the number of the first successful trial when each trial succeeds with probability {told}, given that "
            f"it is at most {self.support[-1]}, a whole number from 1 to {self.support[-1]}"
        )


@dataclass(frozen=True)
class Words:
    """A distribution that is told in words alone: a model can sample it, and nothing can score the sample.

    Raises:
        VRSError: no text, or fewer than two distinct outcomes.
    """

    text: str
    outcomes: Sequence[Outcome]

    default_phrasing = "named"

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise VRSError("Words needs a text that tells the distribution")
        object.__setattr__(self, "outcomes", tuple(self.outcomes))
        if len({str(x) for x in self.outcomes}) != len(self.outcomes) or len(self.outcomes) < 2:
            raise VRSError(f"Words needs two or more distinct outcomes, not {self.outcomes!r}")

    @property
    def support(self) -> tuple[Outcome, ...]:
        return tuple(self.outcomes)

    def pmf(self, x: Outcome) -> float:
        raise VRSError("this target is told in words and has no numeric probabilities: it can be sampled, not scored")

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        raise VRSError("this target is told in words and has no numeric probabilities: only a model can sample it")

    def describe(self, phrasing: str | None = None, *, labels: tuple[str, ...] | None = None, seed: int = 0) -> str:
        if phrasing not in (None, "named"):
            raise VRSError(f"a target in words has no probabilities to tell by phrasing {phrasing!r}; leave it out")
        own = tuple(str(x) for x in self.support)
        if labels is None or tuple(labels) == own:
            return self.text.strip().rstrip(".")
        written = ", ".join(f"{x} is written {label}" for x, label in zip(own, labels, strict=True))
        return f"{self.text.strip().rstrip('.')}; {written}"


HALF = Bernoulli("0.5")


def binary(target: Target) -> bool:
    """Whether the outcomes are 0 and 1."""
    return tuple(target.support or ()) == (0, 1)


def fraction(target: Target, x: Outcome) -> Fraction:
    """P(x) as an exact fraction: of a Bernoulli from its decimals, otherwise from the float."""
    if isinstance(target, Bernoulli):
        return Fraction(target.exact if x == 1 else 1 - target.exact)
    return Fraction(float(target.pmf(x)))


def uniform_over(target: Target) -> Finite:
    """The uniform proposal on the target's support: Bernoulli(0.5) for two outcomes 0 and 1.

    Raises:
        VRSError: a continuous target.
    """
    if target.support is None:
        raise VRSError(f"{target!r} is continuous: no uniform proposal covers it; give one")
    return HALF if binary(target) else Categorical.uniform(target.support)


def simple_target(a: Number, places: int = TOLD_PLACES) -> Bernoulli:
    """The target of VRS-simple for the wanted acceptance a = A(1) in [0, 1] at x = 1 and Q = Bern(0.5).

    p = a / (1 + a) inverts A(1) = p / (1 − p) on p <= 0.5. It is told to `places` decimals (at four the acceptance it
    stands for is off by at most 2e-4).
    """
    exact = probability("a", a)
    return Bernoulli(round(exact / (1 + exact), places))


def _told(value: Decimal) -> Decimal:
    """Four decimals, or two significant digits where those would say that what is possible is not."""
    rounded = round(value, TOLD_PLACES)
    return Decimal(f"{value:.2g}") if value and not rounded else rounded


def _set_truncated(target: Any, dist: Any, first: int, tail: float) -> None:
    if not isinstance(tail, int | float) or isinstance(tail, bool) or not 0 < tail < 0.5:
        raise VRSError(f"tail must be between 0 and 0.5, not {tail!r}")
    last = dist.isf(tail)
    if not last - first < MOST_OUTCOMES:
        raise VRSError(f"{type(target).__name__} would have {last - first + 1:.3g} outcomes; at most {MOST_OUTCOMES:,}")
    outcomes = np.arange(first, int(last) + 1)
    inside = dist.pmf(outcomes)
    object.__setattr__(target, "tail_mass", float(dist.sf(last)))
    target._set(outcomes.tolist(), inside / math.fsum(inside))


def count(n: Any) -> int:
    return whole("n", n, 0, 1 << 40)


def whole(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise VRSError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return int(value)


def _positive(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not (0 < value < math.inf):
        raise VRSError(f"{name} must be a finite number above 0, not {value!r}")
