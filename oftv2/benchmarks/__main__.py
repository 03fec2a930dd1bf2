"""`make bench-oftv2`: ours beside the others, as ratios from one run, and the targets that they have to meet.

On a CPU the targets are checked, and a miss by more than a tenth ends the program with status 1. With a CUDA device
the same tables are made in bfloat16 on Llama-3-8B layers, with the kernels' share of the copy bandwidth.
"""

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
from tqdm import tqdm

from . import comparisons
from .comparisons import Table
from .variants import LLAMA3_8B, MAKERS, SMOLLM2, WIDTHS, Shape

OURS, PEFT, LORA = "OFTv2 (ours)", "OFT (PEFT)", "LoRA (PEFT)"
RECOMPUTE, DENSE, BLOCKWISE = "OFTv2 (ours), recompute_inputs", "OFTv1 dense", "OFTv1 blockwise"
TOLERANCE = 1.1


@dataclass
class Target:
    """A ratio and the bound that it has to keep."""

    what: str
    ratio: float
    bound: float
    at_least: bool = False
    least: float | None = None  # the ratio of the frozen step with nothing but the rotations' products

    @property
    def missed(self) -> bool:
        """By more than a tenth."""
        return self.ratio < self.bound / TOLERANCE if self.at_least else self.ratio > self.bound * TOLERANCE

    def line(self) -> str:
        met = self.ratio >= self.bound if self.at_least else self.ratio <= self.bound
        verdict = "met" if met else "MISSED" if self.missed else "missed by less than a tenth"
        least = "" if self.least is None else f" (frozen layers and the rotations' products alone: {self.least:.3f})"
        return f"  {self.ratio:6.3f}  {'>=' if self.at_least else '<='} {self.bound:<5g} {self.what}: {verdict}{least}"


def on_cpu(options: argparse.Namespace, bar: tqdm) -> tuple[dict, list[Target]]:
    everything, few = list(MAKERS), ["frozen", OURS, PEFT, LORA, BLOCKWISE, DENSE]
    main = comparisons.steps(SMOLLM2, 4, 128, everything, options, bar)
    show(f"{SMOLLM2.name}, {SMOLLM2.layers} layers, 4x128 tokens, {options.dtype}", main)
    short = comparisons.steps(SMOLLM2, 8, 64, few, options, bar)
    show(f"{SMOLLM2.name}, {SMOLLM2.layers} layers, 8x64 tokens, {options.dtype}", short)
    wide = {}
    for width, shape in WIDTHS.items():
        # the dense form takes a cube of the width: seconds a step from here on
        names = few if width < 2048 else [name for name in few if name != DENSE]
        wide[width] = comparisons.steps(shape, 1, 256, names, options, bar)
        show(f"{shape.name}, 1x256 tokens, {options.dtype}", wide[width])
    options.dtype = torch.bfloat16
    half = comparisons.steps(SMOLLM2, 4, 128, ["frozen", OURS, RECOMPUTE, PEFT, LORA], options, bar)
    show(f"{SMOLLM2.name}, {SMOLLM2.layers} layers, 4x128 tokens, {options.dtype}", half)
    options.dtype = torch.float32
    build = comparisons.build_times(options)
    plain("all rotations of SmolLM2-135M, forward and backward", build)
    lycoris = comparisons.lycoris_times(options)
    plain("one 576 -> 1536 layer, 512 tokens, forward and backward", lycoris)
    nf4 = comparisons.quantised(options, bar)
    plain("training step over NF4 layers", {name: row["seconds"] for name, row in nf4.items()})

    def ratio(table: Table, name: str, other: str, key: str = "seconds") -> float:
        return table[name][key] / table[other][key]

    def step(what: str, table: Table, shape: Shape, tokens: int, by_peft: float, by_lora: float) -> list[Target]:
        least = comparisons.least_seconds(shape, tokens, table["frozen"]["seconds"], options)
        return [
            Target(
                f"step / PEFT {name}, {what}", ratio(table, OURS, other), bound, least=least / table[other]["seconds"]
            )
            for name, other, bound in (("OFT", PEFT, by_peft), ("LoRA", LORA, by_lora))
        ]

    kept = "kept_beyond_frozen"
    targets = [
        *step("SmolLM2 4x128", main, SMOLLM2, 512, 0.86, 0.96),
        *step("SmolLM2 8x64", short, SMOLLM2, 512, 0.86, 0.96),
        *step("d=2048", wide[2048], WIDTHS[2048], 256, 0.91, 1.05),
        Target("build of all rotations / PEFT's modules", build["batched (ours)"] / build["per module (PEFT)"], 0.4),
        Target("bytes kept / PEFT OFT, float32 base", ratio(main, OURS, PEFT, kept), 0.75),
        Target("bytes kept / PEFT OFT, bfloat16 base", ratio(half, OURS, PEFT, kept), 0.5),
        Target("bytes kept / PEFT OFT, recompute_inputs", ratio(main, RECOMPUTE, PEFT, kept), 0.1),
        Target("OFTv1 dense / OFTv2, decoder layers", ratio(main, DENSE, OURS), 3.0, at_least=True),
    ]
    tables = {
        "smollm2_4x128_float32": main,
        "smollm2_8x64_float32": short,
        **{f"width_{width}_1x256_float32": table for width, table in wide.items()},
        "smollm2_4x128_bfloat16": half,
        "build": build,
        "lycoris": lycoris,
        "nf4": nf4,
    }
    return tables, targets


def on_gpu(options: argparse.Namespace, bar: tqdm) -> tuple[dict, list[Target]]:
    options.dtype = torch.bfloat16
    names = [name for name in MAKERS if name not in (DENSE, "BOFT (PEFT)")]
    main = comparisons.steps(LLAMA3_8B, 1, 8192, names, options, bar)
    show(f"{LLAMA3_8B.name}, {LLAMA3_8B.layers} layers, 1x8192 tokens, {options.dtype}", main)
    kernels = comparisons.kernels(options)
    plain("kernels", kernels, unit=1.0)

    def overhead(name: str) -> float:
        return main[name]["seconds"] - main["frozen"]["seconds"]

    targets = [
        Target("overhead over frozen / PEFT OFT's", overhead(OURS) / overhead(PEFT), 0.4),
        Target("overhead over frozen / PEFT LoRA's", overhead(OURS) / overhead(LORA), 1.0),
        Target("peak memory / PEFT OFT", main[OURS]["peak_bytes"] / main[PEFT]["peak_bytes"], 0.75),
        Target("rotate / copy bandwidth", kernels["rotate_share_of_copy_bandwidth"], 0.85, at_least=True),
        Target("build of an 8B model's rotations, ms", kernels["build_8b_milliseconds"], 2.0),
    ]
    return {"llama3_8b_1x8192_bfloat16": main, "kernels": kernels}, targets


def show(title: str, table: Table) -> None:
    lines = [f"\n{title}"]
    lines.append(
        f"  {'':32s}{'ms':>9s}{'/frozen':>9s}{'/PEFT OFT':>11s}{'/LoRA':>8s}{'kept MiB':>10s}{'peak MiB':>10s}"
    )
    for name, row in table.items():
        seconds = row["seconds"]
        lines.append(
            f"  {name:32s}{1e3 * seconds:9.1f}{row['over_frozen']:9.3f}{seconds / table[PEFT]['seconds']:11.3f}"
            f"{seconds / table[LORA]['seconds']:8.3f}{row['kept_beyond_frozen'] / 2**20:10.1f}"
            f"{row['peak_bytes'] / 2**20:10.1f}"
        )
    tqdm.write("\n".join(lines))


def plain(title: str, values: dict[str, float], unit: float = 1e3) -> None:
    first = next(iter(values.values()))
    lines = [f"\n{title}"]
    lines += [f"  {name:40s}{unit * value:9.2f}   x{value / first:.3f}" for name, value in values.items()]
    tqdm.write("\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--repeats", type=int, default=9, help="timed rounds of each comparison, at least 7 (default 9)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads (default 1, the steadiest on a busy machine)"
    )
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    options = parser.parse_args()
    if options.repeats < 7:
        parser.error(f"--repeats must be at least 7 for a median that means something, not {options.repeats}")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    gpu = torch.cuda.is_available()
    options.device, options.dtype = torch.device("cuda" if gpu else "cpu"), torch.float32
    begun = time.perf_counter()
    with tqdm(total=11 if gpu else 36, desc="bench", unit="method", disable=None) as bar:
        tables, targets = (on_gpu if gpu else on_cpu)(options, bar)

    print("\ntargets (ratio, bound)")
    print("\n".join(target.line() for target in targets))
    record = {
        "tables": tables,
        "targets": [asdict(target) | {"missed": target.missed} for target in targets],
        "machine": {
            "device": torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": options.threads,
        },
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes", "lycoris-lora")},
        "repeats": options.repeats,
        "date": time.strftime("%Y-%m-%d"),
        "wall_seconds": round(time.perf_counter() - begun, 1),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\nwritten to {options.output} after {record['wall_seconds']:.0f} s")
    return int(any(target.missed for target in targets))


if __name__ == "__main__":
    sys.exit(main())
