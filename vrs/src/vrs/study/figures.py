"""The figures of a report. Each returns the file's name, or None where the run has nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt
import numpy as np

from ..acceptors import acceptance_curve, acceptor_curve
from ..recognition import Recognition
from ..theory import c_max, fair_sensitivity
from .score import Curves, pick

ASKED = ("free", "forced")
COLOURS = plt.rcParams["axes.prop_cycle"].by_key()["color"]


def overview(curves: Curves, folder: Path) -> str:
    """Six panels: direct and verbalized VRS by phrasing, the hybrid, the factory, acceptance, and sensitivity."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
    grid = np.linspace(0, 1, 101)
    judged = list(pick(curves, "vrs", question=ASKED).values())
    panel(axes[0, 0], "Direct sampling", list(pick(curves, "direct", question=ASKED, cot="auto").values()))
    limit = c_max(grid)
    axes[0, 0].fill_between(grid, np.clip(grid - limit, 0, 1), np.clip(grid + limit, 0, 1), color="0.9", lw=0, zorder=0)
    axes[0, 0].annotate("shaded: Cor. 1", (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=7)
    panel(axes[0, 1], "Verbalized rejection sampling", judged)
    for name, style in (("omits_m", ":"), ("argmax", "-."), ("constant", "--")):
        label = f"{name.replace('_m', ' M')}, by a true coin"
        axes[0, 1].plot(grid, acceptor_curve(name, grid), style, color="k", lw=0.8, label=label)
    axes[0, 1].legend(fontsize=7)
    coin = [
        c
        for s in ("direct", "vrs_hybrid", "adaptive_q", "inversion")
        for c in pick(curves, s, question="in_context").values()
    ]
    # where a coin was read exactly, its draws would only cover the lines
    panel(axes[0, 2], "In-context coin, and what code makes of it", [c for c in coin if c["n"] is None] or coin)
    panel(axes[1, 0], "Factory: exact from any coin", list(pick(curves, "factory").values()))
    acceptance(axes[1, 1], judged)
    sensitivity(axes[1, 2])
    return save(figure, folder, "overview.png")


def panel(axis: Any, title: str, curves: Sequence[Mapping[str, Any]]) -> None:
    """p̃ against p; sampled curves with Wilson's band."""
    axis.plot([0, 1], [0, 1], color="0.7", lw=1)
    for colour, c in zip(COLOURS * 4, curves, strict=False):
        p, p_hat = np.array(c["p"]), np.array(c["p_hat"], dtype=float)
        name = ", ".join(str(x) for x in (c["setting"]["sampler"], c["setting"]["phrasing"]) if x)
        name += "" if c["setting"]["relabel"] == "off" else f", {c['setting']['relabel']}"
        name += "" if c["setting"]["cot"] == "auto" else f", {c['setting']['cot']} words"
        sampled = c["n"] is not None
        axis.plot(
            p,
            p_hat,
            ".-" if sampled else "-",
            color=colour,
            ms=3,
            lw=0.8 if sampled else 1.4,
            label=f"{name}: {c['stvd']:.1f}",
        )
        if sampled and c.get("wilson") and len(c["wilson"]) == len(p):
            low, high = np.array(c["wilson"]).T
            axis.fill_between(p, low, high, color=colour, alpha=0.12, lw=0)
    axis.set(title=title, xlabel="p asked for", ylabel="share of ones", xlim=(0, 1), ylim=(0, 1))
    if curves:
        axis.legend(fontsize=7, title="STVD", title_fontsize=7)
    else:
        axis.text(0.5, 0.5, "not measured", ha="center", color="0.5")


def acceptance(axis: Any, curves: Sequence[Mapping[str, Any]]) -> None:
    """Ã(0) and Ã(1) against the ideal A (Fig. 8)."""
    grid = np.linspace(0, 1, 101)
    ideal, omits = acceptance_curve("ideal", grid), acceptance_curve("omits_m", grid)
    axis.plot(grid, ideal[:, 1], color="0.6", lw=1, label="A(1)")
    axis.plot(grid, omits[:, 1], "k:", lw=1, label="A(1), omits M")
    for colour, c in zip(COLOURS, curves, strict=False):
        for x, style in ((1, "-"), (0, "--")):
            values = np.array([np.nan if v is None else v for v in c[f"acceptance_{x}"]], dtype=float)
            axis.plot(c["p"], values, style, color=colour, lw=1.2, label=f"Ã({x}), {c['setting']['phrasing']}")
    axis.set(title="Acceptance of a proposal", xlabel="p", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend(fontsize=7)


def sensitivity(axis: Any) -> None:
    """What an error e of the coin becomes: TV/|e| for small e, its limit, and Corollary 1's c (Fig. 10)."""
    p = np.linspace(0.005, 0.995, 199)
    axis.axhline(1, color="0.7", lw=1, label="direct sampling")
    axis.plot(p, np.maximum(p, 1 - p), "--", label="P', the most")
    axis.plot(p, fair_sensitivity(p), label="P'², for small e")
    axis.plot(p, np.minimum(c_max(p), 1.2), ":", color="k", lw=1, label="c of Corollary 1")
    axis.set(title="TV/|e| of VRS with Q = ½ and A = 1 known", xlabel="p", xlim=(0, 1), ylim=(0, 1.2))
    axis.legend(fontsize=7)


def simple(curves: Curves, folder: Path) -> str | None:
    """VRS-simple and VRS-simple-M (Fig. 9)."""
    found = [c for s in ("vrs_simple", "vrs_simple_m", "vrs_m") for c in pick(curves, s).values()]
    if not found:
        return None
    figure, axis = plt.subplots(figsize=(5.5, 5), layout="constrained")
    panel(axis, "VRS-simple, VRS-simple-M (against a) and VRS-M (against p)", found)
    grid = np.linspace(0, 1, 101)
    axis.plot(grid, acceptor_curve("vrs_simple_omits_m", grid), "k:", lw=1)
    return save(figure, folder, "simple.png")


def reasoning(curves: Curves, folder: Path) -> str | None:
    """STVD against the length of the reasoning (Fig. 5 and 6)."""
    found = [c for c in pick(curves, "direct", question="free").values() if c["setting"]["cot"] != "auto"]
    if len(found) < 2:
        return None
    found = sorted(found, key=lambda c: c["setting"]["cot"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.6), layout="constrained")
    panel(left, "Direct sampling, by length of the reasoning", found)
    words, values = [c["setting"]["cot"] for c in found], [c["stvd"] for c in found]
    right.errorbar(words, values, [2 * (c["stvd_sd"] or 0) for c in found], marker="o")
    right.axhline(found[0]["floor"], color="0.6", lw=1)
    right.set(title="STVD, ± 2 sd; grey: a perfect coin", xlabel="words of reasoning asked for", ylabel="STVD")
    return save(figure, folder, "reasoning.png")


def matrices(found: Mapping[str, Recognition], folder: Path) -> str | None:
    """The share of Yes for numbers from level i, asked about level j (Fig. 3)."""
    if not found:
        return None
    figure, axes = plt.subplots(1, len(found), figsize=(5 * len(found), 4.4), layout="constrained", squeeze=False)
    for axis, (source, matrix) in zip(axes[0], found.items(), strict=True):
        shown = axis.imshow(matrix.matrix, vmin=0, vmax=1, origin="lower", cmap="viridis")
        axis.set(title=f"numbers by {source}: {matrix.accuracy:.3f} right", xlabel="asked about", ylabel="drawn from")
        axis.set_xticks(range(len(matrix.levels)), matrix.levels, fontsize=7)
        axis.set_yticks(range(len(matrix.levels)), matrix.levels, fontsize=7)
    figure.colorbar(shown, ax=axes[0], label="share of Yes")
    return save(figure, folder, "recognition.png")


def save(figure: Any, folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / name, dpi=110)
    plt.close(figure)
    return name
