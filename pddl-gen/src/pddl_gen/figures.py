"""Figures of the simulated strand, with the closed forms and the paper's points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .experiment import simulations


def draw(found: Mapping[str, Any], out: Path) -> list[Path]:
    """Success against N, T and calls. Returns the files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    models = simulations()
    paths = []
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.2))
    for name, kept in found.items():
        model, _ = models[name]
        n = kept["trials"]
        sizes = sorted(int(k) for k in kept["coverage"])
        shares = [kept["coverage"][str(k)] / n for k in sizes]
        points = left.plot(sizes, shares, "o", label=name)
        grid = [2**i for i in range(9)]
        left.plot(grid, [model.coverage(k) for k in grid], "-", color=points[0].get_color(), lw=1)
        ts = list(range(len(kept["single"])))
        middle.plot(ts, [v / n for v in kept["bon8"]], "o", color=points[0].get_color(), label=f"BoN-8, {name}")
        middle.plot(ts, [model.bon_then_ivml(8, t) for t in ts], "-", color=points[0].get_color(), lw=1)
        if model.gamma is None:
            middle.plot(ts, [v / n for v in kept["single"]], "s", color=points[0].get_color(), mfc="none")
            middle.plot(ts, [model.single(t) for t in ts], "--", color=points[0].get_color(), lw=1)
            right.plot([1 + 2 * t for t in ts], [model.single(t) for t in ts], "--", color=points[0].get_color())
            right.plot(
                [8 + 2 * t for t in ts], [model.bon_then_ivml(8, t) for t in ts], "-", color=points[0].get_color()
            )
            right.plot(grid[:6], [model.coverage(k) for k in grid[:6]], ":", color=points[0].get_color())
    left.plot([1, 8], [0.219, 0.731], "k^", label="paper, NL2Domain, Coder 7B")
    left.plot([1, 8], [0.184, 0.633], "kv", label="paper, Prob2Domain, Coder 7B")
    middle.plot([0, 5], [0.731, 0.852], "k^")
    left.set(xscale="log", xlabel="N", ylabel="success (simulated)", title="Best-of-N: dots engine, lines closed form")
    middle.set(xlabel="T", title="iVML rounds: squares from a single answer")
    right.set(xlabel="calls", title="by calls: dotted BoN-N, dashed single, solid BoN-8")
    left.legend(fontsize=7)
    figure.tight_layout()
    path = out / "simulated.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    paths.append(path)
    return paths
