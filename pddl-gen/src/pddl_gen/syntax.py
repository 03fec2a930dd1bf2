"""PDDL as data: what a domain and a problem are made of, and their canonical text.

Equality compares meaning on the page (names, order), never places: `form` points back to where a node was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .forms import Form

OBJECT = "object"
Types = tuple[str, ...]  # more than one: (either a b)
Params = tuple[tuple[str, Types], ...]  # variables with their question mark


@dataclass(slots=True)
class Atom:
    """A predicate applied to variables and objects; with `=` as its name, equality."""

    name: str
    args: tuple[str, ...]
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Not:
    part: Formula
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Many:
    """`op` is "and", "or" or "imply" (two parts)."""

    op: str
    parts: tuple[Formula, ...]
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Quantified:
    """`op` is "forall" or "exists"."""

    op: str
    params: Params
    body: Formula
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class When:
    condition: Formula
    effect: Formula
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Numeric:
    """An expression over numbers.

    `op` is "fluent" (name in `name`, terms in `args`), "number" (`value`), "term" (`?duration`, `#t`, `total-time`),
    an operator + - * / over `parts`, a comparison < <= > >= = over two `parts`, or an effect assign, increase,
    decrease, scale-up, scale-down over two.
    """

    op: str
    name: str = ""
    args: tuple[str, ...] = ()
    value: float = 0.0
    parts: tuple[Numeric, ...] = ()
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Modal:
    """A time or trajectory operator around formulas: at start, over all, preference, always, sometime-before, ..."""

    op: str
    parts: tuple[Formula, ...]
    form: Form | None = field(default=None, compare=False, repr=False)


Formula = Atom | Not | Many | Quantified | When | Numeric | Modal
EMPTY = Many("and", ())


@dataclass(slots=True)
class Signature:
    """A declared predicate or function."""

    name: str
    params: Params
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Action:
    name: str
    params: Params
    precondition: Formula = field(default_factory=lambda: EMPTY)
    effect: Formula = field(default_factory=lambda: EMPTY)
    duration: Formula | None = None  # of a durative action
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Derived:
    head: Signature
    body: Formula
    form: Form | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class Domain:
    """`types` maps each declared type to its parents (several for a type declared several times)."""

    name: str
    requirements: tuple[str, ...] = ()
    types: dict[str, Types] = field(default_factory=dict)
    constants: dict[str, Types] = field(default_factory=dict)
    predicates: dict[str, Signature] = field(default_factory=dict)
    functions: dict[str, Signature] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    derived: list[Derived] = field(default_factory=list)
    constraints: Formula | None = None
    meta: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # what the reader saw beside

    def supertypes(self, name: str) -> frozenset[str]:
        """The type, its ancestors and `object`."""
        found, todo = {OBJECT}, [name]
        while todo:
            kind = todo.pop()
            if kind not in found:
                found.add(kind)
                todo.extend(self.types.get(kind, ()))
        return frozenset(found)


@dataclass(slots=True)
class Problem:
    name: str
    domain: str
    requirements: tuple[str, ...] = ()
    objects: dict[str, Types] = field(default_factory=dict)
    init: list[Atom] = field(default_factory=list)
    values: dict[tuple[str, ...], float] = field(default_factory=dict)  # initial values of functions
    goal: Formula = field(default_factory=lambda: EMPTY)
    metric: tuple[str, Numeric] | None = None  # "minimize" or "maximize", and of what
    timed: list[tuple[float, Formula]] = field(default_factory=list)
    constraints: Formula | None = None
    meta: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


# canonical text


def print_domain(domain: Domain) -> str:
    """A domain's canonical text: parse and check give the same domain again, and the same text."""
    lines = [f"(define (domain {domain.name})"]
    if domain.requirements:
        lines.append(f"  (:requirements {' '.join(domain.requirements)})")
    if domain.types:
        pairs = ((name, (parent,)) for name, parents in domain.types.items() for parent in parents or (OBJECT,))
        lines.append(f"  (:types {_typed(pairs, plain=False)})")
    if domain.constants:
        lines.append(f"  (:constants {_typed(domain.constants.items(), plain=False)})")
    if domain.predicates:
        lines.append("  (:predicates\n" + "\n".join(f"    {signature(p)}" for p in domain.predicates.values()) + ")")
    if domain.functions:
        lines.append(
            "  (:functions\n" + "\n".join(f"    {signature(f)} - number" for f in domain.functions.values()) + ")"
        )
    if domain.constraints is not None:
        lines.append(f"  (:constraints {show(domain.constraints)})")
    lines += [f"  (:derived {signature(d.head)} {show(d.body)})" for d in domain.derived]
    lines += [_action(action) for action in domain.actions.values()]
    return "\n".join(lines) + ")\n"


def print_problem(problem: Problem) -> str:
    """A problem's canonical text."""
    lines = [f"(define (problem {problem.name})", f"  (:domain {problem.domain})"]
    if problem.requirements:
        lines.append(f"  (:requirements {' '.join(problem.requirements)})")
    if problem.objects:
        lines.append(f"  (:objects {_typed(problem.objects.items(), plain=False)})")
    facts = [show(a) for a in problem.init]
    facts += [f"(= ({' '.join(head)}) {number(value)})" for head, value in problem.values.items()]
    facts += [f"(at {number(at)} {show(what)})" for at, what in problem.timed]
    lines.append("  (:init\n" + "\n".join(f"    {fact}" for fact in facts) + ")")
    lines.append(f"  (:goal {show(problem.goal)})")
    if problem.constraints is not None:
        lines.append(f"  (:constraints {show(problem.constraints)})")
    if problem.metric is not None:
        lines.append(f"  (:metric {problem.metric[0]} {show(problem.metric[1])})")
    return "\n".join(lines) + ")\n"


def _action(action: Action) -> str:
    durative = action.duration is not None
    lines = [
        f"  (:{'durative-action' if durative else 'action'} {action.name}",
        f"    :parameters ({_typed(action.params)})",
    ]
    if action.duration is not None:
        lines.append(f"    :duration {show(action.duration)}")
    lines.append(f"    :{'condition' if durative else 'precondition'} {show(action.precondition)}")
    lines.append(f"    :effect {show(action.effect)})")
    return "\n".join(lines)


def signature(s: Signature) -> str:
    """A predicate or function as it is declared."""
    return f"({' '.join(filter(None, (s.name, _typed(s.params))))})"


def show(f: Formula) -> str:
    """A formula's text."""
    if isinstance(f, Atom):
        return f"({' '.join((f.name, *f.args))})"
    if isinstance(f, Not):
        return f"(not {show(f.part)})"
    if isinstance(f, Quantified):
        return f"({f.op} ({_typed(f.params)}) {show(f.body)})"
    if isinstance(f, When):
        return f"(when {show(f.condition)} {show(f.effect)})"
    if isinstance(f, Numeric):
        if f.op == "number":
            return number(f.value)
        if f.op == "term":
            return f.name
        if f.op == "fluent":
            return f"({' '.join((f.name, *f.args))})"
    parts = [f.op]
    for part in f.parts:
        parts.append(show(part))
    return f"({' '.join(parts)})"


def number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _typed(items: Iterable[tuple[str, Types]], plain: bool = True) -> str:
    """A typed list; `plain` leaves a list without types as it is when every type is `object`."""
    groups: list[tuple[list[str], Types]] = []
    for name, types in items:
        if groups and groups[-1][1] == types:
            groups[-1][0].append(name)
        else:
            groups.append(([name], types))
    if plain and all(types == (OBJECT,) for _, types in groups):
        return " ".join(name for names, _ in groups for name in names)
    return " ".join(f"{' '.join(names)} - {kind(types)}" for names, types in groups)


def kind(types: Types) -> str:
    return types[0] if len(types) == 1 else f"(either {' '.join(types)})"


def substitute(f: Formula, binding: Mapping[str, str]) -> Formula:
    """The formula with terms replaced; variables that a quantifier binds inside are left alone."""
    if isinstance(f, Atom):
        return Atom(f.name, tuple(binding.get(a, a) for a in f.args), f.form)
    if isinstance(f, Not):
        return Not(substitute(f.part, binding), f.form)
    if isinstance(f, When):
        return When(substitute(f.condition, binding), substitute(f.effect, binding), f.form)
    if isinstance(f, Quantified):
        own = {v for v, _ in f.params}
        inner = {k: v for k, v in binding.items() if k not in own}
        return Quantified(f.op, f.params, substitute(f.body, inner), f.form)
    if isinstance(f, Numeric):
        args = tuple(binding.get(a, a) for a in f.args)
        parts = tuple([substitute(p, binding) for p in f.parts])
        return Numeric(f.op, f.name, args, f.value, parts, f.form)  # type: ignore[arg-type]
    parts = tuple([substitute(p, binding) for p in f.parts])
    return Many(f.op, parts, f.form) if isinstance(f, Many) else Modal(f.op, parts, f.form)
