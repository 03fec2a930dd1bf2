"""Whole-proof sampling (the paper's single-pass generation): n completions of one prompt for each problem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..problems import Problem
from ..run.schedule import Sample
from .menu import Weigh, scripts
from .prompts import prompt


def requests(problems: Sequence[Problem], mode: str, n: int, sampling: Any) -> list[Any]:
    """The requests of a run, problem after problem; the tag names problem and sample."""
    from shared.llm import Request, user

    return [
        Request((user(prompt(p, mode)),), sampling, draw=draw, tag=f"{p.id}/{draw}")
        for p in problems
        for draw in range(n)
    ]


def sample_llm(llm: Any, problems: Sequence[Problem], mode: str, n: int, sampling: Any) -> Iterator[Sample]:
    """Completions as they come. A failed call gives no sample; the next run asks for it again."""
    asked = requests(problems, mode, n, sampling)
    for place, result in llm.as_completed(asked):
        if result.ok:
            problem, _, draw = asked[place].tag.rpartition("/")
            yield Sample(problem, int(draw), result.text)


def sample_menu(problems: Sequence[Problem], weigh: Weigh, n: int, seed: int) -> Iterator[Sample]:
    """Scripts of a weighed menu, as proof bodies."""
    for problem, drawn in scripts(problems, weigh, n, seed).items():
        for i, text in enumerate(drawn):
            yield Sample(problem, i, text)
