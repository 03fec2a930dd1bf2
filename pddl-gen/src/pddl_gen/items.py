"""What is asked of the model: one item is one G with the means to judge the answer.

NL2Domain: G is a description. Prob2Domain: G is the text of one problem. NL2Problem: G describes one situation.
Planner baseline: G is rules and a problem, and the model plans by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import suite
from .errors import PDDLGenError
from .parse import parse_domain, parse_problem
from .prompts import VERSION, fill
from .prose import interfaces, situation

TASKS = ("nl2domain", "prob2domain", "nl2problem", "planner_baseline")
SOURCES = {
    "nl2domain": ("a description of an environment", "the description", "NL_Description"),
    "prob2domain": ("the code of a PDDL problem", "the problem code", "Problem code"),
    "nl2problem": ("a description of a situation with its domain", "the description", "Description"),
}


@dataclass(frozen=True)
class Item:
    """One thing to be written.

    Args:
        id: unique in a run, such as "nl2domain/ferry/terse".
        given: G, as it stands in the prompt.
        reference: the text of the reference domain; None where there is none.
        shown: the problem that the model sees, if any.
        problems: held-out problems, never shown.
        group: items of one group are the same domain; statistics resample groups.
        prompt: the whole prompt of a first answer.
    """

    id: str
    task: str
    given: str
    reference: str | None
    shown: str | None
    problems: tuple[str, ...]
    group: str
    prompt: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def nl2domain(
    name: str,
    description: str,
    reference: str | None = None,
    example: str | None = None,
    problems: tuple[str, ...] = (),
    *,
    label: str = "",
    action_names: list[str] | None = None,
    group: str = "",
    version: str = VERSION,
) -> Item:
    """An item from a description, with action names and one example problem where they are given (appendix H)."""
    given = description.strip()
    if action_names:
        given += f"\n\nThe actions have these names: {', '.join(action_names)}."
    if example:
        given += (
            "\n\nThis is an example of a problem that has to fit the domain; use its predicates, types and the name "
            f"of its domain:\n```pddl\n{example.strip()}\n```"
        )
    prompt = fill("generate_nl2domain", version, G=given)
    return Item(
        "/".join(filter(None, ("nl2domain", name, label))),
        "nl2domain",
        given,
        reference,
        example,
        problems,
        group or name,
        prompt,
    )


def prob2domain(
    name: str,
    problem: str,
    reference: str | None = None,
    problems: tuple[str, ...] = (),
    *,
    group: str = "",
    version: str = VERSION,
) -> Item:
    """An item from the text of a problem."""
    given = f"```pddl\n{problem.strip()}\n```"
    prompt = fill("generate_prob2domain", version, G=given)
    return Item(f"prob2domain/{name}", "prob2domain", given, reference, problem, problems, group or name, prompt)


def nl2problem(
    name: str, description: str, domain: str, reference: str | None, *, group: str = "", version: str = VERSION
) -> Item:
    """An item whose answer is a problem."""
    given = f"Description:\n{description.strip()}\n\nDomain code:\n```pddl\n{domain.strip()}\n```"
    prompt = fill("generate_nl2problem", version, G=given)
    return Item(
        f"nl2problem/{name}",
        "nl2problem",
        given,
        domain,
        None,
        (reference,) if reference else (),
        group or name,
        prompt,
    )


def planner_baseline(name: str, rules: str, domain: str, problem: str, words: Mapping[str, str], index: int) -> Item:
    """The model as the planner: rules and problem in prose, actions with the order of their arguments."""
    parsed = parse_domain(domain).value
    asked = parse_problem(problem, parsed).value
    assert parsed is not None and asked is not None
    cost = "Actions cost what the rules say." if asked.metric else "Every action costs 1."
    slots = {"COST": cost, "RULES": rules, "ACTIONS": interfaces(parsed), "PROBLEM": situation(asked, words)}
    prompt = fill("planner", **slots)
    return Item(
        f"planner_baseline/{name}/p{index}",
        "planner_baseline",
        slots["PROBLEM"],
        domain,
        None,
        (problem,),
        name,
        prompt,
        slots,
    )


def suite_items(
    task: str,
    names: list[str],
    *,
    description: str = "terse",
    action_names: bool = True,
    example: bool = True,
    planned: Sequence[int] = (1, 3),
) -> list[Item]:
    """Items of the suite; `planned` are the held-out problems of tasks that ask about one problem, counted from 1.

    Raises:
        PDDLGenError: unknown task, domain or kind of description.
    """
    if description not in ("terse", "plain"):
        raise PDDLGenError(f"data.description must be terse or plain, not {description!r}")
    found = []
    for domain in map(suite.load, names):
        text = domain.terse if description == "terse" else domain.plain
        if task == "nl2domain":
            found.append(
                nl2domain(
                    domain.name,
                    text,
                    domain.domain,
                    domain.example if example else None,
                    domain.problems,
                    label=description,
                    action_names=domain.action_names if action_names else None,
                )
            )
        elif task == "prob2domain":
            found.append(prob2domain(domain.name, domain.example, domain.domain, domain.problems))
        elif task == "planner_baseline":
            for i in planned:
                problem = domain.problems[i - 1]
                found.append(planner_baseline(domain.name, domain.plain, domain.domain, problem, domain.words, i))
        elif task == "nl2problem":
            parsed = parse_domain(domain.domain).value
            for i in planned:
                problem = domain.problems[i - 1]
                asked = parse_problem(problem, parsed).value
                assert asked is not None
                prose = situation(asked, domain.words)
                found.append(nl2problem(f"{domain.name}/p{i}", prose, domain.domain, problem, group=domain.name))
        else:
            raise PDDLGenError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
    return found
