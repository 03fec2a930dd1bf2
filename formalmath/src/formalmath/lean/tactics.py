"""Tactic mode of the stock REPL: a proof state is a number of one process, and dies with it."""

from __future__ import annotations

from typing import Any

from ..errors import FormalMathError
from .assemble import canonical_imports
from .backend import ProofState, StepResult
from .pool import PoolSettings, Worker
from .repl import ReplFault
from .statement import Statement
from .verdict import SORRY, Authority, is_failure_answer

LEVELS = 1 << 16


class ReplTactics:
    """One worker in tactic mode. Tactic mode has been wrong in both directions (leanprover-community/repl #63, #82), so
    a script found with it counts only after the whole file was checked."""

    authority: Authority = "lean"

    def __init__(self, settings: PoolSettings, seconds: float = 10.0):
        self.worker, self.seconds = Worker(settings), seconds
        self.generation = 0

    async def start(self, st: Statement) -> ProofState:
        """The goals after the statement."""
        try:
            env = await self.worker.environment(canonical_imports(st.text[: st.imports_end]), None)
            if not self.worker.process.alive:
                self.worker.restart()
            body = st.text[st.imports_end :] + " sorry\n"
            command: dict[str, Any] = {"cmd": body} | ({} if env is None else {"env": env})
            answer = await self.worker.process.ask(command, 6 * self.seconds)
        except ReplFault as fault:
            self._lost()
            raise FormalMathError(f"{st.name} has no first state: {fault}") from None
        errors = [m for m in answer.get("messages") or () if m.get("severity") == "error"]
        sorries = answer.get("sorries") or []
        if errors or not sorries:
            raise FormalMathError(
                f"{st.name} has no first state: {errors[0].get('data', '') if errors else 'no sorry came back'}"
            )
        last = sorries[-1]
        return ProofState((last["goal"],), (self.generation, last["proofState"]))

    async def step(self, state: ProofState, tactic: str) -> StepResult:
        generation, number = state.handle
        if generation != self.generation:
            return StepResult(None, "infra", "the state's process is gone")
        try:
            answer = await self.worker.process.ask({"tactic": tactic, "proofState": number}, self.seconds)
        except ReplFault as fault:
            self._lost()
            return StepResult(None, "infra" if fault.kind == "garbage" else fault.kind, str(fault))
        if is_failure_answer(answer) and "proofState" not in answer:
            return StepResult(None, "error", str(answer["message"])[:300])
        return self.read(answer)

    def read(self, answer: dict[str, Any]) -> StepResult:
        """A step's answer: errors and sorries end the branch, `proofStatus` (newer REPLs) must agree with no goals."""
        for m in answer.get("messages") or ():
            if m.get("severity") == "error":
                return StepResult(None, "error", str(m.get("data", ""))[:300])
            if SORRY.search(str(m.get("data", ""))):
                return StepResult(None, "incomplete", "the tactic uses sorry")
        if answer.get("sorries"):
            return StepResult(None, "incomplete", "the tactic contains sorry")
        goals = tuple(answer.get("goals") or ())
        status = str(answer.get("proofStatus", ""))
        if not goals and status and status != "Completed":
            return StepResult(None, "error", status[:300])
        return StepResult(ProofState(goals, (self.generation, answer["proofState"])))

    def _lost(self) -> None:
        self.generation += 1
        self.worker.process.kill()
        self.worker.environments.clear()

    async def close(self) -> None:
        self.worker.process.kill()
