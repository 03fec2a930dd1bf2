"""Candidates T_n^(k) for each problem: k autoformalisers, n candidates each (paper §3.2)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..lean.assemble import FENCE
from ..lean.statement import normalise
from ..mini.mutations import mutate
from ..problems import Problem

ERROR_RATES = {"careful": 0.1, "middling": 0.3, "careless": 0.6}


@dataclass(frozen=True)
class Candidate:
    """A proposed statement. For synthetic ones the truth is known: `operator` is the planted error, identity for
    none."""

    problem_id: str
    autoformalizer: str
    number: int
    text: str
    operator: str = ""
    kind: str = ""

    @property
    def correct(self) -> bool | None:
        return None if not self.operator else self.operator == "identity"


def synthetic(
    problems: Sequence[Problem], n: int, seed: int, rates: Mapping[str, float] = ERROR_RATES
) -> list[Candidate]:
    """Gold statements, some put through an error; each autoformaliser errs at its own rate, in Table 7's shares."""
    found = []
    for name, rate in rates.items():
        rng = random.Random(f"{seed}/{name}")
        for p in problems:
            for number in range(n):
                if rng.random() < rate:
                    m = mutate(p.statement, rng)
                else:
                    m = mutate(p.statement, rng, "identity")
                found.append(Candidate(p.id, name, number, m.text, m.operator, m.kind))
    return found


@cache
def template() -> str:
    return (files("formalmath") / "pipeline" / "templates" / "autoformalize.txt").read_text()


def requests(problems: Sequence[Problem], n: int, sampling: Any) -> list[Any]:
    from shared.llm import Request, user

    return [
        Request((user(template().format(words=p.words)),), sampling, draw=i, tag=f"{p.id}/{i}")
        for p in problems
        for i in range(n)
    ]


def from_llm(llm: Any, name: str, problems: Sequence[Problem], n: int, sampling: Any) -> Iterator[Candidate]:
    """Candidates of a language model as they come."""
    asked = requests(problems, n, sampling)
    for place, result in llm.as_completed(asked):
        if result.ok:
            problem, _, number = asked[place].tag.rpartition("/")
            yield Candidate(problem, name, int(number), statement_in(result.text))


def statement_in(text: str) -> str:
    """The last code block of an answer, or the whole, brought to end in `:= by` where it can be."""
    marks = list(FENCE.finditer(text))
    code = text[marks[-2].end() + 1 : marks[-1].start()] if len(marks) >= 2 else text
    return normalise(code.strip())
