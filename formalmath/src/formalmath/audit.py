"""`formalmath audit`: what is wrong with the statements of a data set, with reasons, and the ceiling that this leaves.

The ceiling is the share of problems that are neither refuted nor vacuous and that the official checker could accept
at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import StatementError
from .lean.lint import Finding, lint
from .metrics.intervals import wilson
from .pipeline.disprove import Disproof, disprove
from .problems import Problem

UNSOLVABLE = ("target-not-a-theorem", "sorry-in-preamble")


@dataclass(frozen=True)
class Audited:
    """One problem: its findings and what the disprover says."""

    id: str
    findings: tuple[Finding, ...]
    disproof: Disproof
    phantoms: tuple[str, ...] = ()
    parsed: bool = True
    name_agrees: bool | None = None  # with the place where Lean put the declared name
    binders_agree: bool | None = None  # with Lean's own context

    @property
    def unsolvable(self) -> str:
        """Why the official checker can accept no proof, or nothing."""
        return next((f.message for f in self.findings if f.id in UNSOLVABLE), "")


@dataclass(frozen=True)
class Report:
    """An audit of a data set."""

    problems: list[Audited] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(a.disproof.outcome == outcome for a in self.problems)

    @property
    def phantom_statements(self) -> list[Audited]:
        return [a for a in self.problems if a.phantoms]

    def ceiling(self) -> dict[str, Any]:
        n = len(self.problems)
        reachable = sum(not a.unsolvable and a.disproof.outcome not in ("refuted", "vacuous") for a in self.problems)
        low, high = wilson(reachable, n)
        official = sum(not a.unsolvable for a in self.problems)
        return {
            "reachable": reachable,
            "of": n,
            "share": reachable / n if n else 0.0,
            "interval": [low, high],
            "official checker": official,
        }

    def summary(self) -> dict[str, Any]:
        lints: dict[str, int] = {}
        for a in self.problems:
            for f in {f.id for f in a.findings}:
                lints[f] = lints.get(f, 0) + 1
        inside = sum(a.disproof.outcome != "outside" for a in self.problems)
        return {
            "statements": len(self.problems),
            "parsed": sum(a.parsed for a in self.problems),
            "name positions equal Lean's": sum(a.name_agrees is True for a in self.problems),
            "binder lists equal Lean's": sum(a.binders_agree is True for a in self.problems),
            "phantom variables": len(self.phantom_statements),
            "in the fragment": inside,
            "refuted": self.count("refuted"),
            "vacuous": self.count("vacuous"),
            "unsolvable": sum(bool(a.unsolvable) for a in self.problems),
            "lints": lints,
            "ceiling": self.ceiling(),
            "authority": "structural (lints), fragment (refuted, vacuous)",
        }

    def lines(self) -> Iterator[str]:
        for a in self.problems:
            if a.phantoms:
                yield f"{a.id}: Lean invented the variable{'s' if len(a.phantoms) > 1 else ''} {', '.join(a.phantoms)}"
            if a.unsolvable:
                yield f"{a.id}: unsolvable under the official checker: {a.unsolvable}"
            if a.disproof.outcome == "refuted":
                values = ", ".join(f"{x} = {v}" for x, v in a.disproof.values.items()) or "no variables"
                yield f"{a.id}: false at {values} (fragment; found by {a.disproof.detail})"
            if a.disproof.outcome == "vacuous":
                yield f"{a.id}: the hypotheses contradict one another (fragment; {a.disproof.detail})"

    def to_json(self) -> dict[str, Any]:
        return {"summary": self.summary(), "problems": [asdict(a) for a in self.problems]}


def audit_one(problem: Problem, budget: float, seed: int) -> Audited:
    try:
        st = problem.statement
    except StatementError as error:
        return Audited(problem.id, (), Disproof("outside", "structural", str(error)), parsed=False)
    goal = problem.goal
    phantoms: tuple[str, ...] = ()
    agree = binders = None
    if goal is not None:
        phantoms = tuple(x for x in goal.names if x not in st.binder_names and "✝" not in x)
        binders = goal.names == st.binder_names
    if problem.warned_at is not None:
        from .lean.statement import position

        agree = position(st, st.target.name_at) == problem.warned_at
    return Audited(problem.id, tuple(lint(st, goal)), disprove(st, budget, seed, goal), phantoms, True, agree, binders)


def audit(
    problems: Sequence[Problem],
    budget: float = 0.3,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Audits all problems, on all cores. `budget` is CPU-seconds of the refuter for each statement."""
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(problems) < 20:
        found = []
        for i, p in enumerate(problems):
            found.append(audit_one(p, budget, seed))
            if progress:
                progress(i + 1, len(problems))
        return Report(found)
    with ProcessPoolExecutor(workers) as pool:
        found = []
        for i, a in enumerate(
            pool.map(audit_one, problems, [budget] * len(problems), [seed] * len(problems), chunksize=8)
        ):
            found.append(a)
            if progress:
                progress(i + 1, len(problems))
    return Report(found)
