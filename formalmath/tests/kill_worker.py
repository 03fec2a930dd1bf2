"""A run of checks on the stand-in REPL, to be killed: python kill_worker.py FOLDER COUNT MEAN."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import STUB

from formalmath.lean.policy import load_policy
from formalmath.lean.pool import PoolSettings, ReplPool
from formalmath.problems import Problem
from formalmath.run.schedule import Local, Sample, verify
from formalmath.run.store import Store

PROBLEMS = [Problem(f"p{i}", "", f"import Mathlib\n\ntheorem p{i} (x : ℝ) : x = x := by") for i in range(50)]


def samples(count: int) -> list[Sample]:
    """Samples of which every seventh fails and a third are repeats."""
    found = []
    for i in range(count):
        body = "FAIL" if i % 7 == 0 else "ring" if i // 50 % 3 == 0 else f"ring -- {i}\n  skip_{i}"
        found.append(Sample(f"p{i % 50}", i // 50, f"\n  {body}"))
    return found


def run(folder: Path, count: int, mean: float):
    policy = load_policy("strict")
    pool = ReplPool(PoolSettings((*STUB, "--mean", str(mean)), workers=2, recycle_uses=10_000), policy)
    store = Store(folder, pool.fingerprint.digest)
    try:
        return verify(PROBLEMS, samples(count), Local(pool), policy, store)
    finally:
        store.close()
        for worker in pool.workers:
            worker.process.kill()


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
