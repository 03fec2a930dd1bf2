"""A calibration curve: what a sampler gives, p̃ or P̃(1), against the p that was asked for (arXiv 2506.09998, Fig. 4, 7).

The paper's grid is p = 0.00, 0.01, …, 1.00 with n = 100 draws each; its score is STVD = Σ_p |p̃ − p|.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from .errors import VRSError
from .samplers.base import Exact, Sampler
from .samples import SampleSet
from .targets import Bernoulli

PAPER_GRID = tuple(f"{i / 100:.2f}" for i in range(101))


@dataclass(frozen=True)
class CalibrationCurve:
    """`p` asked for and `p_hat` given, (grid,) each; `n` draws a level, None where the curve is exact.

    `outcomes` holds what each point was made of: a SampleSet, or an Exact.
    """

    p: np.ndarray
    p_hat: np.ndarray
    n: int | None
    sampler: str
    outcomes: tuple[SampleSet, ...] | tuple[Exact, ...]

    @property
    def errors(self) -> np.ndarray:
        """p̃ − p, (grid,)."""
        return self.p_hat - self.p

    @property
    def stvd(self) -> float:
        """Σ |p̃ − p|; of NaN where a level has no draws."""
        return float(np.abs(self.errors).sum())

    @property
    def calls_per_sample(self) -> float:
        """Model calls for a draw, in the mean over the grid; calls that went unused are counted."""
        if self.n is None:
            return float(np.mean([o.calls for o in self.exact]))
        return sum(s.calls for s in self.samples) / max(1, sum(len(s.values) for s in self.samples))

    @property
    def bits_per_sample(self) -> float:
        """Fair bits from outside the model for a draw, in the mean over the grid."""
        if self.n is None:
            return float(np.mean([o.bits for o in self.exact]))
        return sum(s.outside_bits for s in self.samples) / max(1, sum(len(s.values) for s in self.samples))

    @property
    def samples(self) -> tuple[SampleSet, ...]:
        return tuple(o for o in self.outcomes if isinstance(o, SampleSet))

    @property
    def exact(self) -> tuple[Exact, ...]:
        return tuple(o for o in self.outcomes if isinstance(o, Exact))

    @property
    def parse_rate(self) -> float:
        """Share of well-formed replies; NaN where nothing was asked, or the curve is exact."""
        calls = sum(s.calls for s in self.samples)
        return 1 - sum(s.malformed for s in self.samples) / calls if calls else float("nan")

    def acceptance(self, x: Any = None) -> np.ndarray:
        """Ã(x), the share of proposals x that were accepted, of all without x; (grid,), NaN where none was made."""
        return np.array([_accepted(o, x) for o in self.outcomes])

    def summary(self) -> Mapping[str, Any]:
        """The curve and its bill as plain JSON values; NaN as null."""
        told = [o.flags for o in self.outcomes]
        usage = {kind: _total([s.usage.get(kind) for s in self.samples]) for kind in ("prompt", "completion")}
        return {
            "sampler": self.sampler,
            "n": self.n,
            "p": self.p.tolist(),
            "p_hat": [_plain(v) for v in self.p_hat],
            "stvd": _plain(self.stvd),
            "acceptance": [_plain(v) for v in self.acceptance()],
            "acceptance_0": [_plain(v) for v in self.acceptance(0)],
            "acceptance_1": [_plain(v) for v in self.acceptance(1)],
            "calls": None if self.n is None else sum(s.calls for s in self.samples),
            "unused_calls": None if self.n is None else sum(s.unused_calls for s in self.samples),
            "calls_per_sample": _plain(self.calls_per_sample),
            "bits_per_sample": _plain(self.bits_per_sample),
            "parse_rate": _plain(self.parse_rate),
            # level -> (x, calls, malformed replies), where there were any
            "malformed": {f"{s.p:g}": s.malformed_by_x for s in self.samples if s.malformed},
            "mass": min((o.mass for o in self.exact), default=None),
            "usage": usage if self.n is not None else None,
            "flags": {f"{p:g}": list(flags) for p, flags in zip(self.p, told, strict=True) if flags},
        }


def calibration(
    sampler: Sampler,
    grid: Sequence[Any] = PAPER_GRID,
    n: int = 100,
    *,
    rng: np.random.Generator | int = 0,
    exact: bool = False,
    force: bool = False,
) -> CalibrationCurve:
    """The curve of a sampler over Bernoulli targets; all levels share the waves of calls.

    `exact` scores the answers where the model tells probabilities, and draws nothing; `force` then takes scores of a
    choice mass below 0.01 too.

    Raises:
        VRSError: an empty grid, a level outside [0, 1] or given twice, n below 1, or what the sampler raises.
    """
    levels = [level(p) for p in grid]
    if not levels:
        raise VRSError("the grid of a calibration is empty: give at least one p in [0, 1]")
    if len(set(levels)) < len(levels):
        raise VRSError("the grid of a calibration holds a level twice")
    targets = [Bernoulli(p) for p in levels]
    p = np.array([float(q) for q in levels])
    if exact:
        found = tuple(sampler.exact_many(targets, force=force))
        return CalibrationCurve(p, np.array([e.pmf[1] for e in found]), None, sampler.name, found)
    drawn = tuple(sampler.sample_many(targets, n, rng=rng))
    return CalibrationCurve(p, np.array([s.p_hat() for s in drawn]), n, sampler.name, drawn)


def level(p: Any) -> Decimal:
    """A level as an exact decimal: 0.3 is 3/10, not the double nearest to it."""
    try:
        value = Decimal(str(p))
    except InvalidOperation as error:
        raise VRSError(f"a level of the grid must be a number in [0, 1], not {p!r}") from error
    if not (value.is_finite() and 0 <= value <= 1):
        raise VRSError(f"a level of the grid must lie in [0, 1], not {p!r}")
    return value.normalize() if value else Decimal(0)


def _accepted(outcome: SampleSet | Exact, x: Any) -> float:
    if isinstance(outcome, Exact):
        if x is None:
            return outcome.acceptance
        return float((outcome.curve or {}).get(x, float("nan")))
    table = outcome.acceptance()
    if x is None:
        return outcome.acceptance_rate
    accepted, asked = table.get(x, (0, 0))
    return accepted / asked if asked else float("nan")


def _total(counts: Sequence[int | None]) -> int | None:
    known = [c for c in counts if c is not None]
    return sum(known) if len(known) == len(counts) else None


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
