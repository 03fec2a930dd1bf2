"""`make bench-vrs`: ours beside the others, as ratios from one run, and the targets that they have to meet.

A miss by more than a tenth ends the program with status 1.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from vrs.study.environment import environment
from vrs.study.writing import to_json, write

TOLERANCE = 1.1
PARTS = ("scoring", "overhead", "reread", "simulation", "speculative")


@dataclass
class Target:
    """A number and the bound that it has to keep."""

    what: str
    value: float
    bound: float
    at_least: bool = True

    @property
    def missed(self) -> bool:
        """By more than a tenth."""
        return self.value < self.bound / TOLERANCE if self.at_least else self.value > self.bound * TOLERANCE

    def line(self) -> str:
        met = self.value >= self.bound if self.at_least else self.value <= self.bound
        verdict = "met" if met else "MISSED" if self.missed else "missed by less than a tenth"
        return f"  {self.value:10.4g}  {'>=' if self.at_least else '<='} {self.bound:<8g} {self.what}: {verdict}"


def overhead(repeats: int) -> tuple[Any, list[Target]]:
    from .calls import BOUND, overhead

    found = overhead(max(1, repeats // 2))
    rate = found["calls_a_second"]
    print("\ncalls a second, concurrency 64, 50 ms an answer")
    for name, value in rate.items():
        print(f"  {name:30s}{value:10.0f}{value / rate['ours, cache on']:8.2f}")
    ours = rate["ours, cache on"]
    return found, [
        Target("share of the bound that latency sets", ours / BOUND, 0.85),
        Target("calls a second / bare AsyncOpenAI", ours / rate["AsyncOpenAI and gather"], 0.95),
        Target("calls a second / inspect-ai", ours / rate["inspect-ai"], 2.0),
    ]


def reread(repeats: int) -> tuple[Any, list[Target]]:
    from .calls import reread

    found = reread(repeats)
    seconds = found["seconds"]
    print(f"\n{found['calls']} cached completions, seconds")
    for name, value in seconds.items():
        print(f"  {name:30s}{value:10.2f}{value / seconds['ours']:8.2f}")
    return found, [
        Target("seconds for 15 200 cached calls", seconds["ours"], 3.0, at_least=False),
        Target("inspect-ai's cache / ours", seconds["inspect-ai's files"] / seconds["ours"], 10.0),
        Target("diskcache / ours", seconds["diskcache, JSONDisk"] / seconds["ours"], 2.0),
    ]


def scoring(repeats: int) -> tuple[Any, list[Target]]:
    from .scoring import lines, scoring

    # a round takes minutes, and is itself a mean over 168 prompts
    rows = scoring(max(1, repeats // 5))
    print("\n" + "\n".join(lines(rows)))
    return rows, [Target(f"{row.name} / ours", row.over_ours, row.floor) for row in rows if row.floor]


def simulation(repeats: int) -> tuple[Any, list[Target]]:
    from .simulation import simulation

    return rated("accept/reject draws a second", simulation(repeats))


def speculative(repeats: int) -> tuple[Any, list[Target]]:
    from .speculative import speculative

    return rated("draws of VRS at 50 ms an answer", speculative(repeats))


def rated(title: str, rows: Any) -> tuple[Any, list[Target]]:
    """Rows that carry their own targets: dataclasses with `name`, `value`, `bound` and `at_least`."""
    print(f"\n{title}")
    targets = []
    for row in rows:
        print(f"  {row.name:46s}{row.value:12.4g}")
        if row.bound is not None:
            targets.append(Target(row.name, row.value, row.bound, row.at_least))
    return rows, targets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    options = parser.parse_args()
    tables: dict[str, Any] = {}
    targets: list[Target] = []
    for name in PARTS if options.only is None else (options.only,):
        tables[name], own = globals()[name](options.repeats)
        targets += own
    print("\ntargets")
    print("\n".join(target.line() for target in targets))
    record = {
        "environment": environment(),
        "repeats": options.repeats,
        "tables": {
            name: [asdict(r) if is_dataclass(r) else r for r in t] if isinstance(t, list) else t
            for name, t in tables.items()
        },
        "targets": [asdict(target) for target in targets],
    }
    write(options.output, to_json(record))
    print(f"\n{options.output}")
    return int(any(target.missed for target in targets))


if __name__ == "__main__":
    sys.exit(main())
