"""What a sampler hands back: the draws, what they were drawn from, and the bill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from .errors import VRSError

ACCEPT, REJECT, MALFORMED = "accept", "reject", "malformed"


@dataclass(frozen=True)
class SampleSet:
    """n draws of one target.

    `values` are the first n accepted draws in index order. `proposals` and `decisions` hold what was proposed at
    index first_index, first_index + 1, … and what became of it, for every proposal that was answered: those beyond the
    n-th accept (`unused_calls` of them were paid for) are counted, and never drawn from.

    `accepted_index` is, for each value, the index of its proposal. `malformed` counts malformed replies,
    `malformed_by_x` splits calls and malformed replies by proposal. `outside_bits` are the fair coin flips that the
    proposals up to the last used one took from a generator outside the model. `flags` say what is amiss, in sentences.
    """

    values: tuple[Any, ...]
    proposals: tuple[Any, ...] = ()
    accepted_index: tuple[int, ...] = ()
    malformed: int = 0
    calls: int = 0
    usage: Mapping[str, int | None] = field(default_factory=dict)  # prompt and completion tokens; None: not told
    outside_bits: float = 0.0
    flags: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    malformed_by_x: tuple[tuple[Any, int, int], ...] = ()  # (x, calls, malformed replies)
    unused_calls: int = 0
    cost: float | None = None  # USD; None where a price is not known
    first_index: int = 0
    next_index: int = 0  # where a further run of the same stream goes on
    n: int = 0  # draws asked for
    sampler: str = ""
    target: str = ""
    p: float | None = None  # P(1), where the target is a Bernoulli
    sources: tuple[str, ...] = ()  # who answered

    @property
    def complete(self) -> bool:
        return len(self.values) >= self.n

    def counts(self) -> Counter[Any]:
        return Counter(self.values)

    def p_hat(self, outcome: Any = 1) -> float:
        """The share of an outcome; NaN of no draws."""
        return self.values.count(outcome) / len(self.values) if self.values else float("nan")

    def pmf(self, support: Sequence[Any]) -> np.ndarray:
        """Shares of the outcomes in a support, (K,)."""
        counts = self.counts()
        if unknown := [v for v in counts if v not in support]:
            raise VRSError(f"the draw {unknown[0]!r} is not in the support {tuple(support)!r}")
        return np.array([counts[x] for x in support], dtype=float) / max(1, len(self.values))

    def interval(self, outcome: Any = 1, level: float = 0.95, method: str = "wilson") -> tuple[float, float]:
        """A confidence interval for the share of an outcome: method wilson, or exact (Clopper–Pearson)."""
        if method not in ("wilson", "exact"):
            raise VRSError(f"an interval's method is wilson or exact, not {method!r}")
        if not 0 < level < 1:
            raise VRSError(f"a confidence level must lie in (0, 1), not {level!r}")
        if not self.values:
            return 0.0, 1.0
        found = stats.binomtest(self.values.count(outcome), len(self.values)).proportion_ci(level, method=method)
        return float(found.low), float(found.high)

    def acceptance(self) -> dict[Any, tuple[int, int]]:
        """For each proposed value: how often it was accepted, of how many well-formed decisions."""
        found: dict[Any, tuple[int, int]] = {}
        for x, decision in zip(self.proposals, self.decisions, strict=True):
            if decision != MALFORMED:
                accepted, asked = found.get(x, (0, 0))
                found[x] = accepted + (decision == ACCEPT), asked + 1
        return found

    @property
    def acceptance_rate(self) -> float:
        """Share of accepted proposals; NaN without one."""
        return self.decisions.count(ACCEPT) / len(self.decisions) if self.decisions else float("nan")

    @property
    def parse_rate(self) -> float:
        return 1 - self.malformed / self.calls if self.calls else float("nan")

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SampleSet:
        """The inverse of to_json, from plain JSON values.

        Raises:
            VRSError: a field that a sample set has not.
        """
        known = {f.name for f in fields(cls)}
        if unknown := [name for name in record if name not in known]:
            raise VRSError(f"a sample set has no field {unknown[0]!r}")
        values = {name: frozen(value) if isinstance(value, list) else value for name, value in record.items()}
        return cls(**values)

    def to_jsonl(self, path: str | Path | None = None) -> str:
        """One line a proposal: index, x, decision, and whether it gave a value. Written to `path` where one is given.

        The first line is the sample set without its proposals.
        """
        head = self.to_json()
        proposals, decisions = head.pop("proposals"), head.pop("decisions")
        lines = [head]
        used = set(self.accepted_index)
        for offset, (x, decision) in enumerate(zip(proposals, decisions, strict=True)):
            index = self.first_index + offset
            lines.append({"index": index, "x": x, "decision": decision, "used": index in used})
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text


def frozen(value: Any) -> Any:
    """JSON's lists as tuples, so that what a ledger gave back equals what was put in."""
    return tuple(frozen(v) for v in value) if isinstance(value, list | tuple) else value
