"""Negation-based disproof (paper §3.2): whoever proves ¬T discards T. Offline by exact counterexample, with Lean by
a prover.

Outcomes: disproved (Lean proved the negation), refuted (the fragment found a counterexample), vacuous (the hypotheses
contradict one another), survived, outside (nothing can be said).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import StatementError
from ..fragment.check import check
from ..fragment.refute import OutsideFragment, Refutation, refute
from ..lean.goal import Goal
from ..lean.negation import negate, vacuity
from ..lean.statement import Statement
from ..problems import Problem

VACUITY = ("linarith", "omega", "nlinarith", "norm_num")
TRIVIAL = ("assumption", "norm_num", "omega", "decide")


@dataclass(frozen=True)
class Disproof:
    """What became of a statement; `proof` is a script of the negation (or of False), not checked by Lean."""

    outcome: str
    authority: str
    detail: str = ""
    values: dict[str, str] = field(default_factory=dict)
    negation: str = ""
    proof: str = ""
    trivial_by: str = ""


def disprove(
    st: Statement, budget: float = 0.5, seed: int = 0, goal: Goal | None = None, probe: bool = False
) -> Disproof:
    """The offline disprover: counterexample, then contradiction of the hypotheses; `probe`: is it trivially true?"""
    found = refute(st, budget, seed, goal)
    if isinstance(found, Refutation):
        text = negate(st, "closed", goal).text
        return Disproof("refuted", "fragment", found.how, dict(found.values), text, found.script)
    if isinstance(found, OutsideFragment):
        return Disproof("outside", "fragment", found.reason)
    if not found.satisfiable and (tactic := vacuous_by(st, goal)):
        return Disproof("vacuous", "fragment", tactic, negation=vacuity(st, goal).text, proof=f"\n  {tactic}\n")
    return Disproof("survived", "fragment", f"{found.tried} candidates", trivial_by=trivial_by(st) if probe else "")


def vacuous_by(st: Statement, goal: Goal | None = None) -> str:
    """The first tactic that proves False from the hypotheses, or nothing."""
    probe = vacuity(st, goal)
    return next((t for t in VACUITY if check(probe, f"\n  {t}", 1.0).verdict == "proved"), "")


def trivial_by(st: Statement) -> str:
    """The first tactic of a small portfolio that proves the statement at once; reported, never a reason to discard."""
    return next((t for t in TRIVIAL if check(st, f"\n  {t}", 1.0).verdict == "proved"), "")


def negation_problems(problems: Iterable[Problem], style: str = "closed") -> list[Problem]:
    """The negations as problems of their own, for a prover with Lean behind it."""
    found = []
    for p in problems:
        try:
            st = negate(p.statement, style, p.goal)
        except StatementError:
            continue
        found.append(Problem(f"{p.id}_negative", p.words, st.text, source=p.source, domain=p.domain, level=p.level))
    return found


def by_lean(problems: Sequence[Problem], proved: Iterable[str]) -> dict[str, Disproof]:
    """Disproofs from the ids of negations that Lean proved."""
    accepted = set(proved)
    return {p.id: Disproof("disproved", "lean") for p in problems if f"{p.id}_negative" in accepted}


def summary(disproofs: Iterable[Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for d in disproofs:
        counts[d.outcome] = counts.get(d.outcome, 0) + 1
    return counts
