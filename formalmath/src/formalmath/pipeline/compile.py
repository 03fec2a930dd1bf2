"""The compile check (paper §3.2): Lean accepts the statement with `sorry`. Offline the text's structure alone is
judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import StatementError
from ..lean.assemble import canonical_imports
from ..lean.fragment_backend import structural_problem
from ..lean.goal import parse_goal
from ..lean.pool import Worker
from ..lean.repl import ReplFault
from ..lean.scope import unexplained
from ..lean.statement import parse_statement


@dataclass(frozen=True)
class Compiled:
    """Whether a candidate compiles, by whose authority; `autobound` are names that Lean invents (offline: suspects)."""

    ok: bool
    authority: str
    reason: str = ""
    autobound: list[str] = field(default_factory=list)
    goal: str = ""
    raw: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def structural(text: str) -> Compiled:
    """By the text alone: it must parse, and hold nothing that Lean surely refuses."""
    try:
        st = parse_statement(text)
    except StatementError as error:
        return Compiled(False, "structural", str(error))
    problem = structural_problem(st)
    if problem:
        return Compiled(False, "structural", problem)
    return Compiled(True, "structural", autobound=[n for n in unexplained(st) if "." not in n])


async def by_lean(worker: Worker, text: str, seconds: float = 60) -> Compiled:
    """By Lean: no error, exactly one sorry for the last declaration, a goal. Then again with autoImplicit off: what
    fails only then is a statement with invented variables.

    The compiled text is the candidate and `" sorry"`; both raw answers are kept by the caller through `raw`.
    """
    try:
        st = parse_statement(text)
    except StatementError as error:
        return Compiled(False, "structural", str(error))
    try:
        env = await worker.environment(canonical_imports(st.text[: st.imports_end]), None)
        if not worker.process.alive:
            worker.restart()
        body = st.text[st.imports_end :] + " sorry\n"
        at = {} if env is None else {"env": env}
        answer = await worker.process.ask({"cmd": body, **at}, seconds)
    except ReplFault as fault:
        worker.process.kill()
        worker.environments.clear()
        return Compiled(False, "lean", f"no answer ({fault.kind}): {fault}")
    errors = [m for m in answer.get("messages") or () if m.get("severity") == "error"]
    sorries = answer.get("sorries") or []
    if errors or "message" in answer:
        return Compiled(False, "lean", str(errors[0].get("data") if errors else answer["message"])[:300], raw=answer)
    line = st.text[st.imports_end : st.target_start].count("\n") + 1
    own = [s for s in sorries if (s.get("pos") or {}).get("line", 0) >= line]
    if len(own) != 1 or not own[0].get("goal"):
        return Compiled(False, "lean", f"{len(own)} sorries came back for the last declaration, not one", raw=answer)
    names = parse_goal(own[0]["goal"]).names
    invented = [n for n in names if n not in st.binder_names and "✝" not in n]
    return Compiled(True, "lean", autobound=invented, goal=own[0]["goal"], raw=answer)
