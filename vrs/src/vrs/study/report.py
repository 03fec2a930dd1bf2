"""results/report.md and results/metrics.json: what the paper claims, what was found, and what of it is noise."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..recognition import Recognition
from . import figures, paper
from .claims import Claim, claims
from .environment import environment
from .run import Found, Study
from .score import Curves, pairs, pick, reads_p, scored_all, usable, worded
from .settings import Settings
from .theory_tables import simulated_theory, theory_text
from .writing import markdown, to_json, write

TITLE = "# Verbalized rejection sampling: what the paper claims and what this run shows"
NOTES = (
    "STVD: sum over the levels of |p̃ − p|. Sums over different numbers of levels do not compare; mean TV, which is "
    "STVD/levels, nearly does (a coin stuck at ½ has 0.262 on 21 levels and 0.252 on 101). *STVD at n* of an exact "
    "curve is its expectation on n draws a level. Floor: what a perfect coin has on as many draws; z and p: distance "
    "from it in its standard deviations, and Monte-Carlo p-value against it. ± sd: by drawing again from the shares "
    "found. Calls and bits: model calls, and fair coin flips from outside the model, for a draw. Label mass: the least "
    "probability that the allowed answers have together. Paper: Llama's STVD on 101 levels with 100 draws, mean over "
    "phrasings, and that as mean TV."
)


def write_report(settings: Settings) -> tuple[Path, list[dict[str, Any]]]:
    """Score the ledgers of a study and write metrics.json, report.md and the figures. Returns the report and its table.

    Raises:
        Missing: the study has not been collected, or not to its end.
    """
    started = time.perf_counter()
    found = Study(settings).found()
    curves = scored_all(found)
    simulated = simulated_theory(settings.study.replicates)
    made = claims(settings, curves, simulated, found.recognition)
    folder = settings.output_dir
    drawn = [draw(curves, folder) for draw in (figures.overview, figures.simple, figures.reasoning)]
    drawn.append(figures.matrices(found.recognition, folder))
    rows = [row(c) for c in curves.values()]
    metrics = {
        "settings": {"llm": dict(settings.llm), "scale": settings.scale, "study": settings.study.name},
        "seed": settings.seed,
        "environment": environment(),
        "claims": [asdict(claim) for claim in made],
        "curves": curves,
        "recognition": {source: recognition_json(r) for source, r in found.recognition.items()},
        "simulation": simulated,
        "sources": found.sources,
        "times": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "parts": found.run.get("parts", {}),
            "scoring_seconds": round(time.perf_counter() - started, 2),
        },
    }
    write(folder / "metrics.json", to_json(metrics))
    write(folder / "report.md", body(settings, found, curves, simulated, made, rows, [name for name in drawn if name]))
    return folder / "report.md", rows


def body(
    settings: Settings,
    found: Found,
    curves: Curves,
    simulated: Mapping[str, Any],
    made: Sequence[Claim],
    rows: Sequence[Mapping[str, Any]],
    drawn: Sequence[str],
) -> str:
    parts = [
        TITLE,
        opening(settings, curves),
        setting_sentence(settings, found),
        "## Claims",
        claims_table(made, settings.scale),
        "## Curves",
        markdown([*rows, recorded_row(settings)]),
        NOTES,
        *(f"![{name.removesuffix('.png')}]({name})" for name in drawn),
        halves(curves, simulated["stuck"]),
        recognition_text(found.recognition),
        "## Theory, by closed forms and simulation",
        theory_text(simulated),
        "## Limits",
        limits(settings, curves),
        noted(found, curves),
        "## Where the time went",
        times(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def opening(settings: Settings, curves: Curves) -> str:
    """Which half of the paper's claim shows with this model, and why the other does not."""
    judged = [c for c in pick(curves, "vrs", question=figures.ASKED).values() if usable(c)]
    model = settings.llm.get("model")
    if settings.llm["backend"] == "fake":
        return "**A rehearsal.** A stand-in answered that reads the prompts by rule: nothing here tells of a model."
    if not judged:
        return f"This run of `{model}` has no whole curve of verbalized rejection sampling."
    if any(reads_p(c) for c in judged):
        return f"`{model}` follows the prompts: what it accepts depends on p and on the proposed value."
    moved = max(max(c["p_hat"]) - min(c["p_hat"]) for c in judged)
    masses = [c["mass"] for c in judged if c.get("mass") is not None]
    letters = f" (the letters T and F have {min(masses):.2f} of its probability)" if masses else ""
    text = (
        f"**Verbalized rejection sampling shows no effect on `{model}`.** Asked to accept or reject{letters}, the "
        f"model heeds neither p nor the proposed value: the share of ones that it lets through moves by {moved:.2f} at "
        "most while p goes from 0 to 1, so the result is the fair coin of the proposal. The prompt half of the paper's "
        "claim, that a model decides better than it draws, needs a larger model."
    )
    relabelled = pairs(curves, "vrs_hybrid", "direct", question="in_context", relabel="swap", draws="exact")
    if relabelled:
        h, d = relabelled[0]
        text += (
            "\n\n**The algorithm half shows**: rejection sampling in which code takes the sure decisions, and every "
            f"other decision is a flip of the model's own biased coin, brings the STVD from {d['stvd']:.2f} to "
            f"{h['stvd']:.2f}, {h['stvd'] / d['stvd']:.2f} of it (in-context coin, relabelled, exact; the theory's "
            "mean factor for small errors is 0.587)."
        )
    return text


def setting_sentence(settings: Settings, found: Found) -> str:
    made = environment()
    versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items() if v)
    replayed = any(source.startswith("a recording") for source in found.sources)
    return (
        f"Scale {settings.scale}, seed {settings.seed}. Who answered: {'; '.join(found.sources) or 'nobody'}."
        + (" **These are recorded completions, not made here.**" if replayed else "")
        + f" {made['processor']}, Python {made['python']}, {versions}."
    )


def claims_table(made: Sequence[Claim], scale: str) -> str:
    return markdown(
        [
            {
                "claim of the paper": c.claim,
                "paper": c.paper,
                "measured here": c.measured,
                "scale": scale,
                "source": c.source,
                "verdict": f"**{c.verdict}**",
                "measure it again": f"`{c.command}`",
            }
            for c in made
        ]
    )


def row(c: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the result table."""
    exact = c["n"] is None
    s = c["setting"]
    given = paper.TABLE_2.get(s["sampler"]) if s["question"] != "in_context" and s["cot"] == "auto" else None
    return {
        "method": s["sampler"],
        "question": worded(c),
        "levels": c["levels"],
        "mean TV": c.get("mean_tv"),
        "STVD exact": c["stvd"] if exact else None,
        "n": c["n"] or 100,
        "STVD at n": c.get("expected_stvd") if exact else c["stvd"],
        "± sd": None if exact else c.get("stvd_sd"),
        "floor": c.get("floor"),
        "z": None if exact else c.get("z"),
        "p": None if exact else c.get("p_value"),
        "calls/draw": c["calls_per_sample"],
        "bits/draw": c["bits_per_sample"],
        "parse rate": c.get("parse_rate"),
        "label mass": c.get("mass"),
        "paper": f"{given[-1]:.2f} ({given[-1] / 101:.3f})" if given else None,
    }


def recorded_row(settings: Settings) -> dict[str, Any]:
    """The row of a large model's recorded answers, which a replay fills."""
    if settings.llm.get("backend") == "replay":
        return {}
    return {"method": "vrs", "question": "a large model, recorded", "mean TV": "not recorded"}


def halves(curves: Curves, stuck: Mapping[str, float]) -> str:
    """Hybrid against direct, question by question."""
    rows = [
        {
            "question": worded(h),
            "draws": "exact" if h["n"] is None else str(h["n"]),
            "levels": h["levels"],
            "STVD direct": d["stvd"],
            "STVD hybrid": h["stvd"],
            "hybrid/direct": h["stvd"] / d["stvd"] if d["stvd"] else None,
        }
        for h, d in pairs(curves, "vrs_hybrid", "direct")
    ]
    if not rows:
        return ""
    direct, hybrid = stuck["direct"], stuck["hybrid"]
    text = (
        "Code computes A(x) and takes the sure decisions; the model flips its own coin for the rest. A part of the "
        f"gain is not the model's: even a coin stuck at ½, which reads nothing, goes from {direct:.2f} to {hybrid:.2f} "
        f"({hybrid / direct:.2f}) on 101 levels, by code's decisions and the outside generator alone. STVDs of drawn "
        "curves have the noise of their draws in them."
    )
    return f"## The algorithm half\n\n{text}\n\n{markdown(rows)}"


def recognition_json(r: Recognition) -> dict[str, Any]:
    return {
        "accuracy": r.accuracy,
        "balanced accuracy": r.balanced_accuracy,
        "calls": r.calls,
        "malformed": r.malformed,
        "matrix": r.matrix,
    }


def recognition_text(found: Mapping[str, Recognition]) -> str:
    rows = []
    for source, r in found.items():
        told = recognition_json(r)
        del told["matrix"]
        rows.append({"numbers by": source, **told})
    if not rows:
        return ""
    text = "Always answering No has an accuracy of 1 − 1/levels and a balanced one of 0.5."
    return f"## Recognition\n\n{text}\n\n{markdown(rows)}"


def limits(settings: Settings, curves: Curves) -> str:
    lines = ["One model and one seed; intervals are over draws, and say nothing of other models."]
    if settings.scale == "laptop":
        lines.append(
            "The default model has 135 million parameters and weights from a 4-bit file. Answers are forced into their "
            "slot, because its free text hardly ever has the form asked for."
        )
    free = [c for c in pick(curves, "direct", question="free").values() if c.get("parse_rate") is not None]
    unread = [c for label, c in curves.items() if c.get("parse_rate") is not None and c["levels_without_draws"]]
    for c in free or unread:
        if c["parse_rate"] <= 0.5:
            lines.append(f"Of {c['calls']} free replies ({worded(c)}) {c['parse_rate']:.0%} could be read.")
    low = [c for c in curves.values() if c.get("mass") is not None and c["mass"] < 0.5]
    if low:
        methods = ", ".join(dict.fromkeys(c["setting"]["sampler"] for c in low))
        lines.append(
            f"In {len(low)} curves ({methods}) the allowed answers have less than half of the probability, in one "
            f"{min(c['mass'] for c in low):.2g}: the model would rather write something else."
        )
    lines.append(
        "Where an exact random number is wanted and a generator is at hand, use the generator: Bern(p) costs it two "
        "fair bits and no model call."
    )
    return "\n".join(f"- {line}" for line in lines)


def noted(found: Found, curves: Curves) -> str:
    """Flags, and what the independence probe said."""
    lines = [f"- {probe['sentence']}" for probe in found.run.get("probes", {}).values()]
    for label, c in curves.items():
        flags = sorted({f for level in c["flags"].values() for f in level if not f.startswith("Q is")})
        told = [*flags[:2], *([f"and {len(flags) - 2} more like these"] if len(flags) > 2 else [])]
        lines += [f"- {label}: {'; '.join(told)}"] if told else []
    return "## Noted while measuring\n\n" + "\n".join(lines) if lines else ""


def times(found: Found) -> str:
    parts = found.run.get("parts", {})
    rows = [{"part": label, "seconds": p["seconds"], "model calls": p["calls"]} for label, p in parts.items()]
    total = {k: sum(row[k] for row in rows) for k in ("seconds", "model calls")}
    return markdown([*rows, {"part": "all", **total}])
