"""Continuous targets: as they are, with a proposal to draw from, or cut into bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .errors import VRSError
from .targets import Finite, Outcome, count, whole


@dataclass(frozen=True)
class Discretised(Finite):
    """The bin that a continuous distribution falls in; the outcomes are the bins' numbers 1, 2, ….

    `bins` is how many bins of equal width to make between the 0.1 % and 99.9 % points (the outer two are open to the
    outside), or the inner edges in rising order. Edges are rounded to four significant digits, as they are told, and
    the probabilities are those of the rounded edges.

    Args:
        dist: a frozen scipy.stats distribution.

    Raises:
        VRSError: fewer than two bins, edges that do not rise, or no frozen continuous distribution.
    """

    dist: Any
    bins: int | Sequence[float] = 10
    edges: tuple[float, ...] = field(init=False, repr=False)

    default_phrasing = "named"

    def __post_init__(self) -> None:
        _continuous("dist", self.dist)
        if isinstance(self.bins, int):
            whole("bins", self.bins, 2, 10_000)
            inner = np.linspace(self.dist.ppf(0.001), self.dist.ppf(0.999), self.bins + 1)[1:-1]
        else:
            inner = np.asarray(self.bins, dtype=np.float64)
        edges = tuple(float(f"{edge:.4g}") for edge in inner)
        if not edges or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise VRSError(f"bins must have finite edges that rise (to four digits), not {tuple(inner)[:6]!r}")
        cdf = self.dist.cdf([-math.inf, *edges, math.inf])
        object.__setattr__(self, "edges", edges)
        self._set(range(1, len(edges) + 2), np.diff(cdf))

    def __repr__(self) -> str:
        return f"Discretised({family(self.dist)}, edges {', '.join(f'{edge:g}' for edge in self.edges)})"

    def named(self) -> str:
        parts = [f"1: below {self.edges[0]:g}"]
        for number, (low, high) in enumerate(zip(self.edges[:-1], self.edges[1:], strict=True), start=2):
            parts.append(f"{number}: from {low:g} to below {high:g}")
        parts.append(f"{len(self.edges) + 1}: {self.edges[-1]:g} or more")
        return f"the number of the bin that a sample from {family(self.dist)} falls in, the bins being " + ", ".join(
            parts
        )


@dataclass(frozen=True)
class Continuous:
    """A continuous distribution, with the proposal that rejection sampling draws from.

    Args:
        dist: a frozen scipy.stats distribution, the target.
        proposal: another; None where the target serves as a proposal itself or is sampled directly.
        text: how to tell it, instead of the family's name and parameters.

    Raises:
        VRSError: not a frozen continuous distribution.
    """

    dist: Any
    proposal: Any = None
    text: str | None = None

    support = None
    default_phrasing = "named"

    def __post_init__(self) -> None:
        _continuous("dist", self.dist)
        if isinstance(self.proposal, Continuous):
            object.__setattr__(self, "proposal", self.proposal.dist)
        if self.proposal is not None:
            _continuous("proposal", self.proposal)

    def pmf(self, x: Outcome) -> float:
        """The density at x."""
        return float(self.dist.pdf(x))

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        return self.dist.rvs(size=count(n), random_state=rng)

    def __repr__(self) -> str:
        proposed = "" if self.proposal is None else f", proposal {family(self.proposal)}"
        return f"Continuous({self.text or family(self.dist)}{proposed})"

    def describe(self, phrasing: str | None = None, *, labels: tuple[str, ...] | None = None, seed: int = 0) -> str:
        if phrasing not in (None, "named"):
            raise VRSError(f"a continuous target is told by its name (phrasing named), not by {phrasing!r}")
        return self.text or f"a sample, a real number, from {family(self.dist)}"


def family(dist: Any) -> str:
    """A frozen scipy.stats distribution in words, with its parameters to four significant digits."""
    shapes = [s.strip() for s in (dist.dist.shapes or "").split(",") if s.strip()]
    values = dict(zip([*shapes, "loc", "scale"], dist.args, strict=False)) | dist.kwds
    values = {**dict.fromkeys(shapes), "loc": 0, "scale": 1, **values}
    loc, scale = values["loc"], values["scale"]
    name = dist.dist.name
    if name == "norm":
        return f"the normal distribution with mean {loc:.4g} and standard deviation {scale:.4g}"
    if name == "uniform":
        return f"the uniform distribution between {loc:.4g} and {loc + scale:.4g}"
    if name == "expon" and loc == 0:
        return f"the exponential distribution with mean {scale:.4g}"
    told = ", ".join(f"{key} = {value:.4g}" for key, value in values.items())
    return f"the {_FAMILIES.get(name, name)} distribution with {told}"


_FAMILIES = {
    "expon": "exponential",
    "t": "Student t",
    "lognorm": "lognormal",
    "gausshyper": "Gauss hypergeometric",
    "cauchy": "Cauchy",
    "laplace": "Laplace",
    "weibull_min": "Weibull",
    "pareto": "Pareto",
    "chi2": "chi-squared",
    "f": "F",
}


def _continuous(name: str, dist: Any) -> None:
    if not (hasattr(dist, "dist") and hasattr(dist.dist, "_pdf") and isinstance(dist.dist, stats.rv_continuous)):
        raise VRSError(f"{name} must be a frozen continuous distribution of scipy.stats, as norm(0, 1), not {dist!r}")
    if not np.isfinite(dist.ppf([0.25, 0.5, 0.75])).all():
        raise VRSError(f"{name}: {family(dist)} has parameters that scipy does not allow")
