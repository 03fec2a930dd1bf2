"""Negations: opposite truth in every finite model, byte-identical preambles, the paper's example."""

from __future__ import annotations

import itertools
import random

import pytest

from formalmath.errors import StatementError
from formalmath.lean.goal import parse_goal
from formalmath.lean.lexer import lex
from formalmath.lean.negation import STYLES, negate, negated_text, triviality_probes, vacuity
from formalmath.lean.statement import parse_statement
from formalmath.lean.terms import parse_term

DOMAIN = range(4)


def truth(t, env):
    """Direct evaluation over a linearly ordered domain of four elements."""
    if t.op == "id":
        return env[t.name]
    if t.op == "num":
        return int(t.name)
    if t.op in ("ascribe",):
        return truth(t.args[0], env)
    if t.op == "¬":
        return not truth(t.args[0], env)
    if t.op in ("∀", "∃"):
        proofs = [b for b in t.bounds if b.type is not None and b.type.op != "id"]  # `∃ (h : p), q` is `p ∧ q`
        names = [(n, b) for b in t.bounds if b not in proofs for n in b.names]
        results = []
        for values in itertools.product(DOMAIN, repeat=len(names)):
            inner = {**env, **{n: v for (n, _), v in zip(names, values, strict=True)}}
            bounded = all(relation(b.relation, inner[n], truth(b.bound, inner)) for n, b in names if b.relation)
            bounded = bounded and all(truth(b.type, inner) for b in proofs)
            results.append(truth(t.args[0], inner) if bounded else t.op == "∀")
        return all(results) if t.op == "∀" else any(results)
    a = truth(t.args[0], env)
    b = truth(t.args[1], env)
    if t.op in ("∧", "∨", "→", "↔"):
        return {"∧": a and b, "∨": a or b, "→": (not a) or b, "↔": a == b}[t.op]
    return relation(t.op, a, b)


def relation(op, a, b):
    return {"=": a == b, "≠": a != b, "<": a < b, ">": a > b, "≤": a <= b, "≥": a >= b}[op]


def formula(rng, depth, scope):
    if depth == 0 or rng.random() < 0.2:
        return f"{rng.choice(scope)} {rng.choice(['=', '≠', '<', '>', '≤', '≥'])} {rng.choice([*scope, '1', '2'])}"
    kind = rng.randrange(7)
    if kind == 0:
        return f"¬ ({formula(rng, depth - 1, scope)})"
    if kind in (1, 2):
        name = f"v{len(scope)}"
        bound = rng.choice(["", " > 0", " : ℕ", " ≤ 2"])
        return f"{rng.choice('∀∃')} {name}{bound}, {formula(rng, depth - 1, [*scope, name])}"
    op = ["∧", "∨", "→", "↔"][kind - 3]
    left, right = formula(rng, depth - 1, scope), formula(rng, depth - 1, scope)
    return (
        f"({left}) {op} ({right})" if rng.random() < 0.7 or op == "↔" or left[0] in "∀∃" else f"({left}) {op} {right}"
    )


def test_pushed_negations_have_the_opposite_truth():
    rng = random.Random(0)
    types = {"x": "ℕ", "y": "ℕ"}
    for _ in range(1500):
        text = formula(rng, 3, ["x", "y"])
        opposite, _ = negated_text(text, types)
        env = {"x": rng.choice(DOMAIN), "y": rng.choice(DOMAIN)}
        assert truth(parse_term(opposite), env) is not truth(parse_term(text), env), (text, opposite)


def test_negating_twice_changes_no_truth():
    rng = random.Random(1)
    for _ in range(300):
        text = formula(rng, 3, ["x", "y"])
        once, _ = negated_text(text, {"x": "ℕ", "y": "ℕ"})
        twice, _ = negated_text(once, {"x": "ℕ", "y": "ℕ"})
        env = {"x": 1, "y": 2}
        assert truth(parse_term(twice), env) == truth(parse_term(text), env)


@pytest.mark.parametrize("style", ["closed", "demorgan"])
def test_whole_statements_have_the_opposite_truth(style):
    rng = random.Random(2)
    for _ in range(200):
        facts = [formula(rng, 1, ["x", "y"]) for _ in range(rng.randrange(3))]
        goal = formula(rng, 2, ["x", "y"])
        binders = " ".join(f"(h{i} : {f})" for i, f in enumerate(facts))
        s = parse_statement(f"theorem t (x y : ℕ) {binders} : {goal} := by")
        implication = " → ".join([f"({f})" for f in facts] + [f"({goal})"])
        original = truth(parse_term(f"∀ x y : ℕ, {implication}"), {})
        negation = negate(s, style)
        assert not negation.binders
        text = negation.type
        if style == "closed":
            text = f"¬ (∀ x y : ℕ, {implication})"
            assert lex(negation.type).tokens[0].text == "¬"
        assert truth(parse_term(text), {}) is not original


def test_the_paper_s_example_has_its_relation_turned():
    s = parse_statement("import Mathlib\n\ndef refBase (n : ℕ) : ℕ := n + 1\n\ntheorem N : refBase 3 + 1 = 5 := by")
    n = negate(s, "demorgan")
    assert (
        n.text == "import Mathlib\n\ndef refBase (n : ℕ) : ℕ := n + 1\n\ntheorem N_negative : refBase 3 + 1 ≠ 5 := by"
    )
    assert negate(s).signature == "theorem N_negative : ¬ (refBase 3 + 1 = 5) := by"


def test_closed_form_keeps_kinds_of_brackets_and_drops_defaults_and_universes():
    s = parse_statement("lemma «a b» {α : Type*} [Fintype α] ⦃n : ℕ⦄ (x : ℕ := 5) (h : x = n) k : x = k := by")
    assert negate(s).signature == (
        "theorem «a b_negative» : ¬ (∀ {α : Type} [Fintype α] ⦃n : ℕ⦄ (x : ℕ) (h : x = n) (k : _), (x = k)) := by"
    )


def test_order_is_turned_only_where_it_is_linear():
    assert negated_text("z < w", {"z": "ℂ", "w": "ℂ"})[0] == "¬ (z < w)"
    assert negated_text("x < 2", {"x": "ℝ"})[0] == "x ≥ 2"
    assert negated_text("A ⊆ B", {})[0] == "¬ (A ⊆ B)"
    assert negated_text("∃! x, x = 1", {})[0] == "¬ (∃! x, x = 1)"


def test_variables_of_the_preamble_move_into_the_binders():
    s = parse_statement("variable (x : ℝ) {n : ℕ} [Fact (0 < n)] (z : ℤ)\ntheorem a (h : n > 0) : x = x := by")
    n = negate(s)
    assert n.preamble == s.preamble
    assert "∀ (x : ℝ) {n : ℕ} [Fact (0 < n)] (h : n > 0), (x = x)" in n.type
    assert "z" not in n.type


def test_invented_variables_are_quantified_inside():
    s = parse_statement("theorem a (x : ℝ) : x + C = 1 := by")
    goal = parse_goal("C x : ℝ\n⊢ x + C = 1")
    assert negate(s, "closed", goal).type == "¬ (∀ (C : ℝ) (x : ℝ), (x + C = 1))"
    assert vacuity(s, goal).signature == "theorem a_vacuous (C : ℝ) (x : ℝ) : False := by"


def test_kept_binders_are_neither_sound_nor_complete():
    """`∀ x, x > 0` and `∀ x, ¬ x > 0` are both false; contradictory hypotheses prove both."""
    s = parse_statement("theorem a (x : ℕ) : x > 0 := by")
    kept = negate(s, "kept_binders")
    assert kept.signature == "theorem a_negative (x : ℕ) : ¬ (x > 0) := by"
    assert not truth(parse_term("∀ x : ℕ, x > 0"), {}) and not truth(parse_term("∀ x : ℕ, ¬ (x > 0)"), {})


def test_refusals():
    with pytest.raises(StatementError, match="style must be one of"):
        negate(parse_statement("theorem a : True := by"), "upside down")
    with pytest.raises(StatementError, match="no type to negate"):
        negate(parse_statement("def a := by"))
    assert len(triviality_probes(parse_statement("theorem a : True := by"))) == 5


@pytest.mark.parametrize("style", STYLES)
def test_negations_of_lite_parse_back_with_the_same_preamble(lite, style):
    for p in lite:
        n = negate(p.statement, style, p.goal)
        assert n.preamble == p.statement.preamble
        assert parse_statement(n.text) == n
        assert n.name == f"{p.statement.name}_negative"
    assert len(lite) == 425
