"""`make bench-formalmath`: ours beside the others, in one run, as ratios, with the targets they have to meet.

The pool is timed on a stand-in REPL (stub_repl.py), for ours and lean-interact's LeanServerPool alike; the bound is the
same stand-in behind raw pipes. pass@K is timed against the released simulation. With Lean installed, `--lean` adds the
102 recorded proofs (development data) on ours and lean-interact.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from formalmath.lean.assemble import Proof, assemble
from formalmath.lean.lexer import lex
from formalmath.lean.policy import load_policy
from formalmath.lean.pool import PoolSettings, ReplPool
from formalmath.lean.statement import parse_statement
from formalmath.lean.verdict import CheckRequest, Limits
from formalmath.metrics.intervals import bootstrap
from formalmath.metrics.passk import pass_at_k
from formalmath.problems import mini, read_json

from .official import SIZES, monte_carlo

HERE = Path(__file__).parent
STUB = (sys.executable, "-S", "-E", str(HERE / "stub_repl.py"))
ST = parse_statement("import Mathlib\n\ntheorem t (x : ℝ) (h : 2 * x = 6) : x = 3 := by")
WORKERS = 2
TOLERANCE = 1.1


@dataclass
class Target:
    """A measured value and the bound that it has to keep."""

    what: str
    value: float
    bound: float
    at_least: bool

    @property
    def missed(self) -> bool:
        """By more than a tenth."""
        return self.value < self.bound / TOLERANCE if self.at_least else self.value > self.bound * TOLERANCE

    def line(self) -> str:
        met = self.value >= self.bound if self.at_least else self.value <= self.bound
        verdict = "met" if met else "MISSED"
        sign = ">=" if self.at_least else "<="
        return f"  {self.value:10.4g}  {sign} {self.bound:<7g} {self.what}: {verdict}"


def requests(count: int) -> list[CheckRequest]:
    return [CheckRequest("t", i, assemble(ST, Proof("\n  linarith")), Limits(30)) for i in range(count)]


def ours(count: int, policy: str, mean: float = 0.0) -> tuple[float, float]:
    """Checks a second, and the share of the time that the workers were asked something."""

    async def run() -> tuple[float, float]:
        stub = (*STUB, "--mean", str(mean)) if mean else STUB
        pool = ReplPool(PoolSettings(stub, workers=WORKERS, recycle_uses=10**9), load_policy(policy))
        async for _ in pool.check(requests(WORKERS)):  # processes started, imports loaded
            pass
        pool.busy = [0.0] * WORKERS
        items = requests(count)
        begun = time.perf_counter()
        async for _ in pool.check(items):
            pass
        seconds = time.perf_counter() - begun
        await pool.close()
        return count / seconds, sum(pool.busy) / (WORKERS * seconds)

    return asyncio.run(run())


def efficiency(count: int, mean: float) -> float:
    """The stand-ins' own service time of a run over WORKERS times its wall time."""

    async def run() -> tuple[float, float]:
        pool = ReplPool(
            PoolSettings((*STUB, "--mean", str(mean)), workers=WORKERS, recycle_uses=10**9), load_policy("paper")
        )
        async for _ in pool.check(requests(WORKERS)):
            pass
        warm = await served(pool)
        begun = time.perf_counter()
        async for _ in pool.check(requests(count)):
            pass
        seconds = time.perf_counter() - begun
        total = await served(pool)
        await pool.close()
        return total - warm, seconds

    busy, seconds = asyncio.run(run())
    return busy / (WORKERS * seconds)


async def served(pool: ReplPool) -> float:
    """Seconds that the stand-ins slept as service, all together."""
    return sum([(await worker.process.ask({"cmd": "SERVED"}, 10))["served"] for worker in pool.workers])


def raw(count: int) -> float:
    """Round trips a second over plain pipes, a thread a worker: the bound."""
    message = json.dumps({"cmd": ST.text, "env": 0}).encode() + b"\n\n"

    def one(_: int) -> None:
        process = subprocess.Popen(STUB, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert process.stdin and process.stdout
        fd = process.stdout.fileno()
        for _ in range(count // WORKERS):
            process.stdin.write(message)
            data = b""
            while not data.endswith(b"\n\n"):
                data += os.read(fd, 65536)
        process.kill()
        process.wait()

    begun = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(one, range(WORKERS)))
    return count / (time.perf_counter() - begun)


def lean_interact(count: int, mean: float = 0.0) -> float:
    """Commands a second through lean-interact's pool on the same stand-in."""
    from lean_interact import Command, LeanREPLConfig, LeanServerPool

    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        lake.write_text(f"#!/bin/sh\nexec {' '.join(STUB)} --mean {mean}\n")
        lake.chmod(0o755)
        repl = Path(folder) / "repl" / ".lake" / "build" / "bin"
        repl.mkdir(parents=True)
        (repl / "repl").touch()
        (Path(folder) / "repl" / "lean-toolchain").write_text("leanprover/lean4:v4.11.0\n")
        config = LeanREPLConfig(
            lake_path=str(lake), local_repl_path=str(Path(folder) / "repl"), build_repl=False, verbose=False
        )
        pool = LeanServerPool(config, num_workers=WORKERS)
        commands = [Command(cmd=ST.text + "\n  linarith\n") for _ in range(count)]
        pool.run_batch(commands[: 2 * WORKERS])
        begun = time.perf_counter()
        pool.run_batch(commands)
        seconds = time.perf_counter() - begun
        pool.close()
    return count / seconds


def alternating(rounds: int, **runs) -> dict[str, float]:
    """Medians of several measurements that take turns, so that a busy machine slows all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
    return {name: statistics.median(values) for name, values in found.items()}


def cpu(run, rounds: int = 5) -> float:
    """Median CPU-seconds of this process."""
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def passk() -> dict[str, float]:
    rng = np.random.default_rng(0)
    n, problems = 3200, 425
    c = rng.binomial(n, np.where(rng.random(problems) < 0.5, 0, rng.beta(0.2, 2, problems)))
    exact = cpu(lambda: pass_at_k(n, c, SIZES).mean(0))
    few = SIZES[::108]
    accepted = [np.arange(n) < x for x in c]
    begun = time.process_time()
    simulated, _ = monte_carlo(accepted, few, 2, rng)
    per_size = (time.process_time() - begun) / (len(few) * 2)
    table = pass_at_k(n, c, few).mean(0)
    check, spread = monte_carlo(accepted[:60], [1, 32, 1024], 50, rng)
    off = np.abs(check - pass_at_k(n, c[:60], [1, 32, 1024]).mean(0)) / np.maximum(spread, 1e-9)
    return {
        "exact, CPU s": exact,
        "official simulation, CPU s (extrapolated)": per_size * 50 * len(SIZES),
        "official, largest deviation in standard errors": float(off.max()),
        "mean difference of a short simulation": float(np.abs(simulated - table).max()),
        "sizes": len(SIZES),
    }


def reading(path: Path | None) -> dict[str, float]:
    texts = [p.lean for p in (read_json(path) if path else mini(425, 0))]
    parse = cpu(lambda: [parse_statement(t) for t in texts])
    lexing = cpu(lambda: [lex(t) for t in texts])
    return {"statements": len(texts), "parse all, CPU s": parse, "lexer, characters/s": sum(map(len, texts)) / lexing}


def refuter(path: Path | None) -> dict[str, float]:
    from formalmath.audit import audit

    problems = read_json(path) if path else mini(120, 0)
    begun = time.perf_counter()
    report = audit(problems, 0.3, 0, workers=2)
    inside = sum(a.disproof.outcome != "outside" for a in report.problems)
    return {
        "statements": len(problems),
        "wall s, 2 processes": time.perf_counter() - begun,
        "in the fragment": inside / len(problems),
        "refuted": report.count("refuted"),
    }


def with_lean(data: Path) -> dict[str, float]:
    from formalmath.lean.install import fingerprint
    from formalmath.lean.interact import Interact
    from formalmath.lean.pool import settings_from

    items = []
    for i, line in enumerate((data / "kimina_goedel_checks.jsonl").read_text().splitlines()):
        code = json.loads(line)["code"]
        cut = code.index(":= by") + 5
        items.append(CheckRequest(f"g{i}", 0, assemble(parse_statement(code[:cut]), Proof(code[cut:])), Limits(60)))

    async def time_of(backend) -> float:
        begun = time.perf_counter()
        async for _ in backend.check(items):
            pass
        seconds = time.perf_counter() - begun
        await backend.close()
        return len(items) / seconds

    pool = ReplPool(settings_from({"workers": WORKERS}), load_policy("strict"), fingerprint({}))
    mine = asyncio.run(time_of(pool))
    return {
        "ours, proofs/s": mine,
        "ours, imports": pool.imports,
        "lean-interact, proofs/s": asyncio.run(time_of(Interact({"workers": WORKERS}, load_policy("strict")))),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=None, help="development data; without it the generated corpus is read and audited"
    )
    parser.add_argument("--lean", action="store_true", help="time the recorded proofs on the installed Lean")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    options = parser.parse_args()
    beside = HERE.parents[2] / "shared" / "data" / "formalmath"
    data = options.data or (
        Path(os.environ["FORMALMATH_DEV_DATA"])
        if os.environ.get("FORMALMATH_DEV_DATA")
        else beside
        if beside.is_dir()
        else None
    )
    lite = data / "FormalMATH_lite.json" if data else None
    begun = time.perf_counter()

    speed = alternating(
        options.rounds,
        **{
            "raw pipes (bound)": lambda: raw(8000),
            "ours, one command a check": lambda: ours(8000, "paper")[0],
            "ours, with axioms (two commands)": lambda: ours(4000, "strict")[0],
            "lean-interact": lambda: lean_interact(1500),
        },
    )
    show("checks a second on a stand-in REPL that answers at once, 2 workers", speed)
    busy = alternating(3, ours=lambda: efficiency(300, 0.02))
    served = lean_interact(300, 0.02) * 0.02 / WORKERS
    loaded = {"ours, served / (workers × wall)": busy["ours"], "lean-interact, mean service × rate / workers": served}
    show("20 ms mean exponential service, 2 workers", loaded)
    curve = passk()
    show("pass@K, 425 problems, n = 3200", curve)
    rng = np.random.default_rng(0)
    table = pass_at_k(64, rng.binomial(64, 0.3, 425), range(1, 65))
    boot = {
        "10,000 × 425 × 64, CPU s": cpu(lambda: bootstrap(table, 10_000, 0), 3),
        "the same with rows all different": cpu(
            lambda: bootstrap(table + rng.random(table.shape) * 1e-9, 10_000, 0), 1
        ),
    }
    show("bootstrap", boot)
    read = reading(lite)
    show(f"reading {'Lite' if lite else 'the generated corpus'}", read)
    refuted = refuter(lite)
    show("refuter", refuted)
    tables = {"pool": speed, "loaded": loaded, "passk": curve, "bootstrap": boot, "reading": read, "refuter": refuted}
    targets = [
        Target("checks/s on the stand-in", speed["ours, one command a check"], 4000, True),
        Target("ours / lean-interact", speed["ours, one command a check"] / speed["lean-interact"], 4, True),
        Target("workers' busy share at 20 ms", busy["ours"], 0.97, True),
        Target("pass@K curve, CPU s", curve["exact, CPU s"], 0.05, False),
        Target(
            "official simulation within standard errors",
            curve["official, largest deviation in standard errors"],
            3,
            False,
        ),
        Target("bootstrap, CPU s", boot["10,000 × 425 × 64, CPU s"], 2, False),
        Target("parse all statements, CPU s", read["parse all, CPU s"], 0.15, False),
        Target("lexer, characters/s", read["lexer, characters/s"], 1e6, True),
    ]
    if lite:
        targets += [
            Target("audit of Lite, wall s on 2 cores", refuted["wall s, 2 processes"], 30, False),
            Target("share of Lite in the fragment", refuted["in the fragment"], 0.45, True),
        ]
    if options.lean and data:
        tables["lean"] = with_lean(data)
        show("with Lean: the recorded proofs", tables["lean"])
        targets.append(
            Target(
                "ours / lean-interact, with Lean",
                tables["lean"]["ours, proofs/s"] / tables["lean"]["lean-interact, proofs/s"],
                1,
                True,
            )
        )
    print("\ntargets")
    print("\n".join(t.line() for t in targets))
    record = {
        "tables": tables,
        "targets": [asdict(t) | {"missed": t.missed} for t in targets],
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "versions": {name: version(name) for name in ("numpy", "scipy", "lean-interact")},
        "python": platform.python_version(),
        "data": "FormalMATH-Lite (development data)" if lite else "generated",
        "date": time.strftime("%Y-%m-%d"),
        "wall_seconds": round(time.perf_counter() - begun, 1),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(f"\nwritten to {options.output} after {record['wall_seconds']:.0f} s")
    return int(any(t.missed for t in targets))


def show(title: str, values: dict[str, float]) -> None:
    first = next(iter(values.values()))
    print(f"\n{title}")
    for name, value in values.items():
        print(
            f"  {name:50s}{value:14,.4g}   x{value / first:.3f}"
            if "s" in name and first
            else f"  {name:50s}{value:14,.4g}"
        )


if __name__ == "__main__":
    sys.exit(main())
