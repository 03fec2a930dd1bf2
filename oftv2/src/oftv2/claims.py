"""The paper's claims beside what was measured. Every verdict and every sentence follows from the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .intervals import mcnemar, paired_difference, ratio

SHOWN, PARTLY, NOT_SHOWN, NOT_TESTABLE = "shown", "partly", "not shown", "not testable at this scale"
Results = Mapping[str, Mapping[str, Any]]  # label -> name -> result of that part


@dataclass(frozen=True)
class Claim:
    """A row of the claims table."""

    claim: str
    paper: str
    measured: str
    source: str
    verdict: str
    command: str


def claims(results: Results, scale: str, command: str, train_command: str) -> list[Claim]:
    """All claims, in the order of the abstract; those without numbers are marked not testable."""
    rows = [build(results, command, train_command) for build in BUILDERS]
    if scale != "paper":
        rows.append(
            Claim(
                "models too large for OFT (it runs out of memory from 14B on) can be trained, also over NF4 and AWQ",
                "Fig. 4: OFT out of memory from 14B on; OFTv2 40.9 GB at 14B, QOFT 67.2 GB at 72B",
                "nothing: the default model has 135 million parameters",
                "Fig. 4",
                NOT_TESTABLE,
                "python train.py scale=paper task=guanaco model=qwen25_72b method=qoft",
            )
        )
    return rows


def speed(results: Results, command: str, train_command: str) -> Claim:
    claim = "rotating inputs instead of weights makes training more than 10× faster"
    paper = "Fig. 1: > 10× (§6.2: 3×), Qwen2.5-7B, one H100"
    source = "Fig. 1; the dense form of PEFT ≤ 0.15.2, rebuilt in v1.py"
    if not has_training(results, "oftv1", "oftv2_exact"):
        return untested(claim, paper, source, train_command)
    dense, low, high = times(results, "oftv1", "oftv2_exact")
    measured = f"{dense:.2f}× (range {low:.2f}–{high:.2f}, n = {steps(results, 'oftv1')} steps each)"
    if has_training(results, "oftv1_blockwise"):
        blockwise, *_ = times(results, "oftv1_blockwise", "oftv2_exact")
        measured += f"; without the dense matrix, blockwise, OFTv1 is {blockwise:.2f}×"
    return Claim(claim, paper, measured, source, graded(dense, low, full=10, some=1.0), train_command)


def memory(results: Results, command: str, train_command: str) -> Claim:
    claim = "and needs a third of the memory"
    paper = "Fig. 1: > 3× less, Qwen2.5-7B, one H100"
    source = "Fig. 1; tensors kept for backward, counted once per storage"
    if not has_training(results, "oftv1", "oftv2_exact") or not results["oftv1"]["train"]["saved_bytes"]:
        return untested(claim, paper, source, train_command)
    first, second = (results[k]["train"] for k in ("oftv1", "oftv2_exact"))
    kept = first["saved_bytes"] / second["saved_bytes"]
    peak = first["peak_memory"] / second["peak_memory"]
    measured = f"{kept:.2f}× less is kept for backward (exact); the peak, base included, is {peak:.2f}× lower (one run)"
    verdict = SHOWN if min(kept, peak) >= 3 else PARTLY if kept > 1.05 else NOT_SHOWN
    return Claim(claim, paper, measured, source, verdict, train_command)


def same_function(results: Results, command: str, train_command: str) -> Claim:
    claim = "OFTv2 computes what OFT computes"
    paper = "Eq. 3 and 4: equal in exact arithmetic"
    source = "§3.2; losses of OFTv1 and OFTv2 with exact Cayley over the same steps"
    if not has_training(results, "oftv1", "oftv2_exact"):
        return untested(claim, paper, source, train_command)
    pairs = zip(*(results[k]["train"]["rows"] for k in ("oftv1", "oftv2_exact")), strict=True)
    gap = max(abs(a["loss"] - b["loss"]) for a, b in pairs)
    measured = f"losses differ by at most {gap:.1e} (n = {steps(results, 'oftv1')} steps)"
    return Claim(claim, paper, measured, source, SHOWN if gap <= 1e-4 else NOT_SHOWN, train_command)


def series(results: Results, command: str, train_command: str) -> Claim:
    claim = "a short Neumann series can stand for the inverse in the Cayley transform"
    paper = "Table 10, perplexity of Llama-2-7B with 2, 3, 4, 5, 6 terms: 6.22 6.15 6.14 6.13 6.14"
    source = "Table 10; here the trained Q read with other numbers of terms"
    label = with_part(results, "terms")
    if label is None:
        return untested(claim, paper, source, command)
    part = results[label]["terms"]
    rows = {row["terms"]: row for row in part["rows"]}
    best, used = rows[max(rows)], rows.get(part["trained_with"])
    if used is None:
        return untested(claim, paper, source, command)
    gap = abs(used["answer_loss"] - best["answer_loss"])
    measured = (
        f"answer loss {used['answer_loss']:.4f} with {used['terms']} terms and {best['answer_loss']:.4f} with "
        f"{best['terms']}; worst ‖RᵀR − I‖ {used['orthogonality_error']:.1e} (θ up to {used['theta_max']:.2f})"
    )
    better = [
        n for n, row in rows.items() if n < used["terms"] and row["orthogonality_error"] < used["orthogonality_error"]
    ]
    if better:
        measured += f"; {better[-1]} terms are more orthogonal ({rows[better[-1]]['orthogonality_error']:.1e})"
    verdict = SHOWN if gap <= 0.01 else PARTLY if gap <= 0.1 else NOT_SHOWN
    return Claim(claim, paper, measured, source, verdict, command)


def quality(ours: str, theirs: str, claim: str, paper: str) -> Callable[[Results, str, str], Claim]:
    def build(results: Results, command: str, train_command: str) -> Claim:
        source = "Table 4; greedy answers, exact McNemar test on the same problems"
        first, second = (asked(results, label) for label in (ours, theirs))
        if first is None or second is None:
            return untested(claim, paper, source, command)
        mean, low, high = paired_difference(first["each"], second["each"])
        _, _, p = mcnemar(first["each"], second["each"])
        chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        parameters = results[ours]["train"]["parameters"] / results[theirs]["train"]["parameters"]
        measured = (
            f"{first['scores'][first['metric']]:.1%} against {second['scores'][second['metric']]:.1%}: "
            f"{mean * 100:+.1f} points (95 % {low * 100:+.1f} to {high * 100:+.1f}, "
            f"n = {first['count']}; {chance}), with {parameters:.2f}× the parameters"
        )
        verdict = SHOWN if p < 0.05 and mean > 0 else NOT_SHOWN if p < 0.05 else PARTLY
        if verdict == PARTLY and parameters < 1:
            measured += "; no difference can be told from chance, at fewer parameters"
        elif verdict == PARTLY:
            measured += "; no difference can be told from chance"
        return Claim(claim, paper, measured, source, verdict, command)

    return build


def forgetting(ours: str, theirs: str, claim: str) -> Callable[[Results, str, str], Claim]:
    def build(results: Results, command: str, train_command: str) -> Claim:
        paper = "no figure in the paper; PEFT's MetaMathQA benchmark: 0.041 against 0.050"
        source = "change of the loss on general English; PEFT's method_comparison"
        scores = [results.get(k, {}).get("score") for k in ("base", ours, theirs)]
        if any(score is None for score in scores):
            return untested(claim, paper, source, command)
        base, first, second = (score["prose_loss"] for score in scores)  # type: ignore[index]
        rates = [results[k]["train"]["learning_rate"] for k in (ours, theirs)]
        measured = (
            f"{first - base:+.3f} against {second - base:+.3f} nats a token at learning rates {rates[0]:g} and "
            f"{rates[1]:g} (one seed, no interval)"
        )
        verdict = SHOWN if first < second - 0.002 else PARTLY if first <= second + 0.002 else NOT_SHOWN
        return Claim(claim, paper, measured, source, verdict, command)

    return build


def qoft_cost(results: Results, command: str, train_command: str) -> Claim:
    claim = "QOFT trains as fast as QLoRA"
    paper = "Table 2, 7B on 8 H100: 3:19:30 against 3:25:00 (0.97×)"
    source = "Table 2; QLoRA by PEFT over the same NF4 weights"
    if not has_training(results, "qoft", "qlora"):
        return untested(claim, paper, source, train_command)
    middle, low, high = times(results, "qoft", "qlora")
    measured = f"{middle:.2f}× the step time (quartiles {low:.2f}–{high:.2f}, n = {steps(results, 'qoft')} steps)"
    first, second = (results[k]["train"]["saved_bytes"] for k in ("qoft", "qlora"))
    if first and second:
        measured += f"; {first / second:.2f}× the bytes kept for backward"
    verdict = SHOWN if middle <= 1.03 else PARTLY if low <= 1.03 else NOT_SHOWN
    return Claim(claim, paper, measured, source, verdict, train_command)


def requantising(results: Results, command: str, train_command: str) -> Claim:
    claim = "merged and quantised again, a rotation loses less than a low-rank update"
    paper = "§4, an argument on dynamic range; no figure"
    source = "§4; share of ΔW that survives rounding to NF4"
    rotated, added = (results.get(k, {}).get("requantised") for k in ("qoft", "qlora"))
    if rotated is None or added is None or rotated["surviving"] is None or added["surviving"] is None:
        return untested(claim, paper, source, command)
    measured = f"{share(rotated['surviving'])} of QOFT's update survives and {share(added['surviving'])} of QLoRA's"
    losses = [
        f"{results[k]['score']['answer_loss']:.2f} → {results[k]['requantised']['merged']['answer_loss']:.2f}"
        for k in ("qoft", "qlora")
    ]
    measured += f"; answer loss {losses[0]} and {losses[1]}"
    sizes = [rms_update(part) for part in (rotated, added)]
    measured += f" (‖ΔW‖/‖W‖ {sizes[0]:.1%} and {sizes[1]:.1%})"
    if rotated["surviving"] > 0.5 and rotated["surviving"] > added["surviving"] + 0.05:
        verdict = SHOWN
    elif rotated["surviving"] > added["surviving"] + 0.05:
        verdict = PARTLY
    else:
        verdict = NOT_SHOWN
    if max(rotated["surviving"], added["surviving"]) < 0.5:
        measured += "; updates of this size are smaller than the steps of the 4-bit grid"
    return Claim(claim, paper, measured, source, verdict, command)


def merging(results: Results, command: str, train_command: str) -> Claim:
    claim = "an adapter can be merged into the weights, so inference costs nothing more"
    paper = "§3: W Rᵀ, exact"
    source = "logits of the merged against the unmerged model, float32"
    label = with_part(results, "merged")
    if label is None:
        return untested(claim, paper, source, command)
    gap = results[label]["merged"]["relative_difference"]
    restored = results[label]["merged"]["restored_difference"]
    measured = f"logits move by at most {gap:.1e} of the largest; after unmerging by {restored:.1e}"
    return Claim(claim, paper, measured, source, SHOWN if gap <= 1e-3 else NOT_SHOWN, command)


BUILDERS: tuple[Callable[[Results, str, str], Claim], ...] = (
    speed,
    memory,
    same_function,
    series,
    quality(
        "oftv2",
        "lora",
        "OFTv2 is as good as LoRA or better with about half the parameters",
        "Table 4, Llama-2-7B: GSM8K 34.65 against 33.81, WikiText-2 6.14 against 6.63",
    ),
    quality(
        "qoft",
        "qlora",
        "QOFT is better than QLoRA",
        "Table 4, Llama-2-7B: GSM8K 37.23 against 34.12, WikiText-2 5.60 against 5.74",
    ),
    forgetting("oftv2", "lora", "rotations keep more of what the model knew"),
    qoft_cost,
    requantising,
    merging,
)


def graded(value: float, low: float, *, full: float, some: float) -> str:
    """Shown at the paper's factor, partly where the whole range is above `some`."""
    return SHOWN if value >= full else PARTLY if low > some else NOT_SHOWN


def untested(claim: str, paper: str, source: str, command: str) -> Claim:
    return Claim(claim, paper, "not measured in this run", source, NOT_TESTABLE, command)


def has_training(results: Results, *labels: str) -> bool:
    return all(results.get(label, {}).get("train", {}).get("rows") for label in labels)


def with_part(results: Results, name: str) -> str | None:
    return next((label for label, parts in results.items() if name in parts), None)


def asked(results: Results, label: str) -> dict[str, Any] | None:
    return (results.get(label, {}).get("score") or {}).get("asked")


def seconds(results: Results, label: str) -> list[float]:
    return [row["seconds"] for row in results[label]["train"]["rows"]]


def times(results: Results, first: str, second: str) -> tuple[float, float, float]:
    """Ratio of step times over the steps that both did, with its range."""
    a, b = seconds(results, first), seconds(results, second)
    shared = min(len(a), len(b))
    return ratio(a[:shared], b[:shared])


def steps(results: Results, label: str) -> int:
    return len(results[label]["train"]["rows"])


def share(value: float) -> str:
    """A percentage without a negative zero."""
    return f"{round(value, 3) + 0.0:.1%}"


def rms_update(part: Mapping[str, Any]) -> float:
    rows: Sequence[Mapping[str, Any]] = part["rows"]
    return (sum(row["update_norm"] ** 2 for row in rows) / len(rows)) ** 0.5
