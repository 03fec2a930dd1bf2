"""The four figures of the report, in one style."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from .diagnostics import singular_value_of_cnp

COLOURS = {"oftv2": "#0b6e4f", "qoft": "#56b870", "lora": "#b5541c", "qlora": "#e8a15f", "base": "#555555"}
NAMES = {
    "oftv2": "OFTv2",
    "qoft": "QOFT",
    "lora": "LoRA",
    "qlora": "QLoRA",
    "oftv1": "OFTv1 (dense)",
    "oftv1_blockwise": "OFTv1 (blockwise)",
    "oft_peft": "OFTv2 in PEFT",
    "oftv2_exact": "OFTv2 (exact Cayley)",
    "dora": "DoRA",
    "boft": "BOFT",
    "full": "all weights",
    "base": "base",
    "base_nf4": "base in NF4",
}
Results = Mapping[str, Mapping[str, Any]]  # label -> name -> result of that part


def draw_all(results: Results, folder: Path) -> list[str]:
    """Draw what there are numbers for. Returns the names of the files written."""
    drawn = []
    for name, draw in FIGURES.items():
        with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}):
            plt.rcParams.update({"grid.alpha": 0.25, "figure.dpi": 130, "savefig.bbox": "tight"})
            figure = draw(results)
            if figure is None:
                continue
            write_png(figure, folder / name)
            plt.close(figure)
            drawn.append(name)
    return drawn


def tradeoff(results: Results) -> Any:
    """Figure 1: what is learned against what is forgotten, along training."""
    runs = {
        k: parts["train"]["probes"] for k, parts in results.items() if len(parts.get("train", {}).get("probes", [])) > 1
    }
    if not runs:
        return None
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for label, probes in runs.items():
        change = [row["prose_loss"] - probes[0]["prose_loss"] for row in probes]
        axes.plot(
            change,
            [row["answer_loss"] for row in probes],
            "o-",
            color=COLOURS.get(label),
            ms=4,
            label=NAMES.get(label, label),
        )
    for label, parts in results.items():
        if "strengths" not in parts or label not in runs:
            continue
        rows = parts["strengths"]["rows"]
        start = next(row for row in rows if row["alpha"] == 0)
        x = [row["prose_loss"] - start["prose_loss"] for row in rows]
        y = [row["answer_loss"] for row in rows]
        axes.plot(x, y, ":", color="black", marker="x", ms=5, lw=1.2, label=f"{NAMES.get(label, label)}, R from α·Q")
        for row, across, up in zip(rows, x, y, strict=True):
            axes.annotate(f"{row['alpha']:g}", (across, up), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set_xlabel("change of prose loss, nats a token (right: more forgotten)")
    axes.set_ylabel("answer loss on dev problems (down: more learned)")
    axes.legend(frameon=False, fontsize=8)
    return figure


def cost(results: Results) -> Any:
    """Figure 2: step time and memory, relative to OFTv2, beside the paper's Figure 1."""
    wanted = ("oftv1", "oftv1_blockwise", "oft_peft", "oftv2_exact", "oftv2", "lora")
    bars = [k for k in wanted if "train" in results.get(k, {})]
    if "oftv2" not in bars or "oftv1" not in bars:
        return None
    figure, both = plt.subplots(1, 2, figsize=(9.6, 3.6))
    seconds = {k: median_seconds(results[k]["train"]) for k in bars}
    kept = {k: results[k]["train"]["saved_bytes"] / 2**20 for k in bars if results[k]["train"]["saved_bytes"]}
    for axes, values, unit, paper in ((both[0], seconds, "s a step", 10), (both[1], kept, "MiB kept for backward", 3)):
        names = [NAMES[k] for k in values]
        axes.barh(names, list(values.values()), color=["#0b6e4f" if k == "oftv2" else "#9aa5ab" for k in values])
        for row, value in enumerate(values.values()):
            axes.text(value, row, f" {value:.3g} ({value / values['oftv2']:.2f}×)", va="center", fontsize=8)
        axes.axvline(values["oftv2"] * paper, color="#b5541c", ls="--", lw=1)
        axes.text(values["oftv2"] * paper, -0.75, f"paper, Fig. 1: > {paper}×", color="#b5541c", fontsize=8, ha="right")
        axes.set_xlim(0, max(max(values.values()) * 1.35, values["oftv2"] * paper * 1.05))
        axes.set_xlabel(unit)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    figure.tight_layout()
    return figure


def defect(results: Results) -> Any:
    """Figure 3: singular values of R in closed form, with the angles that training reached."""
    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    theta = torch.linspace(0, 1.05, 400, dtype=torch.float64)
    for terms, colour in ((4, "#3b6fb6"), (5, "#8a2f5c"), (6, "#7fa8d9")):
        axes.plot(theta, singular_value_of_cnp(theta, terms), color=colour, label=f"{terms} terms")
    axes.axhline(1, color="black", lw=1, label="exact Cayley")
    for label, parts in results.items():
        if "theta_max" in parts.get("geometry", {}):
            reached = parts["geometry"]["theta_max"]
            axes.axvline(
                reached, color=COLOURS.get(label), ls=":", label=f"{NAMES.get(label, label)}: largest θ {reached:.3f}"
            )
            per_layer = [row["theta_max"] for row in parts["geometry"]["report"]]
            axes.plot(
                per_layer, [-0.04 if label == "oftv2" else -0.09] * len(per_layer), "|", color=COLOURS.get(label), ms=6
            )
    axes.set_xlabel("θ = ‖Q‖₂ (ticks below: each trained layer)")
    axes.set_ylabel("singular value of R")
    axes.legend(frameon=False, fontsize=8)
    return figure


def survival(results: Results) -> Any:
    """Figure 4: the share of an update that lives through rounding the merged weight to NF4."""
    if "survival" not in results.get("base", {}):
        return None
    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    rows = results["base"]["survival"]["rows"]
    for kind, label, style in (("rotation", "random rotation", "-"), ("low_rank", "random update of rank 16", "--")):
        chosen = [row for row in rows if row["kind"] == kind]
        axes.plot(
            [r["update_norm"] for r in chosen], [r["surviving"] for r in chosen], style, color="#555555", label=label
        )
    for label, parts in results.items():
        if "requantised" not in parts:
            continue
        layers = [r for r in parts["requantised"]["rows"] if r["surviving"] is not None]
        colour = COLOURS.get(label)
        axes.plot(
            [r["update_norm"] for r in layers], [r["surviving"] for r in layers], ".", color=colour, ms=3, alpha=0.6
        )
        size = (sum(r["update_norm"] ** 2 for r in layers) / len(layers)) ** 0.5
        hollow = "none" if label.startswith("q") else colour
        whole = [parts["requantised"]["surviving"]]
        axes.plot(
            [size],
            whole,
            "D",
            color=colour,
            mfc=hollow,
            mew=1.6,
            ms=9 if hollow == "none" else 6,
            label=f"{NAMES.get(label, label)}, trained",
        )
    axes.set_xscale("log")
    axes.set_ylim(-0.35, 1.15)
    axes.set_xlabel("size of the update, ‖ΔW‖/‖W‖ (dots: layers)")
    axes.set_ylabel("share of the update that survives NF4")
    axes.legend(frameon=False, fontsize=8)
    return figure


FIGURES = {"tradeoff.png": tradeoff, "cost.png": cost, "defect.png": defect, "survival.png": survival}


def median_seconds(training: Mapping[str, Any]) -> float:
    seconds = sorted(row["seconds"] for row in training["rows"])
    return (seconds[(len(seconds) - 1) // 2] + seconds[len(seconds) // 2]) / 2


def write_png(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".png", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            figure.savefig(file, format="png")
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
