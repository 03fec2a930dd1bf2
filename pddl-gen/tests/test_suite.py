"""The suite: references without findings, problems at their optimal costs, examples that show the whole vocabulary."""

from __future__ import annotations

import pytest

from pddl_gen import suite
from pddl_gen.check import conjuncts
from pddl_gen.ground import ground
from pddl_gen.parse import parse_domain, parse_problem
from pddl_gen.search import SearchLimits, optimal
from pddl_gen.syntax import Not


def vocabulary(problem):
    goal = [f.part.name if isinstance(f, Not) else f.name for f in conjuncts(problem.goal)]
    return {a.name for a in problem.init} | set(goal)


@pytest.mark.parametrize("name", suite.NAMES)
def test_references_and_problems(name):
    folder = suite.load(name)
    reference = parse_domain(folder.domain)
    assert reference.ok and not reference.diagnostics
    assert set(folder.words) == set(reference.value.predicates)
    shown = vocabulary(parse_problem(folder.example, reference.value).value)
    for text, cost in zip(folder.problems, folder.optimal_costs, strict=True):
        problem = parse_problem(text, reference.value)
        assert problem.ok and not problem.diagnostics
        assert vocabulary(problem.value) <= shown
        assert optimal(ground(reference.value, problem.value), SearchLimits(seconds=30)).cost == cost
    for action in folder.action_names:
        assert action in folder.plain
    for seed in range(3):
        assert parse_problem(folder.generate(seed, seed), reference.value).ok
        assert folder.generate(seed) == folder.generate(seed)
