"""The figures of the report, in one style."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from .claims import mean, streams
from .files import write_bytes

INK, SEP, WINDOW, GREY, OTHER = "#333333", "#0b6e4f", "#b5541c", "#999999", "#5566aa"
Results = Mapping[str, Any]


def draw_all(results: Results, folder: Path) -> list[str]:
    """Draw what there are numbers for. Returns the names of the files written."""
    drawn = []
    for name, draw in FIGURES.items():
        with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}):
            plt.rcParams.update({"grid.alpha": 0.25, "figure.dpi": 130, "savefig.bbox": "tight"})
            figure = draw(results)
            if figure is None:
                continue
            image = io.BytesIO()
            figure.savefig(image, format="png", metadata={"Software": None})
            plt.close(figure)
            write_bytes(folder / name, image.getvalue())
            drawn.append(name)
    return drawn


def attention_share(results: Results) -> Any:
    layers = results.get("attention")
    if not layers:
        return None
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 5), sharex=True)
    index, base = range(len(layers)), [0.0] * len(layers)
    for name, colour in (("initial", GREY), ("near", "#cccccc"), ("far_others", WINDOW), ("far_separators", SEP)):
        shares = [layer[name] for layer in layers]
        top.bar(index, shares, bottom=base, color=colour, label=name.replace("_", " "))
        base = [b + s for b, s in zip(base, shares, strict=True)]
    top.set_ylabel("share of attention")
    top.legend(ncols=4, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    bottom.bar(index, [layer["ratio"] for layer in layers], color=SEP)
    bottom.axhline(1, color=INK, linewidth=0.8)
    bottom.set_yscale("log")
    bottom.set_ylabel("far separator /\nother far token")
    bottom.set_xlabel("layer")
    return figure


def ppl_vs_kv(results: Results) -> Any:
    rows = results.get("ppl")
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(6.6, 4.2))
    kinds = {
        "sep": (SEP, "o", "SepLLM"),
        "window, same n": (WINDOW, "^", "window, same n"),
        "window, same KV": (WINDOW, "s", "window, same KV"),
        "fixed interval, same KV": (OTHER, "D", "fixed interval"),
        "random, same KV": (GREY, "x", "random"),
    }
    for label, (colour, mark, name) in kinds.items():
        found = [r for r in rows if r["label"] == label and r["group"] == "list"]
        axes.plot([r["r_kv"] for r in found], [r["ppl"] for r in found], mark, color=colour, label=name)
    full = next(r for r in rows if r["label"] == "full")
    axes.axhline(full["ppl"], color=INK, linewidth=0.8, linestyle="--", label="full attention")
    for group in sorted({r["group"] for r in rows} - {"list"}):
        for row in (r for r in rows if r["group"] == group):
            colour, mark, _ = kinds[row["label"]]
            axes.plot(row["r_kv"], row["ppl"], mark, color=colour, alpha=0.35)
    axes.set_xlabel("kept share of KV (faint: other n, fewer windows)")
    axes.set_ylabel("perplexity")
    axes.legend(fontsize=8, frameon=False)
    return figure


def loss_vs_flops(results: Results) -> Any:
    runs = {k: v["curve"] for k, v in results.items() if k.startswith("scratch-")}
    if not runs:
        return None
    figure, axes = plt.subplots(figsize=(6.6, 4.2))
    colours = {"full": INK, "sep": SEP, "window": WINDOW, "window_matched": OTHER}
    for label, curve in runs.items():
        arm = label.split("-")[1]
        rows = [r for r in curve if r["step"]]
        name = f"{arm.replace('_', ', ')} (seed {label.rpartition('-')[2]})"
        axes.plot(
            [r["flops"] for r in rows], [mean(r["losses"]["own"]) for r in rows], "o-", color=colours.get(arm, GREY),
            markersize=3, label=name,
        )  # fmt: skip
    axes.set_xlabel("training FLOPs")
    axes.set_ylabel("held-out loss (nat)")
    axes.legend(fontsize=8, frameon=False)
    return figure


def decode(results: Results) -> Any:
    rows = results.get("speed", {}).get("decode")
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(6.6, 4.2))
    palette = [INK, GREY, SEP, WINDOW, OTHER, "#aa3377"]
    for colour, name in zip(palette, dict.fromkeys(r["cache"] for r in rows), strict=False):
        found = [r for r in rows if r["cache"] == name]
        axes.plot([r["context"] for r in found], [r["seconds"] * 1e3 for r in found], "o-", color=colour, label=name)
    base = [r for r in rows if r["cache"] == "DynamicCache"]
    ours = {r["context"]: r for r in rows if r["cache"] == "StreamingPolicy"}
    if ours:
        floor = [r["seconds"] * 1e3 / ours[r["context"]]["bound"] for r in base]
        axes.plot([r["context"] for r in base], floor, ":", color=SEP, label="DynamicCache / bound by bytes")
    axes.set_xlabel("context (tokens)")
    axes.set_ylabel("ms a generated token")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    return figure


def stream_figure(results: Results) -> Any:
    found = streams(results)
    if not found:
        return None
    small = results.get("stream-small")
    figure, axes = plt.subplots(1, 2 if small else 1, figsize=(9 if small else 6, 3.8), squeeze=False)
    for (name, result), colour in zip(found.items(), (SEP, WINDOW, INK, OTHER), strict=False):
        rows = [r for r in result["rows"] if r["scored"]]
        loss = [r["nll"] / r["scored"] for r in rows]
        axes[0][0].plot([r["tokens"] for r in rows], loss, "o-", color=colour, markersize=3, label=name)
    axes[0][0].set_xlabel("tokens")
    axes[0][0].set_ylabel("loss of each stretch (nat)")
    axes[0][0].legend(fontsize=8, frameon=False)
    if small:
        rows, right = small["rows"], axes[0][1]
        right.plot([r["tokens"] for r in rows], [r["kv_bytes"] / 1e6 for r in rows], color=SEP, label="KV cache")
        start = rows[0]["rss"]
        right.plot(
            [r["tokens"] for r in rows], [(r["rss"] - start) / 1e6 for r in rows], color=INK, label="process, change"
        )
        right.set_xlabel("tokens (model trained from scratch)")
        right.set_ylabel("MB")
        right.legend(fontsize=8, frameon=False)
    return figure


FIGURES = {
    "attention_share.png": attention_share,
    "ppl_vs_kv.png": ppl_vs_kv,
    "loss_vs_flops.png": loss_vs_flops,
    "decode.png": decode,
    "stream.png": stream_figure,
}
