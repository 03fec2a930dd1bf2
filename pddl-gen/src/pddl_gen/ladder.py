"""The rungs of one answer, from its text to its meaning, computed in a process that is limited and killed whole.

extracted, val_pass (the paper's success), strict_pass, then those of equivalence.py on the held-out problems.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .equivalence import Reference, compare
from .errors import PDDLGenError
from .extract import extract
from .parse import parse_domain
from .planner import Limits
from .valmode import val_verdict

RUNGS = (
    "extracted",
    "val_pass",
    "strict_pass",
    "fits",
    "solvable",
    "sound",
    "complete",
    "cross",
    "cost_equal",
    "plan_match",
    "ew",
    "bisimilar",
    "same_schemas",
)
MEANING = RUNGS[3:]
CODE = "1"  # of the evaluation: another one makes every kept result void


@dataclass(frozen=True, slots=True)
class Budget:
    """Of the evaluation of one domain."""

    seconds: float = 180.0  # wall clock, then the worker is killed; results must not depend on the machine's load
    memory_mb: int = 3072
    state_cap: int = 20_000  # product states for each problem
    plan_seconds: float = 60.0
    expansions: int = 20_000


def evaluate(domain_text: str | None, reference: Reference | None, budget: Budget) -> dict[str, Any]:
    """The rungs of a domain's text. Runs where it is called: see `Evaluator` for text that nobody vouches for."""
    rungs: dict[str, Any] = dict.fromkeys(RUNGS, False)
    rungs["ew"] = 0.0
    notes: list[str] = []
    if domain_text is None:
        return {**rungs, "notes": ["no domain in the answer"], "witness": None, "problems": []}
    rungs["extracted"] = True
    verdict = val_verdict(domain_text)
    parsed = parse_domain(domain_text)
    rungs["val_pass"] = verdict.passes
    rungs["strict_pass"] = parsed.ok
    notes += [f"VAL: {r}" for r in verdict.reasons[:3]]
    witness, problems = None, []
    if parsed.ok and parsed.value is not None and reference is not None:
        found = compare(reference, parsed.value, state_cap=budget.state_cap)
        rungs.update({name: getattr(found, name) for name in MEANING})
        notes += found.notes
        problems = found.problems
        witness = found.witness.prose if found.witness else None
    elif reference is None:
        rungs.update(dict.fromkeys(MEANING))
    else:
        notes += [f"{d.code}: {d.message}" for d in parsed.errors[:3]]
    return {**rungs, "notes": notes, "witness": witness, "problems": problems}


@dataclass(frozen=True)
class Job:
    """A domain's text, judged against a reference on problems."""

    domain: str | None
    reference: str | None
    problems: tuple[str, ...]

    @property
    def key(self) -> str:
        material = json.dumps([CODE, self.domain, self.reference, list(self.problems)])
        return hashlib.sha256(material.encode()).hexdigest()


class Evaluator:
    """Evaluates texts in worker processes and keeps the results by the hash of all that decides them.

    Args:
        path: JSON lines of kept results; None keeps nothing.
        workers: processes; each holds the references that it has seen.
    """

    def __init__(self, path: Path | None = None, budget: Budget | None = None, workers: int = 2) -> None:
        self.path, self.budget, self.workers = path, budget or Budget(), workers
        self.known: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                    self.known[record["key"]] = record["rungs"]
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a kill cut short

    def __call__(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """The rungs of each job, in order; equal jobs are computed once."""
        for _ in self.progress(jobs):
            pass
        return [self.known[job.key] for job in jobs]

    def progress(self, jobs: Iterable[Job]) -> Iterator[int]:
        """Computes what is missing; yields how many are left after each."""
        todo = list({job.key: job for job in jobs if job.key not in self.known}.values())
        todo.sort(key=lambda job: (job.reference or "", job.key))  # a worker meets a reference once
        for job in todo:
            if job.reference is not None:
                prepare(job.reference, job.problems, self.budget)
        running: dict[Any, _Worker] = {}
        idle: list[_Worker] = []
        left = len(todo)
        todo.reverse()
        try:
            while todo or running:
                while todo and len(running) < self.workers:
                    worker = idle.pop() if idle else _Worker(self.budget)
                    worker.start(todo.pop())
                    running[worker.pipe] = worker
                first = min(w.deadline for w in running.values())
                ready = wait(list(running), max(0.0, first - time.monotonic()))
                for pipe in list(running):
                    worker = running[pipe]
                    late = time.monotonic() > worker.deadline
                    if pipe not in ready and not late:
                        continue
                    del running[pipe]
                    rungs = worker.result() if pipe in ready else None
                    if rungs is None:
                        worker.kill()
                        rungs = _lost(worker.job, "ran out of time" if late else "ended without a result")
                    else:
                        idle.append(worker)
                    self._keep(worker.job, rungs)
                    left -= 1
                    yield left
        finally:
            for worker in [*running.values(), *idle]:
                worker.kill()

    def _keep(self, job: Job, rungs: dict[str, Any]) -> None:
        self.known[job.key] = rungs
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": job.key, "rungs": rungs}, ensure_ascii=False) + "\n")


def _lost(job: Job, why: str) -> dict[str, Any]:
    """What is known without the worker: nothing about meaning."""
    rungs: dict[str, Any] = dict.fromkeys(RUNGS)
    rungs["extracted"] = job.domain is not None
    return {**rungs, "notes": [f"the evaluation {why}"], "witness": None, "problems": []}


_REFERENCES: dict[tuple[str, tuple[str, ...]], Reference] = {}  # made before workers are forked, which inherit them


def prepare(reference: str, problems: tuple[str, ...], budget: Budget) -> Reference:
    """The reference with its tasks and plans, made once in a process."""
    key = (reference, problems)
    if key not in _REFERENCES:
        parsed = parse_domain(reference).value
        if parsed is None:
            raise PDDLGenError("the reference domain cannot be read")
        limits = Limits(budget.plan_seconds, budget.memory_mb, budget.expansions)
        _REFERENCES[key] = Reference(parsed, problems, limits)
    return _REFERENCES[key]


class _Worker:
    """A process that evaluates one text after another."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, budget), daemon=True)
        self.process.start()
        theirs.close()
        self.deadline = 0.0

    def start(self, job: Job) -> None:
        self.job = job
        self.deadline = time.monotonic() + self.budget.seconds
        self.pipe.send(job)

    def result(self) -> dict[str, Any] | None:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, budget: Budget) -> None:
    size = budget.memory_mb << 20
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, OSError):
            return
        reference = None if job.reference is None else prepare(job.reference, job.problems, budget)
        try:
            pipe.send(evaluate(job.domain, reference, budget))
        except (MemoryError, RecursionError) as error:
            pipe.send(_lost(job, f"stopped by {type(error).__name__}"))


def judged(answer: str, reference: str | None, problems: tuple[str, ...]) -> Job:
    """The job of a whole answer."""
    return Job(extract(answer).domain_text, reference, problems)
