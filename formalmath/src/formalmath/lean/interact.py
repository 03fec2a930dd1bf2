"""lean-interact's server pool as backend (extra `lean`): it also installs REPLs for any Lean version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from ..errors import FormalMathError
from .policy import Policy
from .verdict import Authority, CheckRequest, CheckResult, Fingerprint, judge


class Interact:
    """`LeanServerPool` of the package lean-interact, one command a check and one for its axioms.

    Args:
        lean: the config group: version, project, workers, repl and lake paths.
        policy: what a verdict needs.

    Raises:
        FormalMathError: the package or Lean is missing.
    """

    authority: Authority = "lean"

    def __init__(self, lean: Mapping[str, Any], policy: Policy):
        try:
            from lean_interact import LeanREPLConfig, LeanServerPool
        except ImportError:
            raise FormalMathError(
                "lean=lean_interact needs the package lean-interact: install the extra `lean`"
            ) from None
        self.policy = policy
        options: dict[str, Any] = {"verbose": False}
        if lean.get("repl_path"):
            options |= {"local_repl_path": lean["repl_path"], "build_repl": False}
        if lean.get("lake_path"):
            options["lake_path"] = lean["lake_path"]
        if lean.get("version"):
            options["lean_version"] = lean["version"]
        if lean.get("project"):
            from lean_interact import LocalProject

            options["project"] = LocalProject(directory=lean["project"])
        try:
            self.pool = LeanServerPool(LeanREPLConfig(**options), num_workers=int(lean.get("workers") or 2))
        except Exception as error:  # lake and git fail in many ways
            raise FormalMathError(
                f"lean-interact cannot start Lean ({str(error).splitlines()[0][:160]}): see `formalmath lean doctor`"
            ) from None
        self.fingerprint = Fingerprint(
            "lean", lean=str(lean.get("version") or "local"), repl="lean-interact", policy=policy.digest
        )

    async def check(self, items: Sequence[CheckRequest]) -> AsyncIterator[CheckResult]:
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(None, self._one, item) for item in items]
        for job in asyncio.as_completed(jobs):
            yield await job

    def _one(self, item: CheckRequest) -> CheckResult:
        from lean_interact import Command

        try:
            # one command holds file and question: a pool does not promise the same process twice
            reply = self.pool.run(
                Command(cmd=f"{item.file.whole}#print axioms {item.file.name}\n"), timeout=item.limits.seconds
            )
        except TimeoutError:
            return CheckResult(*item.key, "timeout", "lean", f"no answer within {item.limits.seconds:g} s")
        except Exception as error:  # the pool raises what its processes raise
            return CheckResult(*item.key, "infra", "lean", str(error)[:300])
        raw = reply.model_dump(exclude_none=True)
        shift, last = item.file.whole.count("\n") - item.file.text.count("\n"), item.file.whole.count("\n") + 1
        ours, told = [], []
        for m in raw.get("messages") or ():
            pos = m.get("start_pos") or m.get("pos") or {}
            line = int(pos.get("line", 0))
            entry = {"severity": m.get("severity"), "data": m.get("data", "")}
            if line >= last:
                told.append({**entry, "pos": {"line": line - last + 1}})
            else:
                ours.append({**entry, "pos": {"line": max(line - shift, 0)}})
        answer = (
            {"message": raw["message"]}
            if "message" in raw and "env" not in raw
            else {"env": raw.get("env", 0), "messages": ours}
        )
        axioms = {"env": 1, "messages": told} if self.policy.require_axioms else None
        verdict, reason, names = judge(answer, axioms, item.file, self.policy)
        return CheckResult(*item.key, verdict, "lean", reason, tuple(ours), names, raw_digest=item.file.digest)

    async def close(self) -> None:
        self.pool.close()
