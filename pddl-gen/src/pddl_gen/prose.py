"""A problem in English, from the sentences of a suite domain's words.json."""

from __future__ import annotations

from collections.abc import Mapping

from .check import conjuncts
from .syntax import Action, Atom, Domain, Formula, Not, Problem, kind


def sentence(fact: Formula, words: Mapping[str, str]) -> str:
    """A literal as a sentence without its full stop."""
    if isinstance(fact, Not) and isinstance(fact.part, Atom):
        return f"it is not the case that {sentence(fact.part, words)}"
    assert isinstance(fact, Atom)
    return words[fact.name].format(*fact.args)


def situation(problem: Problem, words: Mapping[str, str]) -> str:
    """Objects, initial state and goal."""
    kinds: dict[str, list[str]] = {}
    for name, types in problem.objects.items():
        kinds.setdefault(kind(types), []).append(name)
    lines = ["Problem:", "Objects:"]
    lines += [f"- {name}: {', '.join(objects)}" for name, objects in kinds.items()]
    lines.append("At the beginning, and nothing else:")
    lines += [f"- {sentence(fact, words)}" for fact in problem.init]
    lines.append("Goal:")
    lines += [f"- {sentence(fact, words)}" for fact in conjuncts(problem.goal)]
    return "\n".join(lines)


def interface(action: Action) -> str:
    """An action's name and arguments, without its rules."""
    arguments = " ".join(f"<{v[1:]}: {kind(types)}>" for v, types in action.params)
    return f"({' '.join(filter(None, (action.name, arguments)))})"


def interfaces(domain: Domain) -> str:
    return "\n".join(interface(action) for action in domain.actions.values())
