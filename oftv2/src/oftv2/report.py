"""results/report.md and results/metrics.json, written from the finished parts."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .checkpoint import write_json
from .claims import Claim, asked, claims, rms_update, share
from .errors import OFTError
from .evaluate import evaluate_all
from .experiment import parts_of
from .figures import NAMES, draw_all, median_seconds
from .formats.files import write_files
from .intervals import interval, mcnemar, paired_difference
from .parts import Part, environment
from .settings import Settings, plain
from .sweep import SWEPT, best_rates, read_table

EQUAL_FORGETTING = (
    "Rates differ in how much they forget, so methods are also set side by side at equal forgetting: each row of the "
    "additive method beside the best row of the rotating one that forgets no more (rows of the table above, nothing "
    "interpolated)."
)
Results = Mapping[str, Mapping[str, Any]]


def write_report(settings: Settings) -> tuple[Path, list[dict[str, Any]]]:
    """Measure what is missing, write metrics.json, figures and report.md. Returns its path and the method table."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise OFTError("eval.py runs in one process: start it with python, not with accelerate launch")
    if settings.task.kind == "diffusion":
        from .picture_report import write_picture_report

        return write_picture_report(settings)
    started = time.perf_counter()
    parts = evaluate_all(settings, parts_of(settings))
    results = {label: {name: part.result for name, part in named.items()} for label, named in parts.items()}
    rows = method_rows(results)
    found = claims(results, settings.scale, *commands(settings))
    table = read_table(settings.sweep_file)
    figures = draw_all(results, settings.output_dir)
    write_json(
        settings.output_dir / "metrics.json",
        {
            "settings": plain(settings),
            "seed": settings.seed,
            "environment": environment(),
            "claims": [asdict(claim) for claim in found],
            "methods": rows,
            "parts": {label: {name: asdict(part) for name, part in named.items()} for label, named in parts.items()},
            "wall_seconds": {
                "parts": round(sum(part.seconds for named in parts.values() for part in named.values()), 1),
                "this evaluation": round(time.perf_counter() - started, 1),
            },
        },
    )
    text = "\n\n".join(sections(settings, results, parts, rows, found, table, figures)) + "\n"
    write_files(settings.output_dir, {"report.md": text.encode()})
    return settings.output_dir / "report.md", rows


def sections(
    settings: Settings,
    results: Results,
    parts: Mapping[str, Mapping[str, Part]],
    rows: Sequence[Mapping[str, Any]],
    found: Sequence[Claim],
    table: Mapping[str, Any] | None,
    figures: Sequence[str],
) -> list[str]:
    """The paragraphs of the report."""
    return [
        paragraph
        for paragraph in (
            "# OFTv2 and QOFT: what the paper claims and what this run shows",
            setting_sentence(settings, results, parts),
            "## Claims",
            claims_table(found, settings.scale),
            "## Methods",
            markdown(rows),
            method_notes(results),
            "### The same problems, two methods",
            pairs(results),
            "## Learning rates",
            rates(settings, results, table),
            along(results) if "tradeoff.png" in figures else "",
            figure("tradeoff.png", "Learned against forgotten, along the training", figures),
            "## What OFTv1 costs" if "oftv1" in results else "",
            bars(results),
            figure("cost.png", "Step time and memory", figures),
            "## Strength: rotations from α·Q" if any("strengths" in p for p in results.values()) else "",
            strengths(results, settings),
            "## How many terms" if any("terms" in p for p in results.values()) else "",
            terms(results),
            figure("defect.png", "Singular values of R", figures),
            "## Merging into 4 bits" if any("requantised" in p for p in results.values()) else "",
            requantised(results),
            figure("survival.png", "What survives NF4", figures),
            "## Limits",
            limits(settings, results),
            "## Where the time went",
            times(parts),
        )
        if paragraph
    ]


def method_rows(results: Results) -> list[dict[str, Any]]:
    """The table of methods: quality, knowledge kept, cost, geometry."""
    base = results["base"]["score"]
    order = [label for label in ("base", "base_nf4", "oftv2", "qoft", "oftv1", "lora", "qlora") if label in results]
    order += [k for k in results if k not in order and "score" in results[k]]
    rows = []
    for label in order:
        here = results[label]
        score = here.get("score") or here.get("losses") or {}
        training = here.get("train", {})
        answers = score.get("asked")
        row: dict[str, Any] = {"method": NAMES.get(label, label)}
        if answers:
            low, high = interval(answers["each"])
            row["metric"] = answers["metric"]
            row["score"] = answers["scores"][answers["metric"]]
            row["95 %"] = f"{low:.3f}–{high:.3f}"
        elif "test_loss" in score:
            row["metric"], row["score"] = "perplexity", math.exp(score["test_loss"])
        row["answer loss"] = score.get("answer_loss")
        row["prose loss"] = score.get("prose_loss")
        row["change"] = score["prose_loss"] - base["prose_loss"] if "prose_loss" in score else None
        row["trained"] = training.get("parameters")
        row["learning rate"] = training.get("learning_rate")
        row["s/step"] = median_seconds(training) if training else None
        row["kept MiB"] = training["saved_bytes"] / 2**20 if training.get("saved_bytes") else None
        row["peak MiB"] = training["peak_memory"] / 2**20 if training else None
        geometry = here.get("geometry", {})
        row["‖RᵀR − I‖"] = geometry.get("orthogonality_error")
        row["‖ΔW‖/‖W‖"] = geometry.get("update_norm")
        rows.append(row)
    return [{k: row.get(k) for k in dict.fromkeys(k for r in rows for k in r)} for row in rows]


def setting_sentence(settings: Settings, results: Results, parts: Mapping[str, Mapping[str, Part]]) -> str:
    first = next(iter(parts.values()))
    made = next(iter(first.values())).environment
    asked_of = asked(results, "base")
    test = f" and {asked_of['count']} test problems" if asked_of else ""
    device = made["gpu"] or f"{made['processor']}, {made['threads']} threads"
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items() if number)
    trained = ", ".join(
        f"{NAMES.get(k, k)} {p['train']['step']}" for k, p in results.items() if "train" in p and "score" in p
    )
    return (
        f"Scale {settings.scale}: model `{settings.model.path}` in {settings.model.dtype}, task "
        f"{settings.task.name}{test}, seed {settings.seed}. Optimiser steps: {trained}. "
        f"Machine: {device}; Python {made['python']}, {versions}."
    )


def claims_table(found: Sequence[Claim], scale: str) -> str:
    rows = [
        {
            "claim of the abstract": claim.claim,
            "paper": claim.paper,
            "measured here": claim.measured,
            "scale": scale,
            "source": claim.source,
            "verdict": f"**{claim.verdict}**",
            "measure it again": f"`{claim.command}`",
        }
        for claim in found
    ]
    return markdown(rows)


def method_notes(results: Results) -> str:
    notes = (
        "Score: greedy answers of the unmerged model, with Wilson's 95 % interval. Answer loss: on dev problems. "
        "Prose loss: nats a token on twelve windows of general English; change: against the float base. Kept: what "
        "autograd holds for backward after a forward of the first batch. Peak: of the allocator on a GPU, else of "
        "the process's resident memory during training, base included."
    )
    if "base_nf4" in results:
        drop = results["base_nf4"]["losses"]["prose_loss"] - results["base"]["score"]["prose_loss"]
        notes += f" Storing the base in NF4 alone changes its prose loss by {drop:+.3f}."
    return notes


def pairs(results: Results) -> str:
    rows = []
    for first, second in (
        ("oftv2", "base"),
        ("oftv2", "lora"),
        ("qoft", "qlora"),
        ("qoft", "oftv2"),
        ("qlora", "lora"),
    ):
        a, b = asked(results, first), asked(results, second)
        if not a or not b:
            continue
        mean, low, high = paired_difference(a["each"], b["each"])
        only_first, only_second, p = mcnemar(a["each"], b["each"])
        rows.append(
            {
                "first": NAMES[first],
                "second": NAMES[second],
                "difference": f"{mean:+.3f}",
                "95 %": f"{low:+.3f} to {high:+.3f}",
                "better only in the first": only_first,
                "only in the second": only_second,
                "McNemar p": f"{p:.4f}",
                "can be told apart": "yes" if p < 0.05 else "no",
            }
        )
    return markdown(rows) if rows else "This run has no two methods that answered the same problems."


def rates(settings: Settings, results: Results, table: Mapping[str, Any] | None) -> str:
    used = {k: p["train"]["learning_rate"] for k, p in results.items() if "train" in p and "score" in p}
    sentence = "Rates of this run: " + ", ".join(f"{NAMES.get(k, k)} {rate:g}" for k, rate in used.items()) + "."
    same_task = table and table["task"] == settings.task.name and table["model"] == settings.model.path
    if not table or not same_task:
        return (
            sentence
            + " There is no sweep of these methods on this task and model, so the rates are not known to be the "
            "best ones of each method. `python train.py task.sweep=true` makes one."
        )
    best = best_rates(dict(table))
    chosen = [k for k in used if k in best]
    apart = [k for k in chosen if used[k] != best[k]]
    missing = [k for k in SWEPT if k in used and k not in best]
    if chosen:
        sentence += (
            f" {', '.join(NAMES[k] for k in chosen)} were searched alike on the ladder "
            f"{', '.join(f'{rate:g}' for rate in table['rates'])}"
            + (f", from {table['start']:g} up until the dev answer loss rose, then down" if table["start"] else "")
            + f", with {table['steps']} steps each, one order of data and one seed, scored on {table['problems']} dev "
            + "problems; "
        )
        sentence += (
            "each runs at its lowest dev answer loss."
            if not apart
            else "not at its lowest dev answer loss runs "
            + ", ".join(f"{NAMES[k]} ({used[k]:g}, lowest at {best[k]:g})" for k in apart)
            + "."
        )
    shorter = [k for k in chosen if results[k]["train"]["step"] < (table["steps"] or 0)]
    if shorter:
        sentence += (
            f" {', '.join(NAMES[k] for k in shorter)} train for fewer steps here than in the search, to keep the run "
            "short, at the rates found for the longer training: set beside the others they are not fully trained."
        )
    if missing:
        sentence += f" The sweep of {', '.join(NAMES[k] for k in missing)} is not complete."
    start = results["base"]["score"]["prose_loss"]
    metric = next(
        (k for k in table["cells"][0] if k not in ("method", "learning_rate", "answer_loss", "prose_loss", "seconds")),
        None,
    )
    rows = [
        {
            "method": NAMES.get(cell["method"], cell["method"]),
            "learning rate": f"{cell['learning_rate']:g}",
            "dev answer loss": cell["answer_loss"],
            **({f"dev {metric}": cell[metric]} if metric else {}),
            "prose change": cell["prose_loss"] - start,
            "": "default" if used.get(cell["method"]) == cell["learning_rate"] else "",
        }
        for cell in table["cells"]
    ]
    parts = [sentence, markdown(rows), f"Made {table['date']} on {table['environment']['processor']}."]
    matched = equal_forgetting(table["cells"], metric)
    if matched:
        parts += [
            EQUAL_FORGETTING,
            markdown(matched),
            forgetting_sentence(matched),
        ]
    return "\n\n".join(parts)


def equal_forgetting(cells: Sequence[Mapping[str, Any]], metric: str | None) -> list[dict[str, Any]]:
    """Each additive row with the rotating row of lowest answer loss among those that forget no more."""
    rows = []
    for additive, rotating in (("lora", "oftv2"), ("qlora", "qoft")):
        for cell in (c for c in cells if c["method"] == additive):
            able = [c for c in cells if c["method"] == rotating and c["prose_loss"] <= cell["prose_loss"]]
            best = min(able, key=lambda c: c["answer_loss"], default=None)
            row = {
                "additive": f"{NAMES[additive]} {cell['learning_rate']:g}",
                "its prose loss": cell["prose_loss"],
                "its answer loss": cell["answer_loss"],
                "rotating, forgets no more": f"{NAMES[rotating]} {best['learning_rate']:g}" if best else "none",
                "prose loss": best["prose_loss"] if best else None,
                "answer loss": best["answer_loss"] if best else None,
            }
            if metric:
                row[f"{metric}, additive"] = cell[metric]
                row[f"{metric}, rotating"] = best[metric] if best else None
            lower = best is not None and best["answer_loss"] < cell["answer_loss"]
            row["lower answer loss"] = None if best is None else NAMES[rotating if lower else additive]
            rows.append(row)
    return rows


def forgetting_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    sentences = []
    for additive, rotating in (("lora", "oftv2"), ("qlora", "qoft")):
        pair = (NAMES[additive], NAMES[rotating])
        compared = [row["lower answer loss"] for row in rows if row["lower answer loss"] in pair]
        if compared:
            won = sum(name == pair[1] for name in compared)
            sentences.append(
                f"Where it forgets no more than {pair[0]}, {pair[1]} has the lower dev answer loss in {won} of "
                f"{len(compared)} rows."
            )
    return " ".join(sentences)


def bars(results: Results) -> str:
    wanted = [
        k
        for k in ("oftv1", "oftv1_blockwise", "oft_peft", "oftv2_exact", "oftv2", "lora")
        if "train" in results.get(k, {})
    ]
    if "oftv1" not in wanted or "oftv2_exact" not in wanted:
        return ""
    ours = results["oftv2_exact"]["train"]
    rows = []
    for label in wanted:
        training = results[label]["train"]
        kept = training["saved_bytes"]
        rows.append(
            {
                "method": NAMES[label],
                "steps": training["step"],
                "s/step": median_seconds(training),
                "to OFTv2 (exact)": f"{median_seconds(training) / median_seconds(ours):.2f}×",
                "kept MiB": kept / 2**20 if kept else None,
                "peak MiB": training["peak_memory"] / 2**20,
            }
        )
    dense, blockwise, exact = (
        median_seconds(results[k]["train"]) if k in wanted else None
        for k in ("oftv1", "oftv1_blockwise", "oftv2_exact")
    )
    text = markdown(rows)
    if dense and blockwise and exact:
        text += f"\n\n{dense_sentence(dense, blockwise, exact)}"
    return (
        text
        + " These methods train for a few steps each, one after another: `make bench-oftv2` measures them interleaved."
    )


def dense_sentence(dense: float, blockwise: float, exact: float) -> str:
    """Where the time of OFTv1 goes."""
    if dense <= exact:
        return "Dense OFTv1 is not slower than OFTv2 on this model."
    removed = (dense - blockwise) / (dense - exact)
    return (
        f"Of the time that dense OFTv1 takes beyond OFTv2, {removed:.0%} goes when the blocks are multiplied without "
        "making the d×d matrix; what remains is the rotated copy of every weight and the gradient by it."
    )


def along(results: Results) -> str:
    """What the losses in the figure of the training were measured on."""
    read = sorted(
        {tuple(p["train"]["probed"]) for p in results.values() if len(p.get("train", {}).get("probes", [])) > 1}
    )
    sets = "; in others, ".join(probed(*pair) for pair in read)
    return f"Along the training, in the figure: {sets}, which cost less and move more than whole windows."


def probed(problems: int, tokens: int) -> str:
    return f"{problems} dev problems and the first {tokens} tokens of each window of prose"


def strengths(results: Results, settings: Settings) -> str:
    problems, tokens = settings.evaluation.probe_problems, settings.evaluation.probe_tokens
    paragraphs = [f"Losses here and in the next table: {probed(problems, tokens)}."]
    for label, parts in results.items():
        if "strengths" not in parts:
            continue
        found = parts["strengths"]
        paragraphs.append(
            markdown(
                [
                    {"α": r["alpha"], "answer loss": r["answer_loss"], "prose loss": r["prose_loss"]}
                    for r in found["rows"]
                ]
            )
        )
        sentence = f"{NAMES.get(label, label)} has its lowest dev answer loss at α = {found['best']:g}"
        here, there = found["asked"], asked(results, label)
        if here and there:
            same = there["each"][: here["count"]]
            mean, low, high = paired_difference(here["each"], same)
            sentence += (
                f", where it scores {here['scores'][here['metric']]:.3f} on {here['count']} test problems against "
                f"{sum(same) / len(same):.3f} at α = 1 ({mean:+.3f}, 95 % {low:+.3f} to {high:+.3f})"
            )
        paragraphs.append(sentence + ".")
    return "\n\n".join(paragraphs) if len(paragraphs) > 1 else ""


def terms(results: Results) -> str:
    label = next((k for k, parts in results.items() if "terms" in parts), None)
    if label is None:
        return ""
    found = results[label]["terms"]
    rows = [
        {
            "terms": row["terms"],
            "worst ‖RᵀR − I‖": f"{row['orthogonality_error']:.2e}",
            "singular value at θ max": f"{row['singular_value']:.6f}",
            "answer loss": row["answer_loss"],
            "prose loss": row["prose_loss"],
            "": "trained with" if row["terms"] == found["trained_with"] else "",
        }
        for row in found["rows"]
    ]
    defects = {row["terms"]: row["orthogonality_error"] for row in found["rows"]}
    used = found["trained_with"]
    cheaper = [n for n in defects if n < used and defects[n] < defects.get(used, 0.0)]
    theta = found["rows"][0]["theta_max"]
    sentence = f"The Q of {NAMES.get(label, label)}, trained with {used} terms, read with others (θ up to {theta:.3f})."
    if cheaper:
        sentence += f" {cheaper[-1]} terms cost no more products and leave R closer to orthogonal than {used}."
    return f"{sentence}\n\n{markdown(rows)}"


def requantised(results: Results) -> str:
    rows, sentences = [], []
    for label, parts in results.items():
        if "requantised" not in parts:
            continue
        part = parts["requantised"]
        row = {
            "adapter": NAMES.get(label, label),
            "‖ΔW‖/‖W‖": f"{rms_update(part):.2%}",
            "survives": share(part["surviving"]) if part["surviving"] is not None else None,
            "answer loss, unmerged over NF4": parts["score"]["answer_loss"],
            "merged into NF4": part["merged"]["answer_loss"],
        }
        rows.append(row)
        if part["surviving"] is not None and part["surviving"] < 0.5:
            sentences.append(f"{NAMES.get(label, label)} loses {min(1.0, 1 - part['surviving']):.0%} of its update")
    if not rows:
        return ""
    text = markdown([{k: row.get(k) for k in dict.fromkeys(k for r in rows for k in r)} for row in rows])
    if sentences:
        text += (
            f"\n\nMerged into a 4-bit base and rounded again, {'; '.join(sentences)}. "
            "Keep such an adapter unmerged over the quantised base, or merge it into 16-bit weights."
        )
    else:
        text += "\n\nThese updates are large enough for most of them to survive the 4-bit grid."
    return text


def limits(settings: Settings, results: Results) -> str:
    lines = ["One seed: intervals are over test problems and say nothing about another training."]
    if settings.scale != "paper":
        lines.append(
            f"Small model: `{settings.model.path}` on {settings.task.name}; effects that need long reasoning or many "
            "parameters do not show here."
        )
    if settings.model.path.endswith(".gguf") or settings.model.path == "smollm2-135m-instruct":
        lines.append(
            "The base weights come from a 4-bit file (Q4_1), so they are 4-bit-grained before NF4 touches them, and a "
            "comparison of float against NF4 is milder than with true 16-bit weights."
        )
    few = [k for k, p in results.items() if "train" in p and p["train"]["step"] < p["train"]["steps"]]
    if few:
        lines.append(
            f"Only cost and losses are read from {', '.join(NAMES.get(k, k) for k in few)}, which trained a few steps."
        )
    stopped = [k for k, p in results.items() if p.get("train", {}).get("starts", 1) > 1]
    if stopped:
        lines.append(f"Interrupted and resumed: {', '.join(NAMES.get(k, k) for k in stopped)}.")
    return "\n".join(f"- {line}" for line in lines)


def times(parts: Mapping[str, Mapping[str, Part]]) -> str:
    rows = [
        {
            "part": f"{label}/{name}",
            "seconds": round(part.seconds, 1),
            "": "reused" if part.reused else "",
            "finished": part.finished,
        }
        for label, named in parts.items()
        for name, part in named.items()
    ]
    total = sum(part.seconds for named in parts.values() for part in named.values())
    return markdown(rows) + f"\n\nTogether {total:.0f} s."


def figure(name: str, caption: str, drawn: Sequence[str]) -> str:
    return f"![{caption}]({name})" if name in drawn else ""


def commands(settings: Settings) -> tuple[str, str]:
    """(eval command, train command) that measure a claim again."""
    scale = "" if settings.scale == "laptop" else f" scale={settings.scale}"
    return f"python eval.py{scale}", f"python train.py{scale}"


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([cell(row.get(name)) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 0.01 or abs(value) >= 100 else f"{value:.3f}"
    if isinstance(value, int) and value >= 10000:
        return f"{value:,}".replace(",", " ")
    return str(value).replace("|", "\\|")
