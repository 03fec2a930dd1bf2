"""Lexer, statements, terms, goals: what Lean would read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formalmath.errors import StatementError, Unsupported
from formalmath.lean.goal import parse_goal
from formalmath.lean.lexer import comment_end, lex, same_tokens
from formalmath.lean.render import render, substitute
from formalmath.lean.statement import normalise, parse_statement, position
from formalmath.lean.terms import parse_term

PIECES = [
    "x",
    "h'",
    "hx.le",
    "a.1",
    "⁻¹",
    "«a b»",
    " ",
    "\n",
    "-- c\n",
    "/- d -/",
    "/- e /- f -/ g -/",
    '"s\\"t"',
    "'c'",
    "0.3",
    "..",
    "12",
    ":=",
    "by",
    "theorem",
    "ℝ",
    "λ",
    "∑",
    "∏",
    "∣",
    "|",
    "≤",
    "(",
    ")",
    "⟨",
    "⟩",
    "#print",
    "!",
    "₁",
    "x₁",
    "@[",
    "]",
    "√",
    "/",
    "-",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_tokens_and_what_lies_between_them_are_the_text(text):
    lexed = lex(text)
    at = 0
    for token in lexed.tokens:
        between = text[at : token.start]
        assert not between.strip() or between.strip().startswith(("--", "/-"))
        assert text[token.start : token.end] == token.text
        at = token.end
    rest = text[at:].strip()
    assert not rest or lexed.open == "comment" or rest.startswith(("--", "/-"))


@given(st.text(max_size=60))
def test_any_text_is_lexed(text):
    lexed = lex(text)
    assert [t.start for t in lexed.tokens] == sorted(t.start for t in lexed.tokens)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x⁻¹", ["x", "⁻¹"]),
        ("-0.3..0.6", ["-", "0.3", "..", "0.6"]),
        ("h' hx.le a.1", ["h'", "hx.le", "a", ".1"]),
        ("λ x => Σ", ["λ", "x", "=>", "Σ"]),
        ("'a' b'", ["'a'", "b'"]),
        ("n! 5!", ["n!", "5", "!"]),
        ("theorem N.{u} «a b».c", ["theorem", "N", ".{", "u", "}", "«a b».c"]),
        ("∑ i ∈ s, f i", ["∑", "i", "∈", "s", ",", "f", "i"]),
        ("𝓝 ℝ ℤ x₁", ["𝓝", "ℝ", "ℤ", "x₁"]),
        ("a<;>b <| c", ["a", "<;>", "b", "<|", "c"]),
    ],
)
def test_traps_of_the_lexer(text, words):
    assert [t.text for t in lex(text).tokens] == words


def test_comments_nest_and_strings_hide_what_they_hold():
    assert [t.text for t in lex('a /- b /- c -/ d -/ e "-- f" -- g').tokens] == ["a", "e", '"-- f"']
    assert lex("a /- b /- c -/").open == "comment"
    assert lex('a "b').open == "string"
    assert comment_end("/- a -/ b", 0) == 7
    assert same_tokens("a  +b -- c", "a + /- d -/ b")
    assert not same_tokens("a + b", "a +' b")


STATEMENT = """import Mathlib

open Real

/-- A lemma. -/
lemma first (n : ℕ) : n = n := by rfl

@[simp] theorem Foo.second.{u} {α : Type u} [Fact (0 < 1)] ⦃n m : ℕ⦄ (h : let k := n; k > 0) (x : ℝ := 5) y : n = m
:= by"""


def test_a_statement_comes_apart_into_its_parts():
    s = parse_statement(STATEMENT)
    assert s.imports == ("Mathlib",)
    assert [d.name for d in s.declarations] == ["first", "Foo.second"]
    assert s.preamble.strip().startswith("open Real") and s.preamble.rstrip().endswith("rfl")
    assert [(b.names, b.type, b.kind, b.default) for b in s.binders] == [
        (("α",), "Type u", "implicit", ""),
        ((), "Fact (0 < 1)", "instance", ""),
        (("n", "m"), "ℕ", "strict", ""),
        (("h",), "let k := n; k > 0", "explicit", ""),
        (("x",), "ℝ", "explicit", "5"),
        (("y",), "", "bare", ""),
    ]
    assert s.type == "n = m"
    assert s.text[: s.imports_end] + s.preamble + s.signature == s.text
    assert position(s, s.target.name_at) == (8, 16)
    assert parse_statement(s.text) == s


def test_namespaces_qualify_the_name():
    s = parse_statement("namespace A\nsection\nnamespace B\nend B\ntheorem c : True := by")
    assert s.qualified_name == "A.c"


def test_a_goal_with_let_and_an_equation_style_definition():
    s = parse_statement(
        "def f : ℕ → ℕ\n| 0 => 1\n| n + 1 => 2 * f n\n\nexample (h : f 1 = 2) : let k := f 2; k = 4 := by"
    )
    assert s.target.kind == "example" and s.type == "let k := f 2; k = 4"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("theorem a : True", "must end in `:= by`"),
        ("theorem a : True := by sorry", "must end in `:= by`"),
        ("theorem a : True /- := by", "ends inside a comment"),
        ("open Real := by", "declares nothing"),
        ("theorem a (x : ℝ : x = x := by", "never closed"),
        ("theorem a\0 : True := by", "NUL"),
    ],
)
def test_what_is_no_statement_is_refused_in_a_sentence(text, part):
    with pytest.raises(StatementError, match=part):
        parse_statement(text)


def test_ends_are_normalised():
    for end in (":= by sorry", ":= sorry", ":=", ":= by\nsorry"):
        assert normalise(f"theorem a : True {end}").endswith(":= by")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("-x ^ 2", "neg(^(x, 2))"),
        ("2 ^ 3 ^ 2", "^(2, ^(3, 2))"),
        ("a - b - c", "-(-(a, b), c)"),
        ("a + b * c = d", "=(+(a, *(b, c)), d)"),
        ("p → q → r", "→(p, →(q, r))"),
        ("¬ p ∧ q", "∧(¬(p), q)"),
        ("∑ i ∈ s, f i + 1", "+(∑(app(f, i)), 1)"),
        ("∃ x, p x ↔ q", "∃(↔(app(p, x), q))"),
        ("f x⁻¹", "app(f, ⁻¹(x))"),
        ("√x + 1", "+(√(x), 1)"),
        ("|x - 1| < 2", "<(abs(-(x, 1)), 2)"),
        ("x ∈ {y | y > 0}", "∈(x, set(>(y, 0)))"),
        ("⌊x⌋ = 3", "=(floor(x), 3)"),
        ("a ≡ b [ZMOD n]", "≡(a, b, n)"),
        ("(2 : ℝ) / 3", "/(ascribe(2, ℝ), 3)"),
        ("x /\\ y", "∧(x, y)"),
    ],
)
def test_precedence_is_mathlibs(text, shape):
    def shown(t):
        return t.name if not t.args else f"{t.op}({', '.join(map(shown, t.args))})"

    assert shown(parse_term(text)) == shape


LEAVES = st.sampled_from(["x", "y", "2", "f x", "|x|", "(x : ℝ)", "s.card"])
TERMS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "^", "%"]), inner).map(
            lambda p: f"({p[0]}) {p[1]} ({p[2]})"
        ),
        inner.map(lambda a: f"-({a})"),
        inner.map(lambda a: f"g ({a}) ({a})"),
    ),
    max_leaves=8,
)
FORMULAS = st.recursive(
    st.tuples(TERMS, st.sampled_from(["=", "<", "≤", "≠", "∣"]), TERMS).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["∧", "∨", "→", "↔"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
        inner.map(lambda a: f"¬ ({a})"),
        inner.map(lambda a: f"∀ x : ℝ, {a}"),
        inner.map(lambda a: f"∃ y ∈ Set.Icc 0 1, {a}"),
    ),
    max_leaves=6,
)


def same_tree(a, b):
    return a.op == b.op and a.name == b.name and len(a.args) == len(b.args) and all(map(same_tree, a.args, b.args))


@settings(max_examples=150, deadline=None)
@given(FORMULAS)
def test_rendering_parses_back_to_the_same_tree(text):
    tree = parse_term(text)
    assert same_tree(parse_term(render(tree)), tree)


def test_substitution_does_not_capture():
    tree = substitute(parse_term("∀ y, x < y"), {"x": parse_term("y + 1")})
    assert render(tree) == "∀ y', y + 1 < y'"


@pytest.mark.parametrize("text", ["x < y < z", "x +", "fun ⟨a, b⟩ => a", "(" * 500 + "x" + ")" * 500, 'a "b'])
def test_what_the_parser_does_not_know_is_said(text):
    with pytest.raises(Unsupported):
        parse_term(text)


def test_goals_are_read_as_lean_prints_them():
    goal = parse_goal("x y : ℝ\nhF :\n  x =\n    y\n⊢ x ≤\n    y")
    assert goal.names == ["x", "y", "hF"]
    assert goal.target.split() == ["x", "≤", "y"]


# -- development data


def test_all_of_lite_is_read_as_lean_reads_it(lite):
    places = sum(position(p.statement, p.statement.target.name_at) == p.warned_at for p in lite)
    binders = [p for p in lite if p.goal.names == p.statement.binder_names]
    assert (len(lite), places, len(binders)) == (425, 425, 410)


def test_fifteen_statements_of_lite_have_variables_that_lean_invented(lite):
    phantom = {p.id for p in lite if set(p.goal.names) - set(p.statement.binder_names)}
    assert len(phantom) == 15
    assert {"u-math_1044", "u-math_918", "u-math_483", "omni_theorem_3492", "u-math_693"} <= phantom


def test_types_that_lean_prints_as_written_are_ours(lite):
    differ, agree = [], 0
    for p in lite:
        ours = {name: "ℝ" if b.type == "Real" else b.type for b in p.statement.binders for name in b.names}
        for name, type_ in p.goal.hypotheses:
            if type_ in ("ℝ", "ℕ", "ℤ") and name in ours and p.goal.names.count(name) == 1:
                agree += ours[name] == type_
                differ += [(p.id, name)] * (ours[name] != type_)
    assert agree > 400 and not differ
