"""Disproof without Lean: values that make every hypothesis exactly true and the goal exactly false.

Candidates are boxes of whole numbers when the hypotheses bound them, small grids with Lean's traps first, exact
solutions of the equations among the hypotheses, and the same with a denominator or radicand set to zero. A
refutation is accepted only if each hypothesis evaluates to True and the goal to False in exact arithmetic.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import Unsupported, Unsure
from ..lean.goal import Goal
from ..lean.lexer import lex
from ..lean.negation import all_binders, with_phantoms
from ..lean.statement import COMMANDS, Statement
from ..lean.terms import Term, parse_term
from . import numbers as n
from .elaborate import FUEL, LADDER, Elaborator, Scope, Truth, Type, conjuncts, grid
from .solve import sample, solutions

HARMLESS = frozenset(("open", "variable", "set_option", "universe", "section", "namespace", "end", "import", "export"))


@dataclass(frozen=True)
class Refutation:
    """A counterexample. `values` are shown as text; `script` is a Lean proof sketch of the negation, not checked."""

    values: Mapping[str, str]
    assignment: Mapping[str, Any]
    how: str  # which candidates found it
    script: str
    tried: int


@dataclass(frozen=True)
class Survived:
    """No counterexample among `tried` candidates. `satisfiable`: some candidate satisfied every hypothesis."""

    tried: int
    satisfiable: bool
    proved: bool = False  # every case of a finite statement was decided


@dataclass(frozen=True)
class OutsideFragment:
    """The statement is not understood here; never a verdict."""

    reason: str


Outcome = Refutation | Survived | OutsideFragment


@dataclass
class Problem:
    """A statement in the fragment: variables, hypotheses and goal as functions of an assignment."""

    kinds: dict[str, Type]
    hypotheses: list[Truth]
    hypothesis_terms: list[Term]
    goal: Truth
    goal_term: Term
    elaborator: Elaborator
    defined: list[tuple[str, Any]] = field(default_factory=list)  # name, code: computed from the others, in order

    @property
    def free(self) -> dict[str, Type]:
        names = {name for name, _ in self.defined}
        return {x: k for x, k in self.kinds.items() if x not in names}


def opened_namespaces(preamble: str) -> frozenset[str]:
    """Namespaces whose names are visible. `open scoped Nat` only brings its notation, told by the mark `scoped:`.

    Raises:
        Unsupported: the preamble declares something.
    """
    tokens, spaces, i = lex(preamble).tokens, set(), 0
    while i < len(tokens):
        word = tokens[i].text
        if word in COMMANDS and word not in HARMLESS:
            raise Unsupported(f"the preamble has `{word}`")
        if word in ("open", "namespace"):
            i += 1
            scoped = i < len(tokens) and tokens[i].text == "scoped"
            i += scoped
            while i < len(tokens) and tokens[i].kind == "ident" and tokens[i].text not in COMMANDS | {"in", "hiding"}:
                if not scoped:
                    spaces.add(tokens[i].text)
                else:
                    spaces.add(f"scoped:{tokens[i].text}")
                i += 1
            continue
        i += 1
    return frozenset(spaces)


def formulate(st: Statement, goal: Goal | None = None) -> Problem:
    """The statement as a problem in the fragment.

    Raises:
        Unsupported: something is outside.
    """
    st = with_phantoms(st, goal)
    opened = opened_namespaces(st.preamble)
    el = Elaborator(opened=opened)
    if not st.type or st.target.kind not in ("theorem", "lemma", "example"):
        raise Unsupported("the target is not a theorem")
    kinds: dict[str, Type] = {}
    terms: list[Term] = []
    for b in all_binders(st):
        if b.kind == "instance" or not b.type:
            raise Unsupported("an instance or a binder without a type")
        term = parse_term(b.type)
        try:
            kind = el.type_of(term)
        except Unsupported:
            if term.op in ("id", "app") and term.spine()[0].name in ("Type", "Sort", "Prop"):
                raise
            terms += conjuncts(term)
            continue
        for name in b.names:
            kinds[name] = kind
            el.types[name] = kind
    inner = parse_term(st.type)
    while inner.op in ("∀", "→"):
        if inner.op == "→":
            terms += conjuncts(inner.args[0])
            inner = inner.args[1]
            continue
        for bound in inner.bounds:
            for name in bound.names:
                if name in kinds:
                    raise Unsupported("a variable is shadowed")
                fact = None
                if bound.relation and bound.bound is not None:
                    fact = Term(bound.relation, (Term("id", name=name), bound.bound))
                if fact is not None and fact.op == "∈":
                    kinds[name] = el.set_code(fact.args[1]).type
                elif bound.type is not None:
                    kinds[name] = el.type_of(bound.type)
                else:
                    kinds[name] = el.infer(name, inner.args[0] if fact is None else Term("∧", (fact, inner.args[0])))
                el.types[name] = kinds[name]
                terms += [fact] if fact is not None else []
        inner = inner.args[0]
    defined = definitions(el, kinds, terms)
    hypotheses = [el.prop(t) for t in terms]
    loose = [
        x for x, k in kinds.items() if k not in LADDER and x not in {d for d, _ in defined} and x not in el.set_terms
    ]
    pairs = [x for x in loose if isinstance(kinds[x], tuple) and kinds[x][0] == "prod"]
    if set(loose) - set(pairs):
        raise Unsupported(f"{loose[0]} has a type without candidates")
    goal_code = el.prop(inner)
    return Problem(kinds, hypotheses, terms, goal_code, inner, el, defined)


def definitions(el: Elaborator, kinds: Mapping[str, Type], terms: list[Term]) -> list[tuple[str, Any]]:
    """Hypotheses `x = e`, `f = fun x => e` and `∀ x, f x = e` that define a variable; they are taken out of `terms`.

    A definition holds by construction, also over infinitely many arguments, where sampling could not confirm it.
    """
    found: list[tuple[str, Any]] = []
    depends: dict[str, set[str]] = {}

    def reaches(start: Term, target: str) -> bool:
        todo, seen = {x.name.partition(".")[0] for x in start.walk() if x.op == "id"}, set()
        while todo:
            name = todo.pop()
            if name == target:
                return True
            seen.add(name)
            todo |= depends.get(name, set()) - seen
        return False

    for term in list(terms):
        made = _definition(el, kinds, term, depends, reaches)
        if made is None:
            continue
        name, code, body = made
        if code is not None:
            found.append((name, code))
        depends[name] = {x.name.partition(".")[0] for x in body.walk() if x.op == "id"} & set(kinds)
        terms.remove(term)
    ordered: list[tuple[str, Any]] = []
    waiting = list(found)
    while waiting:
        for item in waiting:
            if not depends[item[0]] & {x for x, _ in waiting if x != item[0]}:
                ordered.append(item)
                waiting.remove(item)
                break
        else:
            raise Unsupported("definitions in a circle")
    return ordered


def _definition(el: Elaborator, kinds: Mapping[str, Type], term: Term, depends: Mapping[str, Any], reaches: Any) -> Any:
    if term.op == "=":
        for left, right in (term.args, term.args[::-1]):
            name = left.name if left.op == "id" else ""
            if name not in kinds or name in depends or reaches(right, name):
                continue
            kind = kinds[name]
            if isinstance(kind, tuple) and kind[0] == "set":
                el.set_terms[name] = right
                return name, None, right
            if kind == "ℕ" or (kind in LADDER and mentions_function(right, kinds)):
                return None  # the equation may live in a larger type: solve it instead
            try:
                code = el.as_type(right, kind)
                if kind in LADDER and el.relation_type(term) != kind:
                    return None
            except Unsupported:
                continue
            return name, code, right
    if term.op == "∀" and term.args[0].op == "=" and all(not b.relation for b in term.bounds):
        names = [x for b in term.bounds for x in b.names]
        for left, right in (term.args[0].args, term.args[0].args[::-1]):
            head, args = left.spine()
            function = head.name if head.op == "id" else ""
            kind = kinds.get(function)
            if not (isinstance(kind, tuple) and kind[0] == "fun") or function in depends or reaches(right, function):
                continue
            if [a.name for a in args] != names or any(a.op != "id" for a in args) or len(kind[1]) != len(names):
                continue
            given = [el.type_of(b.type) if b.type is not None else None for b in term.bounds for _ in b.names]
            if any(g is not None and g != k for g, k in zip(given, kind[1], strict=True)):
                continue
            try:
                with Scope(el, dict(zip(names, kind[1], strict=True))):
                    body = el.as_type(right, kind[2])
                    if el.relation_type(term.args[0]) != kind[2]:
                        continue
            except Unsupported:
                continue
            return function, _callable(names, body), right
    return None


def mentions_function(t: Term, kinds: Mapping[str, Type]) -> bool:
    return any(x.op == "id" and isinstance(kinds.get(x.name), tuple) and kinds[x.name][0] == "fun" for x in t.walk())


def _callable(names: list[str], body: Any) -> Any:
    return lambda e: lambda *xs: body({**e, **dict(zip(names, xs, strict=True))})


def refute(st: Statement, budget: float = 0.5, seed: int = 0, goal: Goal | None = None) -> Outcome:
    """Looks for a counterexample for `budget` CPU-seconds; the same seed tries the same candidates.

    Args:
        st: the statement.
        goal: Lean's own goal, for variables that Lean invented.
    """
    try:
        problem = formulate(st, goal)
    except Unsupported as error:
        return OutsideFragment(str(error))
    except RecursionError:
        return OutsideFragment("the statement is nested too deeply")
    return search(problem, st, budget, seed)


def search(problem: Problem, st: Statement, budget: float, seed: int) -> Outcome:
    """As `refute`, on a formulated problem."""
    rng = random.Random(seed)
    tried, satisfiable = 0, False
    limit = problem.elaborator.fuel.deadline = time.process_time() + budget
    free = problem.free
    box = whole_box(problem, free)
    proved = True
    for how, candidate in candidates(problem, free, box, rng):
        tried += 1
        if time.process_time() > limit:
            proved = False
            break
        truth, env = check(problem, candidate)
        satisfiable |= truth is not None
        if truth is False:
            shown = {x: show(env[x]) for x in problem.kinds if x in env and not callable(env[x])}
            return Refutation(shown, env, how, script(st, shown, problem.kinds), tried)
        proved &= truth is True or (
            box is not None and truth is None and how == "box" and not undecided(problem, candidate)
        )
    return Survived(tried, satisfiable, proved and (box is not None or not free))


def undecided(problem: Problem, candidate: Mapping[str, Any]) -> bool:
    return check(problem, candidate, strict=True)[0] is None


def check(problem: Problem, candidate: Mapping[str, Any], strict: bool = False) -> tuple[bool | None, dict[str, Any]]:
    """The goal's truth where all hypotheses are True; None where they are not, or where something is undecided.

    With `strict` a failed hypothesis counts as True (the case is closed), so that None is left for undecided alone.
    """
    env = dict(candidate)
    try:
        problem.elaborator.fuel.left = FUEL
        for name, code in problem.defined:
            env[name] = code(env)
        for h in problem.hypotheses:
            found = h(env)
            if found is not True:
                return (True if strict and found is False else None), env
        return problem.goal(env), env
    except (Unsure, ZeroDivisionError, OverflowError, RecursionError, KeyError):
        return None, env


def candidates(
    problem: Problem, free: Mapping[str, Type], box: list[Sequence[int]] | None, rng: random.Random
) -> Iterator[tuple[str, dict[str, Any]]]:
    """All candidates, cheapest and likeliest first; the stream of solutions does not end by itself."""
    names = list(free)
    if not names:
        yield "no variables", {}
        return
    if any(k not in LADDER for k in free.values()):
        yield from ((how, c) for how, c in _pairs(free, rng))
        return
    if box is not None:
        for values in itertools.product(*box):
            yield "box", dict(zip(names, values, strict=True))
        return
    for value in (0, 1, -1, 2):
        if value >= 0 or "ℕ" not in free.values():
            yield "ties", {x: coerce(value, k) for x, k in free.items()}
    equations = equation_codes(problem)
    for found in attempts(equations, free, rng, 12):
        yield "equations", found
    traps = [(code, names_) for code, names_ in problem.elaborator.denominators if names_ & set(free)]
    for code, _ in traps[:12]:
        for found in attempts([vanishing(problem, code), *equations], free, rng, 4):
            yield "a vanishing denominator", found
        for found in attempts([*equations[:0], vanishing(problem, code)], free, rng, 2):
            yield "a vanishing denominator", found
    grids = [grid(k, min(len(names), 4)) for k in free.values()]
    for values in itertools.islice(itertools.product(*grids), 3000):
        yield "grid", dict(zip(names, values, strict=True))
    for _ in range(20_000):
        if equations and rng.random() < 0.8:
            for found in attempts(equations[: rng.randint(1, len(equations))], free, rng, 1):
                yield "equations", found
        else:
            yield "random", {x: sample(k, rng) for x, k in free.items()}


def _pairs(free: Mapping[str, Type], rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    def draw(kind: Type) -> Any:
        return tuple(draw(k) for k in kind[1:]) if isinstance(kind, tuple) and kind[0] == "prod" else sample(kind, rng)

    for _ in range(4000):
        yield "random", {x: draw(k) for x, k in free.items()}


def attempts(
    equations: list[Any], free: Mapping[str, Type], rng: random.Random, times: int
) -> Iterator[dict[str, Any]]:
    for _ in range(times if equations else 0):
        try:
            yield from itertools.islice(solutions(equations, dict(free), {}, rng), 8)
        except (Unsure, KeyError, OverflowError, RecursionError):
            continue


def equation_codes(problem: Problem) -> list[Any]:
    """Each equation among the hypotheses as a difference that must vanish, with defined variables filled in."""
    codes = []
    for term in problem.hypothesis_terms:
        if term.op != "=":
            continue
        try:
            kind = problem.elaborator.relation_type(term)
            a, b = (problem.elaborator.as_type(x, kind) for x in term.args)
        except Unsupported:
            continue
        codes.append(vanishing(problem, lambda e, a=a, b=b: a(e) - b(e)))
    return codes


def vanishing(problem: Problem, code: Any) -> Any:
    def difference(e: dict[str, Any]) -> Any:
        full = dict(e)
        for name, make in problem.defined:
            full[name] = make(full)
        return code(full)

    return difference


def whole_box(problem: Problem, free: Mapping[str, Type]) -> list[Sequence[int]] | None:
    """Ranges of all whole variables, where the hypotheses bound every one and there are at most 40,000 cases."""
    if not free or any(k not in ("ℕ", "ℤ") for k in free.values()) or not problem.hypothesis_terms:
        return None
    stated = problem.hypothesis_terms[0]
    for t in problem.hypothesis_terms[1:]:
        stated = Term("∧", (stated, t))
    cases = 1
    ranges: list[Sequence[int]] = []
    for name in free:
        try:
            listed = problem.elaborator.limits(name, stated, set(problem.kinds) - {name})
            if listed is None:
                return None
            values = listed({})
        except (Unsupported, Unsure, KeyError):
            return None
        cases *= max(len(values), 1)
        if cases > 40_000:
            return None
        ranges.append(values)
    return ranges


def coerce(value: int, kind: Type) -> Any:
    from fractions import Fraction

    return Fraction(value) if kind in ("ℚ", "ℝ") else value


def show(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))})"
    if isinstance(value, n.Quad):
        return f"{value.a} + {value.b} * √{value.d}"
    return str(value)


def script(st: Statement, values: Mapping[str, str], kinds: Mapping[str, Type]) -> str:
    """A proof sketch of the closed negation: instantiate the statement at the counterexample, then compute."""
    arguments = " ".join(
        f"({v.replace('√', 'Real.sqrt ')} : {kinds[x]})" if kinds[x] in LADDER else "_" for x, v in values.items()
    )
    return f"  intro h\n  have := h {arguments}\n  norm_num at this\n" if values else "  norm_num\n"
