"""What POET does to a model, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import PoetError, number, one_of, truth, whole
from .initialization import SCHEMES

VARIANTS = ("block", "full")
PLANS = ("auto", "lie", "weight", "activation")
MERGES = ("polar", "cayley", "series")
STATE_POLICIES = ("reset", "reset_moment", "keep")


@dataclass(frozen=True)
class PoetConfig:
    """`W = R W0 P` with stochastic primitives (POET §3.2).

    `block` is b for both sides, or `(b_out, b_in)` with 0 for a side that stays fixed; for `variant="full"` it may be
    a fraction f of the side's size, as in the paper's FS experiments (b_out = ⌊f·m⌋, b_in = ⌊f·n⌋).
    """

    variant: str = "block"  # block: block-stochastic, POET-BS; full: fully stochastic, POET-FS
    block: int | float | tuple[int, int] = 256
    merge_every: int = 400  # T_m, optimiser steps from one merge to the next
    parameterization: str = "series"  # series (Cayley-Neumann), cayley (exact) or exponential
    series: str = "product"  # product is Eq. 6; truncated is I + 2Q + ... + 2Q^k
    terms: int = 4  # k; 3 is the paper's. Even k is an order closer to a rotation, at one product more
    merge: str = "polar"  # what is merged: the nearest rotation, the exact Cayley, or the series itself (the paper)
    theta_max: float | None = 0.5  # trust region: a layer whose ‖Q‖₂ exceeds it is merged early; null for none
    state_at_merge: str = "reset"  # of the optimizer's state of Q: reset (paper), reset_moment (keep v) or keep
    init: str = "normalized"  # of W0, see initialization.py; keep for pretrained weights
    gain: float = 1.0  # multiplies W0
    targets: tuple[str, ...] | None = None  # last parts of module names; null for every linear that is not excluded
    exclude: tuple[str, ...] = ("lm_head",)
    on_indivisible: str = "error"  # error, ragged (⌈d/b⌉ blocks, the last one smaller) or dense (train it plainly)
    plan: str = "auto"  # how a layer computes, see plans.py
    recompute: bool = False  # the activation plan keeps only its input for backward
    base: str = "dense"  # how W is stored: dense, or int8 (POET-XQ)
    group: int = 256  # numbers that share a scale in int8
    rounding: str = "nearest"  # of int8 at a merge: nearest or stochastic
    master: str = "none"  # fp32_host keeps a float32 W in host memory, read and written at merges only
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("targets", "exclude", "block"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        one_of("variant", self.variant, VARIANTS)
        one_of("parameterization", self.parameterization, ("series", "cayley", "exponential"))
        one_of("series", self.series, ("product", "truncated"))
        one_of("merge", self.merge, MERGES)
        one_of("state_at_merge", self.state_at_merge, STATE_POLICIES)
        one_of("init", self.init, SCHEMES)
        one_of("on_indivisible", self.on_indivisible, ("error", "ragged", "dense"))
        one_of("plan", self.plan, PLANS)
        one_of("base", self.base, ("dense", "int8"))
        one_of("rounding", self.rounding, ("nearest", "stochastic"))
        one_of("master", self.master, ("none", "fp32_host"))
        whole("merge_every", self.merge_every, 1)
        whole("terms", self.terms, 1)
        whole("group", self.group, 1)
        whole("seed", self.seed, 0)
        number("gain", self.gain, above=0)
        truth("recompute", self.recompute)
        if self.terms > 64:
            raise PoetError(f"terms must lie between 1 and 64, not {self.terms}")
        if self.series == "truncated" and self.terms == 1 and self.merge == "cayley":
            raise PoetError("merge=cayley merges another matrix than the truncated series trains: use polar or series")
        if self.theta_max is not None:
            number("theta_max", self.theta_max, above=0, upto=1)
        self._check_block()

    def _check_block(self) -> None:
        sides = self.block if isinstance(self.block, tuple) else (self.block, self.block)
        if len(sides) != 2:
            raise PoetError(f"block must be one size or a pair (b_out, b_in), not {self.block!r}")
        for b in sides:
            if isinstance(b, float):
                if self.variant == "block":
                    raise PoetError(f"block={b} is a fraction, which variant=full takes; variant=block takes a size")
                number("block as a fraction", b, above=0, upto=1)
            elif isinstance(b, bool) or not isinstance(b, int) or b < 0 or b == 1:
                raise PoetError(
                    f"block must be a size of at least 2, 0 for a fixed side, or with variant=full a fraction in "
                    f"(0, 1], not {b!r}"
                )
        if sides == (0, 0):
            raise PoetError("block=0 on both sides leaves nothing to train")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> PoetConfig:
        """From a plain mapping, such as Hydra's.

        Raises:
            PoetError: an unknown name or a value that is not allowed.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(mapping) - known)
        if unknown:
            raise PoetError(f"poet has no setting {unknown[0]!r}: it has {', '.join(sorted(known))}")
        return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
