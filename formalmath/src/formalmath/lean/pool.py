"""A pool of REPLs: workers keep the environment of an import block, requests go where theirs is loaded.

One request that hangs costs that request: its worker is killed and the others keep their verdicts (the released code
loses every later answer of the batch). A worker that dies takes nothing with it: the request is tried again on a fresh
worker, at most `RETRIES` times, and only if Lean dies on it each time is that its verdict.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .policy import Policy
from .repl import ReplFault, ReplProcess
from .verdict import CheckRequest, CheckResult, Fingerprint, judge

RETRIES = 3
HEADERS = 4  # import blocks kept in one process
FAULTS = {"timeout": "timeout", "memory": "memory", "crash": "crash", "garbage": "infra"}


@dataclass(frozen=True)
class PoolSettings:
    """How to run REPLs. `command` starts one; `recycle_uses` and `recycle_bytes` (PSS) say when to replace it."""

    command: tuple[str, ...]
    cwd: str | None = None
    workers: int = 2
    import_seconds: float = 300.0
    recycle_uses: int = 200
    recycle_bytes: int | None = None
    bytes: int | None = None  # RLIMIT_AS of a worker


def worker_count(bytes_each: int) -> int:
    """min(cores, (memory − 2 GiB) / memory of one)."""
    import psutil

    return max(1, min(os.cpu_count() or 1, (psutil.virtual_memory().total - (2 << 30)) // bytes_each))


class Worker:
    """A process and the environments it holds, by import block."""

    def __init__(self, settings: PoolSettings):
        self.settings = settings
        self.process = ReplProcess(settings.command, settings.cwd, limit=settings.bytes)
        self.environments: dict[tuple[str, int | None], int | None] = {}
        self.imports = 0

    async def environment(self, imports: str, heartbeats: int | None) -> int | None:
        """The REPL's number for an import block; imported once a process.

        Raises:
            ReplFault: the imports fail.
        """
        key = (imports, heartbeats)
        if key in self.environments and self.process.alive:
            return self.environments[key]
        if not self.process.alive or len(self.environments) >= HEADERS:
            self.restart()
        env: int | None = None
        if imports:
            answer = await self.process.ask({"cmd": imports}, self.settings.import_seconds)
            self.imports += 1
            errors = [m for m in answer.get("messages") or () if m.get("severity") == "error"]
            if errors or not isinstance(answer.get("env"), int):
                shown = errors[0].get("data", "") if errors else answer.get("message", "no environment")
                raise ReplFault("garbage", f"the imports fail: {str(shown)[:200]}")
            env = answer["env"]
        if heartbeats is not None:
            answer = await self.process.ask(
                {"cmd": f"set_option maxHeartbeats {heartbeats}"} | ({} if env is None else {"env": env}), 30
            )
            env = answer.get("env", env)
        self.environments[key] = env
        return env

    def restart(self) -> None:
        self.process.kill()
        self.environments.clear()
        self.process = ReplProcess(self.settings.command, self.settings.cwd, limit=self.settings.bytes)
        self.process.start()

    def worn(self) -> bool:
        if self.process.uses >= self.settings.recycle_uses:
            return True
        limit = self.settings.recycle_bytes
        return limit is not None and self.process.uses % 16 == 0 and (self.process.pss() or 0) > limit


class ReplPool:
    """The backend `repl`. Use it inside one event loop; close it.

    Args:
        settings: how to run REPLs.
        policy: what a verdict needs.
        fingerprint: of the Lean behind it; limits and policy are added.
        record: called with (request, answer, axioms answer) for each check that came to an answer.
    """

    authority = "lean"

    def __init__(
        self,
        settings: PoolSettings,
        policy: Policy,
        fingerprint: Fingerprint | None = None,
        record: Callable[[CheckRequest, Mapping[str, Any], Mapping[str, Any] | None], None] | None = None,
    ):
        self.settings, self.policy, self.record = settings, policy, record
        self.fingerprint = replace(fingerprint or Fingerprint("lean"), policy=policy.digest)
        self.workers = [Worker(settings) for _ in range(settings.workers)]
        self.busy = [0.0] * settings.workers  # seconds that each worker was asked something
        self.retried = 0

    @property
    def imports(self) -> int:
        """How often an import block was loaded."""
        return sum(w.imports for w in self.workers)

    async def check(self, items: Sequence[CheckRequest]) -> AsyncIterator[CheckResult]:
        """A result for each request, as they come; heavy ones are begun first."""
        queues: dict[str, deque[CheckRequest]] = {}
        for item in sorted(items, key=lambda r: -r.weight):
            queues.setdefault(item.file.imports, deque()).append(item)
        done: asyncio.Queue[CheckResult | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._serve(i, queues, done)) for i in range(len(self.workers))]
        remaining = len(items)
        try:
            while remaining:
                result = await done.get()
                if result is None:
                    for task in tasks:
                        if task.done() and task.exception():
                            raise task.exception()  # type: ignore[misc]
                    continue
                remaining -= 1
                yield result
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, place: int, queues: dict[str, deque[CheckRequest]], done: asyncio.Queue) -> None:
        worker = self.workers[place]
        try:
            while (item := self._next(worker, queues)) is not None:
                begun = time.perf_counter()
                result = await self._attempts(worker, item)
                self.busy[place] += time.perf_counter() - begun
                done.put_nowait(result)
                if worker.worn():
                    worker.restart()
        finally:
            done.put_nowait(None)

    def _next(self, worker: Worker, queues: dict[str, deque[CheckRequest]]) -> CheckRequest | None:
        """From the queue whose imports this worker has, else from the longest one."""
        known = [q for (imports, _) in worker.environments if (q := queues.get(imports))]
        queue = known[0] if known else max(queues.values(), key=len, default=None)
        return queue.popleft() if queue else None

    async def _attempts(self, worker: Worker, item: CheckRequest) -> CheckResult:
        fault = ReplFault("crash", "never tried")
        for attempt in range(RETRIES):
            begun = time.perf_counter()
            try:
                return await self._once(worker, item, begun)
            except ReplFault as error:
                fault = error
                worker.process.kill()
                worker.environments.clear()
                if error.kind == "timeout":
                    break
                self.retried += attempt + 1 < RETRIES
            except asyncio.CancelledError:
                worker.process.kill()
                worker.environments.clear()
                raise
        return CheckResult(
            item.problem_id, item.sample_id, FAULTS[fault.kind], "lean", str(fault), seconds=time.perf_counter() - begun
        )

    async def _once(self, worker: Worker, item: CheckRequest, begun: float) -> CheckResult:
        env = await worker.environment(item.file.imports, item.limits.heartbeats)
        if not worker.process.alive:
            worker.restart()
        command: dict[str, Any] = {"cmd": item.file.text} | ({} if env is None else {"env": env})
        answer = await worker.process.ask(command, item.limits.seconds)
        verdict, reason, axioms = judge(answer, None, item.file, self.policy)
        told: dict[str, Any] | None = None
        if verdict == "unknown":
            told = await worker.process.ask(
                {"cmd": f"#print axioms {item.file.name}", "env": answer["env"]}, item.limits.seconds
            )
            verdict, reason, axioms = judge(answer, told, item.file, self.policy)
        if verdict == "infra" and reason.startswith("the REPL refuses"):
            raise ReplFault("garbage", reason)
        if self.record is not None:
            self.record(item, answer, told)
        return CheckResult(
            item.problem_id,
            item.sample_id,
            verdict,
            "lean",
            reason,
            tuple(answer.get("messages") or ()),
            axioms,
            time.perf_counter() - begun,
            raw_digest=item.file.digest,
        )

    async def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()


def settings_from(lean: Mapping[str, Any]) -> PoolSettings:
    """Pool settings from the config group `lean`, with the REPL that `formalmath lean install` made by default.

    Raises:
        FormalMathError: there is no REPL.
    """
    from .install import installed

    command = lean.get("command")
    cwd = lean.get("cwd")
    if not command:
        found = installed(Path(lean["home"]) if lean.get("home") else None)
        command, cwd = found.repl_command, str(found.project)
    each = int(lean.get("memory_gib") or 8) << 30
    workers = lean.get("workers") or worker_count(each)
    return PoolSettings(
        tuple(command),
        cwd,
        int(workers),
        float(lean.get("import_seconds") or 300),
        int(lean.get("recycle_uses") or 200),
        int(lean["recycle_gib"] * 2**30) if lean.get("recycle_gib") else None,
        each if lean.get("limit_memory", True) else None,
    )
