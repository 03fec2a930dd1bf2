"""What the default run asks of a recorded large model: votes on 20 statements and proofs of 20, two answers each.

The items are fixed (they do not follow the run's seed), so that one recording serves every run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .lean.statement import parse_statement
from .mini.mutations import mutate, parses
from .pipeline.judge import vote_requests
from .problems import Problem, mini
from .provers.single_pass import requests

RECORDING = Path(__file__).parents[2] / "recordings" / "completions.jsonl.gz"
DRAWS = 2
PROOFS_EVERY = 5
ERRORS = (
    "drop_hypothesis",
    "wrong_numeral_in_hypothesis",
    "wrong_relation_in_hypothesis",
    "wrong_numeral_in_goal",
    "goal_too_strong",
    "added_condition",
    "goal_is_hypothesis",
    "phantom_variable",
    "naturals_for_reals",
    "conjunction_for_implication",
)


@dataclass(frozen=True)
class Item:
    """A statement that was voted on, with the truth."""

    id: str
    problem: Problem
    text: str
    operator: str


def vote_items() -> list[Item]:
    """Ten correct statements, and one with each of ten errors."""
    problems = mini(120, 0, "train")
    rng = random.Random("votes")
    order = rng.sample(problems, len(problems))
    found = [Item(f"vote_{i:02d}", p, p.lean, "identity") for i, p in enumerate(order[:10])]
    used = {p.id for p in order[:10]}
    for error in ERRORS:
        for p in order:
            if p.id in used:
                continue
            m = mutate(p.statement, rng, error)
            if m.operator == error and parses(m.text):
                used.add(p.id)
                found.append(Item(f"vote_{len(found):02d}", p, parse_statement(m.text).text, error))
                break
    rng.shuffle(found)
    return found


def vote_asked() -> list[Any]:
    from shared.llm import Sampling

    return vote_requests([(i.id, i.problem.words, i.text) for i in vote_items()], Sampling(), DRAWS)


def proof_problems() -> list[Problem]:
    return mini(100, 0, "eval")[::PROOFS_EVERY]


def proof_asked() -> list[Any]:
    from shared.llm import Sampling

    return requests(proof_problems(), "chat", DRAWS, Sampling())


def everything() -> list[Any]:
    return [*vote_asked(), *proof_asked()]
