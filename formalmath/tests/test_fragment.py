"""The fragment: Lean's arithmetic, exact numbers, counterexamples that hold, proofs that are proofs."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formalmath.errors import Unsupported, Unsure
from formalmath.fragment import numbers as n
from formalmath.fragment.check import check
from formalmath.fragment.elaborate import Elaborator
from formalmath.fragment.farkas import certified, contradiction, whole_contradiction
from formalmath.fragment.polynomial import constant
from formalmath.fragment.refute import OutsideFragment, Refutation, Survived, formulate, refute
from formalmath.fragment.solve import polynomial_roots, roots
from formalmath.lean.goal import parse_goal
from formalmath.lean.statement import parse_statement
from formalmath.lean.terms import parse_term
from formalmath.mini.mutations import OPERATORS, mutate, parses
from formalmath.mini.templates import TEMPLATES
from formalmath.problems import mini


def statement(text, head="import Mathlib\nopen Real Nat Finset\n"):
    return parse_statement(f"{head}theorem t {text} := by")


def value(text, opened=("Real", "Nat")):
    kind, code = Elaborator(opened=frozenset(opened)).value(parse_term(text))
    return kind, code({})


@pytest.mark.parametrize(
    ("text", "kind", "result"),
    [
        ("5 - 7", "ℕ", 0),
        ("(5 - 7 : ℤ)", "ℤ", -2),
        ("7 / 2", "ℕ", 3),
        ("(-7) / 2", "ℤ", -4),
        ("(-7) % 2", "ℤ", 1),
        ("(-7) / (-2)", "ℤ", 4),
        ("(-7) % (-2)", "ℤ", 1),
        ("7 % 0", "ℕ", 7),
        ("7 / 0", "ℕ", 0),
        ("(1 : ℝ) / 0", "ℝ", 0),
        ("(0 : ℝ)⁻¹", "ℝ", 0),
        ("(5 : ℚ) % 3", "ℚ", 0),
        ("(5 : ℚ) % 0", "ℚ", 5),
        ("0 ^ 0", "ℕ", 1),
        ("-2 ^ 2", "ℤ", -4),
        ("2 ^ (1 / 2)", "ℕ", 1),
        ("(4 : ℝ) ^ ((1 : ℝ) / 2)", "ℝ", 2),
        ("(2 : ℝ) ^ (-1)", "ℝ", Fraction(1, 2)),
        ("(1 / 2 : ℝ)", "ℝ", Fraction(1, 2)),
        ("((1 / 2 : ℕ) : ℝ)", "ℝ", 0),
        ("√(-4)", "ℝ", 0),
        ("√9", "ℝ", 3),
        ("∑ i ∈ Finset.range 5, i + 1", "ℕ", 11),
        ("∑ i ∈ Finset.Icc 1 4, i ^ 2", "ℕ", 30),
        ("∏ i ∈ Finset.Ico 1 5, i", "ℕ", 24),
        ("|2 - 5|", "ℕ", 0),
        ("|(2 : ℤ) - 5|", "ℤ", 3),
        ("⌊(7 / 2 : ℝ)⌋", "ℤ", 3),
        ("⌈(7 / 2 : ℝ)⌉", "ℤ", 4),
        ("Nat.gcd 12 18", "ℕ", 6),
        ("Nat.choose 5 2", "ℕ", 10),
        ("5 !", "ℕ", 120),
        ("max 3 5", "ℕ", 5),
        ("if 2 < 3 then 1 else 0", "ℕ", 1),
        ("let k := 3; k * k", "ℕ", 9),
        ("(Finset.filter (fun k => 3 ∣ k) (Finset.Icc 1 10)).card", "ℕ", 3),
        ("(Nat.digits 10 1234).sum", "ℕ", 10),
        ("Real.sin 0", "ℝ", 0),
        ("7.5 + (1 : ℝ)", "ℝ", Fraction(17, 2)),
    ],
)
def test_values_are_lean_s(text, kind, result):
    assert value(text) == (kind, result)


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("2 ∣ 6 ∧ ¬ 4 ∣ 6", True),
        ("7 ≡ 1 [MOD 3]", True),
        ("Nat.Prime 97", True),
        ("Even 7 ∨ Odd 7", True),
        ("∀ k ∈ Finset.Icc 1 10, k < 11", True),
        ("∃ k ∈ Finset.Icc 1 10, k ^ 2 = 49", True),
        ("∃ k : ℤ, k ^ 2 = 49 ∧ k < 0", True),
        ("∀ k : ℕ, k > 0", False),
        ("∃ x : ℝ, 2 * x = 7", True),
        ("∃ x : ℝ, x ^ 2 = 2", True),
        ("(3 : ℝ) ∈ Set.Icc 1 3", True),
        ("({1, 2} : Set ℕ) = {2, 1}", True),
        ("{n : ℕ | 2 < n ∧ n < 5} = {3, 4}", True),
        ("IsGreatest {n : ℕ | n < 10 ∧ 3 ∣ n} 9", True),
        ("IsLeast {n : ℕ | n < 10 ∧ 3 ∣ n} 3", False),
        ("√2 < 1.5", True),
        ("√2 * √2 = 2", True),
        ("Real.pi < 3.15", True),
        ("Real.exp 1 < 2.7", False),
        ("∀ x : ℝ, x ^ 2 ≥ 0", None),
        ("∃ x : ℝ, x ^ 2 < 0", None),
    ],
)
def test_truths_are_decided_exactly_or_left_open(text, truth):
    code = Elaborator(opened=frozenset(("Nat",))).prop(parse_term(text))
    assert code({}) is truth


@pytest.mark.parametrize("text", ["1.5 + 2", "∫ x in 0..1, x", "f 3", "fun x => x", "sqrt 4", "1 < Complex.I", "n - 1"])
def test_outside_the_fragment_is_never_a_value(text):
    with pytest.raises(Unsupported):
        Elaborator().value(parse_term(text))


RATIONALS = st.fractions(min_value=-20, max_value=20, max_denominator=12)


@given(RATIONALS, RATIONALS, RATIONALS, RATIONALS, st.sampled_from([2, 3, 5, 6]))
def test_quadratic_numbers_calculate_as_floats_do(a, b, c, d, root):
    x, y = n.Quad.of(a, b, root), n.Quad.of(c, d, root)
    f, g = float(a) + float(b) * math.sqrt(root), float(c) + float(d) * math.sqrt(root)

    def near(value, expected):
        approx = float(value) if isinstance(value, Fraction | int) else float(n.ball(value).x.mid)
        assert math.isclose(approx, expected, rel_tol=1e-9, abs_tol=1e-9)

    near(x + y, f + g)
    near(x - y, f - g)
    near(x * y, f * g)
    if abs(g) > 1e-6:
        near(n.divide(x, y), f / g)
    if abs(f - g) > 1e-9:
        assert n.less(x, y) is (f < g)
    assert n.equal(x, x) is True


@given(st.integers(0, 10**6))
def test_square_roots_are_exact(k):
    root = n.sqrt(Fraction(k))
    assert n.equal(root * root, Fraction(k)) is True


def test_what_balls_leave_open_is_not_decided():
    pi = n.pi()
    assert n.equal(pi, pi) is None and n.less(pi, Fraction(22, 7)) is True
    with pytest.raises(Unsure):
        n.inverse(pi - pi)


@given(st.lists(st.fractions(min_value=-9, max_value=9, max_denominator=6), min_size=1, max_size=4, unique=True))
def test_rational_roots_are_found(points):
    coefficients = [Fraction(1)]
    for p in points:
        coefficients = [
            a - p * b for a, b in zip([Fraction(0), *coefficients], [*coefficients, Fraction(0)], strict=True)
        ]
    found = polynomial_roots(coefficients)
    assert all(sum(c * r**k for k, c in enumerate(coefficients)) == 0 for r in found)
    assert set(points) <= set(found)


def test_roots_of_functions():
    assert set(roots(lambda x: x * x - 5 * x + 6, "ℕ")) == {2, 3}
    assert set(roots(lambda x: n.divide(x - 3, x + 1), "ℝ")) == {Fraction(3)}
    assert {repr(r) for r in roots(lambda x: x * x - 2, "ℝ")} == {"(0 + 1*√2)", "(0 + -1*√2)"}
    assert roots(lambda x: x * x - 2, "ℚ") == []


# -- refutations


REFUTED = [
    ("(x : ℝ) : x / x = 1", {"x": "0"}),
    ("(n : ℕ) : n - 1 + 1 = n", {"n": "0"}),
    ("(x y : ℝ) (h : x + y = 5) (k : x * y = 6) : x = 2", None),
    ("(x : ℝ) (h : x ^ 2 = 2) : x = √2", None),
    ("{a b : ℝ} (h₀ : 20 = 4 * a ^ 2 + 9 * b ^ 2) (h₁ : 20 + 12 * a * b = (2 * a + 3 * b) ^ 2) : a * b = 20 / 3", None),
    (
        (
            "(x : ℝ) (hx : x ≠ -3) : (x ^ 2 - x - 6) / (2 * x ^ 2 + x - 6) * ((2 * x ^ 2 + 7 * x - 15) / (x ^ 2 - 9)) "
            "= (x + 5) / (x + 3)"
        ),
        None,
    ),
    ("(n : ℕ) (h : 2 < n) (k : n < 9) (l : n % 3 = 1) : n = 4", {"n": "7"}),
    ("(f : ℝ → ℝ) (hf : ∀ x, f x = x ^ 2) : ∃ x ∈ Finset.range 3, f x = 9", {}),
    (": IsGreatest {t : ℝ | ∃ x y : ℝ, t = x * √(1 - y ^ 2) + y * √(1 - x ^ 2)} 1", {}),
    (": ∀ x : ℝ, x > 0 → x ≥ 1", {"x": "1/2"}),
    ("(x : ℝ) : 0 < k ∧ x = x ↔ x = 0", None),
]


@pytest.mark.parametrize(("text", "values"), REFUTED[:-1], ids=[t for t, _ in REFUTED[:-1]])
def test_false_statements_are_refuted_and_the_counterexample_holds(text, values):
    s = statement(text)
    found = refute(s, 3.0)
    assert isinstance(found, Refutation)
    if values is not None:
        assert dict(found.values) == values
    problem = formulate(s)
    assert all(h(dict(found.assignment)) is True for h in problem.hypotheses)
    assert problem.goal(dict(found.assignment)) is False
    assert found.script.strip()


def test_a_counterexample_holds_for_another_evaluator():
    """sympy's own arithmetic, on statements without Lean's conventions."""
    sympy = pytest.importorskip("sympy")
    x, y = sympy.symbols("x y")
    for text, facts, goal in (
        ("(x y : ℝ) (h : x + y = 5) (k : x * y = 6) : x = 2", [x + y - 5, x * y - 6], x - 2),
        ("(x y : ℝ) (h : x ^ 2 + y ^ 2 = 25) (k : x - y = 1) : x = 4", [x**2 + y**2 - 25, x - y - 1], x - 4),
    ):
        found = refute(statement(text), 3.0)
        point = {s: sympy.Rational(Fraction(found.assignment[str(s)])) for s in (x, y)}
        assert all(f.subs(point) == 0 for f in facts) and goal.subs(point) != 0


@pytest.mark.parametrize(
    "text",
    [
        "(x : ℝ) : x ^ 2 ≥ 0",
        "(a b : ℝ) : a ^ 2 + b ^ 2 ≥ 2 * a * b",
        "(n : ℕ) (h : n < 20) : n ^ 2 < 400",
        "(x : ℝ) (h : x ≠ 0) : x / x = 1",
        "(x : ℝ) (h : 0 < x) (k : x < 0) : x = 7",
        ": √8 = 2 * √2",
        "(n : ℕ) : n / 2 ≤ n",
    ],
)
def test_true_statements_survive(text):
    assert isinstance(refute(statement(text), 0.4), Survived)


def test_a_box_of_whole_numbers_is_searched_to_its_end():
    assert refute(statement("(n : ℕ) (h : 2 < n) (k : n < 50) : n ^ 2 > 8"), 2.0).proved
    assert not refute(statement("(x : ℝ) : x ^ 2 ≥ 0"), 0.2).proved


@pytest.mark.parametrize(
    "text", ["(f : ℝ → ℝ) : f 0 = 0", "(z : ℂ) : z = z", "(x : ℝ) : ∫ y in 0..1, y = x", "(α : Type) (a : α) : a = a"]
)
def test_outside_is_said(text):
    assert isinstance(refute(statement(text), 0.2), OutsideFragment)


def test_definitions_in_the_preamble_are_outside():
    s = parse_statement("def f (x : ℕ) := x\ntheorem t : f 1 = 2 := by")
    assert "preamble" in refute(s, 0.2).reason


def test_an_invented_variable_counts():
    s = parse_statement("theorem t (x : ℝ) (hx : x = 7.5 / 250) (h : y * x = 1.8) : y = 60 := by")
    assert isinstance(refute(s, 0.5), OutsideFragment)
    assert isinstance(
        refute(s, 0.5, goal=parse_goal("y x : ℝ\nhx : x = 7.5 / 250\nh : y * x = 1.8\n⊢ y = 60")), Survived
    )


def test_the_same_seed_finds_the_same():
    s = statement("(x y z : ℝ) (h : x + y + z = 6) (k : x * y = z) : z = 2")
    assert refute(s, 2.0, seed=3).values == refute(s, 2.0, seed=3).values


KNOWN_FALSE = {"u-math_1091", "omni_theorem_2411", "omni_theorem_3647"}


def test_the_known_false_statements_of_lite_are_refuted(lite):
    for p in lite:
        if p.id in KNOWN_FALSE:
            assert isinstance(refute(p.statement, 1.0, goal=p.goal), Refutation), p.id


# -- proofs

PROVED = [
    ("(x y : ℝ) (h : x + y = 7) (k : x - y = 1) : x = 4", "linarith"),
    ("(x y : ℝ) (h : 0 < x) (k : 0 < y) : x * y ≤ (x ^ 2 + y ^ 2) / 2", "nlinarith [sq_nonneg (x - y)]"),
    ("(x y : ℝ) : (x + y) ^ 3 = x ^ 3 + 3 * x ^ 2 * y + 3 * x * y ^ 2 + y ^ 3", "ring"),
    (": 2 ^ 10 % 7 = 2 ∧ Nat.Prime 17", "constructor\n  · norm_num\n  · norm_num"),
    ("(n : ℕ) (h : n % 4 = 3) : n % 2 = 1", "omega"),
    ("(n : ℕ) (h : 2 < n) (k : n < 6) : n ^ 2 < 30", "interval_cases n <;> norm_num"),
    (": ∃ x : ℤ, x ^ 2 - 5 * x + 6 = 0 ∧ x > 2", "refine ⟨3, by norm_num, by norm_num⟩"),
    (": ∃ x : ℤ, x ^ 2 - 5 * x + 6 = 0 ∧ x > 2", "use 3\n  norm_num"),
    ("(x : ℝ) (h : x = 3) : x ^ 2 = 9", "rw [h]\n  norm_num"),
    ("(x : ℝ) (h : x = 3) : x ^ 2 = 9", "subst h\n  norm_num"),
    ("(f : ℝ → ℝ) (h : f = fun x => 2 * x + 1) : f 3 = 7", "rw [h]\n  norm_num"),
    ("(x y : ℝ) (h : x = 2 ∧ y = 3) : x * y = 6", "obtain ⟨rfl, rfl⟩ := h\n  norm_num"),
    ("(p q : ℕ) (h : p = 1 ∨ p = 2) : p < 3", "rcases h with h | h\n  · omega\n  · omega"),
    (": ∀ n : ℕ, n < 5 → n ≤ 4", "intro n hn\n  omega"),
    ("(x : ℝ) (hx : 0 < x) : 0 < x ^ 2 + x", "positivity"),
    ("(x : ℝ) (h : 2 * x = 6) : x = 3", "first | ring | linarith"),
    ("(x : ℝ) (h : 2 * x = 6) : x ^ 2 = 9", "have h2 : x = 3 := by\n    linarith\n  rw [h2]\n  norm_num"),
    ("(x : ℝ) (h : x < 1) (k : 1 < x) : x = 5", "exfalso\n  linarith"),
    ("(x : ℝ) (h : x ≤ 1) : ¬ (2 < x)", "by_contra h2\n  linarith"),
]


@pytest.mark.parametrize(("text", "proof"), PROVED, ids=[p for _, p in PROVED])
def test_proofs_are_accepted_and_their_statements_not_refuted(text, proof):
    s = statement(text)
    assert check(s, f"\n  {proof}").verdict == "proved"
    assert not isinstance(refute(s, 0.2), Refutation)


@pytest.mark.parametrize("text", [t for t, _ in REFUTED[:-1]])
@pytest.mark.parametrize(
    "proof",
    ["norm_num", "linarith", "nlinarith", "omega", "ring", "positivity", "interval_cases n <;> omega", "decide"],
)
def test_no_false_statement_is_proved(text, proof):
    assert check(statement(text), f"\n  {proof}", 1.5).verdict != "proved"


@pytest.mark.parametrize(
    ("proof", "verdict", "part"),
    [
        ("sorry", "incomplete", "placeholder"),
        ("linarith", "error", "linarith failed"),
        ("skip_this", "unsupported", "the tactic"),
        ("field_simp", "unsupported", "the tactic"),
        ("intro h", "error", "introN"),
        ("have h2 : x = 3 := by\n    norm_num\n  linarith", "error", "norm_num"),
        ("constructor", "error", "constructor"),
        ("exact foo", "unsupported", "proof term"),
        ("norm_num\nring", "error", "indentation"),
        ("", "error", "unsolved goals"),
    ],
)
def test_other_proofs_get_a_reason(proof, verdict, part):
    found = check(statement("(x : ℝ) (h : x ^ 2 = 9) : x = 3"), f"\n  {proof}")
    assert found.verdict == verdict and part in found.reason


def test_certificates_are_checked_exactly():
    x, y = (("x", 1),), (("y", 1),)
    given_ = [({x: Fraction(1), y: Fraction(1)}, "≥"), ({x: Fraction(-1)}, ">"), ({y: Fraction(-1)}, "≥")]
    multipliers = contradiction(given_)
    assert multipliers is not None and certified([*given_, (constant(1), ">")], multipliers)
    assert not certified([*given_, (constant(1), ">")], [Fraction(-1)] * 4)
    assert contradiction(given_[:2]) is None
    two_x_is_one = [({x: Fraction(2), (): Fraction(-1)}, "=")]
    assert contradiction(two_x_is_one) is None and whole_contradiction(two_x_is_one) is not None


# -- the generated corpus


@pytest.mark.parametrize("seed", range(3))
def test_gold_statements_are_proved_and_none_is_refuted(seed):
    for p in mini(len(TEMPLATES), seed):
        assert check(p.statement, p.reference).verdict == "proved", p.id
        assert isinstance(refute(p.statement, 0.04, seed), Survived), p.id


def test_templates_and_operators_are_many():
    assert len(TEMPLATES) >= 30 and len({d for d, _ in TEMPLATES.values()}) == 8 and len(OPERATORS) >= 14


@pytest.mark.parametrize(("name", "bound"), [("drop_hypothesis", 0.7), ("wrong_numeral_in_goal", 0.8)])
def test_planted_errors_are_refuted(name, bound):
    rng, hit, seen = random.Random(5), 0, 0
    for p in mini(60, 5):
        m = mutate(p.statement, rng, name)
        if m.operator == name and parses(m.text):
            found = refute(parse_statement(m.text), 0.25)
            if not isinstance(found, OutsideFragment):
                seen += 1
                hit += isinstance(found, Refutation)
    assert seen > 20 and hit / seen >= bound


def test_identity_is_never_refuted_and_shares_are_table_7_s():
    from collections import Counter

    rng = random.Random(0)
    p = mini(1, 0)[0]
    assert mutate(p.statement, rng, "identity").text == p.statement.text
    kinds = Counter(mutate(q.statement, rng).kind for q in mini(200, 0) for _ in range(3))
    assert 0.7 < kinds["condition"] / sum(kinds.values()) < 0.92


@settings(max_examples=40, deadline=None)
@given(st.integers(-8, 8), st.integers(-8, 8), st.integers(1, 5))
def test_a_goal_is_never_both_proved_and_refuted(a, b, c):
    s = statement(f"(x : ℤ) (h : {c} * x + {a} ≤ {b}) : x ≤ {(b - a) // c} ∧ {a} ≤ {b} + {c} * (0 - x)")
    proved = check(s, "\n  constructor <;> omega").verdict == "proved"
    assert proved != isinstance(refute(s, 0.05), Refutation) or not proved
