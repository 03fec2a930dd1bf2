"""`make bench-poet`: ours beside the others, as ratios from one run, and the targets that they have to meet.

A target missed by more than a tenth ends the program with status 1. With a CUDA device the layers are measured in
bfloat16 at 4096² as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from poet import PoetConfig, PoetLinear, PoetOptimizer, batch_layers, merge_all, wrap
from poet.evaluation import Batch, summed_loss
from poet.linear import poet_layers
from poet.memory import state_bytes
from poet.methods import make_trainee, prepare_model
from poet.models import build_llama
from poet.settings import MethodSettings, ModelSettings, TrainingSettings
from shared.orthogonal import cayley, cayley_neumann, exponential, packed_length

from .measure import interleaved, peak_bytes
from .variants import NN, OFFICIAL, layers, optimizers

TOLERANCE = 1.1
SHAPES = ((512, 1280), (1024, 1024), (1024, 2816))  # inputs, outputs
SIXTY = ModelSettings("60m", hidden=512, mlp=1280, heads=8, layers=8, vocabulary=32000)
TINY = ModelSettings("tiny", hidden=64, mlp=128, heads=2, layers=2, vocabulary=512)
Table = dict[str, dict[str, float]]


@dataclass
class Target:
    """A ratio and the bound that it has to keep."""

    what: str
    ratio: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound

    @property
    def missed(self) -> bool:
        """By more than a tenth."""
        return self.ratio < self.bound / TOLERANCE if self.at_least else self.ratio > self.bound * TOLERANCE

    def line(self) -> str:
        verdict = "met" if self.met else "MISSED" if self.missed else "missed by less than a tenth"
        return f"  {self.ratio:7.3f}  {'>=' if self.at_least else '<='} {self.bound:<5g} {self.what}: {verdict}"


def bench_layers(options: argparse.Namespace) -> Iterator[tuple[str, Table, list[Target]]]:
    """Forward and backward of one layer, rotations built in every call as after an optimizer step."""
    cuda = torch.cuda.is_available()
    cases = [(n, m, b, 2048) for n, m in SHAPES for b in (128, 256)]
    cases += [(4096, 4096, 256, 2048), (4096, 4096, 256, 16384)] if cuda else []
    for n, m, b, tokens in cases:
        made = layers(m, n, b, options.official)
        x = torch.randn(tokens, n, device=options.device, dtype=options.dtype, requires_grad=True)
        g = torch.randn(tokens, m, device=options.device, dtype=options.dtype)

        def step(layer: nn.Module, x: torch.Tensor = x, g: torch.Tensor = g) -> Callable[[], Any]:
            layer.to(options.device, options.dtype)
            trained = [p for p in layer.parameters() if p.requires_grad]

            def call():
                if isinstance(layer, PoetLinear):
                    layer.invalidate()
                return torch.autograd.grad(layer(x), [x, *trained], g)

            return call

        works = {name: step(layer) for name, layer in made.items()}
        seconds = interleaved(works, options.repeats)
        table = {name: {"seconds": s, "/ nn.Linear": s / seconds[NN]} for name, s in seconds.items()}
        for name, work in works.items():
            table[name]["peak MiB"] = peak_bytes(work, [x, g, *made[name].parameters()]) / 2**20
        targets = []
        ours = seconds["ours, auto"]
        if cuda and n == 4096:
            targets.append(
                Target(
                    f"layer {n}->{m}, T={tokens}: auto / nn.Linear", ours / seconds[NN], 1.05 if tokens == 2048 else 0.9
                )
            )
        elif not cuda:
            if (n, m, b) == (1024, 1024, 128):
                targets.append(Target("layer 1024->1024, b=128: auto / nn.Linear", ours / seconds[NN], 1.0))
            targets.append(Target(f"layer {n}->{m}, b={b}: auto / {OFFICIAL}", ours / seconds[OFFICIAL], 0.6))
        yield f"layer {n} -> {m}, b = {b}, {tokens} tokens", table, targets


def bench_optimizers(options: argparse.Namespace) -> Iterator[tuple[str, Table, list[Target]]]:
    """A step of the optimizer on the hidden matrices of the 60M model, b = 128, and its memory."""
    table: Table = {}
    works: dict[str, Callable[[], Any]] = {}
    for name, build in optimizers(lambda: build_llama(SIXTY, 32000, 0).to(options.device), 128, 128).items():
        _, made, hidden = build()
        for p in hidden:
            p.grad = torch.randn_like(p) * 1e-3
        works[name] = lambda made=made: [optimizer.step() for optimizer in made]
        works[name]()  # states, and GaLore's first decomposition, are not a step's usual work
        table[name] = {
            "numbers": float(sum(p.numel() for p in hidden)),
            "state MiB": state_bytes(made) / 2**20,
            "gradient MiB": sum(p.numel() * 4 for p in hidden) / 2**20,
            "peak MiB": peak_bytes(works[name], [t for p in hidden for t in (p, p.grad) if t is not None]) / 2**20,
        }
    for name, s in interleaved(works, options.repeats).items():
        table[name]["seconds"] = s
    for row in table.values():
        row["/ AdamW"] = row["seconds"] / table["AdamW"]["seconds"]
    ours = table["ours, AdamW on Q"]
    yield (
        "optimizer step, hidden matrices of the 60M model, b = 128",
        table,
        [
            Target("optimizer step: AdamW / ours", table["AdamW"]["seconds"] / ours["seconds"], 4, True),
            Target("optimizer step: Muon / ours", table["Muon"]["seconds"] / ours["seconds"], 20, True),
            Target("optimizer state: ours / AdamW", ours["state MiB"] / table["AdamW"]["state MiB"], 0.2),
        ],
    )


def bench_training(options: argparse.Namespace) -> Iterator[tuple[str, Table, list[Target]]]:
    """Whole training steps: forward, backward, clipping, optimizer."""
    for model, sequences, length, b, repeats in ((TINY, 32, 64, 32, 15), (SIXTY, 4, 256, 128, 3)):
        methods = {
            "AdamW": MethodSettings("adamw", "adamw", lr=1e-3),
            "Muon": MethodSettings("muon", "muon", lr=1e-3),
            "GaLore": MethodSettings("galore", "galore", lr=1e-3, options={"rank": model.hidden // 4}),
            "LoRA": MethodSettings("lora", "lora", lr=1e-3, options={"match_block": b}),
            "ours, AdamW on Q": MethodSettings("bs", "poet", lr=1e-4, poet={"block": b}),
            "ours, Skew-Muon": MethodSettings("sm", "poet", lr=1e-4, poet={"block": b}, q_optimizer="skew_muon"),
        }
        ids = torch.randint(0, model.vocabulary or 0, (sequences, length), device=options.device)
        works, table = {}, {}
        training = TrainingSettings(steps=1, sequences=sequences, length=length)
        for name, method in methods.items():
            made = build_llama(model, model.vocabulary or 0, 0).to(options.device)
            prepare_model(made, method, 0)
            batch_layers(made)
            trainee = make_trainee(made, method, training)

            def work(trainee=trainee, ids=ids):
                (summed_loss(trainee.model, Batch(ids, ids)) / ids.numel()).backward()
                nn.utils.clip_grad_norm_(trainee.parameters, 1.0)
                trainee.step()

            works[name] = work
            work()
            table[name] = {
                "peak MiB": peak_bytes(work, [*made.parameters(), *made.buffers(), *states(trainee)]) / 2**20
            }
        for name, s in interleaved(works, repeats).items():
            table[name] |= {"seconds": s, "tokens/s": ids.numel() / s}
        for row in table.values():
            row["speed / AdamW"] = row["tokens/s"] / table["AdamW"]["tokens/s"]
        best = max(table["ours, AdamW on Q"]["tokens/s"], table["ours, Skew-Muon"]["tokens/s"])
        bound = 0.95 if model is TINY else 1.0
        yield (
            f"training step, {model.name}, {sequences} x {length} tokens, b = {b}",
            table,
            [
                Target(f"tokens/s, {model.name}: ours / AdamW", best / table["AdamW"]["tokens/s"], bound, True),
                Target(f"tokens/s, {model.name}: ours / Muon", best / table["Muon"]["tokens/s"], 1.0, True),
            ],
        )


def states(trainee: Any) -> list[torch.Tensor]:
    found = []
    for optimizer in trainee.optimizers:
        for state in optimizer.state.values():
            found += [v for v in state.values() if isinstance(v, torch.Tensor)]
    return found


def bench_series(options: argparse.Namespace) -> Iterator[tuple[str, Table, list[Target]]]:
    """Building rotations, forward and backward. The three-product form is the plain way to k = 3."""

    def three_products(packed: torch.Tensor, b: int) -> torch.Tensor:
        upper = torch.triu_indices(b, b, 1, device=packed.device)
        Q = packed.new_zeros(len(packed), b, b)
        Q[:, upper[0], upper[1]] = packed
        Q = Q - Q.mT
        Q2 = Q @ Q
        Q3 = Q2 @ Q
        return torch.eye(b, device=Q.device) + 2 * (Q + Q2 + Q3) + Q3 @ Q

    for b, count in ((64, 512), (128, 128), (256, 32)):
        packed = (0.1 / b**0.5 * torch.randn(count, packed_length(b), device=options.device)).requires_grad_()
        dR = torch.randn(count, b, b, device=options.device)
        maps = {
            "ours, k = 3": lambda p: cayley_neumann(p, 3),
            "ours, k = 4": lambda p: cayley_neumann(p, 4),
            "three products, k = 3": lambda p, b=b: three_products(p, b),
            "Cayley by solve": cayley,
            "matrix exponential": exponential,
        }
        works = {
            name: (lambda f=f, packed=packed, dR=dR: torch.autograd.grad(f(packed), packed, dR))
            for name, f in maps.items()
        }
        seconds = interleaved(works, options.repeats)
        table = {name: {"seconds": s, "/ k = 3": s / seconds["ours, k = 3"]} for name, s in seconds.items()}
        gain = seconds["three products, k = 3"] / seconds["ours, k = 3"]
        yield (
            f"rotations, {count} blocks of {b}",
            table,
            [Target(f"rotations, b={b}: three products / ours", gain, 1.4, True)],
        )


def bench_merges(options: argparse.Namespace) -> Iterator[tuple[str, Table, list[Target]]]:
    """Merging the 350M model, measured on one of its blocks, against 200 steps of that block on 2048 tokens a step;
    the paper's 131072 tokens a step make the share 64 times smaller."""
    block = build_llama(ModelSettings("350m", hidden=1024, mlp=2816, heads=16, layers=1, vocabulary=32), 32, 0)
    wrap(block, PoetConfig(block=256, init="keep"))
    block.to(options.device)
    optimizer = PoetOptimizer(block)
    x = torch.randn(1, 2048, 1024, device=options.device, requires_grad=True)
    layer = block.model.layers[0]
    position = block.model.rotary_emb(x, torch.arange(2048, device=options.device)[None])

    def step():
        for found in poet_layers(block):
            found.invalidate()
        layer(x, position_embeddings=position).square().mean().backward()

    seconds = interleaved({"merge": lambda: merge_all(block, optimizer), "step": step}, 3)
    table: Table = {
        "merge of the whole model": {"seconds": 24 * seconds["merge"]},
        "step of its blocks, 2048 tokens": {"seconds": 24 * seconds["step"]},
    }
    share = seconds["merge"] / (200 * seconds["step"])
    yield "merging a 350M model, b = 256", table, [Target("merge / (200 steps of 2048 tokens)", share, 0.01)]


SECTIONS = {
    "layers": bench_layers,
    "optimizers": bench_optimizers,
    "training": bench_training,
    "series": bench_series,
    "merges": bench_merges,
}


def show(title: str, table: Table) -> str:
    columns = list(dict.fromkeys(name for row in table.values() for name in row))
    lines = [f"\n{title}", "  " + " " * 28 + "".join(f"{'ms' if c == 'seconds' else c:>15s}" for c in columns)]
    for name, row in table.items():
        cells = "".join(f"{(1e3 if c == 'seconds' else 1) * row[c]:15,.3f}" if c in row else " " * 15 for c in columns)
        lines.append(f"  {name:28s}{cells}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds of each comparison (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1, steadiest on a busy machine)")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS), help="sections to run")
    parser.add_argument("--official", type=Path, help="a checkout of the public POET implementation, to run beside")
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    options = parser.parse_args()
    if options.repeats < 3:
        parser.error(f"--repeats must be at least 3 for a median, not {options.repeats}")
    if options.official is not None and not (options.official / "poet_torch").is_dir():
        parser.error(f"--official {options.official} is not a checkout with a folder poet_torch")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    gpu = torch.cuda.is_available()
    options.device = torch.device("cuda" if gpu else "cpu")
    options.dtype = torch.bfloat16 if gpu else torch.float32
    torch.manual_seed(0)
    begun, tables, targets = time.perf_counter(), {}, []
    for section in tqdm(options.only, desc="bench", unit="section", disable=None):
        for title, table, found in SECTIONS[section](options):
            tables[title] = table
            targets += found
            tqdm.write(show(title, table))
    print("\ntargets (ratio, bound)")
    print("\n".join(target.line() for target in targets))
    record = {
        "tables": tables,
        "targets": [asdict(target) | {"met": target.met} for target in targets],
        "machine": {
            "device": torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": options.threads,
        },
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "galore-torch", "apollo-torch")},
        "repeats": options.repeats,
        "date": time.strftime("%Y-%m-%d"),
        "wall_seconds": round(time.perf_counter() - begun, 1),
    }
    if set(options.only) == set(SECTIONS):
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(record, indent=1) + "\n")
        print(f"\nwritten to {options.output} after {record['wall_seconds']:.0f} s")
    return int(any(target.missed for target in targets))


if __name__ == "__main__":
    sys.exit(main())
