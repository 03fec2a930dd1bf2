"""results/report.md and results/metrics.json, written from the finished parts."""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .checkpoint import write_json, write_text
from .claims import POET, Claim, claims, curves, mean_of, spread
from .data import Data, corpus_folder
from .diagnostics import phases, series_errors
from .entry import shown
from .errors import PoetError
from .experiment import WARMUP_STEPS, environment
from .figures import draw_all
from .pretrained import NAME
from .scores import Results, collect, difference, first, last, seeds_of
from .settings import Settings, plain
from .sweep import best_rates, read_table

PAPER_60M = {  # Table 2: perplexity (trained numbers in the hidden matrices)
    "adamw": "26.68 (25.30M)",
    "galore": "29.81",
    "lora": "39.70 (r=64, 4.85M)",
    "poet_bs": "26.90 (b=128, 4.81M), 25.29 (b=256, 9.66M)",
    "poet_fs": "25.37 (1/2, 8.54M)",
}


def write_report(settings: Settings) -> tuple[Path, list[dict[str, Any]]]:
    """Reload and score every model, write metrics.json, figures and report.md. Returns its path and the method
    table."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise PoetError("eval.py runs in one process: start it with python, not with accelerate launch")
    started = time.perf_counter()
    results, data = collect(settings)
    table = read_table(Path(settings.sweep.file)) if settings.sweep.file else None
    table = table if table and table["model"] == settings.model.name and settings.data.name == "stdlib" else None
    path = settings.output_dir / "parts" / NAME / "result.json"
    pretrained = json.loads(path.read_text()) if settings.pretrained.enabled and path.is_file() else None
    rows = method_rows(results, table)
    found = claims(results, table, pretrained)
    figures = draw_all(results, settings.output_dir)
    write_json(
        settings.output_dir / "metrics.json",
        {
            "settings": plain(settings),
            "seed": settings.seed,
            "environment": environment(),
            "corpus": corpus_facts(settings),
            "claims": [asdict(claim) for claim in found],
            "methods": rows,
            "runs": {label: slim(part) for label, part in results.items()},
            "pretrained": pretrained,
            "wall_seconds": {
                "trainings": round(sum(part["seconds"] for part in results.values()), 1),
                "this evaluation": round(time.perf_counter() - started, 1),
            },
        },
    )
    text = "\n\n".join(sections(settings, results, rows, found, table, pretrained, figures, data)) + "\n"
    write_text(settings.output_dir / "report.md", text)
    return settings.output_dir / "report.md", [{k: v for k, v in row.items() if k in TERMINAL} for row in rows]


TERMINAL = ("method", "ppl", "bits/byte", "hidden trained", "optimizer bytes", "tokens/s", "σ_max growth", "drift")


def slim(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part without what only the figures need."""
    record = {**part["record"], "losses": part["record"]["losses"][-1:], "seconds": step_seconds(part)}
    return {k: v for k, v in part.items() if k not in ("record", "traces", "keys", "environment")} | {"record": record}


def step_seconds(part: Mapping[str, Any]) -> float:
    seconds = part["record"]["seconds"]
    return statistics.median(seconds[WARMUP_STEPS:] or seconds)


def method_rows(results: Results, table: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The table of methods."""
    rows = []
    for label, part in sorted(results.items(), key=lambda item: item[1]["reloaded"]["loss"]):
        score, end = part["reloaded"], last(part)
        seeds = seeds_of(table, label, part["lr"])
        row: dict[str, Any] = {"method": label, "ppl": score["ppl"], "bits/byte": score["bits_per_byte"]}
        if "adamw" in results and label != "adamw":
            mean, error = difference(part, results["adamw"])
            row["loss − AdamW"] = f"{mean:+.3f} ± {error:.3f}"
        if len(seeds) > 1:
            perplexities = [math.exp(x) for x in seeds]
            row[f"ppl of {len(seeds)} seeds"] = f"{mean_of(perplexities):.2f} ± {spread(perplexities):.2f}"
        row["ppl, GaLore's evaluation"] = score["ppl_galore_protocol"]
        row["rate"] = part["lr"]
        row["hidden trained"] = part["trained"]
        row["optimizer bytes"] = part["bytes"]["optimizer_state"]
        row["tokens/s"] = round(part["tokens_per_second"])
        if "drift_max" in end:
            row["σ_max growth"] = f"{end['sigma_growth']:.2f}×"
            row["drift"] = f"{end['drift_max']:.1e}"
            row["entropy"] = f"{first(part)['entropy']:.3f} → {end['entropy']:.3f}"
            row["energy a pair"] = f"{first(part)['energy_per_pair']:.4f} → {end['energy_per_pair']:.4f}"
        row["paper, 60M on C4"] = PAPER_60M.get(label)
        rows.append(row)
    return [{k: row.get(k) for k in dict.fromkeys(k for r in rows for k in r)} for row in rows]


def sections(
    settings: Settings,
    results: Results,
    rows: Sequence[Mapping[str, Any]],
    found: Sequence[Claim],
    table: Mapping[str, Any] | None,
    pretrained: Mapping[str, Any] | None,
    figures: Sequence[str],
    data: Data,
) -> list[str]:
    """The paragraphs of the report."""
    wanted = {"loss.png": "Validation loss", "cost.png": "Perplexity and optimizer state"}
    paragraphs = [
        "# POET: what the paper claims and what this run shows",
        setting_sentence(settings, results),
        "## Claims",
        claims_table(found, settings.scale),
        "## Methods",
        markdown(rows),
        notes(),
        winner(results, table),
        *[f"![{title}]({name})" for name, title in wanted.items() if name in figures],
        "## Learning rates",
        rates(results, table),
        "## Spectrum and energy" if "spectra.png" in figures else "",
        geometry_notes(results) if "spectra.png" in figures else "",
        *[f"![{name.removesuffix('.png')}]({name})" for name in ("spectra.png", "geometry.png") if name in figures],
        "## Probes" if "probes.png" in figures else "",
        probe_table(results) if "probes.png" in figures else "",
        "![Probe](probes.png)" if "probes.png" in figures else "",
        "## Memory and time",
        memory_table(results),
        "## How orthogonal the series are",
        series_table(),
        "## A pretrained model",
        pretrained_notes(settings, pretrained),
        "## Text",
        text_notes(settings),
        "## Limits",
        limits(settings),
    ]
    return [paragraph for paragraph in paragraphs if paragraph]


def setting_sentence(settings: Settings, results: Results) -> str:
    part = next(iter(results.values()))
    made = part["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    device = made["gpu"] or f"{made['processor']}, {made['threads']} threads"
    return (
        f"Scale {settings.scale}: Llama `{settings.model.name}` (width {settings.model.hidden}, "
        f"{settings.model.layers} "
        f"layers, MLP {settings.model.mlp}) in {settings.model.dtype}, {settings.training.steps} steps of "
        f"{settings.training.sequences} × {settings.training.length} tokens ({part['tokens']:,} in all, "
        f"{part['tokens'] / part['trained_in_all']:.0f} a trained parameter of the first method), seed "
        f"{settings.seed}; every "
        f"method reads the same tokens in the same order. Machine: {device}; Python {made['python']}, {versions}."
    )


def claims_table(found: Sequence[Claim], scale: str) -> str:
    return markdown(
        [
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
    )


def notes() -> str:
    return (
        "Perplexity and bits per byte: of the exported folder, reloaded by `AutoModelForCausalLM`, on the whole "
        "validation "
        "split. ± beside the loss: standard error over held-out text, which is not the spread over seeds. GaLore's "
        "evaluation: batch means summed up and divided by one batch too many, as in the scripts that the official code "
        "grew from; it is too low, by much where batches are few as here. Hidden trained: numbers that stand for the "
        "attention and MLP matrices. Drift: the largest over matrices, relative. Speed: from the median training step."
    )


def winner(results: Results, table: Mapping[str, Any] | None) -> str:
    """In words, who won."""
    losses = {label: part["reloaded"]["loss"] for label, part in results.items()}
    order = sorted(losses, key=lambda label: losses[label])
    text = f"**{order[0]}** has the lowest validation loss, then {', '.join(order[1:])}."
    seeds = {label: seeds_of(table, label, part["lr"]) for label, part in results.items()}
    if all(len(s) > 1 for s in seeds.values()):
        means = {label: mean_of(s) for label, s in seeds.items()}
        by_seeds = sorted(means, key=lambda label: means[label])
        noise = max(spread(s) for s in seeds.values())
        text += (
            f" Over {min(map(len, seeds.values()))} seeds of the sweep the order is {', '.join(by_seeds)}; the largest "
            f"spread of a method over its seeds is {noise:.3f} nats."
        )
    ours = [label for label in order if label in POET]
    if ours and "adamw" in losses:
        gap = losses[ours[0]] - losses["adamw"]
        if gap > 0:
            text += (
                f" The paper's headline, POET ahead of AdamW, does not show here: the best POET run is {gap:.3f} nats "
                "behind AdamW from the standard initialisation."
            )
            if "adamw_normalized" in losses:
                rest = losses[ours[0]] - losses["adamw_normalized"]
                text += (
                    f" AdamW from POET's own initialisation is {losses['adamw_normalized'] - losses['adamw']:+.3f} "
                    "nats from "
                    f"AdamW, and POET {rest:+.3f} from that"
                    + (
                        ": so the gap comes with the unit-norm start, whose hidden matrices are several times larger "
                        "than "
                        "the standard ones and change relatively less in a short run, not with the rotations."
                        if rest <= 0.01
                        else "."
                    )
                )
            text += (
                " The paper trains for about 500 tokens a parameter, says that POET descends more slowly at first and "
                "overtakes late; this run is far shorter, and whether that explains the difference is not tested here."
            )
        else:
            text += f" The best POET run is {-gap:.3f} nats ahead of AdamW."
    return text


def rates(results: Results, table: Mapping[str, Any] | None) -> str:
    if table is None:
        return (
            "There is no sweep of these methods on this model and text, so the rates are not known to be the best "
            "ones of each method. `python train.py sweep.enabled=true` makes one."
        )
    best = best_rates(table)
    rows = []
    for label in results:
        cells = {
            c["lr"]: c["dev_loss"] for c in table["cells"] if c["method"] == label and c["seed"] == table["seeds"][0]
        }
        if not cells:
            continue
        ladder = table["ladders"][label]
        rows.append(
            {
                "method": label,
                "dev loss at each rate": ", ".join(f"{lr:g}: {graded(cells[lr])}" for lr in sorted(cells)),
                "tried": len(cells),
                "best": best[label],
                "used here": results[label]["lr"],
                "at an end of the ladder": "yes" if best[label] in (ladder[0], ladder[-1]) else "no",
            }
        )
    apart = [row["method"] for row in rows if row["best"] != row["used here"]]
    tried = {row["method"]: row["tried"] for row in rows}
    short = [x for x in results if tried.get(x, 0) < max(1, len(table["ladders"].get(x, ())))]
    text = "The sweep's table is empty."
    if rows:
        text = (
            f"The search gives every method {len(table['ladders'][rows[0]['method']])} rates for its hidden matrices, "
            f"factors of two apart, {table['steps']} steps each, scored on the dev split, which is neither trained nor "
            "reported on; embedding, head and norms train at 1e-2 in all. The best is trained again with seeds "
            f"{', '.join(map(str, table['seeds']))}."
        )
    if apart:
        text += f" Not at its best rate runs: {', '.join(apart)}."
    if short:
        text += (
            f" **The search of {', '.join(short)} is not finished**: what is missing below was not tried, and "
            "comparisons with these are not between equally tuned methods. `python train.py sweep.enabled=true` "
            "finishes it."
        )
    return text + "\n\n" + markdown(rows)


def graded(loss: float | None) -> str:
    return "broke off" if loss is None else f"{loss:.3f}"


def geometry_notes(results: Results) -> str:
    kept = [label for label in results if last(results[label])["drift_max"] < 1e-5]
    parts = [f"Spectra of {', '.join(kept)} are kept to rounding." if kept else "No method keeps its spectra to 1e-5."]
    moved = sorted(set(results) - set(kept), key=lambda label: -last(results[label])["drift_max"])
    parts += [f"{label} moves its by {last(results[label])['drift_max']:.2f}." for label in moved]
    identical = {label: int(last(results[label])["identical_pairs"]) for label in results}
    parts.append(f"Pairs of neurons that coincide: {sum(identical.values())}.")
    return " ".join(parts)


def probe_table(results: Results) -> str:
    rows = []
    for label, part in results.items():
        if "cosines" not in last(part):
            continue
        found = phases(*curves(part))
        traces = list(part["traces"].values())
        rows.append(
            {
                "method": label,
                "cosine at the end": found["cosine"],
                "search ends": found["search_ends"],
                "freeze begins": found["freeze_begins"],
                "loss there": f"{found['loss_at_search_end']:.3f}, {found['loss_at_freeze']:.3f}",
                "loss at the end": found["loss_at_end"],
                "trace(R)/m of the last interval": mean_of(traces),
                "early merges": part["record"]["early_merges"],
                "largest jump of a merge": max((m["jump"] for m in part["record"]["merges"]), default=None),
            }
        )
    return (
        "A fixed random vector a layer and side, carried along by all rotations so far. The search ends when nine "
        "tenths of "
        "the cosine's fall are done; the freeze begins when it stays within 0.005 of its end. The paper probed one "
        "full "
        "block without merges and found 0.60 to 0.65; `python train.py method=poet_probe` is that setting.\n\n"
        + markdown(rows)
    )


def memory_table(results: Results) -> str:
    rows = []
    for label, part in results.items():
        found = part["bytes"]
        rows.append(
            {
                "method": label,
                **{k: v for k, v in found.items() if k != "activations"},
                "ms a step": 1e3 * step_seconds(part),
                "tokens/s": round(part["tokens_per_second"]),
                "seconds in all": round(part["seconds"]),
            }
        )
    text = (
        "Bytes counted on the tensors. With POET, gradients and optimizer state of the hidden matrices shrink, and the "
        "plans that multiply by R W P keep that product between two optimizer steps (`plan=activation` does not). The "
        "embedding and head of so small a model outweigh its hidden matrices."
    )
    return text + "\n\n" + markdown(rows)


def series_table() -> str:
    rows = [row for theta in (0.1, 0.3, 0.5) for row in series_errors(theta)]
    values = {(r["series"], r["k"], r["theta"]): r for r in rows}
    lines = []
    for name, k in dict.fromkeys((r["series"], r["k"]) for r in rows):
        line: dict[str, Any] = {"series": name, "k": k}
        for theta in (0.1, 0.3, 0.5):
            found = values[name, k, theta]
            line[f"θ = {theta}"] = f"{found['error']:.1e}"
        lines.append(line)
    return (
        "‖RRᵀ − I‖_F/‖I‖_F of a random block, b = 64, whose largest angle is θ. `product` is Eq. 6, and follows its "
        "closed "
        "form |1 − (iθ)^(k+1)| to 1 %; `truncated` leaves out the closing term. What is merged is the nearest "
        "rotation.\n\n" + markdown(lines)
    )


def pretrained_notes(settings: Settings, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "This part was not run."
    seconds = statistics.median(found["step_seconds"])
    return (
        f"`{settings.pretrained.path}` with {found['layers']} POET layers (b = {settings.pretrained.block}, weights "
        "kept, "
        f"{found['rotation_parameters']:,} trained numbers, nothing else trained). Wrapping moves logits by at most "
        f"{found['wrap_difference']:.1e}. {len(found['losses'])} steps of one sequence of {settings.pretrained.length} "
        f"tokens at {settings.pretrained.lr:g} ({seconds:.1f} s each) move logits by up to {found['moved']:.2f} and "
        "the "
        f"held-out loss from {found['loss_before']:.4f} to {found['loss_after']:.4f} ({settings.pretrained.windows} "
        "windows). "
        f"Merged, exported and reloaded, the logits differ by {found['merge_difference']:.1e} from the trained "
        "model's; "
        f"spectra of {len(found['spectrum_layers'])} matrices drift by at most {found['spectrum_drift']:.1e}; the "
        "largest "
        f"relative jump of a merge is {found['largest_jump']:.1e}. The weights come from a 4-bit file, and the text "
        "is short: "
        "this shows that the machinery holds, not how good it is for finetuning."
    )


def corpus_facts(settings: Settings) -> dict[str, Any] | None:
    path = corpus_folder(settings) / "corpus.json"
    return json.loads(path.read_text()) if path.is_file() else None


def text_notes(settings: Settings) -> str:
    facts = corpus_facts(settings)
    if facts is None:
        return f"{settings.data.path}, streamed; no more than {settings.data.evaluation_tokens:,} validation tokens."
    tokens = ", ".join(f"{name} {count:,}" for name, count in facts["tokens"].items())
    shares = " and ".join(f"{share:.1%} of {name}" for name, share in facts["overlap"].items())
    return (
        f"Language reference and docstrings of Python {facts['recipe']['python']}, split by file after repeated "
        "paragraphs "
        f"were dropped; tokens: {tokens}; byte-level BPE of {facts['recipe']['vocabulary']} from the training split. "
        f"16-token windows that also stand in the training split: {shares} (a run above 2 % is refused). SHA-256 of "
        "the "
        f"text: `{facts['sha256'][:16]}…`."
    )


def limits(settings: Settings) -> str:
    if settings.scale == "paper":
        return "One seed; the paper gives no seeds either."
    return (
        "A model of two layers on a million tokens of one kind of English cannot speak for the paper's models; one "
        "seed in "
        "the main table, three in the sweep. Blocks are half of the model's width, so POET layers save no time here. "
        "The follow-up of the same authors (POET-X, 3B on 60B tokens) reports Muon at 11.45, POET-X with b = 512 at "
        "12.05 "
        "and AdamW at 12.69: the paper does not claim to beat Muon."
    )


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(shown(row.get(n)).replace("|", "\\|") for n in names) + " |" for row in rows]
    return "\n".join(lines)
