"""NL2Problem: is the problem that was written the one that was meant? Equal up to the names of objects."""

from __future__ import annotations

import networkx as nx

from .check import check, conjuncts
from .experiment import Strand
from .extract import extract
from .parse import parse_domain, parse_problem
from .syntax import Domain, Formula, Not, Problem, show


def scene(problem: Problem) -> nx.DiGraph:
    """Objects, and a node for each literal of initial state and goal, with an edge for each argument."""
    graph = nx.DiGraph()
    for name, types in problem.objects.items():
        graph.add_node(name, label=f"object {types}")
    parts: list[tuple[str, Formula]] = [("init", a) for a in problem.init]
    parts += [("goal", f) for f in conjuncts(problem.goal)]
    for number, (where, part) in enumerate(parts):
        inner = part.part if isinstance(part, Not) else part
        args = getattr(inner, "args", None)
        node = f" {number}"  # no object's name begins with a blank
        if args is None:
            graph.add_node(node, label=f"{where} {show(part)}")
            continue
        graph.add_node(node, label=f"{where} {isinstance(part, Not)} {inner.name}")  # type: ignore[union-attr]
        for i, arg in enumerate(args):
            if arg not in graph:
                graph.add_node(arg, label=f"constant {arg}")
            place = f"{node} {i}"
            graph.add_node(place, label=f"place {i}")
            graph.add_edge(node, place)
            graph.add_edge(place, arg)
    return graph


def equal_problems(a: Problem, b: Problem) -> bool:
    """Whether the scenes are isomorphic: the same objects up to their names, the same initial state and goal."""
    return nx.is_isomorphic(scene(a), scene(b), node_match=lambda x, y: x["label"] == y["label"])


def score(strand: Strand) -> tuple[int, int]:
    """(right, all) over the items of a strand."""
    right = 0
    items = strand.items["nl2problem"]
    for item in items:
        domain = parse_domain(item.reference or "").value
        found = extract(strand.result.candidates[item.id][0].text).problems
        if isinstance(domain, Domain) and found and item.problems:
            ours = parse_problem(found[-1], domain)
            meant = parse_problem(item.problems[0], domain).value
            if ours.ok and ours.value and meant and not any(d.severity == "error" for d in check(domain, ours.value)):
                right += equal_problems(ours.value, meant)
    return right, len(items)
