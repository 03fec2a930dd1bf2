"""The four figures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .claims import domain_shares
from .metrics import paper
from .metrics.passk import PassCurve

NOTE = {"fragment": "authority: fragment, not Lean", "lean": "authority: Lean", "replay": "authority: replayed Lean"}


def draw_all(
    statements: Mapping[str, Any] | None,
    found: Mapping[str, Any],
    curves: Mapping[str, PassCurve],
    folder: Path,
    authority: str,
) -> list[str]:
    """Draws what there is; returns the names of the files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawn = []

    def save(name: str) -> None:
        plt.tight_layout()
        plt.savefig(folder / name, dpi=130)
        plt.close()
        drawn.append(name)

    if statements:
        _funnel(plt, statements["funnel"])
        save("funnel.png")
    if curves:
        plt.figure(figsize=(6, 4))
        for name, c in curves.items():
            (line,) = plt.plot(c.ks, 100 * c.mean, label=name)
            plt.fill_between(c.ks, 100 * c.interval[:, 0], 100 * c.interval[:, 1], alpha=0.15, color=line.get_color())
        plt.xscale("log", base=2)
        plt.xlabel("K")
        plt.ylabel("pass@K, %")
        plt.title(f"pass@K with 95 % intervals ({NOTE.get(authority, authority)})", fontsize=9)
        plt.legend()
        save("passk.png")
    if found.get("single_pass"):
        _domains(plt, found, authority)
        save("domains.png")
    if "perplexity" in found:
        _perplexity(plt, found["perplexity"]["rows"])
        save("ppl.png")
    return drawn


def _funnel(plt: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    _, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    names = list(paper.RETENTION)
    axes[0].barh(names[::-1], [paper.RETENTION[n] for n in names][::-1], color="0.6")
    axes[0].set_title("paper, Fig. 2b: % of problems", fontsize=9)
    stages = [r["stage"] for r in rows][::-1]
    total = rows[0]["kept"]
    good = [100 * (r["kept"] - r["erroneous"]) / total for r in rows][::-1]
    bad = [100 * r["erroneous"] / total for r in rows][::-1]
    axes[1].barh(stages, good, color="tab:green", label="correct")
    axes[1].barh(stages, bad, left=good, color="tab:red", label="erroneous (planted)")
    axes[1].set_title("here: % of candidates (structural and fragment, not Lean)", fontsize=9)
    axes[1].legend(fontsize=7)


def _domains(plt: Any, found: Mapping[str, Any], authority: str) -> None:
    plt.figure(figsize=(8, 4))
    single = found["single_pass"]
    width = 0.8 / len(single)
    for i, (name, r) in enumerate(single.items()):
        rows = domain_shares(found["problems"], r["accepted"])
        x = np.arange(len(rows)) + i * width
        share = np.array([100 * s["share"] for s in rows])
        error = np.array([[100 * (s["share"] - s["low"]), 100 * (s["high"] - s["share"])] for s in rows]).T
        color = f"C{i}"
        for place, s in enumerate(rows):
            plt.bar(
                x[place],
                share[place],
                width,
                color="none" if s["few"] else color,
                edgecolor=color,
                label=name if place == 0 else None,
            )
        plt.errorbar(x, share, np.maximum(error, 0), fmt="none", ecolor="0.3", lw=0.8, capsize=2)
    plt.xticks(np.arange(len(rows)) + 0.4 - width / 2, [f"{s['domain']}\nn={s['n']}" for s in rows], fontsize=6)
    plt.ylabel("solved, %")
    plt.title(f"by domain; hollow: fewer than 20 problems ({NOTE.get(authority, authority)})", fontsize=9)
    plt.legend(fontsize=7)


def _perplexity(plt: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    _, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
    modes = ("cot", "nl_cot", "vanilla")
    for axis, kind, title in ((axes[0], "all", "all tokens of the proof"), (axes[1], "code", "code tokens alone")):
        axis.boxplot([[r[m][kind] for r in rows] for m in modes])
        axis.set_xticks([1, 2, 3], ["CoT", "NL-augmented", "vanilla"])
        axis.set_yscale("log")
        axis.set_title(f"{title}, n = {len(rows)}", fontsize=9)
    axes[0].set_ylabel("perplexity (SmolLM2-135M)")
