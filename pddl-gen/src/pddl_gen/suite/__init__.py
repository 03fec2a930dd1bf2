"""Twelve domains written for this project: ten classical ones and two (canal, pottery) that no model has seen.

A folder holds `domain.pddl` (the reference), two descriptions (`plain` states every rule, `terse` is what a customer
would write), `example.pddl` (the problem shown in prompts), `problems/` (held out, with their optimal costs),
`perturbed/` (edits with the rungs at which they fail), `words.json` (facts in English) and `generator.py`.
"""

from __future__ import annotations

import functools
import importlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PDDLGenError

FOLDER = Path(__file__).parent
NAMES = (
    "blocksworld",
    "gripper",
    "ferry",
    "logistics",
    "elevator",
    "tyreworld",
    "floortile",
    "termes",
    "barman",
    "childsnack",
    "canal",
    "pottery",
)
INVENTED = ("canal", "pottery")


@dataclass(frozen=True)
class SuiteDomain:
    """One folder of the suite, as texts."""

    name: str
    domain: str
    plain: str
    terse: str
    example: str
    problems: tuple[str, ...]
    words: Mapping[str, str]

    @property
    def action_names(self) -> list[str]:
        return re.findall(r"\(:action (\S+)", self.domain)

    @property
    def optimal_costs(self) -> list[float]:
        """Of the held-out problems, from their first lines."""
        return [float(re.match(r"; optimal cost: (\S+)", p).group(1)) for p in self.problems]  # type: ignore[union-attr]

    def perturbed(self) -> list[tuple[dict[str, Any], str]]:
        """(label, domain text) of every edit."""
        files = sorted((FOLDER / self.name / "perturbed").glob("*.pddl"))
        texts = [f.read_text(encoding="utf-8") for f in files]
        return [(json.loads(t.split("\n", 1)[0].lstrip("; ")), t) for t in texts]

    def generate(self, seed: int, size: int = 1) -> str:
        """A further problem."""
        return generate(self.name, seed, size)


@functools.cache
def load(name: str) -> SuiteDomain:
    """A domain of the suite.

    Raises:
        PDDLGenError: there is none of this name.
    """
    if name not in NAMES:
        raise PDDLGenError(f"the suite has no domain {name!r}; it has {', '.join(NAMES)}")
    folder = FOLDER / name

    def text(*path: str) -> str:
        return folder.joinpath(*path).read_text(encoding="utf-8")

    problems = tuple(text("problems", f"p{i}.pddl") for i in range(1, 5))
    plain, terse = text("description.plain.md").strip(), text("description.terse.md").strip()
    return SuiteDomain(
        name, text("domain.pddl"), plain, terse, text("example.pddl"), problems, json.loads(text("words.json"))
    )


def generate(name: str, seed: int, size: int = 1) -> str:
    """A problem by seed; `size` 0 is as small as the example, 3 as large as the largest held-out one."""
    module = importlib.import_module(f"{__name__}.{name}.generator")
    objects, init, goal = module.generate(random.Random(f"{name} {seed} {size}"), size)
    return problem_text(f"{name}-{size}-{seed}", name, objects, init, goal, getattr(module, "COSTS", False))


def problem_text(
    name: str,
    domain: str,
    objects: Mapping[str, Sequence[str]],
    init: Sequence[str],
    goal: Sequence[str],
    costs: bool = False,
) -> str:
    """A problem's text; facts are given without their parentheses."""
    lines = [f"(define (problem {name})", f"  (:domain {domain})", "  (:objects"]
    lines += [f"    {' '.join(names)} - {kind}" for kind, names in objects.items() if names]
    lines[-1] += ")"
    lines.append("  (:init")
    lines += [f"    ({fact})" for fact in init]
    lines[-1] += ")"
    facts = [f"({fact})" if not fact.startswith("not ") else f"(not ({fact[4:]}))" for fact in goal]
    lines.append(f"  (:goal (and {' '.join(facts)}))" + ("" if costs else ")"))
    if costs:
        lines.append("  (:metric minimize (total-cost)))")
    return "\n".join(lines) + "\n"


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(1, count + 1)]
