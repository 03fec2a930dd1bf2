"""What may be sent to Lean, what an answer means, and every attempt to cheat; with the released code's rule beside
ours."""

from __future__ import annotations

import json

import pytest

from formalmath.adversarial import ANSWERS, CASES, HONEST, RETYPED, STATEMENT, TEXTS, block, body, info
from formalmath.errors import FormalMathError
from formalmath.lean.assemble import Proof, assemble, extract_proof, token_digest
from formalmath.lean.lexer import lex
from formalmath.lean.policy import POLICIES, Refusal, gate, load_policy
from formalmath.lean.statement import parse_statement
from formalmath.lean.verdict import judge, official_accepts
from formalmath.run.adversary import file_of, trial

STRICT = load_policy("strict")
ST = parse_statement(STATEMENT)


def test_the_suite_is_large():
    assert len(CASES) >= 40 and len(HONEST) >= 10


@pytest.mark.parametrize("case", TEXTS, ids=lambda c: c.name)
def test_a_cheating_text_is_stopped_at_its_layer(case):
    outcome = trial(case, STRICT)
    assert not outcome.accepted
    assert outcome.layer == case.layer, outcome.reason


@pytest.mark.parametrize("case", ANSWERS, ids=lambda c: c.name)
def test_a_cheating_answer_is_not_a_proof(case):
    assert trial(case, STRICT).verdict in ("error", "incomplete", "rejected", "infra", "unknown")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_auxiliary_lemmas_open_no_door(case):
    assert not trial(case, load_policy("lenient")).accepted


@pytest.mark.parametrize("text", HONEST)
def test_an_honest_proof_with_suspicious_words_passes_the_gate(text):
    for policy in ("strict", "lenient"):
        assert isinstance(extract_proof(body(text), ST, load_policy(policy)), Proof)


def test_recorded_proofs_pass_the_gate(recorded_proofs):
    """102 proofs that a real server checked: a refusal here would be a false failure."""
    for r in recorded_proofs:
        cut = r["code"].index(":= by") + 5
        s = parse_statement(r["code"][:cut])
        assert isinstance(extract_proof(f"```lean4\n{r['code']}\n```", s, STRICT), Proof), r["id"]


def test_the_assembled_file_holds_the_trusted_statement_word_for_word():
    proof = extract_proof(body("  nlinarith [sq_nonneg x] -- done"), ST, STRICT)
    file = assemble(ST, proof)
    assert STATEMENT in file.whole
    assert file.whole.startswith("import Mathlib\n") and file.whole.rstrip().endswith("done")
    assert lex(file.whole).open is None
    assert file.text.splitlines()[file.target_line - 1].startswith("theorem target")


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (f"Here.\n```lean4\nexample : True := trivial\n```\nBetter:\n{body('  norm_num')}", "norm_num"),
        (f"<think>```lean4\nsorry\n```</think>{body('  linarith')}", "linarith"),
        (block(f"import Mathlib\nopen Real\n{RETYPED} := by\n  ring"), "ring"),
        (block("theorem target\n   (x : ℝ)  -- a comment\n (h : 0 < x) : x ≤ x ^ 2 := by omega"), "omega"),
        (block(f"{RETYPED} := foo h"), "exact (foo h)"),
        ("  simp\n", "simp"),
    ],
)
def test_proofs_are_found_where_models_put_them(completion, expected):
    found = extract_proof(completion, ST, STRICT)
    assert isinstance(found, Proof) and found.body.strip() == expected


def test_an_open_fence_ends_at_the_first_closing_one():
    found = extract_proof("\n  norm_num\n```\nThis uses sorry.", ST, STRICT, open_fence=True)
    assert found.body.strip() == "norm_num"


def test_auxiliary_lemmas_only_where_the_policy_allows_them():
    text = block(f"lemma helper (x : ℝ) : 0 ≤ x ^ 2 := by positivity\n\n{RETYPED} := by\n  nlinarith [helper x]")
    assert extract_proof(text, ST, STRICT).layer == "statement"
    found = extract_proof(text, ST, load_policy("lenient"))
    assert "helper" in found.auxiliary and assemble(ST, found).whole.index("helper") < assemble(ST, found).whole.index(
        "theorem target"
    )


def test_a_doubtful_token_goes_to_lean():
    """A quote may be a char literal: an unbalanced count of brackets proves nothing then."""
    assert gate("\n  have : c = '(' := rfl\n  simp", STRICT) is None
    assert gate("\n  exact (", STRICT).layer == "syntax"


def test_equal_tokens_are_one_proof_but_indentation_counts():
    assert token_digest("\n  ring -- a") == token_digest("\n  ring")
    assert token_digest("\n  · ring\n  ring") != token_digest("\n  · ring\n    ring")


def test_policies_are_data_with_a_hash():
    digests = {load_policy(p).digest for p in POLICIES}
    assert len(digests) == 3
    with pytest.raises(FormalMathError, match="policy must be one of"):
        load_policy("kind")


# -- the released code's rule, and ours

GOOD = {"env": 1, "messages": [info("'target' depends on axioms: [propext, Classical.choice, Quot.sound]")]}


def test_positive_evidence_is_a_proof():
    assert judge({"env": 0}, GOOD, file_of(), STRICT)[0] == "proved"
    assert (
        judge({"env": 0}, {"env": 1, "messages": [info("'target' does not depend on any axioms")]}, file_of(), STRICT)[
            0
        ]
        == "proved"
    )
    assert (
        judge({"env": 0, "messages": [info("unused variable", 5, "warning")]}, GOOD, file_of(), STRICT)[0] == "proved"
    )


def test_the_answer_without_messages(transcripts=None):
    """§3.5 1: the REPL's refusal counts as proved there."""
    answer = {"message": "Unknown environment."}
    assert official_accepts(answer)
    assert judge(answer, None, file_of(), STRICT)[0] == "infra"


def test_the_refusal_is_in_the_recorded_transcripts(transcripts):
    found = [
        t for t in transcripts if t["expected_output"] and '{"message": "Unknown environment."}' in t["expected_output"]
    ]
    assert found and all(official_accepts(json.loads(t["expected_output"])) for t in found)


@pytest.mark.parametrize("words", ["declaration uses 'sorry'", "declaration uses `sorry`"])
def test_a_sorry_that_is_a_warning_alone(words):
    """§3.5 2 and 3: `exact sorryAx _ true` leaves no entry in `sorries`, and the warning's quotes depend on the
    version."""
    answer = {"env": 1, "messages": [info(words, 5, "warning")]}
    assert official_accepts(answer)
    assert judge(answer, None, file_of(), STRICT)[0] == "incomplete"


def test_axioms_are_asked_for():
    """§3.5 4."""
    assert official_accepts({"env": 0, "messages": []})
    assert judge({"env": 0, "messages": []}, None, file_of(), STRICT)[0] == "unknown"
    assert (
        judge({"env": 0}, {"env": 1, "messages": [info("'target' depends on axioms: [cheat]")]}, file_of(), STRICT)[0]
        == "rejected"
    )


def test_the_word_theorem_does_not_cut_the_text(lite):
    """§3.5 7: the target may be a `def`, and several theorems may stand in one text."""
    by_id = {p.id: p for p in lite}
    assert by_id["omni_theorem_2161"].statement.target.kind == "def"
    four = by_id["u-math_59"].statement
    assert [d.name for d in four.declarations] == ["u_math_59", "u_math_60", "u_math_61", "u_math_62"]
    file = assemble(four, Proof("\n  linarith"))
    answer = {"env": 1, "messages": [info("declaration uses 'sorry'", line, "warning") for line in (2, 4, 6)]}
    assert file.target_line > 6
    good = {"env": 2, "messages": [info("'u_math_62' depends on axioms: [propext]")]}
    assert judge(answer, good, file, STRICT)[0] == "proved"


def test_an_error_in_the_trusted_preamble_is_not_the_prover_s():
    s = parse_statement("import Mathlib\n\ndef f : ℕ := g\n\ntheorem t : True := by")
    file = assemble(s, Proof("\n  trivial"))
    assert judge({"env": 0, "messages": [info("unknown identifier 'g'", 2, "error")]}, None, file, STRICT)[0] == "infra"


def test_the_paper_policy_is_the_released_rule_without_a_gate():
    paper = load_policy("paper")
    assert isinstance(extract_proof(body("  exact sorryAx _ true"), ST, paper), Proof)
    assert judge({"env": 0}, None, file_of(), paper)[0] == "proved"
    assert not isinstance(gate("\n  sorry", paper), Refusal)
