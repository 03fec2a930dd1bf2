"""Plans with hard limits: the own search, and Fast Downward as a separate program that is stopped with its children.

Fast Downward (GPL-3.0) is never imported: it is found on disk and run in a private folder with an empty environment.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .errors import PDDLGenError
from .extract import steps
from .ground import Fact, GroundLimits, TooLarge, Unsupported, ground
from .planval import validate_plan
from .search import SearchLimits, optimal, satisficing
from .syntax import Domain, Problem, print_domain, print_problem

BACKENDS = ("auto", "internal", "fd")
UNSOLVABLE, TIME, MEMORY = (10, 11), (21, 23), (20, 22)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call of a planner."""

    seconds: float = 5.0
    memory_mb: int = 2048
    expansions: int = 200_000
    operators: int = 200_000


@dataclass(frozen=True, slots=True)
class PlanResult:
    """`status` is solved, unsolvable, limit, unsupported or error; `cost` is that of the plan."""

    status: str
    plan: tuple[Fact, ...] | None
    cost: float | None
    expanded: int
    seconds: float
    backend: str
    detail: str = ""


def plan(
    domain: Domain,
    problem: Problem,
    *,
    backend: str = "auto",
    optimal: bool = True,
    limits: Limits | None = None,
) -> PlanResult:
    """A plan. `auto` takes the own search and, where that meets a limit, Fast Downward if it is installed.

    Raises:
        PDDLGenError: another backend, or `fd` where Fast Downward is not installed.
    """
    if backend not in BACKENDS:
        raise PDDLGenError(f"planner.backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
    limits = limits or Limits()
    if backend == "fd":
        return fast_downward(domain, problem, optimal=optimal, limits=limits)
    found = internal(domain, problem, cheapest=optimal, limits=limits)
    if backend == "auto" and found.status in ("limit", "unsupported") and downward() is not None:
        return fast_downward(domain, problem, optimal=optimal, limits=limits)
    return found


def internal(domain: Domain, problem: Problem, *, cheapest: bool, limits: Limits) -> PlanResult:
    began = time.perf_counter()

    def ended(status: str, detail: str) -> PlanResult:
        return PlanResult(status, None, None, 0, time.perf_counter() - began, "internal", detail)

    try:
        task = ground(domain, problem, GroundLimits(operators=limits.operators))
    except Unsupported as error:
        return ended("unsupported", str(error))
    except TooLarge as error:
        return ended("limit", str(error))
    found = (optimal if cheapest else satisficing)(task, SearchLimits(limits.seconds, limits.expansions))
    names = None if found.plan is None else tuple(op.name for op in found.plan)
    return PlanResult(found.status, names, found.cost, found.expanded, time.perf_counter() - began, "internal")


def downward() -> Path | None:
    """The folder of Fast Downward in this environment, without importing it."""
    spec = find_spec("up_fast_downward")
    root = Path(spec.submodule_search_locations[0]) / "downward" if spec and spec.submodule_search_locations else None
    return root if root is not None and (root / "builds/release/bin/downward").is_file() else None


def fast_downward(domain: Domain, problem: Problem, *, optimal: bool, limits: Limits) -> PlanResult:
    """A plan by translator and search of Fast Downward; LM-cut, else h_max, else blind, where it refuses.

    Raises:
        PDDLGenError: it is not installed.
    """
    root = downward()
    if root is None:
        raise PDDLGenError("planner.backend=fd needs Fast Downward: pip install 'tenfold-pddl-gen[fd]'")
    began = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="pddl-gen-"))

    def ended(status: str, detail: str = "") -> PlanResult:
        return PlanResult(status, None, None, 0, time.perf_counter() - began, "fd", detail)

    try:
        (folder / "domain.pddl").write_text(print_domain(domain), encoding="utf-8")
        (folder / "problem.pddl").write_text(print_problem(problem), encoding="utf-8")
        translate = [sys.executable, "-I", str(_translator(root)), "domain.pddl", "problem.pddl", "--sas-file", "task"]
        code, words = run_limited(translate, folder, limits.seconds, limits.memory_mb)
        if code is None:
            return ended("limit", "the translator ran out of time")
        if code in UNSOLVABLE:
            return ended("unsolvable")
        if code:
            return ended("limit" if code in (*TIME, *MEMORY) else "error", f"translator: exit {code}: {words[-200:]}")
        cheapest = ("astar(lmcut())", "astar(hmax())", "astar(blind())")
        searches = cheapest if optimal else ("eager_greedy([ff()])",)
        for search in searches:
            left = limits.seconds - (time.perf_counter() - began)
            if left <= 0:
                return ended("limit", "out of time")
            binary = str(root / "builds/release/bin/downward")
            command = [binary, "--search", search, "--internal-plan-file", "plan"]
            code, words = run_limited(command, folder, left, limits.memory_mb, stdin=folder / "task")
            if code != 34:  # 34: the search refuses conditional effects or axioms
                break
        if code == 0 and (folder / "plan").is_file():
            steps_ = steps((folder / "plan").read_text(encoding="utf-8").splitlines())
            verdict = validate_plan(domain, problem, steps_)
            if not verdict.valid:
                return ended("error", f"Fast Downward's plan does not validate: {verdict.reason}")
            return PlanResult("solved", tuple(steps_), verdict.cost, 0, time.perf_counter() - began, "fd")
        if code in UNSOLVABLE:
            return ended("unsolvable")
        if code is None or code in (*TIME, *MEMORY) or code < 0:
            return ended("limit", f"search: exit {code}")
        return ended("error", f"search: exit {code}: {words[-200:]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _translator(root: Path) -> Path:
    for place in (root / "builds/release/bin/translate/translate.py", root.parents[1] / "fast_downward/translate.py"):
        if place.is_file():
            return place
    spec = find_spec("fast_downward")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for base in places:
        for place in (Path(base) / "translate" / "__main__.py", Path(base) / "translate" / "translate.py"):
            if place.is_file():
                return place
    raise PDDLGenError("Fast Downward's translator is not where its package puts it")


def run_limited(
    command: list[str], folder: Path, seconds: float, memory_mb: int, stdin: Path | None = None
) -> tuple[int | None, str]:
    """(exit code, output) of a program in a process group of its own, which is killed whole; None: out of time."""

    def limit() -> None:
        size = memory_mb << 20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 2, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))

    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    with (stdin or Path(os.devnull)).open("rb") as source, tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=source,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=limit,
        )
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0, os.SEEK_END)
        out.seek(max(0, out.tell() - 2000))
        return code, out.read().decode("utf-8", "replace")
