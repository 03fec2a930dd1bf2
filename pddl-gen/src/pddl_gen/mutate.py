"""Single edits of a domain: those that change its meaning nearly always, and those that never do."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .check import conjuncts
from .syntax import Action, Atom, Domain, Formula, Many, Not, Numeric, Params, Quantified, When, show, substitute

KINDS = (
    "drop-precondition",
    "drop-add",
    "drop-delete",
    "flip-precondition",
    "flip-effect",
    "swap-arguments",
    "swap-variable",
)
EQUIVALENT = ("rename-parameters", "reorder-literals", "split-types", "redundant-precondition")


@dataclass(frozen=True)
class Mutant:
    """An edited domain; `what` says in words what was done."""

    kind: str
    action: str
    what: str
    domain: Domain


def mutants(domain: Domain) -> Iterator[Mutant]:
    """Every single edit of KINDS that leaves the grammar, the types and all names right."""
    for action in domain.actions.values():
        for part in ("precondition", "effect"):
            literals = conjuncts(getattr(action, part))
            for i, literal in enumerate(literals):
                for kind, new, what in _edits(action, domain, part, literal):
                    changed = [*literals[:i], *new, *literals[i + 1 :]]
                    if part == "effect" and not changed:
                        continue
                    whole = Many("and", tuple(changed))
                    before = part == "precondition"
                    edited = replace(action, precondition=whole) if before else replace(action, effect=whole)
                    yield Mutant(kind, action.name, what, _with(domain, edited))


def sample(domain: Domain, count: int, rng: random.Random) -> list[Mutant]:
    """Mutants drawn evenly over kinds, then over edits, without repeats."""
    by_kind: dict[str, list[Mutant]] = {}
    for m in mutants(domain):
        by_kind.setdefault(m.kind, []).append(m)
    for group in by_kind.values():
        rng.shuffle(group)
    found: list[Mutant] = []
    while by_kind and len(found) < count:
        for kind in sorted(by_kind, key=lambda k: rng.random()):
            found.append(by_kind[kind].pop())
            if not by_kind[kind]:
                del by_kind[kind]
    return found[:count]


def _edits(action: Action, domain: Domain, part: str, literal: Formula) -> Iterator[tuple[str, Sequence[Formula], str]]:
    atom = literal.part if isinstance(literal, Not) else literal
    if not isinstance(atom, Atom):
        if isinstance(literal, When | Quantified) and part == "effect":
            yield "drop-add", (), f"{action.name}: effect {show(literal)} dropped"
        return
    where = f"{action.name}: {part} {show(literal)}"
    negative = isinstance(literal, Not)
    drop = "drop-precondition" if part == "precondition" else "drop-delete" if negative else "drop-add"
    yield drop, (), f"{where} dropped"
    if atom.name != "=":
        flipped: Formula = atom if negative else Not(atom)
        yield f"flip-{part}", (flipped,), f"{where} turned into {show(flipped)}"

    def changed(args: Sequence[str]) -> Formula:
        new: Formula = Atom(atom.name, tuple(args))
        return Not(new) if negative else new

    kinds = dict(action.params)
    declared = domain.predicates.get(atom.name)
    for i in range(len(atom.args)):
        for j in range(i + 1, len(atom.args)):
            a, b = atom.args[i], atom.args[j]
            if a == b or declared is None or a not in kinds or b not in kinds:
                continue
            if all(_below(domain, kinds[x], declared.params[k][1]) for x, k in ((a, j), (b, i))):
                args = list(atom.args)
                args[i], args[j] = b, a
                yield "swap-arguments", (changed(args),), f"{where}: {a} and {b} swapped"
        for other, types in action.params:
            if other != atom.args[i] and types == kinds.get(atom.args[i]):
                args = list(atom.args)
                args[i] = other
                yield "swap-variable", (changed(args),), f"{where}: {atom.args[i]} replaced by {other}"


def _below(domain: Domain, types: Sequence[str], declared: Sequence[str]) -> bool:
    return all(any(d in domain.supertypes(t) for d in declared) for t in types)


def _with(domain: Domain, action: Action) -> Domain:
    return replace(domain, actions={**domain.actions, action.name: action})


def equivalents(domain: Domain, rng: random.Random) -> Iterator[Mutant]:
    """One edit of each kind of EQUIVALENT that does not change what the domain means."""
    actions = {n: _renamed(a) for n, a in domain.actions.items()}
    yield Mutant("rename-parameters", "", "all parameters renamed", replace(domain, actions=actions))
    actions = {n: _shuffled(a, rng) for n, a in domain.actions.items()}
    order = dict(sorted(domain.predicates.items(), key=lambda item: rng.random()))
    yield Mutant(
        "reorder-literals",
        "",
        "literals and predicates in another order",
        replace(domain, actions=actions, predicates=order),
    )
    if domain.types:
        types = dict(domain.types)
        name = rng.choice(sorted(types))
        types[name], types[f"{name}-base"] = (f"{name}-base",), types[name]
        yield Mutant("split-types", "", f"a type between {name} and its parent", replace(domain, types=types))
    action = rng.choice(list(domain.actions.values()))
    parts = conjuncts(action.precondition)
    if parts:
        doubled = replace(action, precondition=Many("and", (*parts, Many("or", (parts[0], parts[0])))))
        requirements = tuple(dict.fromkeys((*domain.requirements, ":disjunctive-preconditions")))
        yield Mutant(
            "redundant-precondition",
            action.name,
            f"{action.name}: {show(parts[0])} is asked for twice, once as a disjunction",
            replace(_with(domain, doubled), requirements=requirements),
        )


def _renamed(action: Action) -> Action:
    names = {v: f"?p{i}" for i, (v, _) in enumerate(action.params)}
    params: Params = tuple((names[v], t) for v, t in action.params)
    return replace(
        action,
        params=params,
        precondition=substitute(action.precondition, names),
        effect=substitute(action.effect, names),
    )


def _shuffled(action: Action, rng: random.Random) -> Action:
    def mixed(f: Formula) -> Formula:
        parts = [*conjuncts(f)]
        if any(isinstance(p, Numeric) for p in parts):
            parts = parts[::-1]
        else:
            rng.shuffle(parts)
        return Many("and", tuple(parts))

    return replace(action, precondition=mixed(action.precondition), effect=mixed(action.effect))
