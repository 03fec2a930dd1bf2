"""The adversarial suite through extraction, gate, verdict and the fragment's checker; and what the official rule
would say."""

from __future__ import annotations

from dataclasses import dataclass

from ..adversarial import ANSWERS, CASES, HONEST, RETYPED, STATEMENT, TEXTS, Case, body
from ..fragment.check import check
from ..lean.assemble import Assembled, Proof, assemble, extract_proof
from ..lean.policy import Policy, Refusal
from ..lean.statement import parse_statement
from ..lean.verdict import judge, official_accepts


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its verdict, the layer that stopped it, and whether it got through."""

    case: Case
    verdict: str
    layer: str
    reason: str

    @property
    def accepted(self) -> bool:
        return self.verdict == "proved"


def trial(case: Case, policy: Policy) -> Outcome:
    """One case, as far as it gets."""
    st = parse_statement(STATEMENT)
    if case.answer is not None:
        verdict, reason, _ = judge(case.answer, case.axioms, file_of(), policy)
        return Outcome(case, verdict, case.layer, reason)
    found = extract_proof(case.text, st, policy)
    if isinstance(found, Refusal):
        return Outcome(case, found.verdict, found.layer, found.reason)
    checked = check(st, found.body, 2.0)
    return Outcome(case, checked.verdict, "fragment", checked.reason)


def file_of() -> Assembled:
    return assemble(parse_statement(STATEMENT), Proof("\n  norm_num"))


def suite(policy: Policy) -> list[Outcome]:
    return [trial(case, policy) for case in CASES]


def honest_refused(policy: Policy) -> list[tuple[str, str]]:
    """Honest proofs that the gate refuses, with its reason: there must be none."""
    st = parse_statement(STATEMENT)
    found = []
    for text in HONEST:
        result = extract_proof(body(text), st, policy)
        if isinstance(result, Refusal):
            found.append((text, result.reason))
    return found


def official_would_accept() -> list[Case]:
    """Answers of the suite that the released code's rule counts as proofs (it never asks for axioms)."""
    return [case for case in ANSWERS if case.answer is not None and official_accepts(case.answer)]


__all__ = ["CASES", "RETYPED", "TEXTS", "Outcome", "honest_refused", "official_would_accept", "suite", "trial"]
