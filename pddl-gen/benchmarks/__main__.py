"""Ours beside the peers, in one process run: `python -m benchmarks`, or make bench-pddl-gen. Prints ratios.

Peers, each used through its public interface: unified-planning, pddl, pyperplan (GPL-3, only here), Fast Downward (as a
program). Files: the suite's domains. Times are process CPU seconds for what runs in this process, wall for a program.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pddl_gen import suite
from pddl_gen.engine import IVML, BestOfN, TestTimeScaling
from pddl_gen.equivalence import bisimulation, walk
from pddl_gen.ground import ground
from pddl_gen.ledger import Ledger
from pddl_gen.parse import parse_domain, parse_problem
from pddl_gen.planner import Limits, downward, plan
from pddl_gen.planval import PlanValidator, validate_plan
from pddl_gen.simulate import Simulated, simulated_items
from shared.llm import LLM, Sampling
from shared.llm import Limits as Pressure

OUT = Path(__file__).parents[1] / "results" / "bench.json"


def median(call: Callable[[], Any], repeats: int = 5) -> float:
    """CPU seconds of a call, the middle of several."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times)


def peer(name: str, make: Callable[[], Callable[[], Any]]) -> tuple[Callable[[], Any] | None, str]:
    """A peer's call, or why there is none."""
    try:
        return make(), ""
    except ImportError as error:
        return None, f"{name} is not installed ({error.name})"


def readers(found: dict[str, Any], folder: Path) -> None:
    texts = {n: suite.load(n).domain for n in suite.NAMES}
    files = {}
    for name, text in texts.items():
        files[name] = folder / f"{name}.pddl"
        files[name].write_text(text, encoding="utf-8")
    ours = {n: median(lambda t=t: parse_domain(t), 9) for n, t in texts.items()}
    found["read and check a domain, ms"] = {"ours": 1e3 * statistics.median(ours.values())}

    def unified() -> Callable[[str], Any]:
        from unified_planning.io import PDDLReader

        return lambda n: PDDLReader().parse_problem(str(files[n]))

    def pddl_() -> Callable[[str], Any]:
        from pddl import parse_domain as parse

        return lambda n: parse(str(files[n]))

    def pyper() -> Callable[[str], Any]:
        from pyperplan.pddl.parser import Parser

        return lambda n: Parser(str(files[n])).parse_domain()

    for name, make in (("unified-planning", unified), ("pddl", pddl_), ("pyperplan", pyper)):
        call, why = peer(name, make)  # type: ignore[arg-type]
        times, refused = [], 0
        for n in texts:
            if call is None:
                break
            try:
                with contextlib.redirect_stdout(None):
                    times.append(median(functools.partial(call, n), 3))  # type: ignore[call-arg, misc]
            except (Exception, SystemExit):  # a peer that cannot read a file may end in any way
                refused += 1
        found["read and check a domain, ms"][name] = 1e3 * statistics.median(times) if times else None
        found["read and check a domain, ms"][f"{name}, refused"] = refused if call else why


def planning(found: dict[str, Any], folder: Path) -> None:
    rows: dict[str, Any] = {}
    for name in suite.NAMES:
        about = suite.load(name)
        domain = parse_domain(about.domain).value
        assert domain is not None
        problem = parse_problem(about.problems[0], domain).value
        assert problem is not None
        began = time.perf_counter()
        ours = plan(domain, problem, backend="internal", limits=Limits(seconds=60))
        row = {"ours": time.perf_counter() - began, "cost": ours.cost}
        if downward() is not None:
            began = time.perf_counter()
            theirs = plan(domain, problem, backend="fd", limits=Limits(seconds=60))
            row |= {"fast downward": time.perf_counter() - began, "fd cost": theirs.cost}
        rows[name] = row
    ratios = [r["fast downward"] / r["ours"] for r in rows.values() if "fast downward" in r]
    found["optimal plan of p1, wall s"] = rows
    if ratios:
        found["fast downward / ours, median"] = statistics.median(ratios)


def executing(found: dict[str, Any]) -> None:
    about = suite.load("logistics")
    domain = parse_domain(about.domain).value
    assert domain is not None
    problem = parse_problem(about.problems[0], domain).value
    assert problem is not None
    task = ground(domain, problem)
    steps = plan(domain, problem, backend="internal").plan
    assert steps is not None
    kept = PlanValidator(domain, problem)
    found["plan validations a second, grounding kept"] = 200 / median(lambda: [kept(steps) for _ in range(200)])
    found["plan validations a second, from nothing"] = 20 / median(
        lambda: [validate_plan(domain, problem, steps) for _ in range(20)]
    )
    rng = random.Random(0)
    found["random walk steps a second"] = 20_000 / median(lambda: [walk(task, 100, rng) for _ in range(200)], 3)
    domain = parse_domain(suite.load("ferry").domain).value
    assert domain is not None
    problem = parse_problem(suite.load("ferry").problems[2], domain).value
    assert problem is not None
    task = ground(domain, problem)
    labels = {n: (n, tuple(range(len(a.params)))) for n, a in domain.actions.items()}
    states = bisimulation(task, task, labels)[2]
    found["bisimulation, product states a second"] = states / median(lambda: bisimulation(task, task, labels), 3)


def engine(found: dict[str, Any]) -> None:
    items = simulated_items(100)

    def run() -> None:
        with LLM(Simulated(), limits=Pressure(concurrency=64)) as llm:
            TestTimeScaling(BestOfN(8), IVML(1)).run(
                items, llm, Ledger(), Sampling(temperature=0.7, logprobs=0), logprob_kind="raw"
            )

    found["engine with a stub model, ms a completion"] = 1e3 * median(run, 3) / (100 * 12)


def main() -> None:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        readers(found, Path(folder))
        planning(found, Path(folder))
    executing(found)
    engine(found)
    for name, value in found.items():
        if not isinstance(value, dict):
            print(f"{name}: {value:,.3g}")
            continue
        print(name)
        for key, inner in value.items():
            ratio = ""
            if "ours" in value and isinstance(inner, float) and key != "ours":
                ratio = f" ({inner / value['ours']:.1f} x ours)"
            print(f"  {key}: {inner if not isinstance(inner, float) else f'{inner:.3g}'}{ratio}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
