"""lean-dojo as a tactic backend, for its own traced repositories (extra `dojo`).

It needs a traced Mathlib and a GitHub token (LeanDojo #119, #228, #239), so tree search uses the REPL by default. Not
run in this repository's tests: they check what is said when it is missing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from ..errors import FormalMathError
from .backend import ProofState, StepResult
from .statement import Statement
from .verdict import Authority


class DojoTactics:
    """Tactics through `lean_dojo.Dojo`. `lean.repository`, `lean.commit` and `lean.file` say where the theorems stand.

    Raises:
        FormalMathError: the package, the token or a setting is missing.
    """

    authority: Authority = "lean"

    def __init__(self, lean: Mapping[str, Any]):
        try:
            import lean_dojo
        except ImportError:
            raise FormalMathError("lean=dojo needs the package lean-dojo: install the extra `dojo`") from None
        missing = [f for f in ("repository", "commit", "file") if not lean.get(f)]
        if missing:
            raise FormalMathError(f"lean.{missing[0]} must be set for lean=dojo: it works on a traced repository")
        if not os.environ.get("GITHUB_ACCESS_TOKEN"):
            raise FormalMathError("lean-dojo traces through GitHub's API: set GITHUB_ACCESS_TOKEN")
        self.dojo = lean_dojo
        self.repository = lean_dojo.LeanGitRepo(lean["repository"], lean["commit"])
        self.file, self.seconds = str(lean["file"]), int(lean.get("tactic_seconds") or 10)
        self.session: Any = None

    async def start(self, st: Statement) -> ProofState:
        theorem = self.dojo.Theorem(self.repository, self.file, st.qualified_name)

        def enter() -> Any:
            self.session = self.dojo.Dojo(theorem, timeout=self.seconds)
            return self.session.__enter__()

        await self.close()
        try:
            _, state = await asyncio.to_thread(enter)
        except self.dojo.DojoInitError as error:
            raise FormalMathError(f"{st.name} has no first state: {error}") from None
        return ProofState(tuple(state.pp.split("\n\n")), state)

    async def step(self, state: ProofState, tactic: str) -> StepResult:
        found = await asyncio.to_thread(self.session.run_tac, state.handle, tactic)
        kind = type(found).__name__
        if kind == "ProofFinished":
            return StepResult(ProofState((), found))
        if kind == "TacticState":
            return StepResult(ProofState(tuple(found.pp.split("\n\n")), found))
        if kind == "ProofGivenUp":
            return StepResult(None, "incomplete", "sorry")
        return StepResult(None, "timeout" if "Timeout" in kind else "error", str(getattr(found, "error", kind))[:300])

    async def close(self) -> None:
        if self.session is not None:
            await asyncio.to_thread(self.session.__exit__, None, None, None)
            self.session = None
