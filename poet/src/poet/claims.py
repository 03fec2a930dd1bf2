"""The paper's claims beside what was measured. Every verdict and every sentence follows from the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .diagnostics import phases, series_errors
from .inspections import coverage_rows
from .scores import Results, difference, first, last, seeds_of

SHOWN, PARTLY, NOT_SHOWN, NOT_TESTABLE = "shown", "partly", "not shown", "not testable at this scale"
DRIFT = 1e-5
POET_BS, POET_MUON, POET_FS = "poet_bs", "poet_bs_muon", "poet_fs"
POET = (POET_BS, POET_MUON, POET_FS)
TRAIN, EVAL = "python train.py", "python eval.py"


QUALITY = (  # against which method, the claim, the paper's figure
    (
        "adamw",
        "POET generalises better than AdamW, with a fraction of its trained numbers",
        "Table 2, 60M: 25.29 (BS 256) and 25.37 (FS 1/2) against 26.68",
    ),
    (
        "adamw_normalized",
        "and not because of its initialisation alone",
        "Table 5 compares initialisations under POET only: 25.37 normalized, 26.22 standard",
    ),
    ("galore", "POET is ahead of GaLore", "Table 2, 60M: 25.29 against 29.81"),
    (
        "lora",
        "POET is ahead of LoRA with as many trained numbers",
        "Table 2, 60M: 26.90 (BS 128, 4.81M) against 39.70 (4.85M)",
    ),
)


@dataclass(frozen=True)
class Claim:
    """A row of the claims table."""

    claim: str
    paper: str
    measured: str
    source: str
    verdict: str
    command: str


def claims(results: Results, table: Mapping[str, Any] | None, pretrained: Mapping[str, Any] | None) -> list[Claim]:
    """In the order of the abstract; those without numbers are marked not testable."""
    return [
        spectrum_kept(results),
        adamw_grows(results),
        *(quality(results, table, *claim) for claim in QUALITY),
        energy_kept(results),
        phases_seen(results),
        series(),
        evenly(),
        state(results),
        no_cost(results),
        kept_function(pretrained),
        Claim(
            "the advantage holds at 350M, 1.3B and 3B, and after finetuning on GLUE",
            "Table 2, 1.3B: 13.70 (FS 1/2) against 14.73; Tables 3, 4 and 12",
            "nothing: the default model has about 150 thousand parameters",
            "Tables 2-4 and 12",
            NOT_TESTABLE,
            "accelerate launch train.py scale=paper model=1b method=paper/poet_fs",
        ),
    ]


def present(results: Results, *labels: str) -> list[str]:
    return [label for label in labels if label in results and "drift_max" in last(results[label])]


def spectrum_kept(results: Results) -> Claim:
    found = {label: last(results[label])["drift_max"] for label in present(results, *POET)}
    claim, paper = "the singular values of every weight are preserved", "§3.1, Fig. 3: exactly, in exact arithmetic"
    source = "largest ‖σ(W_T) − σ(W_0)‖/‖σ(W_0)‖ of all matrices, float32, behind the last merge"
    if not found:
        return untested(claim, paper, source)
    measured = ", ".join(f"{label} {value:.1e}" for label, value in found.items())
    return Claim(claim, paper, measured, source, SHOWN if max(found.values()) < DRIFT else NOT_SHOWN, TRAIN)


def adamw_grows(results: Results) -> Claim:
    claim, paper = "where training with AdamW lets the largest singular values grow", "Fig. 3 and App. D, curves only"
    source = "largest σ_max(W_T)/σ_max(W_0) of all matrices; target above 3"
    if not present(results, "adamw"):
        return untested(claim, paper, source)
    growth = last(results["adamw"])["sigma_growth"]
    rest = ", ".join(f"{x} {last(results[x])['sigma_growth']:.2f}×" for x in present(results, *results) if x != "adamw")
    return Claim(claim, paper, f"adamw {growth:.2f}× ({rest})", source, SHOWN if growth > 3 else NOT_SHOWN, TRAIN)


def quality(results: Results, table: Any, other: str, claim: str, paper: str) -> Claim:
    """The best POET run against another method: the sign of the difference, and whether the seeds lie apart."""
    source = "validation loss of the reloaded models; seeds from benchmarks/sweep.json"
    ours = [label for label in POET if label in results]
    if not ours or other not in results:
        return untested(claim, paper, source)
    best = min(ours, key=lambda label: results[label]["reloaded"]["loss"])
    mean, error = difference(results[best], results[other])
    a, b = results[best]["reloaded"]["ppl"], results[other]["reloaded"]["ppl"]
    share = results[best]["trained"] / results[other]["trained"]
    measured = (
        f"{best} {a:.2f} against {b:.2f}: {mean:+.3f} nats a token (± {error:.3f} over held-out text, one seed), with "
        f"{share:.2f}× the trained numbers"
    )
    mine, theirs = (seeds_of(table, label, results[label]["lr"]) for label in (best, other))
    apart = len(mine) > 1 and len(theirs) > 1
    if apart:
        gap, noise = mean_of(mine) - mean_of(theirs), math.hypot(spread(mine), spread(theirs))
        measured += f"; over {len(mine)} seeds {gap:+.3f} ± {noise:.3f}"
    else:
        gap, noise = mean, 2 * error
    verdict = SHOWN if gap < -noise and mean < 0 else NOT_SHOWN if gap > noise else PARTLY
    if verdict == PARTLY:
        measured += "; the two cannot be told apart"
    return Claim(claim, paper, measured, source, verdict, TRAIN)


def energy_kept(results: Results) -> Claim:
    claim = "low hyperspherical energy is kept through the training"
    paper, source = "§3.1, Fig. 1 and 4, curves only", "energy a pair of neurons, mean over matrices, start → end"
    labels = present(results, *POET)
    if not labels:
        return untested(claim, paper, source)
    pairs = {
        x: (first(results[x])["energy_per_pair"], last(results[x])["energy_per_pair"])
        for x in present(results, *results)
    }
    measured = ", ".join(f"{x} {a:.4f} → {b:.4f}" for x, (a, b) in pairs.items())
    rise = max(pairs[x][1] / pairs[x][0] - 1 for x in labels)
    return Claim(claim, paper, measured, source, SHOWN if rise < 0.005 else PARTLY if rise < 0.02 else NOT_SHOWN, TRAIN)


def phases_seen(results: Results) -> Claim:
    claim = "training has three phases: the probe's cosine falls to about 0.6, stays, and freezes"
    paper = "§4.1: 0.60-0.65, with one full block and no merges"
    source = "vᵀ R_total v, mean over layers and sides; see Probes"
    labels = [x for x in present(results, *POET) if "cosines" in last(results[x])]
    if not labels:
        return untested(claim, paper, source)
    found = {label: phases(*curves(results[label])) for label in labels}
    measured = "; ".join(
        f"{label}: cosine {f['cosine']:.2f}, search ends at step {f['search_ends']}, frozen from {f['freeze_begins']}, "
        f"loss {f['loss_at_search_end']:.2f} → {f['loss_at_end']:.2f} after the search"
        for label, f in found.items()
    )
    three = [
        f["search_ends"] < f["freeze_begins"] and f["loss_at_end"] < f["loss_at_search_end"] for f in found.values()
    ]
    level = [0.5 <= f["cosine"] <= 0.75 for f in found.values()]
    both = any(a and b for a, b in zip(three, level, strict=True))
    return Claim(claim, paper, measured, source, SHOWN if both else PARTLY if any(three) else NOT_SHOWN, TRAIN)


def curves(part: Mapping[str, Any]) -> tuple[list[int], list[float], list[float]]:
    """Steps, mean cosine and validation loss along a training."""
    rows = part["record"]["measured"]
    cosines = [mean_of(list(row["cosines"].values())) for row in rows]
    return [row["step"] for row in rows], cosines, [row["loss"] for row in rows]


def series() -> Claim:
    claim = "a short Neumann series keeps the matrices orthogonal enough"
    paper = "Table 7, 130M FS 1/2, k = 0 to 4: diverges, 22.56, 21.54, 20.22, 20.19"
    source = "‖RRᵀ − I‖/‖I‖ at θ = 0.3, b = 64, closed form to 1 %"
    rows = {row["k"]: row["error"] for row in series_errors(0.3) if row["series"] == "product"}
    measured = ", ".join(f"k={k} {error:.1e}" for k, error in rows.items())
    measured += (
        "; odd k shrinks or grows weights at every merge, even k is an order closer, so k = 4 is the default here"
    )
    return Claim(claim, paper, measured, source, SHOWN if rows[4] < 1e-4 else NOT_SHOWN, f"{TRAIN} diagnostics=series")


def evenly() -> Claim:
    claim, paper = (
        "block-stochastic primitives touch all weights evenly, fully stochastic ones do not",
        "App. H: 200 each",
    )
    rows = coverage_rows()
    block = [r for r in rows if r["variant"] == "block"]
    full = [r for r in rows if r["variant"] == "full"]
    even = all(r["least"] == r["most"] == 200 for r in block)
    near = max(abs(r["mean"] / r["expected mean"] - 1) for r in full)
    measured = (
        f"BS {block[0]['least']} to {block[0]['most']} for every b; FS "
        + ", ".join(f"b={r['b']}: {r['least']}-{r['most']}, mean {r['mean']:.0f}" for r in full)
        + f" (within {near:.1%} of the formula)"
    )
    return Claim(
        claim,
        paper,
        measured,
        "64×64 weight, 100 draws",
        SHOWN if even and near < 0.02 else NOT_SHOWN,
        f"{TRAIN} diagnostics=coverage",
    )


def state(results: Results) -> Claim:
    claim, paper = "POET trains with little optimizer state", "Table 1: 1.5(m+n)(b−1) numbers beside mn, for AdamW 3mn"
    source = "bytes of all optimizer tensors, embedding, head and norms included"
    if "adamw" not in results or not any(x in results for x in POET):
        return untested(claim, paper, source)
    base = results["adamw"]["bytes"]["optimizer_state"]
    found = {x: results[x]["bytes"]["optimizer_state"] / base for x in results if x != "adamw"}
    measured = ", ".join(f"{x} {share:.2f}×" for x, share in found.items()) + f" of AdamW's {base:,}"
    ours = [found[x] for x in POET if x in found]
    return Claim(claim, paper, measured, source, SHOWN if max(ours) < 1 else NOT_SHOWN, TRAIN)


def no_cost(results: Results) -> Claim:
    claim, paper = "a merged model costs nothing extra at inference", "§3.2: W is a plain matrix"
    gap = max(abs(part["reloaded"]["loss"] - part["validation"]["loss"]) for part in results.values())
    keys = {tuple(part["keys"]) for part in results.values()}
    tensors = len(next(iter(keys)))
    measured = f"every method's folder holds the same {tensors} tensors; reloaded, losses differ by at most {gap:.1e}"
    source = "AutoModelForCausalLM, without this package"
    return Claim(claim, paper, measured, source, SHOWN if gap < 1e-4 and len(keys) == 1 else NOT_SHOWN, EVAL)


def kept_function(found: Mapping[str, Any] | None) -> Claim:
    claim, paper = "pretrained weights can be trained by POET too", "Table 4 and 12: GLUE, XSum, CNN-DM"
    source = "SmolLM2-135M-Instruct, float32; see A pretrained model"
    if found is None:
        return untested(claim, paper, source)
    measured = (
        f"logits move by {found['wrap_difference']:.1e} when wrapped; loss {found['loss_before']:.3f} → "
        f"{found['loss_after']:.3f} in {len(found['losses'])} steps; spectrum drift {found['spectrum_drift']:.1e}; "
        "merged "
        f"and reloaded, logits differ by {found['merge_difference']:.1e}"
    )
    fine = found["wrap_difference"] < 1e-3 and found["merge_difference"] < 1e-3 and found["spectrum_drift"] < DRIFT
    verdict = SHOWN if fine and found["loss_after"] < found["loss_before"] else NOT_SHOWN
    return Claim(claim, paper, measured, source, PARTLY if verdict == SHOWN else verdict, TRAIN)


def untested(claim: str, paper: str, source: str) -> Claim:
    return Claim(claim, paper, "not measured in this run", source, NOT_TESTABLE, TRAIN)


def mean_of(values: list[float]) -> float:
    return sum(values) / len(values)


def spread(values: list[float]) -> float:
    """Sample standard deviation."""
    mean = mean_of(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
