"""`make bench-sgp-bench`: ours beside lm-eval, inspect-ai, svgelements and other renderers, as ratios from one run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from sgp_bench.parts import _processor
from sgp_bench.scene_set import scene_set
from sgp_bench.sit import encode, pack, packed_loss, question_turn
from shared.llm import load_causal_lm

from . import choices, harness, programs

SHARES = {"distinct": 0.7, "counts": 0.3}
PEERS = ("torch", "transformers", "lm-eval", "inspect-ai", "svgelements", "resvg-py", "skia-python", "cairosvg")


@dataclass
class Target:
    """A ratio and the bound that it has to keep."""

    what: str
    ratio: float
    bound: float

    @property
    def met(self) -> bool:
        return self.ratio >= self.bound

    def line(self) -> str:
        return f"  {self.ratio:8.2f}  >= {self.bound:<6g} {self.what}: {'met' if self.met else 'MISSED'}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--programs", type=int, default=8, help="programs whose questions are scored (default 8)")
    parser.add_argument("--drawings", type=int, default=100, help="drawings to render and move (default 100)")
    parser.add_argument("--items", type=int, default=300, help="items of the harness comparison (default 300)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of every model (default 2)")
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    began = time.perf_counter()
    tables, targets = {}, []

    drawn = programs.drawings(options.drawings)
    workers = os.cpu_count() or 1
    table = tables["pictures a second"] = programs.rendering(drawn, workers)
    show("pictures a second, 256 pixels", table)
    unsafe = table["resvg in this process (unsafe)"]
    targets.append(
        Target("safe worker pool / unsafe in this process", table[f"safe pool, {workers} workers"] / unsafe, 0.8)
    )
    table = tables["programs moved a second"] = programs.moving(drawn)
    show("programs moved a second (SE(2))", table)
    targets.append(Target("programs moved a second", table["ours"], 1000))
    targets.append(Target("moving / svgelements", table["ours"] / table["svgelements, paths only"], 1))

    many = [i for a in scene_set(options.items // 4, "bench-items", SHARES) for i in a.items][: options.items]
    table = tables["harness, ms an item"] = harness.both(many)
    show(f"harness, ms an item, {len(many)} items, a model that answers at once", table)
    targets.append(Target("inspect-ai / ours, overhead an item", table["inspect-ai"] / table["ours"], 5))

    lm, tokenizer = load_causal_lm()
    items = [i for a in scene_set(options.programs, "bench-scoring", SHARES) for i in a.items]
    for by, bound in (("letter", 2.5), ("text", 8.0)):
        results, seconds, tokens = choices.ours(lm, tokenizer, items, by)
        letters, theirs = choices.lm_eval(lm, tokenizer, items, by)
        same = sum(a.strict == letter for a, letter in zip(results.answers, letters, strict=True)) / len(items)
        table = tables[f"{by} scores"] = {
            "ours, s": seconds,
            "lm-eval, s": theirs,
            "tokens, ours": float(tokens),
            "same letters": same,
        }
        show(f"{by} scores of {len(items)} questions about {options.programs} programs", table)
        targets.append(Target(f"lm-eval / ours, {by} scores", theirs / seconds, bound))
        targets.append(Target(f"same letters as lm-eval, {by} scores", same, 0.99))

    table = tables["training step, s"] = training(lm, tokenizer)
    show("forward and backward of the questions of two programs, s", table)
    targets.append(Target("separate / packed", table["a question at a time"] / table["packed"], 1.5))

    print("\ntargets")
    print("\n".join(t.line() for t in targets))
    record = {
        "tables": tables, "targets": [asdict(t) | {"met": t.met} for t in targets],
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "threads": options.threads, "python": platform.python_version()},  # noqa: E501
        "versions": {p: _version(p) for p in PEERS}, "date": time.strftime("%Y-%m-%d"), "wall_seconds": round(time.perf_counter() - began, 1),  # noqa: E501
    }  # fmt: skip
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(
        f"\n{record['machine']}, {record['versions']}\nwritten to {options.output} after {record['wall_seconds']:.0f} s"
    )
    return 0


def training(lm, tokenizer) -> dict[str, float]:
    """A program's questions in one row, and one by one."""
    encoded = [
        encode([question_turn(i) for i in a.items], tokenizer, 4096).encoded
        for a in scene_set(2, "bench-train", {"distinct": 1})
    ]
    weight = lm.model.layers[0].self_attn.q_proj.weight
    for p in lm.parameters():
        p.requires_grad_(p is weight)  # as with an adapter, gradients go all the way down

    def timed(rows) -> float:
        began = time.perf_counter()
        for row in rows:
            packed_loss(lm, pack(row)).backward()
        return time.perf_counter() - began

    together = [encoded[0] + encoded[1]]
    apart = [[e] for row in encoded for e in row]
    return {"packed": timed(together), "a question at a time": timed(apart)}


def show(title: str, table: dict[str, float]) -> None:
    first = next(iter(table.values()))
    print(f"\n{title}")
    for name, value in table.items():
        print(f"  {name:36s}{value:12.3f}   x{value / first:.3f}", flush=True)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except Exception:
        return None


if __name__ == "__main__":
    sys.exit(main())
