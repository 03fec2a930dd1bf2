"""The report's pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .claims import curves
from .scores import Results

COLOURS = dict(zip(range(10), plt.get_cmap("tab10").colors, strict=True))  # type: ignore[attr-defined]


def draw_all(results: Results, folder: Path) -> list[str]:
    """Write the PNGs; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = {k: v for k, v in results.items() if "drift_max" in v["record"]["measured"][-1]}
    drawn = [loss(results, folder)]
    if measured:
        drawn += [spectra(measured, folder), geometry(measured, folder)]
    probed = {k: v for k, v in results.items() if "cosines" in v["record"]["measured"][-1]}
    if probed:
        drawn.append(probes(probed, folder))
    return [*drawn, cost(results, folder)]


def loss(results: Results, folder: Path) -> str:
    figure, axes = plt.subplots(figsize=(6.4, 4))
    for i, (label, part) in enumerate(results.items()):
        rows = part["record"]["measured"]
        each = part["tokens"] / part["settings"]["training.steps"]
        axes.plot([r["step"] * each / 1e6 for r in rows], [r["loss"] for r in rows], label=label, color=COLOURS[i % 10])
    axes.set(xlabel="million tokens", ylabel="validation loss (nats a token)")
    axes.set_ylim(top=min(axes.get_ylim()[1], 5))
    axes.legend(fontsize=8)
    return save(figure, folder, "loss.png")


def spectra(results: Results, folder: Path) -> str:
    columns = (len(results) + 1) // 2
    figure, grid = plt.subplots(2, columns, figsize=(2.4 * columns, 4.4), sharex=True, squeeze=False)
    for axes, (label, part) in zip(grid.flat, results.items(), strict=False):
        name, values = next(iter(part["spectra"].items()))
        axes.plot(values["start"], "--", color="0.5", label="start")
        axes.plot(values["end"], color=COLOURS[0], label="end")
        axes.set_title(label, fontsize=9)
        axes.set_ylim(bottom=0)
    grid.flat[0].legend(fontsize=8)
    figure.suptitle(f"singular values of {name}", fontsize=9)
    return save(figure, folder, "spectra.png")


def geometry(results: Results, folder: Path) -> str:
    figure, grid = plt.subplots(1, 2, figsize=(9, 3.6))
    for axes, key, title in zip(grid, ("entropy", "energy_per_pair"), ("SVD entropy", "energy a pair"), strict=True):
        for i, (label, part) in enumerate(results.items()):
            rows = part["record"]["measured"]
            axes.plot([r["step"] for r in rows], [r[key] for r in rows], label=label, color=COLOURS[i % 10])
        axes.set(xlabel="step", title=title)
    grid[0].legend(fontsize=7)
    return save(figure, folder, "geometry.png")


def probes(results: Results, folder: Path) -> str:
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for i, (label, part) in enumerate(results.items()):
        steps, cosines, _ = curves(part)
        axes.plot(steps, cosines, label=label, color=COLOURS[i % 10])
    axes.axhspan(0.60, 0.65, color="0.9", label="paper's plateau")
    axes.set(xlabel="step", ylabel="vᵀ R v, mean over layers and sides")
    axes.legend(fontsize=8)
    return save(figure, folder, "probes.png")


def cost(results: Results, folder: Path) -> str:
    figure, axes = plt.subplots(figsize=(6.4, 4))
    for i, (label, part) in enumerate(results.items()):
        at = part["bytes"]["optimizer_state"] / 1024, part["reloaded"]["ppl"]
        axes.scatter(*at, color=COLOURS[i % 10])
        axes.annotate(label, at, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="optimizer state (KiB)", ylabel="validation perplexity")
    return save(figure, folder, "cost.png")


def save(figure: plt.Figure, folder: Path, name: str) -> str:
    figure.tight_layout()
    figure.savefig(folder / name, dpi=120)
    plt.close(figure)
    return name
