"""Meaning without a reference: hints that a domain may not say what was meant. None of them counts as a failure.

On the domain alone: predicates that nothing reads or nothing writes, parameters that nothing uses. On a problem, when
nothing is ever deleted: actions that can never apply, goals that can never hold. Along random walks: things that are at
one place in the beginning and at two later (a hint, as some true domains do that).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from .check import conjuncts
from .errors import PDDLGenError
from .ground import Fact, GroundLimits, Task, bits, ground
from .parse import parse_problem
from .search import SearchLimits, satisficing
from .syntax import Atom, Domain, Formula, Many, Modal, Not, Quantified, When, show

WALKS, STEPS = 20, 15


def hints(domain: Domain, problem: str | None = None) -> list[str]:
    """Sentences, the surest first. `problem` is the text of one that was shown; what does not fit is a hint too."""
    found = list(_unused(domain))
    if problem is None:
        return found
    parsed = parse_problem(problem, domain)
    if not parsed.ok or parsed.value is None:
        words = parsed.errors[0].message if parsed.errors else "it cannot be read"
        return [f"the given problem does not fit the domain: {words}", *found]
    try:
        task = ground(domain, parsed.value, GroundLimits(operators=100_000))
    except PDDLGenError as error:
        return [*found, f"the given problem was not grounded: {error}"]
    return [*_unreachable(task), *found, *_gains(task)]


def solvable(domain: Domain, problem: str) -> str:
    """One sentence on whether the given problem has a plan: it is part of a Prob2Domain input, so this is no oracle."""
    parsed = parse_problem(problem, domain)
    if not parsed.ok or parsed.value is None:
        return "The given problem does not fit the domain."
    try:
        found = satisficing(ground(domain, parsed.value), SearchLimits(5.0, 20_000))
    except PDDLGenError as error:
        return f"The given problem was not grounded: {error}."
    if found.plan is not None:
        return f"The given problem has a plan: {' '.join(str(op) for op in found.plan) or 'the empty one'}."
    return "The given problem has no plan." if found.status == "unsolvable" else "No plan was found within the limits."


def _atoms(f: Formula, effect: bool = False) -> Iterator[tuple[Atom, bool]]:
    """(atom, whether an effect writes it)."""
    if isinstance(f, Atom):
        yield f, effect
    elif isinstance(f, Not):
        yield from _atoms(f.part, effect)
    elif isinstance(f, Many | Modal):
        for part in f.parts:
            yield from _atoms(part, effect)
    elif isinstance(f, Quantified):
        yield from _atoms(f.body, effect)
    elif isinstance(f, When):
        yield from _atoms(f.condition)
        yield from _atoms(f.effect, effect)


def _unused(domain: Domain) -> Iterator[str]:
    read: set[str] = {a.name for d in domain.derived for a, _ in _atoms(d.body)}
    written: set[str] = {d.head.name for d in domain.derived}
    for action in domain.actions.values():
        both = [*_atoms(action.precondition), *_atoms(action.effect, True)]
        read |= {a.name for a, effect in both if not effect}
        written |= {a.name for a, effect in both if effect}
        words = f"{show(action.precondition)} {show(action.effect)}".replace("(", " ").replace(")", " ").split()
        for variable, _ in action.params:
            if variable not in words:
                yield f"action {action.name}: the parameter {variable} is not used"
        conditions = {show(c) for c in conjuncts(action.precondition)}
        for c in conjuncts(action.effect):
            if isinstance(c, Atom) and show(c) in conditions:
                yield f"action {action.name}: the effect {show(c)} holds already by the precondition"
    for name in domain.predicates:
        if name not in read | written:
            yield f"the predicate {name} occurs in no action"


def _unreachable(task: Task) -> Iterator[str]:
    used = {op.name[0] for op in task.operators}
    reached = task.init
    for op in task.operators:  # what can be reached was kept by grounding
        reached |= op.add
        for _, add, _ in op.conditional:
            reached |= add
    for name, action in task.domain.actions.items():
        if name in used:
            continue
        names = {task.facts[b][0] for b in bits(reached)} | {f[0] for f in task.static}
        lacking = [
            show(c) for c in conjuncts(action.precondition) if isinstance(c, Atom) and c.name not in {*names, "="}
        ]
        yield f"action {name} can never apply in the given problem" + (
            f": nothing makes {lacking[0]} true" if lacking else ""
        )
    for goal in conjuncts(task.problem.goal):
        clauses = task.compiler.clauses(goal, {})
        if not any(reached & yes == yes for yes, _ in clauses):
            yield f"the goal {show(goal)} of the given problem can never hold: no action that applies makes it true"


def _gains(task: Task) -> list[str]:
    """Things (first arguments) of which exactly one fact of a predicate holds at first, and more than one later."""
    counts = Counter((fact[0], fact[1]) for fact in task.true(task.init) if len(fact) > 2)
    single = {name for name, _ in counts} - {name for (name, _), n in counts.items() if n > 1}
    rng = random.Random(0)
    found: dict[tuple[str, str], str] = {}
    for _ in range(WALKS):
        state = task.init
        for _ in range(STEPS):
            options = task.applicable(state)
            if not options:
                break
            op = rng.choice(options)
            state = task.apply(state, op)
            now: dict[tuple[str, str], list[Fact]] = {}
            for fact in task.true(state):
                if len(fact) > 2 and fact[0] in single:
                    now.setdefault((fact[0], fact[1]), []).append(fact)
            for (name, thing), facts in now.items():
                if len(facts) > 1 and (name, op.name[0]) not in found:
                    both = " and ".join(f"({' '.join(f)})" for f in facts[:2])
                    found[name, op.name[0]] = f"after {op} both {both} hold, where at first {thing} had one {name}"
    return list(found.values())
