"""The paper's claims beside what was measured. Every verdict follows from the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .long_stream import perplexity
from .perplexity import paired

SHOWN, PARTLY, NOT_SHOWN, NOT_TESTABLE = "✓ shown", "~ partly", "✗ not shown", "not testable at this scale"
Results = Mapping[str, Any]  # part -> result


@dataclass(frozen=True)
class Claim:
    """A row of the claims table."""

    claim: str
    paper: str
    measured: str
    source: str
    verdict: str
    command: str


def claims(results: Results, command: str, train_command: str) -> list[Claim]:
    """All claims, in the order of the abstract; those without numbers are marked not testable."""
    return [build(results, command, train_command) for build in BUILDERS]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def gap(first: Sequence[float], second: Sequence[float]) -> str:
    value, error = paired(first, second)
    return f"{value:+.3f} ± {error:.3f} nat"


def graded(first: Sequence[float], second: Sequence[float]) -> str:
    """Whether the first losses are lower: shown beyond two paired standard errors, not shown where not lower."""
    value, error = paired(first, second)
    if not math.isfinite(error):
        return PARTLY if value < 0 else NOT_SHOWN
    return SHOWN if value < -2 * error else NOT_SHOWN if value > 0 else PARTLY


def row_of(results: Results, label: str, group: str = "list") -> Mapping[str, Any] | None:
    return next((r for r in results.get("ppl", []) if r["label"] == label and r["group"] == group), None)


def untested(claim: str, paper: str, source: str, command: str) -> Claim:
    return Claim(claim, paper, "not measured in this run", source, NOT_TESTABLE, command)


def attention(results: Results, command: str, train_command: str) -> Claim:
    claim, paper = "separators draw more attention than other tokens", "Fig. 2: maps of Llama-3-8B, no figure"
    source = "§1; eager attention of the model itself, far keys"
    if "attention" not in results:
        return untested(claim, paper, source, command)
    ratios = [layer["ratio"] for layer in results["attention"]]
    above = sum(r > 1 for r in ratios)
    top = sorted(range(len(ratios)), key=lambda i: -ratios[i])[:3]
    measured = (
        f"a far separator gets {mean(ratios):.2f}× the mass of another far token (mean of {len(ratios)} layers); above "
        f"1 in {above} layers, most in layers " + ", ".join(f"{i} ({ratios[i]:.1f}×)" for i in top)
    )
    verdict = SHOWN if mean(ratios) > 1.2 and above > len(ratios) / 2 else PARTLY if mean(ratios) > 1 else NOT_SHOWN
    return Claim(claim, paper, measured, source, verdict, command)


def nearly_full(results: Results, command: str, train_command: str) -> Claim:
    claim = "training-free, with less than half of the KV, quality stays nearly that of full attention"
    paper = "GSM8K-CoT 77.18 against 77.79 at 47.36 % of KV, Llama-3-8B-Instruct"
    source = "Table 1; here perplexity, as a model of this size does not solve GSM8K"
    sep, full = row_of(results, "sep"), row_of(results, "full")
    if sep is None or full is None:
        return untested(claim, paper, source, command)
    measured = (
        f"perplexity {sep['ppl']:.2f} at {sep['r_kv']:.1%} of KV (n = {sep['n']}) against {full['ppl']:.2f}: "
        f"{gap(sep['losses'], full['losses'])}, n = {len(sep['losses'])} windows"
    )
    lost = mean(sep["losses"]) - mean(full["losses"])
    return Claim(claim, paper, measured, source, SHOWN if lost < 0.02 else PARTLY if lost < 0.1 else NOT_SHOWN, command)


def against(label: str, claim: str, paper: str, source: str) -> Callable[[Results, str, str], Claim]:
    def build(results: Results, command: str, train_command: str) -> Claim:
        sep, other = row_of(results, "sep"), row_of(results, label)
        if sep is None or other is None:
            return untested(claim, paper, source, command)
        measured = (
            f"perplexity {sep['ppl']:.2f} at {sep['r_kv']:.1%} of KV against {other['ppl']:.2f} at "
            f"{other['r_kv']:.1%}: {gap(sep['losses'], other['losses'])}, n = {len(sep['losses'])} windows"
        )
        return Claim(claim, paper, measured, source, graded(sep["losses"], other["losses"]), command)

    return build


def condensed(results: Results, command: str, train_command: str) -> Claim:
    claim = "a segment's information is condensed into its separator"
    paper, source = "the paper's hypothesis (§1); no test in it", "values of far separators changed, keys kept"
    if "probe" not in results:
        return untested(claim, paper, source, command)
    values = results["probe"]["values"]
    base = values["as it is"]
    measured = "loss rises by " + ", ".join(
        f"{gap(values[k], base)} ({k})" for k in ("left out", "swapped", "shuffled", "mean", "zero")
    )
    copies = results["probe"]["copy"]
    measured += (
        f"; a passage out of the window comes back {mean(copies['sep']):+.2f} nat a token cheaper under Sep, "
        f"{mean(copies['full']):+.2f} under full attention, {mean(copies['window, same n']):+.2f} under the window"
    )
    specific, error = paired(values["swapped"], base)
    used, _ = paired(values["zero"], base)
    recovered = mean(copies["sep"]) > 0.25 * mean(copies["full"])
    if specific > 2 * error and recovered:
        verdict = SHOWN
    else:
        verdict = PARTLY if specific > 2 * error and specific > 0.25 * used else NOT_SHOWN
    return Claim(claim, paper, measured, source, verdict, command)


def scratch_losses(results: Results, arm: str) -> list[list[float]]:
    """Held-out losses by window at the end of training, for each seed."""
    found = [v for k, v in sorted(results.items()) if k.startswith(f"scratch-{arm}-") and k[len(arm) + 9 :].isdigit()]
    return [part["curve"][-1]["losses"]["own"] for part in found]


def scratch_against(arm: str, claim: str, paper: str, source: str) -> Callable[[Results, str, str], Claim]:
    def build(results: Results, command: str, train_command: str) -> Claim:
        sep, other = scratch_losses(results, "sep"), scratch_losses(results, arm)
        if not sep or len(sep) != len(other):
            return untested(claim, paper, source, train_command)
        first, second = (results[f"scratch-{a}-{seed_of(results)}"] for a in ("sep", arm))
        flops = second["curve"][-1]["flops"] / first["curve"][-1]["flops"]
        flat = [[x for seed in seeds for x in seed] for seeds in (sep, other)]
        measured = (
            f"held-out loss {mean(flat[0]):.3f} against {mean(flat[1]):.3f} after the same {first['steps']} steps: "
            f"{gap(*flat)}, n = {len(flat[0])} windows, {len(sep)} seed{'s' * (len(sep) > 1)}; keys seen "
            f"{first['kept']:.0f} against {second['kept']:.0f}; {flops:.3f}× the FLOPs of Sep"
        )
        return Claim(claim, paper, measured, source, graded(*flat), train_command)

    return build


def seed_of(results: Results) -> int:
    return min(int(k.rpartition("-")[2]) for k in results if k.startswith("scratch-sep-"))


def post_training(results: Results, command: str, train_command: str) -> Claim:
    claim = "post-training adapts a model trained with full attention to the mask"
    paper = "Fig. 6: Pythia-1.4B, loss falls back within the remaining schedule; no figure"
    source = "Fig. 6; the same held-out windows before and after"
    if "post-sep" not in results:
        return untested(claim, paper, source, train_command)
    curve = results["post-sep"]["curve"]
    before, after = curve[0]["losses"], curve[-1]["losses"]
    gaps = [mean(x["own"]) - mean(x["full"]) for x in (before, after)]
    measured = (
        f"loss under Sep {mean(before['own']):.3f} → {mean(after['own']):.3f} in {results['post-sep']['steps']} steps; "
        f"distance to full attention with the same weights {gaps[0]:.3f} → {gaps[1]:.3f}"
    )
    if "window" in before:
        other = [mean(x["own"]) - mean(x["window"]) for x in (before, after)]
        measured += f", to the window of the same KV {other[0]:+.3f} → {other[1]:+.3f}"
    verdict = SHOWN if gaps[1] < 0.5 * gaps[0] else PARTLY if gaps[1] < gaps[0] else NOT_SHOWN
    return Claim(claim, paper, measured, source, verdict, train_command)


def streams(results: Results) -> dict[str, Any]:
    return {k.split("-")[1]: v for k, v in results.items() if k.startswith("stream-") and k != "stream-small"}


def streaming(results: Results, command: str, train_command: str) -> Claim:
    claim = "streaming, its perplexity is below StreamingLLM's at the same capacity"
    paper = "28.3 against 31.5 at 20K tokens, Llama-3-8B, PG19, c = 800 (each line with a BOS of its own)"
    source = "Table 5; the protocol is named beside each figure"
    found = streams(results)
    sep, sink = (next((v for k, v in found.items() if k.startswith(n)), None) for n in ("sep", "sink"))
    if sep is None or sink is None:
        return untested(claim, paper, source, command)
    rows = [[r["nll"] / r["scored"] for r in per_block(x["rows"])] for x in (sep, sink)]
    measured = (
        f"perplexity {sep['ppl']:.2f} against {sink['ppl']:.2f} over {sep['rows'][-1]['tokens']:,} tokens: "
        f"{gap(*rows)}, n = {len(rows[0])} stretches; attended keys {sep.get('mean_size', 0):.0f} (formula "
        f"{sep.get('formula_size', 0):.0f})"
    )
    full = found.get("full")
    if full is not None:
        last = full["rows"][-1]["tokens"]
        measured += f"; to {last:,} tokens {perplexity(sep['rows'], until=last):.2f}, full attention {full['ppl']:.2f}"
    return Claim(claim, paper, measured, source, graded(*rows), command)


def per_block(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [r for r in rows if r["scored"]]


def constant_memory(results: Results, command: str, train_command: str) -> Claim:
    claim = "it reads 4 million tokens and more in constant memory"
    paper, source = "Table 4: to 4M tokens, Llama-3-8B", "Table 4; bytes of the cache, resident memory of the process"
    small = results.get("stream-small")
    big = next((v for k, v in streams(results).items() if k.startswith("sep")), None)
    if small is None and big is None:
        return untested(claim, paper, source, command)
    rows = (small or big)["rows"]  # type: ignore[index]
    skip = next((r for r in rows if r["tokens"] >= min(100_000, rows[-1]["tokens"] // 2)), rows[0])
    growth = (rows[-1]["rss"] - skip["rss"]) / 1e6
    sizes = {r["kv_bytes"] for r in rows}
    measured = (
        f"{rows[-1]['tokens']:,} tokens through the {'model trained here' if small else 'default model'}: KV "
        f"{max(sizes) / 1e6:.2f} MB throughout ({len(sizes)} size{'s' * (len(sizes) > 1)}), resident memory "
        f"{growth:+.1f} MB after token {skip['tokens']:,}"
    )
    return Claim(claim, paper, measured, source, SHOWN if len(sizes) == 1 and growth < 20 else NOT_SHOWN, command)


def faster(results: Results, command: str, train_command: str) -> Claim:
    claim = "less KV makes generation cheaper"
    paper, source = (
        "Table 5: 325.8 s against 523.8 s at 20K tokens",
        "Table 5; decoding on this machine, caches take turns",
    )
    if "speed" not in results:
        return untested(claim, paper, source, command)
    decode = results["speed"]["decode"]
    longest = max(r["context"] for r in decode)
    rows = {r["cache"]: r for r in decode if r["context"] == longest}
    ours, base = rows["StreamingPolicy"], rows["DynamicCache"]
    ratio = base["seconds"] / ours["seconds"]
    measured = (
        f"at context {longest:,}: {ours['seconds'] * 1e3:.0f} ms a token against {base['seconds'] * 1e3:.0f} of "
        f"DynamicCache ({ratio:.2f}×; by bytes read at most {ours['bound']:.2f}×), "
        f"{rows['StaticCache']['seconds'] / ours['seconds']:.2f}× against StaticCache; KV {ours['kv_bytes'] / 1e6:.1f} "
        f"MB against {base['kv_bytes'] / 1e6:.0f}"
    )
    return Claim(claim, paper, measured, source, SHOWN if ratio > 1.2 else PARTLY if ratio > 1 else NOT_SHOWN, command)


def harness(results: Results, command: str, train_command: str) -> Claim:
    claim = "on GSM8K-CoT and MMLU Llama-3-8B-Instruct keeps its scores"
    paper = "GSM8K-CoT flexible 77.18 against 77.79, MMLU 64.68 against 65.72"
    source = "Table 1; lm-eval, gsm8k_cot (8 shots) and mmlu (5 shots)"
    if "lm_eval" not in results:
        what = "python eval.py scale=paper eval=gsm8k policy=sep"
        return untested(claim, paper, source, what)
    found = results["lm_eval"]
    scores = "; ".join(
        f"{task} " + ", ".join(f"{k} {v:.4g}" for k, v in values.items() if "stderr" not in k)
        for task, values in list(found["results"].items())[:4]
    )
    ratio = f", r.KV {found['r_kv']:.1%}" if found["r_kv"] else ""
    return Claim(claim, paper, scores + ratio, source, "compare with a run of policy=full", command)


BUILDERS: tuple[Callable[[Results, str, str], Claim], ...] = (
    attention,
    condensed,
    nearly_full,
    against(
        "window, same n",
        "keeping separators is better than the window alone",
        "GSM8K-CoT 77.18 against 69.67 (n = 256, 26 % of KV)",
        "Table 1; perplexity on the same tokens",
    ),
    against(
        "window, same KV",
        "at the same KV, separators are better than a longer window",
        "GSM8K-CoT 77.18 at 47.36 % against 70.89 at 47.54 %; their logs: 72.63 for n = 448 at 46.4 %",
        "Table 1; perplexity on the same tokens",
    ),
    against(
        "fixed interval, same KV",
        "separators are better than tokens at a fixed interval",
        "GSM8K-CoT 77.18 against 72.71 (Δ = 4) and 70.43 (Δ = 5)",
        "Table 17; perplexity on the same tokens",
    ),
    against(
        "random, same KV",
        "separators are better than random tokens",
        "no figure in the paper",
        "a control; perplexity on the same tokens",
    ),
    harness,
    scratch_against(
        "full",
        "trained from scratch, it reaches the loss of full attention with fewer FLOPs",
        "Fig. 1: the same loss with 1.28× fewer FLOPs, Pythia-160M",
        "Fig. 1; equal steps, losses on the same held-out windows",
    ),
    scratch_against(
        "window",
        "trained from scratch, it is better than the window alone",
        "LAMBADA 40.08 against 44.03 (perplexity), n = 64",
        "Table 2; equal steps",
    ),
    scratch_against(
        "window_matched",
        "trained from scratch, it is better than a window of the same KV",
        "no such arm in the paper",
        "a control; equal steps",
    ),
    post_training,
    streaming,
    constant_memory,
    faster,
)
