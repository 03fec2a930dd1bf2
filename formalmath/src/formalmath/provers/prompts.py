"""Prompts of the paper (Appendix I and the released code), as data files with a hash.

vanilla, cot and nl_cot end inside an open code fence that the model continues; the fence is ```` ```lean4 ````, one
newline stands before the instruction and none between instruction and fence. nl_cot puts the natural-language
solution in a block comment after `:= by`. kimina, deepseek_v2 and chat ask for a whole block.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from ..errors import FormalMathError
from ..problems import Problem

MODES = ("vanilla", "cot", "nl_cot", "kimina", "deepseek_v2", "chat")
OPEN = ("vanilla", "cot", "nl_cot")


@cache
def template(mode: str) -> str:
    """Raises: FormalMathError, for an unknown mode."""
    if mode not in MODES:
        raise FormalMathError(f"prompt must be one of {', '.join(MODES)}, not {mode!r}")
    return (files("formalmath") / "provers" / "templates" / f"{mode}.txt").read_text()


def template_hash(mode: str) -> str:
    """SHA-256 of the template, 16 digits."""
    return hashlib.sha256(template(mode).encode()).hexdigest()[:16]


def open_fence(mode: str) -> bool:
    return mode in OPEN


def prompt(problem: Problem, mode: str) -> str:
    """What a prover reads.

    Raises:
        FormalMathError: nl_cot for a problem without a solution.
    """
    if mode not in OPEN:
        return template(mode).format(words=problem.words, statement=problem.lean)
    text = f"\n{template(mode).rstrip()}\n```lean4\n{problem.lean}"
    if mode == "nl_cot":
        if not problem.solution:
            raise FormalMathError(f"problem {problem.id} has no solution for the prompt nl_cot")
        text += f"\n/- {problem.solution.replace('-/', '- /')} -/\n"
    return text
