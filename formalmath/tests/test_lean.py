"""With a Lean that `make lean` installed: the suite, negations, and the recorded proofs. Skipped elsewhere."""

from __future__ import annotations

import asyncio

import pytest

from formalmath.adversarial import STATEMENT, TEXTS
from formalmath.lean.assemble import Proof, assemble, extract_proof
from formalmath.lean.policy import Refusal, load_policy
from formalmath.lean.statement import parse_statement
from formalmath.lean.verdict import CheckRequest, Limits
from formalmath.problems import mini

pytestmark = pytest.mark.lean


def verdicts(items, policy="strict"):
    from formalmath.lean.install import fingerprint
    from formalmath.lean.pool import ReplPool, settings_from

    async def run():
        pool = ReplPool(settings_from({"workers": 2}), load_policy(policy), fingerprint({}))
        try:
            return {r.sample_id: r async for r in pool.check(items)}
        finally:
            await pool.close()

    return asyncio.run(run())


def request(st, body, place):
    return CheckRequest("t", place, assemble(st, Proof(body)), Limits(120))


def test_the_adversarial_suite_past_the_gate_is_stopped_by_lean_and_its_axioms():
    """Each text's body as it stands, without the gate: Lean's answer and `#print axioms` must refuse it too."""
    st, items = parse_statement(STATEMENT), []
    for place, case in enumerate(TEXTS):
        found = extract_proof(case.text, st, load_policy("paper"))
        if not isinstance(found, Refusal) and len(found.body) < 1 << 16:
            items.append(CheckRequest("t", place, assemble(st, found), Limits(60)))
    accepted = [TEXTS[i].name for i, r in verdicts(items).items() if r.verdict == "proved"]
    # what only the gate can stop: a proof that reprograms the question itself
    assert set(accepted) <= {"#print redefined"}


def test_closed_and_demorgan_negations_are_equivalent():
    from formalmath.lean.negation import negate

    items = []
    for place, p in enumerate(mini(20, 0)):
        closed, open_ = negate(p.statement, "closed").type, negate(p.statement, "demorgan").type
        st = parse_statement(f"import Mathlib\n\ntheorem e : ({closed}) ↔ ({open_}) := by")
        items.append(
            request(
                st,
                "\n  constructor <;> intro h <;> first | (push_neg at h ⊢; tauto) | (push_neg at h; exact h) | tauto",
                place,
            )
        )
    assert all(r.verdict == "proved" for r in verdicts(items).values())


def test_recorded_proofs_get_their_recorded_verdicts(recorded_proofs):
    items, expected = [], {}
    for place, r in enumerate(recorded_proofs):
        cut = r["code"].index(":= by") + 5
        items.append(request(parse_statement(r["code"][:cut]), r["code"][cut:], place))
        expected[place] = r["expected"]["results"][0]["error"] is None
    found = verdicts(items)
    same = sum((found[i].verdict == "proved") == expected[i] for i in found)
    assert same >= 0.9 * len(items)  # another Mathlib than the one that recorded


def test_reference_proofs_of_mini_are_proofs():
    items = [request(p.statement, p.reference, i) for i, p in enumerate(mini(38, 0))]
    assert sum(r.verdict == "proved" for r in verdicts(items).values()) >= 30
