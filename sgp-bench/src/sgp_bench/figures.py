"""The figures of the report."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"before": "#8d99ae", "after": "#0b6e4f", "recorded": "#b5541c", "baseline": "#e8a15f"}
STYLE: Any = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "figure.dpi": 130, "savefig.bbox": "tight", "axes.axisbelow": True,
}  # fmt: skip


def categories(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path, best: Mapping[str, float]) -> None:
    """Grouped bars by category with cluster-bootstrap whiskers; a tick is the best surface baseline, dashes chance."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 4))
        names = list(next(iter(rows.values())))
        width = 0.8 / len(rows)
        for k, (label, values) in enumerate(rows.items()):
            at = [i + (k - (len(rows) - 1) / 2) * width for i, n in enumerate(names) if n in values]
            found = [values[n] for n in names if n in values]
            heights = [v["value"] for v in found]
            low = [max(0.0, v["value"] - v["cluster"][0]) for v in found]
            high = [max(0.0, v["cluster"][1] - v["value"]) for v in found]
            axes.bar(at, heights, width, yerr=[low, high], capsize=2, label=label, color=COLOURS.get(label, "#555555"))
        for i, n in enumerate(names):
            if n in best:
                axes.plot([i - 0.42, i + 0.42], [best[n]] * 2, color=COLOURS["baseline"], lw=2.5,
                          label="best surface baseline" if i == 0 else None)  # fmt: skip
        axes.axhline(0.25, color="black", lw=1, ls="--", label="chance")
        counts = next(iter(rows.values()))
        axes.set_xticks(range(len(names)), [f"{n}\nn = {counts[n]['n']}" for n in names])
        axes.set_ylabel("accuracy, option text")
        axes.set_ylim(0, 1)
        axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.15))
        _save(figure, path)


def consistencies(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """The paper's rate for each version with its interval, and what chance gives a model of the same answers."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 3.6))
        names = list(dict.fromkeys(v for values in rows.values() for v in values))
        width = 0.8 / len(rows)
        for k, (label, values) in enumerate(rows.items()):
            for i, name in enumerate(names):
                if name not in values:
                    continue
                v, x = values[name], i + (k - (len(rows) - 1) / 2) * width
                error = [[v["rate"] - v["rate_interval"][0]], [v["rate_interval"][1] - v["rate"]]]
                axes.bar(x, v["rate"], width, yerr=error, capsize=2, color=COLOURS.get(label, "#555555"),
                         label=label if i == 0 else None)  # fmt: skip
                axes.plot([x - width / 2, x + width / 2], [v["chance"]] * 2, color="black", lw=1.5,
                          label="independent draws of the same answers" if i == k == 0 else None)  # fmt: skip
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel("consistency (paper's rate)")
        axes.set_ylim(0, 1.02)
        axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.16))
        _save(figure, path)


def losses(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """The loss of each step of tuning, with a running mean."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 3))
        values = [r["loss"] for r in rows]
        mean = [sum(values[max(0, i - 9) : i + 1]) / len(values[max(0, i - 9) : i + 1]) for i in range(len(values))]
        axes.plot(range(1, len(values) + 1), values, color="#cccccc", lw=1)
        axes.plot(range(1, len(values) + 1), mean, color=COLOURS["after"], lw=2)
        axes.set_xlabel("step")
        axes.set_ylabel("loss of the answers")
        _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    """Whole or not at all, and without a date inside: equal numbers give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    plt.close(figure)
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(buffer.getvalue())
    beside.replace(path)
