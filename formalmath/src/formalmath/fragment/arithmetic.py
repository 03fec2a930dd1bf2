"""The arithmetic tactics: `norm_num`, `ring`, `linarith`, `nlinarith`, `omega`, `positivity`, on a fragment goal.

Each returns normally if the goal is proved and raises TacticError if it is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction

from ..errors import Unsupported, Unsure
from ..lean.render import render, substitute
from ..lean.terms import Term
from .elaborate import LADDER, mentions
from .farkas import Comparison, bounds_of, contradiction, products, whole_contradiction
from .polynomial import ONE, Normaliser, Poly, add, constant
from .state import FragmentGoal, TacticError, id_, node, opened_quantifier

FLIP = {"<": "≥", ">": "≤", "≤": ">", "≥": "<"}
SPLITS = 64  # cases of omega


def ground(goal: FragmentGoal) -> bool | None:
    """The truth of a target, where its variables do not matter; None where they do."""
    el = goal.elaborator()
    code = el.prop(goal.target)
    if mentions(goal.target, {x for x, _ in goal.variables}):
        return None
    try:
        return code({})
    except Unsure:
        return None


def decide(goal: FragmentGoal, name: str = "decide") -> None:
    found = ground(goal)
    if found is not True:
        raise TacticError(f"{name} failed: the proposition is {'false' if found is False else 'not closed'}")


def norm_num(goal: FragmentGoal, name: str = "norm_num") -> None:
    """Ground evaluation, or both sides equal as polynomials."""
    found = ground(goal)
    if found is True:
        return
    if found is False:
        raise TacticError(f"{name} failed: the goal is false")
    if goal.target.op == "∧":
        for part in goal.target.args:
            norm_num(FragmentGoal(goal.variables, goal.hypotheses, part, goal.opened), name)
        return
    if any(render(t) == render(goal.target) for _, t in goal.hypotheses):
        return
    if goal.target.op == "=":
        try:
            ring(goal, name)
            return
        except TacticError:
            pass
    raise TacticError(f"unsolved goals after {name}")


def ring(goal: FragmentGoal, name: str = "ring") -> None:
    if goal.target.op != "=":
        raise TacticError(f"{name} failed: the goal is not an equation")
    el = goal.elaborator()
    normal = Normaliser(el)
    kind = el.relation_type(goal.target)
    left, right = (normal(a, kind) for a in goal.target.args)
    if add(left, right, -1):
        raise TacticError(f"{name} failed, ring_nf subsidiary goal")


class Linear:
    """Comparisons read from propositions, with facts about ℕ and integer strictness."""

    def __init__(self, goal: FragmentGoal):
        self.el = goal.elaborator()
        self.normal = Normaliser(self.el)

    def read(self, prop: Term) -> list[Comparison]:
        """p ⋈ 0 of a relation; nothing for other propositions."""
        if prop.op == "¬" and prop.args[0].op in FLIP:
            prop = node(FLIP[prop.args[0].op], *prop.args[0].args)
        if prop.op not in ("=", "<", ">", "≤", "≥"):
            return []
        try:
            kind = self.el.relation_type(prop)
            if kind not in LADDER:
                return []
            a, b = (self.normal(x, kind) for x in prop.args)
        except Unsupported:
            return []
        if prop.op == "=":
            return [(add(a, b, -1), "=")]
        low, high = (a, b) if prop.op in ("<", "≤") else (b, a)
        difference = add(high, low, -1)
        if prop.op in ("<", ">"):
            if kind in ("ℕ", "ℤ"):
                return [(add(difference, constant(1), -1), "≥")]
            return [(difference, ">")]
        return [(difference, "≥")]

    def naturals(self) -> list[Comparison]:
        """Atoms of ℕ are not negative."""
        return [({((a, 1),): Fraction(1)}, "≥") for a, (kind, _) in self.normal.atoms.items() if kind == "ℕ"]

    def quotients(self) -> list[Comparison]:
        """x = c·(x / c) + x % c with 0 ≤ x % c < c, for divisions by a numeral in ℕ and ℤ."""
        found: list[Comparison] = []
        for name, (op, dividend, c) in list(self.normal.quotients.items()):
            here: Poly = {((name, 1),): Fraction(1)}
            if op == "/":
                remainder = add(dividend, here, -c)
            else:
                quotient: Poly = {((f"{name} quotient", 1),): Fraction(1)}
                found.append((add(add(dividend, here, -1), quotient, -c), "="))
                remainder = here
            found.append((remainder, "≥"))
            found.append((add(constant(c - 1), remainder, -1), "≥"))
        return found


def linarith(
    goal: FragmentGoal, hints: Sequence[Term] = (), *, nonlinear: bool = False, name: str = "linarith"
) -> None:
    """Contradiction of the hypotheses, the hints and the negated target."""
    for negated in negations(goal.target):
        linear = Linear(goal)
        comparisons = [c for prop in (*(t for _, t in goal.hypotheses), *hints) for c in linear.read(prop)]
        comparisons += [c for prop in negated for c in linear.read(prop)]
        comparisons += linear.naturals()
        if contradiction(comparisons) is not None:
            continue
        if nonlinear and contradiction([*comparisons, *products(comparisons)]) is not None:
            continue
        raise TacticError(f"{name} failed to find a contradiction")


def negations(target: Term) -> list[list[Term]]:
    """What to refute, one list after another: for `a = b` first a < b, then a > b."""
    if target.op == "=":
        return [[node("<", *target.args)], [node(">", *target.args)]]
    if target.op in FLIP:
        return [[node(FLIP[target.op], *target.args)]]
    if target.op == "¬" and target.args[0].op in (*FLIP, "="):
        return [[target.args[0]]]
    if target.op == "id" and target.name == "False":
        return [[]]
    if target.op == "≠":
        return [[node("=", *target.args)]]
    raise TacticError("linarith failed: the goal is not a comparison")


def omega(goal: FragmentGoal) -> None:
    """Linear arithmetic over ℤ and ℕ with ∧ ∨ ¬ ↔ →, and division by numerals."""
    for _, kind in goal.variables:
        if kind not in LADDER:
            continue
    negated: list[Term] = [] if goal.target.op == "id" and goal.target.name == "False" else [node("¬", goal.target)]
    facts = [t for _, t in goal.hypotheses] + negated
    cases = split_cases(facts)
    for case in cases:
        linear = Linear(goal)
        kinds = {goal.elaborator().relation_type(p) for p in case if p.op in (*FLIP, "=")}
        if kinds & {"ℝ", "ℚ"}:
            case = [p for p in case if p.op not in (*FLIP, "=") or goal.elaborator().relation_type(p) in ("ℕ", "ℤ")]
        comparisons = [c for prop in case for c in linear.read(prop)]
        comparisons += linear.quotients()
        comparisons += [*linear.naturals(), *_subtractions(linear)]
        if whole_contradiction(comparisons) is None and not _box_contradiction(goal, case, comparisons, linear):
            raise TacticError("omega could not prove the goal")


def _subtractions(linear: Linear) -> list[Comparison]:
    """For an atom `a - b` of ℕ: it is at least a − b."""
    found = []
    for name, (kind, t) in list(linear.normal.atoms.items()):
        if kind == "ℕ" and t.op == "-":
            a, b = (linear.normal(x, "ℕ") for x in t.args)
            found.append((add({((name, 1),): Fraction(1)}, add(a, b, -1), -1), "≥"))
            found.append((add(a, {((name, 1),): Fraction(1)}, -1), "≥"))
    return found + linear.naturals()


def split_cases(facts: Iterable[Term]) -> list[list[Term]]:
    """Disjunctive cases of linear facts; `a ≠ b` splits into < and >."""
    cases: list[list[Term]] = [[]]
    for fact in facts:
        alternatives = disjuncts(fact)
        cases = [[*case, *alternative] for case in cases for alternative in alternatives]
        if len(cases) > SPLITS:
            raise Unsupported("omega over too many cases")
    return cases


def disjuncts(t: Term, positive: bool = True) -> list[list[Term]]:
    op, args = t.op, t.args
    if op == "¬":
        return disjuncts(args[0], not positive)
    if (op == "∧" and positive) or (op == "∨" and not positive):
        return [[*a, *b] for a in disjuncts(args[0], positive) for b in disjuncts(args[1], positive)]
    if (op == "∨" and positive) or (op == "∧" and not positive):
        return disjuncts(args[0], positive) + disjuncts(args[1], positive)
    if op == "→":
        return disjuncts(node("∨", node("¬", args[0]), args[1]), positive)
    if op == "↔":
        both = node("∧", *args) if positive else node("∧", args[0], node("¬", args[1]))
        neither = (
            node("∧", node("¬", args[0]), node("¬", args[1])) if positive else node("∧", node("¬", args[0]), args[1])
        )
        return disjuncts(both) + disjuncts(neither)
    if (op == "=" and not positive) or (op == "≠" and positive):
        return [[node("<", *args)], [node(">", *args)]]
    if op == "≠":
        return [[node("=", *args)]]
    if op in FLIP and not positive:
        return [[node(FLIP[op], *args)]]
    if op == "∣" and args[0].op == "num" and args[0].name.isdigit() and int(args[0].name) > 0:
        remainder = node("%", args[1], args[0])
        return [[node("=" if positive else ">", remainder, Term("num", name="0"))]]
    if op == "id" and t.name in ("False", "True"):
        return [] if (t.name == "False") == positive else [[]]
    return [[t]] if op in (*FLIP, "=") and positive else [[]]


def _box_contradiction(
    goal: FragmentGoal, case: Sequence[Term], comparisons: Sequence[Comparison], linear: Linear
) -> bool:
    """Whether no whole numbers within the bounds that the comparisons give satisfy the case."""
    variables = [(x, k) for x, k in goal.variables if any(mentions(t, {x}) for t in case)]
    if not variables or any(k not in ("ℕ", "ℤ") for _, k in variables):
        return False
    ranges = []
    size = 1.0
    for x, _ in variables:
        low, high = bounds_of(comparisons, ((x, 1),))
        if not (abs(low) < 1e9 and abs(high) < 1e9):
            return False
        ranges.append(range(int(low - 1e-6) - (low < 0), int(high + 1e-6) + 1))
        size *= len(ranges[-1])
    if size > 20_000:
        return False
    el = goal.elaborator()
    try:
        codes = [el.prop(t) for t in case]
        for values in itertools.product(*ranges):
            env = {x: v for (x, _), v in zip(variables, values, strict=True)}
            if any(k == "ℕ" and env[x] < 0 for x, k in variables):
                continue
            if all(code(env) for code in codes):
                return False
    except (Unsupported, Unsure):
        return False
    return True


def positivity(goal: FragmentGoal) -> None:
    t = goal.target
    if t.op in ("<", "≤", "≠") and t.args[0].op == "num" and t.args[0].name == "0":
        expression, wanted = t.args[1], t.op
    elif t.op in (">", "≥", "≠") and t.args[1].op == "num" and t.args[1].name == "0":
        expression, wanted = t.args[0], {">": "<", "≥": "≤", "≠": "≠"}[t.op]
    else:
        raise TacticError("positivity failed: not a positivity goal")
    found = sign_of(expression, goal)
    if found is None or (wanted in ("<", "≠") and found != "<"):
        raise TacticError("failed to prove positivity")


def sign_of(t: Term, goal: FragmentGoal) -> str | None:
    """ "<" if surely 0 < t, "≤" if surely 0 ≤ t, else None."""
    if t.op == "num":
        return "<" if float(t.name) > 0 else "≤"
    if t.op in ("+", "*", "/"):
        a, b = (sign_of(x, goal) for x in t.args)
        if a is None or b is None:
            return None
        return "<" if ("<" in (a, b) if t.op == "+" else a == b == "<") else "≤"
    if t.op == "^":
        below = sign_of(t.args[0], goal)
        even = t.args[1].op == "num" and t.args[1].name.isdigit() and int(t.args[1].name) % 2 == 0
        return below if below == "<" else "≤" if even or below else None
    if t.op in ("abs", "√"):
        return "<" if t.op == "√" and sign_of(t.args[0], goal) == "<" else "≤"
    for _, prop in goal.hypotheses:
        if prop.op in ("<", "≤", ">", "≥"):
            low, high = prop.args if prop.op in ("<", "≤") else prop.args[::-1]
            if low.op == "num" and float(low.name) >= 0 and render(high) == render(t):
                return "<" if prop.op in ("<", ">") or float(low.name) > 0 else "≤"
    el = goal.elaborator()
    try:
        return "≤" if el.value(t)[0] == "ℕ" else None
    except Unsupported:
        return None


def rewritten(goal: FragmentGoal, equations: Sequence[Term], once: bool = False) -> FragmentGoal:
    """The goal with each equation (possibly under ∀) used from left to right in the target."""
    target = goal.target
    for equation in equations:
        names: list[str] = []
        while equation.op == "∀":
            single = opened_quantifier(equation)
            names.append(single.bounds[0].names[0])
            equation = single.args[0]
        if equation.op != "=":
            raise TacticError(f"equation expected, `{render(equation)}` is none")
        left, right = equation.args
        if once and names:  # `rw` settles the variables at the first place that fits
            values = next((v for t in target.walk() if (v := matched(left, t, set(names))) is not None), {})
            left, right = substitute(left, values), substitute(right, values)
            names = [x for x in names if x not in values]
        changed = replace_all(target, left, right, set(names))
        if once and render(changed) == render(target):
            raise TacticError("motive is not type correct or did not find instance of the pattern")
        target = changed
    return FragmentGoal(goal.variables, goal.hypotheses, beta(target), goal.opened)


def replace_all(t: Term, left: Term, right: Term, names: set[str]) -> Term:
    values: dict[str, Term] = {}
    if match(left, t, names, values):
        return substitute(right, values)
    if left.op == "id" and not names:
        return substitute(t, {left.name: right})
    if not t.args:
        return t
    return Term(t.op, tuple(replace_all(a, left, right, names) for a in t.args), t.name, t.bounds)


def beta(t: Term) -> Term:
    """Functions applied to all their arguments, computed."""
    args = tuple(beta(a) for a in t.args)
    t = Term(t.op, args, t.name, t.bounds)
    if t.op == "app" and t.args[0].op == "fun":
        names = [x for b in t.args[0].bounds for x in b.names]
        if len(names) == len(args) - 1:
            return beta(substitute(args[0].args[0], dict(zip(names, args[1:], strict=True))))
    return t


def matched(pattern: Term, t: Term, names: set[str]) -> dict[str, Term] | None:
    values: dict[str, Term] = {}
    return values if match(pattern, t, names, values) else None


def match(pattern: Term, t: Term, names: set[str], values: dict[str, Term]) -> bool:
    if pattern.op == "id" and pattern.name in names:
        if pattern.name in values:
            return render(values[pattern.name]) == render(t)
        values[pattern.name] = t
        return True
    if pattern.op != t.op or pattern.name != t.name or len(pattern.args) != len(t.args) or pattern.bounds or t.bounds:
        return False
    return all(match(p, a, names, values) for p, a in zip(pattern.args, t.args, strict=True))


__all__ = ["ONE", "decide", "ground", "id_", "linarith", "norm_num", "omega", "positivity", "rewritten", "ring"]
