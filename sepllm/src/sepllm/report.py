"""results/report.md and results/metrics.json, written from the finished parts."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .claims import Claim, claims, mean, streams
from .entry import markdown
from .errors import SepLLMError
from .evaluate import evaluate_all
from .figures import draw_all
from .files import environment, write_bytes, write_json
from .long_stream import perplexity
from .perplexity import paired
from .settings import Settings
from .training import single_process

Results = Mapping[str, Any]


def write_report(settings: Settings) -> tuple[Path, list[dict[str, Any]]]:
    """Measure what is missing, write metrics.json, figures and report.md. Returns its path and the claims table."""
    if not single_process():
        raise SepLLMError("eval.py runs in one process: start it with python, not with accelerate launch")
    started = time.perf_counter()
    parts = evaluate_all(settings)
    results = {name: part["result"] for name, part in parts.items()}
    words = " ".join(shlex.quote(word) for word in sys.argv[1:])
    command, train_command = (f"python {script} {words}".strip() for script in ("eval.py", "train.py"))
    found = claims(results, command, train_command)
    figures = draw_all(results, settings.output_dir)
    write_json(
        settings.output_dir / "metrics.json",
        {
            "settings": settings.plain,
            "seed": settings.seed,
            "environment": environment(),
            "claims": [asdict(claim) for claim in found],
            "parts": parts,
            "wall_seconds": {
                "parts": round(sum(part["seconds"] for part in parts.values()), 1),
                "this evaluation": round(time.perf_counter() - started, 1),
            },
        },
    )
    text = "\n\n".join(p for p in sections(settings, results, parts, found, figures) if p) + "\n"
    write_bytes(settings.output_dir / "report.md", text.encode())
    rows = [{"claim": c.claim, "measured": shorten(c.measured), "verdict": c.verdict} for c in found]
    return settings.output_dir / "report.md", rows


def shorten(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def sections(
    settings: Settings,
    results: Results,
    parts: Mapping[str, Any],
    found: Sequence[Claim],
    figures: Sequence[str],
) -> list[str]:
    """The paragraphs of the report."""

    def figure(name: str, title: str) -> str:
        return f"![{title}]({name})" if name in figures else ""

    return [
        "# SepLLM: what the paper claims and what this run shows",
        setting(settings, results),
        "## Claims",
        markdown(
            [
                {
                    "claim": c.claim,
                    "paper": c.paper,
                    "measured here": c.measured,
                    "scale": settings.scale_name,
                    "source": c.source,
                    "verdict": c.verdict,
                    "command": f"`{c.command}`",
                }
                for c in found
            ]
        ),
        heading("## Where attention goes", results, "attention"),
        figure("attention_share.png", "Shares of attention by layer, and far separators against other far tokens"),
        ppl_table(results),
        figure("ppl_vs_kv.png", "Perplexity against the kept share of KV"),
        trained_table(results),
        probe_tables(results),
        scratch_table(results),
        figure("loss_vs_flops.png", "Held-out loss against training FLOPs, from scratch"),
        speed_tables(results),
        figure("decode.png", "Time of a generated token against the context"),
        stream_table(results),
        figure("stream.png", "Loss along the stream, and memory"),
        generations(results),
        "## Limits",
        limits(settings),
        "## Where the time went",
        markdown(
            [{"part": k, "seconds": p["seconds"], "CPU seconds": p["cpu_seconds"]} for k, p in parts.items()]
        ),
    ]  # fmt: skip


def heading(text: str, results: Results, *names: str) -> str:
    return text if any(name in results for name in names) else ""


def setting(settings: Settings, results: Results) -> str:
    here = environment()
    words = (
        f"Model {settings.model.name} ({settings.model.path}, {settings.model.dtype}), text {settings.data.kind}, "
        f"scale {settings.scale_name}, seed {settings.seed}; {here['gpu'] or here['processor']}, {here['threads']} "
        f"threads, torch {here['versions']['torch']}, transformers {here['versions']['transformers']}."
    )
    if "separators" in results:
        rows = [
            {"rule": rule, "ids": found["ids"], "share of the text": f"{found['share']:.1%}"}
            for rule, found in results["separators"].items()
        ]
        chosen = results["separators"].get(settings.separators.rule)
        listed = f"\n\nSeparators used: {chosen['list']}" if chosen else ""
        words += "\n\n" + markdown(rows) + listed
    return words


def ppl_table(results: Results) -> str:
    rows = results.get("ppl")
    if not rows:
        return ""
    out = []
    for row in rows:
        base = next(r for r in rows if r["label"] == "full")["losses"]
        value, error = paired(row["losses"], base)
        out.append(
            {
                "windows": f"{row['group']} ({len(row['losses'])})",
                "policy": row["label"],
                "n": row["n"] if row["policy"] != "FullPolicy" else None,
                "keys seen": round(row["kept"], 1),
                "r.KV": f"{row['r_kv']:.1%}",
                "perplexity": round(row["ppl"], 2),
                "loss over full": f"{value:+.3f} ± {error:.3f}",
            }
        )
    return "## Perplexity under masks, training-free\n\nThe same tokens under each mask; errors are paired over " + (
        "windows. A window with the same KV is matched within half a key.\n\n" + markdown(out)
    )


def trained_table(results: Results) -> str:
    if "ppl-trained" not in results:
        return ""
    rows = []
    for weights, under in results["ppl-trained"].items():
        row: dict[str, Any] = {"weights": weights if weights == "before" else f"trained under {weights}"}
        for r in under:
            row[f"{r['label']} ({r['kept']:.0f} keys)"] = f"{mean(r['losses']):.3f}"
        rows.append(row)
    return "## After post-training\n\nHeld-out loss of each arm's weights under each mask.\n\n" + markdown(rows)


def probe_tables(results: Results) -> str:
    out = []
    for name, when in (("probe", "before training"), ("probe-trained", "after post-training under the mask")):
        if name not in results:
            continue
        found = results[name]
        base = found["values"]["as it is"]
        values = [
            {"values of far separators": kind, "loss": round(mean(v), 3), "change": change(v, base)}
            for kind, v in found["values"].items()
        ]
        copies = [
            {"mask": kind, "gain of the second copy (nat a token)": change(v, [0.0] * len(v))}
            for kind, v in found["copy"].items()
        ]
        out.append(f"### {when.capitalize()}\n\n{markdown(values)}\n\n{markdown(copies)}")
    if not out:
        return ""
    intro = (
        "Separators out of the window keep their keys and get other values: *zero* is key without value, *swapped* the "
        "value of the separator before, *left out* no key either. Copy: a passage, other text longer than the window, "
        "the passage again."
    )
    return "## Do separators carry their segments?\n\n" + intro + "\n\n" + "\n\n".join(out)


def change(first: Sequence[float], second: Sequence[float]) -> str:
    value, error = paired(first, second)
    return f"{value:+.3f} ± {error:.3f}"


def scratch_table(results: Results) -> str:
    runs = {k: v for k, v in results.items() if k.startswith("scratch-")}
    if not runs:
        return ""
    rows = []
    for label, run in runs.items():
        end = run["curve"][-1]
        rows.append(
            {
                "arm": label.removeprefix("scratch-"),
                "steps": run["steps"],
                "keys seen": round(run["kept"], 1),
                "FLOPs": f"{end['flops']:.3e}",
                "held-out loss, own mask": round(mean(end["losses"]["own"]), 4),
                "full mask": round(mean(end["losses"]["full"]), 4),
            }
        )
    return "## Trained from scratch\n\n" + markdown(rows)


def speed_tables(results: Results) -> str:
    speed = results.get("speed")
    if not speed:
        return ""
    rows = []
    for row in speed["decode"]:
        base = next(r for r in speed["decode"] if r["cache"] == "DynamicCache" and r["context"] == row["context"])
        rows.append(
            {
                "context": row["context"],
                "cache": row["cache"],
                "ms a token": round(row["seconds"] * 1e3, 1),
                "against DynamicCache": f"{base['seconds'] / row['seconds']:.2f}×",
                "bound by bytes": f"{row['bound']:.2f}×",
                "KV MB": round(row["kv_bytes"] / 1e6, 1),
            }
        )
    prefill = [
        {"tokens": r["context"], "mask": r["policy"], "tokens a second": round(r["tokens_per_second"])}
        for r in speed["prefill"]
    ]
    return (
        "## Speed\n\nCaches hold random keys; the weights are the model's. The bound is (weights + full KV) / (weights "
        f"+ stored KV): where it is passed, DynamicCache's copy of the whole cache at every token explains it. The "
        f"cache's own work is {speed['update_share']:.1%} of a step.\n\n"
        + markdown(rows)
        + "\n\nPrefill, one forward:\n\n"
        + markdown(prefill)
    )


def stream_table(results: Results) -> str:
    found = streams(results)
    if not found:
        return ""
    rows = []
    for name, run in found.items():
        last = run["rows"][-1]
        row = {
            "cache": name,
            "policy": run["policy"],
            "tokens": last["tokens"],
            "perplexity": round(run["ppl"], 3),
            "measured r.KV": f"{run['kept_ratio']:.2%}",
            "mean keys": None if "mean_size" not in run else round(run["mean_size"], 1),
            "formula": run.get("formula_size"),
            "KV MB": round(last["kv_bytes"] / 1e6, 1),
            "seconds": round(last["seconds"]),
        }
        if last["first_scored"]:
            row["first words of lines"] = round(perplexity(run["rows"], first=True), 1)
        rows.append(row)
    protocol = next(k for k in results if k.startswith("stream-")).rpartition("-")[2]
    return f"## Streaming\n\nProtocol {protocol}.\n\n" + markdown(rows)


def generations(results: Results) -> str:
    rows = results.get("generate")
    if not rows:
        return ""
    out = ["## The same prompts, with all of the past and with what is kept"]
    for row in rows:
        same = row["full"] == row["kept"]
        out.append(
            f"**{row['prompt']}** (r.KV {row['kept_r_kv']:.0%}{', the same text' if same else ''})\n\n"
            f"> full: {' '.join(row['full'].split())}\n\n> kept: {' '.join(row['kept'].split())}"
        )
    return "\n\n".join(out)


def limits(settings: Settings) -> str:
    if settings.scale_name != "laptop":
        return "What is not listed above was not measured in this run."
    return (
        "The default model has 135 million parameters with weights in 4-bit grains, the text is documentation with "
        "many line breaks, and windows are few: the errors say how few. The paper's evidence at equal KV is GSM8K-CoT "
        "on an 8B model, which `scale=paper eval=gsm8k` runs. Training from scratch is a model of about a million "
        "parameters on one short text."
    )
