"""The calls of the method: who is asked what. generator (BoN), optimizer = critic and learner (iVML), planner.

iVML (eq. 4): F_i = f_opt(L, G, T_{i-1}, D_{i-1}); (T_i, D_i) = f_update(F_i, T_{i-1}, D_{i-1}), with G in the
update's prompt as in the published template.
"""

from __future__ import annotations

from shared.llm import Request, Sampling, user

from .items import SOURCES, Item
from .prompts import VERSION, fill

NOTHING = "(the answer held no code of a domain)"


def generate(item: Item, sample: int, sampling: Sampling) -> Request:
    """A first answer, T_0 and D_0; `sample` counts the draws of one prompt."""
    return Request((user(item.prompt),), sampling, draw=sample, tag=f"{item.id} generator 0 {sample}")


def critic(
    item: Item, thought: str, domain: str | None, sampling: Sampling, *, round: int, evidence: str = "", draw: int = 0
) -> Request:
    """F_i: feedback in words. `evidence` is what checks found, under a heading of its own; "" is the paper's."""
    what, the, source = SOURCES[item.task]
    text = fill(
        "critic",
        VERSION,
        WHAT=what,
        THE=the,
        SOURCE=source,
        G=item.given,
        T=thought.strip(),
        D=(domain or NOTHING).strip(),
        EVIDENCE=f"\n{evidence.strip()}\n" if evidence.strip() else "",
    )
    return Request((user(text),), sampling, draw=draw, tag=f"{item.id} optimizer {round}")


def learner(
    item: Item, thought: str, domain: str | None, feedback: str, sampling: Sampling, *, round: int, draw: int = 0
) -> Request:
    """T_i and D_i from the feedback."""
    what, the, source = SOURCES[item.task]
    text = fill(
        "learner",
        VERSION,
        WHAT=what,
        THE=the,
        SOURCE=source,
        G=item.given,
        T=thought.strip(),
        D=(domain or NOTHING).strip(),
        F=feedback.strip(),
    )
    return Request((user(text),), sampling, draw=draw, tag=f"{item.id} learner {round}")


def plan_critique(item: Item, plan: str, sampling: Sampling, *, round: int) -> Request:
    """The planner baseline's self-critique (appendix F)."""
    slots = {name: item.extra[name] for name in ("RULES", "ACTIONS", "PROBLEM")}
    text = fill("planner_critique", VERSION, PLAN=plan, **slots)
    return Request((user(text),), sampling, tag=f"{item.id} critique {round}")
